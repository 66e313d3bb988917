"""What several systems share: each record indexed as it stands, and a night's reading that can stop and go on."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from slowwave.models.base import Embedder, Vectors
from slowwave.ops.dates import find_times
from slowwave.records import Engram
from slowwave.store.base import Cursor, Index, Want
from slowwave.text.base import Night, TextSystem
from slowwave.text.default import embedding_text, lexical_text, time_range

PAGE = 2048  # records read at once by a night
MOST_TIMES = 16  # intervals kept of one record


class PlainMemory(TextSystem):
    """A text memory that keeps a vector, the words and the times of each record, as they stand."""

    def index(
        self, engrams: Sequence[Engram], contents: Sequence[bytes], embedder: Embedder | None
    ) -> dict[str, Index]:
        vectors = None if embedder is None else self.embed(engrams, embedder)
        return {
            engram.id: Index(
                content,
                lexical_text(engram),
                None if vectors is None else vectors[place],
                tuple(time_range(span) for span in find_times(engram.text, engram.at)[:MOST_TIMES]),
            )
            for place, (engram, content) in enumerate(zip(engrams, contents, strict=True))
        }

    def embed(self, engrams: Sequence[Engram], embedder: Embedder) -> Vectors:
        return embedder.embed([embedding_text(engram) for engram in engrams])


class News(dict[int, Engram]):
    """What came since the last night of a system, by row number in the order of recording.

    seen  the last row that was looked at, whatever it held
    """

    seen: int = 0


def unread(night: Night, chosen: Callable[[Engram], bool] = lambda engram: engram.kind == "episode") -> News:
    """What is new and chosen; what an earlier night did out of turn (see `stopped`) is left out."""
    done = set(night.since.state.get("done", ()))
    out = News()
    out.seen = night.since.last
    while page := night.view.after(out.seen, PAGE, Want()):
        out.seen = page[-1][0]
        out.update((n, engram) for n, engram in page if n not in done and chosen(engram))
        night.progress("read", len(out), len(out))
    return out


def stopped(night: Night, read: News, left: Collection[int], **state: Any) -> Cursor:
    """Where the next night goes on: behind all that was read, or before the first row that had to be left.

    left   row numbers that could not be done, since the model was exhausted; later ones that were done are remembered
    state  what else the system remembers; what it remembered before stays
    """
    before = night.since.state.get("done", ())
    kept = {name: value for name, value in night.since.state.items() if name != "done"} | state
    if not left:
        return Cursor(read.seen, kept)
    last = min(left) - 1
    waiting = set(left)
    return Cursor(last, {**kept, "done": sorted(n for n in {*read, *before} if n not in waiting and n > last)})
