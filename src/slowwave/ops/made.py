"""What a night makes, as it comes together: changes, the content keys of what they add, and what was turned down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from slowwave.models.llm import Answer, Prompt
from slowwave.records import Change, Engram, Link, Rejected
from slowwave.store.ids import content_key

SHOWN = 500  # characters of a rejected reply that are kept


@dataclass(slots=True)
class Made:
    """The changes of a night in order, the content keys of the engrams they add, and the proposals set aside."""

    changes: list[Change] = field(default_factory=list)
    contents: dict[str, bytes] = field(default_factory=dict)
    rejected: list[Rejected] = field(default_factory=list)

    def add(self, engram: Engram, verb: str, reason: str, links: Sequence[Link] = ()) -> None:
        """Propose a derived engram; the same text from the same sources is the same engram."""
        key = content_key(
            engram.text, engram.kind, engram.speaker, f"{engram.origin}|{'|'.join(engram.sources)}", None, 0
        )
        self.contents[engram.id] = key
        self.changes.append(Change(verb, engram.id, reason, engram=engram, links=tuple(links), sources=engram.sources))

    def reject(self, prompt: Prompt, answer: Answer, reason: str, text: str = "") -> None:
        """Set a proposal aside: `reason` is the rule it broke, `text` the proposal (the reply's start by default)."""
        shown = (text or answer.text)[:SHOWN]
        self.rejected.append(
            Rejected(prompt.operation, reason, shown, prompt.sources, answer.call.model, answer.call.prompt)
        )

    @property
    def engrams(self) -> list[Engram]:
        """What is to be added, in order."""
        return [change.engram for change in self.changes if change.engram is not None]
