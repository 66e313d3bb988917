"""A model for tests that replies by a function of what it is asked: the operation (the schema's title), the inputs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from slowwave.errors import ModelBusyError
from slowwave.models.chat import Message, Reply
from slowwave.models.llm import LLM


class Replying:
    """`answer(operation, inputs)` gives the value to reply with, a text to reply as it stands, or None for no reply."""

    context_tokens = 0

    def __init__(self, answer: Callable[[str, dict[str, Any]], Any], name: str = "replying") -> None:
        self.answer = answer
        self.name = name
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def chat(self, messages: Sequence[Message], *, schema: Mapping[str, Any] | None = None, **settings: Any) -> Reply:
        operation, inputs = str((schema or {}).get("title", "")), json.loads(messages[-1].content)
        self.asked.append((operation, inputs))
        value = self.answer(operation, inputs)
        if value is None:
            raise ModelBusyError("nobody there")
        return Reply(value if isinstance(value, str) else json.dumps(value), 10, 5)

    def count_tokens(self, text: str) -> int:
        return len(text) // 4

    def llm(self, **budget: Any) -> LLM:
        """Behind an LLM that waits for nothing."""
        return LLM(self, wait=lambda seconds: None, **budget)
