"""The contract of a store: one transaction in, scoped reading out. `checks.py` tests it on every store there is.

A store has no method that reads a record without a scope: reading goes through a `View`, which is bound to one when
it is made, and every statement of the view carries it. A filter that someone forgot therefore cannot leak.
What goes in and what comes out is in `parts.py`, and can be imported from here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slowwave.records import Change, Engram, Link, Scope
from slowwave.store.parts import (
    AUDIT,
    Applied,
    Asked,
    Bookmark,
    Cursor,
    Entry,
    Erased,
    Held,
    Index,
    Kept,
    Key,
    Lease,
    Lines,
    Operation,
    Past,
    Pulse,
    Restored,
    Row,
    Said,
    SetAside,
    Usage,
    Want,
)
from slowwave.store.vectors import Found

__all__ = [
    "AUDIT", "Applied", "Asked", "Bookmark", "Cursor", "Entry", "Erased", "Held", "Index", "Kept", "Key", "Lease",
    "Lines", "Operation", "Past", "Pulse", "Replies", "Restored", "Row", "Said", "SetAside", "Store", "Usage", "View",
    "Want",
]  # fmt: skip


class Replies(ABC):
    """The replies of language models to the prompts of one scope, by the hash of the prompt. A cache: it may forget."""

    scope: Scope

    @abstractmethod
    def get(self, key: str) -> Said | None:
        """The reply, if it is there."""

    @abstractmethod
    def put(self, key: str, model: str, said: Said, sources: Sequence[str]) -> None:
        """Keep a reply.

        sources  ids of the records that the prompt showed: erasing one of them erases the reply. A reply that names
                 none, or one that is not in the store (yet), goes with the first record of the scope that is erased.
                 What an erasure may have taken away since this object was made is not kept.
        """


class View(ABC):
    """Everything that a reader with one scope may see."""

    scope: Scope

    @abstractmethod
    def get(self, ids: Sequence[str]) -> dict[str, Engram]:
        """The engrams of these ids that the scope may see, retired ones too; others are left out."""

    @abstractmethod
    def engrams(self, ns: Sequence[int], as_of: datetime | None = None) -> dict[int, Engram]:
        """Full records by row number."""

    @abstractmethod
    def select(self, want: Want, limit: int | None = None, offset: int = 0, newest_first: bool = False) -> list[Engram]:
        """Records in the order of `at` (ties by recording)."""

    @abstractmethod
    def after(self, n: int, limit: int, want: Want) -> list[tuple[int, Engram]]:
        """Records with a row number above n, in the order of recording, with their row numbers."""

    @abstractmethod
    def count(self, want: Want) -> int:
        """How many records."""

    @abstractmethod
    def find_content(self, scope: Scope, contents: Sequence[bytes]) -> dict[bytes, Engram]:
        """Records of exactly this scope by their content key: what makes `add` idempotent."""

    @abstractmethod
    def dense(self, query: NDArray[np.float32], k: int, want: Want) -> Found:
        """The k nearest among vectors of the current model, by cosine from the scope's centre (see `VectorCache`)."""

    @abstractmethod
    def cosines(self, query: NDArray[np.float32], ns: Sequence[int]) -> dict[int, float]:
        """The score that `dense` would give these row numbers; what has no vector is left out."""

    @abstractmethod
    def speakers(self, limit: int = 2000) -> list[str]:
        """Everyone who speaks in the scope."""

    @abstractmethod
    def lexical(self, terms: Sequence[str], k: int, want: Want) -> list[tuple[int, float]]:
        """The k best by BM25 (higher is better) that hold any of the terms, each a word or words side by side."""

    @abstractmethod
    def document_frequency(self, words: Sequence[str]) -> tuple[int, dict[str, int]]:
        """Number of records in the scope, and in how many each word (stemmed as the index does) occurs."""

    @abstractmethod
    def during(self, start: int, stop: int, k: int, want: Want) -> list[int]:
        """Row numbers of records that happened in, or speak of, the interval (microseconds)."""

    @abstractmethod
    def rows(self, ns: Sequence[int], want: Want) -> dict[int, Row]:
        """Light rows of those of these numbers that are wanted."""

    @abstractmethod
    def times(self, ns: Sequence[int]) -> dict[int, list[tuple[int, int]]]:
        """The intervals that these rows speak of, [start, stop) in microseconds since 1970 UTC."""

    @abstractmethod
    def neighbours(self, rows: Sequence[Row], radius: int) -> dict[tuple[int, int], int]:
        """(session, turn) -> row number of the turns around these rows, themselves included."""

    @abstractmethod
    def vectors(self, ns: Sequence[int]) -> dict[int, NDArray[np.float32]]:
        """Vectors of the current model by row number."""

    @abstractmethod
    def find_origin(self, origins: Sequence[str]) -> dict[str, list[Engram]]:
        """Records in view by their origin, in the order of recording."""

    @abstractmethod
    def nearest_older(self, ns: Sequence[int], k: int) -> dict[int, list[tuple[int, float]]]:
        """For each of these rows the k nearest of lower row number, by the cosine that `dense` uses, best first."""

    @abstractmethod
    def numbers(self, ids: Sequence[str]) -> dict[str, int]:
        """Row numbers by id."""

    @abstractmethod
    def links(self, ids: Sequence[str], relations: Sequence[str] | None = None) -> list[Link]:
        """Ties from or to these engrams whose both ends the scope may see."""

    @abstractmethod
    def derived(self, ids: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """id -> the engrams made from it."""

    @abstractmethod
    def due(self, moment: datetime, limit: int) -> list[Engram]:
        """Records whose next halving of strength is due."""

    @abstractmethod
    def journal(self, ids: Sequence[str] | None = None, op: str | None = None, limit: int = 1000) -> list[Entry]:
        """Journal lines, newest first: of some engrams, of one operation, or all."""

    @abstractmethod
    def operations(self, limit: int = 100, verb: str | None = None, op: str | None = None) -> list[dict[str, Any]]:
        """Operations, newest first, with how many changes, calls and rejections each has: all, of one verb, or one."""

    @abstractmethod
    def calls(self, limit: int = 1000, op: str | None = None) -> list[Asked]:
        """Calls of language models, of the newest operation first, and in their order within it; all, or one's."""

    @abstractmethod
    def rejected(self, limit: int = 1000, op: str | None = None) -> list[SetAside]:
        """What was turned down, of the newest operation first, and in its order within it; all, or one operation's."""

    @abstractmethod
    def held(self, limit: int = 100, ids: Sequence[str] | None = None, decided: bool = False) -> list[Held]:
        """What is kept apart, newest first: all, or some by id; also what was decided, where that is asked for."""

    @abstractmethod
    def cursor(self, system: str) -> Cursor:
        """How far the sleeps of this system and scope have looked."""

    @abstractmethod
    def pulse(self, system: str, most: int) -> Pulse:
        """Whether there is something to sleep on; in a moment, however large the scope is.

        most  fresh records to count up to
        """

    @abstractmethod
    def snapshot(self) -> AbstractContextManager[None]:
        """What this thread reads inside is of one moment, whatever others write meanwhile; it must not write there."""

    @abstractmethod
    def kept(self, n: int, limit: int) -> list[tuple[int, Kept]]:
        """Records above row n, also retired ones, in the order of recording, with their row numbers: for an export."""

    @abstractmethod
    def past(self, n: int, limit: int) -> list[tuple[int, Past]]:
        """Operations above number n that are the scope's or changed its records, in order, with their numbers."""

    @abstractmethod
    def bookmarks(self) -> list[Bookmark]:
        """How far each system has looked, in this scope and those within it."""

    @abstractmethod
    def stats(self) -> dict[str, Any]:
        """Counts by kind and state, sessions, speakers, first and last time."""


class Store(ABC):
    """Where engrams, links, the journal and what is derived from them live."""

    path: str
    readonly: bool

    @abstractmethod
    def view(self, scope: Scope) -> View:
        """The only way to read."""

    @abstractmethod
    def apply(self, operation: Operation, changes: Sequence[Change], index: Mapping[str, Index]) -> Applied:
        """Apply changes and write the journal in one transaction: all of it is there afterwards, or none.

        Calls and rejections are journalled even where no change took effect. A rejection one of whose sources is no
        longer there is not kept: it may quote what was erased.
        raises  ConflictError for a refused change of a strict operation, for a lease that was lost, and for something
                held that is not there, not in the operation's scope, or decided already
        """

    @abstractmethod
    def restore(
        self,
        scope: Scope,
        records: Sequence[Kept],
        links: Sequence[Link],
        operations: Sequence[Past],
        bookmarks: Sequence[Bookmark],
        index: Mapping[str, Index],
        so_far: Restored,
    ) -> None:
        """Write back a part of an export as it was, in one transaction; doing it again changes nothing.

        Records come before the operations that changed them. A record that is here (by id, or as the same item under
        another id) stays; operations that it has not seen are followed, unless it was changed here as well.
        raises  ScopeError for what lies outside `scope`, ConflictError for an id that another scope holds
        """

    @abstractmethod
    def touch(self, uses: Mapping[str, tuple[datetime, float, datetime | None]]) -> None:
        """Note recalls (when, half-life from now on, due) outside the journal; strength is 1 again."""

    @abstractmethod
    def erase(self, scope: Scope, ids: Sequence[str]) -> Erased:
        """Remove these records and all that is derived from them, from every table, index and file.

        Ids of what is held are removed as well; `counts` has how many under "held".
        """

    @abstractmethod
    def replies(self, scope: Scope) -> Replies:
        """The replies that are kept for exactly this scope."""

    @abstractmethod
    def take_lease(self, scope: Scope, name: str, holder: str, seconds: float) -> Lease | None:
        """Claim a scope until so many seconds from now; None while somebody holds one that overlaps.

        Two scopes overlap if one record can be in both: where each names a field, they name it alike. What has expired
        is taken over, and at once what a process held that is known to be dead. Time is the store's own, and not that
        of any `clock`.
        """

    @abstractmethod
    def held_lease(self, scope: Scope, name: str) -> Lease | None:
        """The lease that stands against one on this scope."""

    @abstractmethod
    def renew_lease(self, lease: Lease, seconds: float) -> Lease | None:
        """Hold it until so many seconds from now; None if it was lost."""

    @abstractmethod
    def release_lease(self, lease: Lease) -> None:
        """Give it back; nothing happens if it was lost."""

    @abstractmethod
    def put_key(self, key: Key) -> None:
        """Keep a key, new or in place of the one with its id."""

    @abstractmethod
    def all_keys(self) -> list[Key]:
        """Every key there ever was, revoked ones too, oldest first."""

    @abstractmethod
    def note_usage(self, used: Sequence[Usage]) -> None:
        """Add amounts to the counters of their key, day and kind. It survives a kill; a power cut may lose the last."""

    @abstractmethod
    def usage(self, since: str) -> list[Usage]:
        """The counters from this day on, by key, day and kind."""

    @abstractmethod
    def scan(self, needles: Sequence[bytes]) -> dict[str, list[str]]:
        """Look for bytes in every file of the store: needle (as text) -> files that hold it."""

    @abstractmethod
    def holds(self, piece: str) -> bool:
        """Whether any record left holds this text, in whatever field: what accounts for bytes found by `scan`."""

    @abstractmethod
    def owner(self, id: str) -> Scope | None:
        """The exact scope of a record, for callers that hold nothing but an id (mem0's `get`); never its text."""

    @abstractmethod
    def scopes(self) -> list[tuple[Scope, int]]:
        """Every exact scope there is and its number of records: for administration, never for search."""

    @abstractmethod
    def set_model(self, name: str, dim: int) -> None:
        """Name the embedder of this store; another than the current one is a ModelMismatchError."""

    @abstractmethod
    def reembed(
        self, name: str, dim: int, embed: Callable[[Sequence[Engram]], NDArray[np.float32]], batch: int
    ) -> Iterator[tuple[int, int]]:
        """Make the vectors of another model, yielding (done, total); resumes, and swaps when the last one is there."""

    @abstractmethod
    def rebuild(self, index: Callable[[Sequence[Engram]], Sequence[Index]], batch: int) -> Iterator[tuple[int, int]]:
        """Remake all that is derived, yielding (done, total)."""

    def build_ann(self, scope: Scope, progress: Callable[[int, int], None] | None = None) -> str:
        """Make, or bring up to date, the approximate index of a large scope; "" if there was nothing to do."""
        return ""

    def ann_scopes(self) -> list[Scope]:
        """The scopes that have an approximate index."""
        return []

    @abstractmethod
    def check(self) -> list[str]:
        """What is wrong with the store; empty if nothing is."""

    @abstractmethod
    def size(self) -> dict[str, int]:
        """Bytes on disk by file."""

    @abstractmethod
    def close(self) -> None:
        """Release files and threads; further calls are an error."""
