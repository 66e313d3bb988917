"""Stand-ins for a language model: one that says what a test tells it to, and five that each make trouble in one way.

Sleeping with any of them may leave a memory poorer in insight, never in facts: tests and `slowwave.checks` hold every
system to that.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from types import MappingProxyType
from typing import Any

from slowwave.errors import ModelBusyError
from slowwave.models.chat import Message, Reply, estimate_tokens

Schema = Mapping[str, Any]
Said = str | Reply | Exception | Mapping[str, Any] | Sequence[Any]

NAMES = ("Quillfeather", "Zyxandra", "Brontolph", "Xanthippia", "Velkomir", "Ysoldine", "Thraxopol", "Wumbledore")
REFUSAL = "I am sorry, but I cannot help with that."


class FakeChat:
    """A model that says what it is told to.

    replies  a function (messages, schema) -> what to say; or what to say, in turn, the last again and again. To say is
             a text, a Reply, an error to raise, or a value that goes out as JSON. None: the least that fits the schema
    name     as the journal shows it; it should say fake

    `asked` holds the messages of every call so far.
    """

    def __init__(
        self,
        replies: Callable[[Sequence[Message], Schema | None], Said] | Sequence[Said] | None = None,
        name: str = "fake",
        context_tokens: int = 0,
        parallel: int = 1,
    ) -> None:
        self.replies = least if replies is None else replies
        self.name = name
        self.context_tokens = context_tokens
        self.parallel = parallel
        self.asked: list[list[Message]] = []
        self._lock = threading.Lock()

    def chat(
        self,
        messages: Sequence[Message],
        *,
        schema: Schema | None = None,
        max_tokens: int = 512,
        temperature: float = 0.0,
        top_logprobs: int = 0,
    ) -> Reply:
        """What it was told to say; a reply longer than `max_tokens` is cut off there."""
        with self._lock:
            turn = len(self.asked)
            self.asked.append(list(messages))
        said = (
            self.replies(messages, schema) if callable(self.replies) else self.replies[min(turn, len(self.replies) - 1)]
        )
        if isinstance(said, Exception):
            raise said
        if isinstance(said, Reply):
            return said
        text = said if isinstance(said, str) else json.dumps(said, ensure_ascii=False)
        tokens_in = sum(self.count_tokens(message.content) for message in messages)
        if self.count_tokens(text) > max_tokens:
            return Reply(text[: 4 * max_tokens], tokens_in, max_tokens, "length")
        return Reply(text, tokens_in, self.count_tokens(text))

    def count_tokens(self, text: str) -> int:
        """A token for every four bytes."""
        return estimate_tokens(text)


def least(messages: Sequence[Message], schema: Schema | None) -> Said:
    """The least that fits a schema: empty lists, first choices, short texts. It claims nothing."""
    return "" if schema is None else filled(schema, lambda most: "-"[:most], 0)


def filled(schema: Schema, word: Callable[[int], str], items: int, number: int = 0) -> Any:
    """A value that fits a schema of the kinds that prompts use (const, enum, object, array, text, number, any of).

    word    the longest allowed -> a text
    items   how many things to put in a list, if its schema allows
    number  to say where one is due, as far as its limits allow
    """
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][number % len(schema["enum"])]
    for some in ("anyOf", "oneOf", "allOf"):
        if some in schema:
            return filled(schema[some][0], word, items, number)
    kind = schema.get("type", "object")
    kind = kind if isinstance(kind, str) else kind[0]
    if kind == "object":
        parts = schema.get("properties", {})
        return {name: filled(parts[name], word, items, number) for name in schema.get("required", parts)}
    if kind == "array":
        count = max(schema.get("minItems", 0), min(items, schema.get("maxItems", items)))
        return [filled(schema["items"], word, items, number + place) for place in range(count)]
    if kind == "string":
        said = word(schema.get("maxLength", 200))
        return said + "x" * (schema.get("minLength", 0) - len(said))
    if kind in ("integer", "number"):
        least_ = max(number, schema.get("minimum", number))
        return min(least_, schema.get("maximum", least_))
    return False if kind == "boolean" else None


def fake_garbage() -> FakeChat:
    """Says no JSON: half a sentence, binary rubbish, an unclosed bracket, another schema's object, in turn."""
    rubbish = ["Certainly! Here are", "\x00\x07\ufffd{{{", '{"items": [{"fact": "', '{"answer": 42}', "[]", "null", ""]
    return FakeChat(lambda messages, schema: rubbish[_seed(messages) % len(rubbish)], "fake-garbage")


def fake_refuses() -> FakeChat:
    """Refuses every time."""
    return FakeChat([Reply(REFUSAL, 10, 10, "refused")], "fake-refuses")


def fake_times_out() -> FakeChat:
    """Never answers in time; it does not wait, though."""
    return FakeChat([ModelBusyError("fake-times-out: timed out after 60 s")], "fake-times-out")


def fake_invents() -> FakeChat:
    """Fits every schema, and says names and numbers that are in no source."""

    def lie(messages: Sequence[Message], schema: Schema | None) -> Said:
        chance = random.Random(_seed(messages))

        def word(most: int) -> str:
            one, other, number = chance.choice(NAMES), chance.choice(NAMES), chance.randrange(70_000, 99_999)
            longer = f"{one} {other} paid {number} crowns for a house in {other}berg in 1847."
            return longer if len(longer) <= most else one[:most]

        return word(200) if schema is None else filled(schema, word, 3, chance.randrange(70_000, 99_999))

    return FakeChat(lie, "fake-invents")


def fake_slow(seconds: float = 0.2) -> FakeChat:
    """Says the least that fits, after some seconds."""

    def late(messages: Sequence[Message], schema: Schema | None) -> Said:
        time.sleep(seconds)
        return least(messages, schema)

    return FakeChat(late, "fake-slow")


def _seed(messages: Sequence[Message]) -> int:
    """The same for the same messages, in every process."""
    told = "\0".join(message.content for message in messages)
    return int.from_bytes(sha256(told.encode("utf-8", "replace")).digest()[:8], "big")


TROUBLEMAKERS: Mapping[str, Callable[[], FakeChat]] = MappingProxyType(
    {
        "garbage": fake_garbage,
        "refuses": fake_refuses,
        "times-out": fake_times_out,
        "invents": fake_invents,
        "slow": fake_slow,
    }
)
