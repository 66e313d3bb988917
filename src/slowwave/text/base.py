"""What a text-form memory system fills: how records are indexed, how a cue finds them, what a night changes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Literal

from slowwave.models.base import Embedder, Vectors
from slowwave.models.llm import LLM
from slowwave.ops.made import Made
from slowwave.ops.packing import Context, pack
from slowwave.records import Change, Engram, Hits, Rejected
from slowwave.store.base import Cursor, Index, View, Want


@dataclass(frozen=True, slots=True)
class Cue:
    """A question to a memory.

    text       the words
    now        the moment of asking, by which "last summer" is read
    want       which records may be found
    top_k      how many at most
    threshold  the least score in [0, 1]; None takes the system's own, 0 lets everything through
    explain    fill in what each channel gave and what was almost returned
    llm        the model that this reading may ask; None, the default, asks none
    """

    text: str
    now: datetime
    want: Want = field(default_factory=Want)
    top_k: int = 10
    threshold: float | None = None
    explain: bool = False
    llm: LLM | None = None


@dataclass(frozen=True, slots=True)
class Night:
    """What a sleep works on.

    view       the records of the sleeper's scope
    since      how far the earlier nights of this system have looked
    now        the moment of sleeping
    embedder   None if there is none at hand
    progress   called with (stage, done, total)
    llm        None if this night asks no model; where `llm.exhausted` says something, a system stops asking and puts
               its cursor where it stopped, so that the next night goes on there
    """

    view: View
    since: Cursor
    now: datetime
    embedder: Embedder | None
    progress: Callable[[str, int, int], None]
    params: Mapping[str, Any] = field(default_factory=dict)
    llm: LLM | None = None


@dataclass(frozen=True, slots=True)
class Dream:
    """What a night proposes: changes in order, the index entries of what it adds, and how far it has looked.

    rejected  what a model proposed and the night turned down, each with its reason
    """

    changes: tuple[Change, ...]
    index: Mapping[str, Index]
    cursor: Cursor
    notes: tuple[str, ...] = ()
    rejected: tuple[Rejected, ...] = ()


class TextSystem(ABC):
    """A text-form memory system: one file, one class. The class attributes are its row in the atlas.

    name        as in `Memory(system=...)` and `slowwave atlas`
    paper       title, authors and year; "" for slowwave's own
    operations  which of consolidation, updating, indexing, forgetting, retrieval, compression it fills
    asks        when it may ask a language model: "sleep", "reading"
    claim       the published result, or ""
    differs     what deviates from the paper, and why
    proof       path of the proof in the repository, or None
    """

    name: ClassVar[str]
    paper: ClassVar[str] = ""
    form: ClassVar[str] = "text"
    operations: ClassVar[tuple[str, ...]] = ()
    asks: ClassVar[tuple[Literal["sleep", "reading"], ...]] = ()
    claim: ClassVar[str] = ""
    differs: ClassVar[str] = ""
    proof: ClassVar[str | None] = None

    @abstractmethod
    def index(
        self, engrams: Sequence[Engram], contents: Sequence[bytes], embedder: Embedder | None
    ) -> dict[str, Index]:
        """What is kept beside each engram so that it can be found, by id."""

    @abstractmethod
    def embed(self, engrams: Sequence[Engram], embedder: Embedder) -> Vectors:
        """The vectors of engrams, (n, dim) float32: what `index` keeps and `reembed` remakes."""

    @abstractmethod
    def search(self, view: View, cue: Cue, embedder: Embedder | None) -> Hits:
        """What bears on the cue, best first, with the trace of how it was found."""

    @abstractmethod
    def sleep(self, night: Night) -> Dream:
        """What this night would change. It changes nothing itself."""

    def context(
        self, view: View, cue: Cue, embedder: Embedder | None, max_tokens: int, count_tokens: Callable[[str], int]
    ) -> Context:
        """Prompt-ready text on the cue within a token budget; the hits, unless the system has a form of its own."""
        return pack(self.search(view, cue, embedder), max_tokens, count_tokens)

    def dream(self, night: Night, made: Made, cursor: Cursor, notes: Sequence[str] = ()) -> Dream:
        """A Dream of what was made, with the index entries of every engram it adds."""
        engrams = made.engrams
        index: dict[str, Index] = {}
        for part in batches(engrams, 256):
            index |= self.index(part, [made.contents[engram.id] for engram in part], night.embedder)
            night.progress("index", len(index), len(engrams))
        return Dream(tuple(made.changes), index, cursor, tuple(notes), tuple(made.rejected))


def no_progress(stage: str, done: int, total: int) -> None:
    """The progress of those who do not look."""


def batches(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    """Consecutive slices of at most `size`."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
