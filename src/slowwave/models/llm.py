"""A language model as the engine uses it: every call budgeted, cached, retried, checked against its schema, counted.

What a model says is never trusted with control: `ask` gives back an Answer whose `problem` says why nothing could be
made of the reply, and never raises. Where the budget is spent or the model is gone, `exhausted` says so: a night then
stops asking, what was done until then stands, and the next night goes on from there.
"""

from __future__ import annotations

import hashlib
import json
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Protocol

from slowwave.errors import InputError, ModelBusyError, ModelError
from slowwave.models.chat import ChatModel, Message, Reply
from slowwave.records import Call

NO_REPLY = "no reply"
CALLS_KEPT = 100_000  # of one LLM object, for those who never take them


@dataclass(frozen=True, slots=True)
class Prompt:
    """One question to a model, the same in its words wherever it is asked.

    operation     what it is for; counts, budgets and models per operation go by it
    instructions  the system message: what to do, never any text that was remembered
    inputs        JSON values; they are the user's message, as JSON, so that remembered text stays data
    schema        the JSON schema of the reply; None for free text
    sources       ids of the engrams that `inputs` shows: erasing one of them erases the cached reply
    """

    operation: str
    instructions: str
    inputs: Mapping[str, Any]
    schema: Mapping[str, Any] | None = None
    sources: tuple[str, ...] = ()
    max_tokens: int = 512
    temperature: float = 0.0

    def messages(self) -> list[Message]:
        """The system message and the user's."""
        return [
            Message("system", self.instructions),
            Message("user", json.dumps(self.inputs, ensure_ascii=False, separators=(", ", ": "))),
        ]

    def key(self, model: str) -> str:
        """SHA-256, in hex, over everything that the reply depends on."""
        parts = (model, self.operation, self.instructions, self.inputs, self.schema, self.max_tokens, self.temperature)
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a prompt.

    value    the parsed reply, true to the schema; the text itself where there is no schema; None if there is none
    problem  why there is no value: "refused: ...", "timed out", "not JSON: ...", "does not fit the schema: ..."
    text     the reply's words as they came
    """

    value: Any
    problem: str
    text: str
    call: Call

    @property
    def ok(self) -> bool:
        """Whether there is a value."""
        return not self.problem


class ReplyCache(Protocol):
    """Where replies are kept by the hash of their prompt."""

    def get(self, key: str) -> Reply | None: ...

    def put(self, key: str, prompt: Prompt, model: str, reply: Reply) -> None: ...


class DictCache:
    """Replies in this process's memory."""

    def __init__(self) -> None:
        self._kept: dict[str, Reply] = {}

    def get(self, key: str) -> Reply | None:
        return self._kept.get(key)

    def put(self, key: str, prompt: Prompt, model: str, reply: Reply) -> None:
        self._kept[key] = reply


