"""slowwave's own rows: each conversation goes into one real file, under a user of its own, and is searched there."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any

from slowwave.bench.metrics import Found
from slowwave.bench.retrieval import DEPTH, Conversation, Ranking, Step, printed
from slowwave.memory import Memory
from slowwave.models.base import Embedder
from slowwave.ops.packing import estimate_tokens
from slowwave.records import Engram


class Filled:
    """A Memory on a real file that holds the conversations, each in the scope of the user of its name.

    Its clock stands at the latest end of a conversation, so that nothing depends on today's date.
    """

    def __init__(self, conversations: Sequence[Conversation], embedder: Embedder, step: Step, **memory: Any) -> None:
        self.conversations = conversations
        self.now = max(_aware(c.asked) for c in conversations)
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self.path = Path(self._folder.name) / "memory.db"
        self._units: dict[str, str] = {}  # engram id -> unit
        try:
            self.memory = Memory(self.path, embedder=embedder, clock=lambda: self.now, durable=False, **memory)
            self._fill(step)
        except BaseException:
            self._folder.cleanup()
            raise

    def _fill(self, step: Step) -> None:
        for number, conversation in enumerate(self.conversations):
            step(number, len(self.conversations))
            report = self.memory.add(list(conversation.items), user_id=conversation.name)
            self._units.update(zip(report.ids, conversation.units, strict=True))
        step(len(self.conversations), len(self.conversations))

    def rank(self, step: Step, threshold: float | None = 0.0, **search: Any) -> list[Ranking]:
        """Every conversation's own questions, asked at its end."""
        return [self.ask(c, c, step, threshold, **search) for c in self.conversations]

    def ask(
        self, of: Conversation, here: Conversation, step: Step, threshold: float | None = 0.0, **search: Any
    ) -> Ranking:
        """The questions of one conversation, asked of another's records; None takes the default threshold."""
        out: Ranking = []
        for number, question in enumerate(of.questions):
            hits = self.memory.search(
                question.text,
                user_id=here.name,
                top_k=DEPTH,
                threshold=threshold,
                now=here.asked,
                note_use=False,
                **search,
            )
            out.append([self.found(hit.engram, here) for hit in hits])
            step(number + 1, len(of.questions))
        return out

    def found(self, engram: Engram, here: Conversation) -> Found:
        """What a hit shows: its own unit, or, where it was derived, the units of the episodes it was made from."""
        price = estimate_tokens(printed(engram.text, engram.speaker, engram.at))
        if engram.id in self._units:
            return Found((self._units[engram.id],), price)
        seen, edge, units = {engram.id}, list(engram.sources), list[str]()
        while edge:
            id_ = edge.pop(0)
            if id_ in seen:
                continue
            seen.add(id_)
            if id_ in self._units:
                units.append(self._units[id_])
            else:
                edge += self.memory.get(id_, user_id=here.name).sources
        return Found(tuple(dict.fromkeys(units)), price)

    def sleep(self, step: Step) -> Mapping[str, int]:
        """One night for every conversation; returns what it changed, added up."""
        counts: dict[str, int] = {}
        for number, conversation in enumerate(self.conversations):
            step(number, len(self.conversations))
            for verb, n in self.memory.sleep(user_id=conversation.name).counts.items():
                counts[verb] = counts.get(verb, 0) + n
        return counts

    def later(self, days: float) -> None:
        """Let time pass."""
        self.now += timedelta(days=days)

    @property
    def bytes_on_disk(self) -> int:
        """The database and its log."""
        return sum(file.stat().st_size for file in Path(self._folder.name).rglob("*") if file.is_file())

    def __enter__(self) -> Filled:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.memory.close()
        self._folder.cleanup()


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
