"""What the engine asks of a language model: messages in, text out, held to a JSON schema where one is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation with a model."""

    role: Literal["system", "user", "assistant"]
    content: str

    def to_dict(self) -> dict[str, str]:
        """As endpoints take it; lone surrogates, which no encoding holds, become the replacement mark."""
        return {"role": self.role, "content": encodable(self.content)}


@dataclass(frozen=True, slots=True)
class Token:
    """One token of a reply with its natural-log probability, and the likeliest at its place as (text, logprob)."""

    text: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Reply:
    """What a model said.

    tokens_in, tokens_out  as the model counts them
    finish                 "stop", "length" where `max_tokens` cut it off, "refused" where the model would not answer
    tokens                 with their probabilities, where they were asked for and the model offers them; else empty
    """

    text: str
    tokens_in: int
    tokens_out: int
    finish: str = "stop"
    tokens: tuple[Token, ...] = ()


@runtime_checkable
class ChatModel(Protocol):
    """A language model that answers messages.

    name            names the model exactly; it is part of the cache's key and stands in the journal
    context_tokens  how many tokens of prompt and reply fit together; 0 if that is not known

    A model may also have
    parallel        how many requests it takes at once; one without it is asked one after the other
    hold_seconds    for how long it has asked to be left alone, as an endpoint's Retry-After does
    close()         lets go of what it holds
    """

    @property
    def name(self) -> str: ...

    @property
    def context_tokens(self) -> int: ...

    def chat(
        self,
        messages: Sequence[Message],
        *,
        schema: Mapping[str, Any] | None = None,
        max_tokens: int = 512,
        temperature: float = 0.0,
        top_logprobs: int = 0,
    ) -> Reply:
        """Answer the messages.

        schema        a JSON schema that the reply must follow, with a "title"; decoding is constrained where possible,
                      and the caller checks in any case
        top_logprobs  how many likeliest tokens to give at each place; 0 for no probabilities
        raises        ModelBusyError where trying again may help, ModelMissingError where no prompt will ever be
                      answered (no such model, a key that is turned down), else ModelError
        """
        ...

    def count_tokens(self, text: str) -> int:
        """How many tokens the text is to this model, or an estimate where it does not tell."""
        ...


def encodable(text: str) -> str:
    """The text with the replacement mark for lone surrogates."""
    return text.encode("utf-8", "replace").decode("utf-8")


def estimate_tokens(text: str) -> int:
    """About how many tokens a text is to a model that does not tell: one for every four bytes of UTF-8.

    English comes out a little high, Chinese and Japanese about right; code and numbers a little low.
    """
    return -(-len(text.encode("utf-8", "replace")) // 4)