@dataclass(slots=True)
class Spent:
    """What an operation has used so far."""

    calls: int = 0
    cached: int = 0
    problems: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    seconds: float = 0.0

    def add(self, call: Call) -> None:
        """Count a call; a cached one costs no tokens."""
        self.calls += not call.cached
        self.cached += call.cached
        self.problems += bool(call.problem)
        self.tokens_in += 0 if call.cached else call.tokens_in
        self.tokens_out += 0 if call.cached else call.tokens_out
        self.seconds += call.seconds

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass
class LLM:
    """A model, or one per operation, behind a budget, a cache and a tally. Safe to share between threads.

    model        answers what `models` does not name
    models       operation -> the model that answers it
    max_calls    calls allowed, cached ones aside; None for no limit
    max_tokens   tokens in and out allowed, cached ones aside
    max_seconds  seconds of asking allowed
    retries      further tries where the model was busy, and one more (at a little warmth) for a reply that is unusable
    cache        where replies are kept; None keeps none
    down_after   prompts in a row without any reply after which the model counts as gone
    wait         sleeps between tries; for tests
    """

    model: ChatModel
    models: Mapping[str, ChatModel] = field(default_factory=dict)
    max_calls: int | None = None
    max_tokens: int | None = None
    max_seconds: float | None = None
    retries: int = 2
    cache: ReplyCache | None = field(default_factory=DictCache)
    down_after: int = 3
    wait: Callable[[float], None] = time.sleep
    spent: dict[str, Spent] = field(default_factory=dict, init=False)
    calls: list[Call] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        if not isinstance(self.model, ChatModel):
            raise InputError(f"llm is a {type(self.model).__name__} without name, chat and count_tokens")
        self._lock = threading.Lock()
        self._silent = 0

    @property
    def name(self) -> str:
        """The main model's name."""
        return self.model.name

    def of(self, operation: str) -> ChatModel:
        """The model that answers an operation."""
        return self.models.get(operation, self.model)

    def count_tokens(self, text: str) -> int:
        """Tokens of a text, to the main model."""
        return self.model.count_tokens(text)

    def ask(self, prompt: Prompt) -> Answer:
        """Ask once, within the budget; an Answer whose `problem` tells what went wrong, if anything did."""
        model = self.of(prompt.operation)
        key = prompt.key(model.name)
        kept = self.cache.get(key) if self.cache is not None else None
        if kept is not None:
            value, problem = read(kept, prompt.schema)
            if not problem:
                return self._counted(Answer(value, "", kept.text, _call(prompt, model, key, kept, 0.0, True)))
        if spent := self.exhausted:
            return Answer(None, spent, "", _call(prompt, model, key, Reply("", 0, 0), 0.0, True, spent))
        start = time.perf_counter()
        reply, value, problem = self._try(model, prompt)
        call = _call(prompt, model, key, reply, time.perf_counter() - start, False, problem)
        self._silent = self._silent + 1 if problem.startswith(NO_REPLY) else 0
        if not problem and self.cache is not None:
            self.cache.put(key, prompt, model.name, reply)
        return self._counted(Answer(value, problem, reply.text, call))

    @property
    def exhausted(self) -> str:
        """Why nothing more will be asked: the budget is spent, or the model is gone; "" while asking goes on."""
        if self._silent >= self.down_after:
            return f"{NO_REPLY} to {self._silent} prompts in a row: {self.name} counts as gone"
        spent = self.total()
        for name, used, most in (
            ("calls", spent.calls, self.max_calls),
            ("tokens", spent.tokens_in + spent.tokens_out, self.max_tokens),
            ("seconds", spent.seconds, self.max_seconds),
        ):
            if most is not None and used >= most:
                return f"{used:.0f} of {most:.0f} {name} are spent"
        return ""

    def take_calls(self) -> list[Call]:
        """The calls since this was last asked, in order: what a night writes into its operation."""
        with self._lock:
            taken, self.calls = self.calls, []
        return taken

    def total(self) -> Spent:
        """What all operations have used together."""
        out = Spent()
        for spent in self.spent.values():
            for name in Spent.__slots__:
                setattr(out, name, getattr(out, name) + getattr(spent, name))
        return out

    def _try(self, model: ChatModel, prompt: Prompt) -> tuple[Reply, Any, str]:
        """The reply, its value and its problem after all tries; tokens of failed tries count as well."""
        nothing = Reply("", 0, 0)
        used_in = used_out = 0
        messages = prompt.messages()
        reply, value, problem = nothing, None, ""
        for attempt in range(self.retries + 1):
            warmth = prompt.temperature if attempt == 0 else max(prompt.temperature, 0.3)
            try:
                reply = model.chat(
                    messages, schema=prompt.schema, max_tokens=prompt.max_tokens, temperature=warmth, top_logprobs=0
                )
            except ModelBusyError as error:
                reply, problem = nothing, f"{NO_REPLY}: {error}"
                if attempt < self.retries:
                    self.wait(min(30.0, 0.5 * 2**attempt) * (1 + random.random() / 4))
                continue
            except ModelError as error:
                return replace(nothing, tokens_in=used_in, tokens_out=used_out), None, f"failed: {error}"
            used_in, used_out = used_in + reply.tokens_in, used_out + reply.tokens_out
            value, problem = read(reply, prompt.schema)
            if not problem or attempt >= 1:
                break
        return replace(reply, tokens_in=used_in, tokens_out=used_out), value, problem

    def _counted(self, answer: Answer) -> Answer:
        with self._lock:
            self.spent.setdefault(answer.call.operation, Spent()).add(answer.call)
            if len(self.calls) < CALLS_KEPT:
                self.calls.append(answer.call)
        return answer


def read(reply: Reply, schema: Mapping[str, Any] | None) -> tuple[Any, str]:
    """(value, problem) of a reply: parsed and checked where there is a schema, its words where there is none."""
    text = reply.text.strip()
    if not text:
        return None, "the reply is empty"
    if schema is None:
        return text, ""
    try:
        value = json.loads(unfenced(text))
    except (ValueError, RecursionError) as error:
        cut = " (cut off at max_tokens)" if reply.finish == "length" else ""
        return None, f"not JSON{cut}: {error}"
    from fastjsonschema import JsonSchemaException

    try:
        _checker(json.dumps(schema, sort_keys=True))(value)
    except JsonSchemaException as error:
        return None, f"does not fit the schema: {error.message}"
    return value, ""


def unfenced(text: str) -> str:
    """The JSON in a reply that wraps it in a Markdown fence."""
    if text.startswith("```"):
        text = text.split("\n", 1)[-1]
        text = text.rsplit("```", 1)[0]
    return text


@lru_cache(maxsize=256)
def _checker(schema: str) -> Callable[[Any], Any]:
    import fastjsonschema

    check: Callable[[Any], Any] = fastjsonschema.compile(json.loads(schema))
    return check


def _call(
    prompt: Prompt, model: ChatModel, key: str, reply: Reply, seconds: float, cached: bool, problem: str = ""
) -> Call:
    return Call(prompt.operation, model.name, key, reply.tokens_in, reply.tokens_out, seconds, cached, problem)


def array_of(item: Mapping[str, Any], title: str, most: int) -> dict[str, Any]:
    """The schema of {"items": [...]} with at most `most` items: an object, as constrained decoding asks for."""
    return obj(title, items={"type": "array", "items": dict(item), "maxItems": most})


def obj(title: str = "", **properties: Any) -> dict[str, Any]:
    """The schema of an object whose properties are all required, and no others allowed."""
    named = {"title": title} if title else {}
    return {
        **named,
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def text(most: int = 400) -> dict[str, Any]:
    """The schema of a text of at least one character."""
    return {"type": "string", "minLength": 1, "maxLength": most}


def choice(options: Sequence[str]) -> dict[str, Any]:
    """The schema of one of these texts: a model can then name no id that it was not shown."""
    return {"type": "string", "enum": list(options)}
