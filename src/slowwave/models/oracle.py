"""A language model that knows the truth of generated data, and errs as often as it is told to: for proofs.

What a method gains from a model, and what a model's errors cost it, can then be told apart from how good any one model
happens to be.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from types import MappingProxyType
from typing import Any

from slowwave.errors import InputError, ModelError
from slowwave.models.chat import Message, Reply, estimate_tokens

Truth = Callable[[dict[str, Any]], Any]
Flip = Callable[[dict[str, Any], Any, random.Random], Any]


class Oracle:
    """Answers prompts with a generator's truth, flipped with a probability; equal prompts get equal answers.

    truths  operation -> the function that gives the true value for a prompt's inputs
    error   the probability of a flip, for each prompt by itself
    flips   operation -> the function that makes the value wrong; needed for every operation where `error` is above 0
    seed    of the flips; the chance of a prompt does not depend on what was asked before

    The operation is the schema's title, and the inputs are the JSON of the last user message: as `Prompt` sends them.
    An operation that it has no truth for is a ModelError, so that systems fall back on rules.

    >>> from slowwave.models import LLM
    >>> from slowwave.models.llm import Prompt, choice, obj
    >>> prompt = Prompt("parity", "Even or odd?", {"number": 7}, obj("parity", is_=choice(["even", "odd"])))
    >>> LLM(Oracle({"parity": lambda inputs: {"is_": ["even", "odd"][inputs["number"] % 2]}})).ask(prompt).value
    {'is_': 'odd'}
    """

    context_tokens = 0

    def __init__(
        self,
        truths: Mapping[str, Truth],
        error: float = 0.0,
        flips: Mapping[str, Flip] = MappingProxyType({}),
        seed: int = 0,
    ) -> None:
        if not 0 <= error <= 1:
            raise InputError(f"error is {error}; it must be a probability, from 0 to 1")
        missing = sorted(set(truths) - set(flips)) if error else []
        if missing:
            raise InputError(f"error is {error}, but flips has nothing for {', '.join(missing)}; say how they go wrong")
        self.truths, self.error, self.flips, self.seed = dict(truths), error, dict(flips), seed
        self.name = f"oracle-{error:g}-{seed}"
        self.flipped = 0  # answers that were made wrong

    def chat(
        self,
        messages: Sequence[Message],
        *,
        schema: Mapping[str, Any] | None = None,
        max_tokens: int = 512,
        temperature: float = 0.0,
        top_logprobs: int = 0,
    ) -> Reply:
        """The truth, or its flip, as JSON; `max_tokens` and `temperature` change nothing."""
        operation = str((schema or {}).get("title", ""))
        if operation not in self.truths:
            known = ", ".join(sorted(self.truths)) or "nothing"
            asked = operation or "a prompt without a title"
            raise ModelError(f"{self.name} knows no truth for {asked}; it has {known}")
        told = next((message.content for message in reversed(messages) if message.role == "user"), "")
        try:
            inputs = json.loads(told)
        except ValueError as error:
            raise ModelError(f"{self.name} reads the last user message as JSON, and it is none: {error}") from error
        value = self.truths[operation](inputs)
        digest = sha256(f"{self.seed}\0{operation}\0{told}".encode("utf-8", "replace")).digest()
        chance = random.Random(int.from_bytes(digest, "big"))
        if chance.random() < self.error:
            value = self.flips[operation](inputs, value, chance)
            self.flipped += 1
        said = json.dumps(value, ensure_ascii=False)
        return Reply(said, sum(estimate_tokens(message.content) for message in messages), estimate_tokens(said))

    def count_tokens(self, text: str) -> int:
        """A token for every four bytes."""
        return estimate_tokens(text)
