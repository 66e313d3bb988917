"""A question to a language model, and the builders of the schemas that hold its reply."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from slowwave.models.chat import Message


@dataclass(frozen=True, slots=True)
class Prompt:
    """One question to a model, the same in its words wherever it is asked.

    operation     what it is for; counts and models per operation go by it
    instructions  the system message: what to do, never any text that was remembered
    inputs        JSON values; they are the user's message, as JSON, so that remembered text stays data
    schema        the JSON schema of the reply, whose "title" is the operation; None for free text
    sources       ids of the engrams that `inputs` shows: erasing one of them erases the cached reply
    top_logprobs  how many likeliest tokens to give at each place of the reply, where the model offers them
    """

    operation: str
    instructions: str
    inputs: Mapping[str, Any]
    schema: Mapping[str, Any] | None = None
    sources: tuple[str, ...] = ()
    max_tokens: int = 512
    temperature: float = 0.0
    top_logprobs: int = 0

    def messages(self) -> list[Message]:
        """The system message and the user's.

        What marks a turn in a model's own template (such as <|im_start|> or [INST]) cannot come from the inputs: its
        bracket is written as a JSON escape, which reads the same and is other tokens.
        """
        told = json.dumps(self.inputs, ensure_ascii=False, separators=(", ", ": "))
        for mark in ("<", "[INST", "[/INST", "[SYSTEM", "[/SYSTEM"):
            told = told.replace(mark, f"\\u{ord(mark[0]):04x}{mark[1:]}")
        return [Message("system", self.instructions), Message("user", told)]

    def key(self, model: str) -> str:
        """SHA-256, in hex, over everything that the reply depends on."""
        parts = (
            model, self.operation, self.instructions, self.inputs, self.schema, self.max_tokens, self.temperature,
            self.top_logprobs,
        )  # fmt: skip
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


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
