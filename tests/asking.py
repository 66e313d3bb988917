"""A text system for tests of nights with a language model: one question for each new record, one fact for each answer.

An answer that does not name the record's first word is turned down.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from slowwave.models.fakes import FakeChat
from slowwave.models.llm import LLM, Prompt, obj, text
from slowwave.ops.made import Made
from slowwave.records import Engram
from slowwave.store.base import Cursor, Want
from slowwave.store.ids import new_id
from slowwave.text.base import Dream, Night
from slowwave.text.default import DefaultMemory

SCHEMA = obj("facts", fact=text(200))


class Asking(DefaultMemory):
    """See above. `between` is called before each question."""

    name = "asking"

    def __init__(self, between: Callable[[int], None] = lambda n: None) -> None:
        super().__init__()
        self.between = between

    def sleep(self, night: Night) -> Dream:
        made, last = Made(), night.since.last
        found = night.view.after(night.since.last, 1000, Want(kinds=("episode",)))
        for done, (n, engram) in enumerate(found):
            self.between(done)
            night.progress("ask", done, len(found))
            if night.llm is None or night.llm.exhausted:
                break
            self._ask(night, night.llm, engram, made)
            last = n
        return self.dream(night, made, Cursor(last))

    def _ask(self, night: Night, llm: LLM, engram: Engram, made: Made) -> None:
        prompt = Prompt("facts", "Say a fact.", {"said": engram.text}, SCHEMA, (engram.id,))
        answer = llm.ask(prompt)
        if not answer.ok:
            made.reject(prompt, answer, answer.problem)
        elif engram.text.split()[0] not in answer.value["fact"]:
            made.reject(prompt, answer, "it does not name what was said", answer.value["fact"])
        else:
            fact = Engram(
                new_id(), "fact", answer.value["fact"], engram.scope, engram.at, night.now, sources=(engram.id,)
            )
            made.add(fact, "add", "a model said so")


def echo(messages: Any, schema: Any) -> Any:
    """Says what it was shown, as a fact; of what speaks of the moon, something else."""
    import json

    said = json.loads(messages[-1].content)["said"]
    return {"fact": "lunarcanary cheese" if "moon" in said else f"{said}, says the model"}


def echoing(**budget: Any) -> LLM:
    """An LLM that echoes; `llm.model.asked` counts its calls."""
    return LLM(FakeChat(echo, "fake-echo"), **budget)
