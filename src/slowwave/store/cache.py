"""Vectors of the scopes that are searched, kept in memory and brought up to date at each search, and word stems."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from math import isnan
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from slowwave.errors import ConflictError, StoreError
from slowwave.records import Scope
from slowwave.store import forks
from slowwave.store.centre import centre_of, centred, counted
from slowwave.store.rows import scope_sql
from slowwave.store.sidecars import FOLD, Entry, Sidecars, key
from slowwave.store.sql import Model
from slowwave.store.vectors import ExactIndex, Found, VectorDtype, decode

if TYPE_CHECKING:
    from slowwave.store.ann import AnnSidecar
    from slowwave.store.postgres_ann import PostgresAnn
    from slowwave.store.sql_store import SqlStore

PAGE = 8192  # vectors read at once
INT8_FROM = 50_000  # vectors from which a scan is limited by how fast memory is read, so that a quarter of it pays
RESCORED = 200  # of what the approximate index finds, scored exactly
NOTHING = Found(np.empty(0, np.int64), np.empty(0, np.float32), 0.0, 0.0)


@dataclass(slots=True)
class _Held:
    """One scope's vectors, the centre taken from them, and up to which row and epoch they are current.

    index    all of them, or None where the approximate index serves and nobody needed them yet
    ann      the approximate index, if there is one
    entry    what the database says of it
    note     why a scope that is large enough for one goes without
    stamp    of the moment when it was last found current
    """

    index: ExactIndex | None
    ann: AnnSidecar | PostgresAnn | None
    centre: NDArray[np.float32]
    counted: int
    model: int
    last: int
    epoch: str
    entry: str | None
    note: str = ""
    stamp: object = None


class VectorCache:
    """An index for each scope that is searched; the least used go when `cache_mb` is full.

    A search costs one small read to learn that nothing was written, or two to learn whether rows came (they are added)
    or went (the index is read again).

    Vectors are kept with the scope's centre taken away and scaled to unit length again, so that what all records of a
    scope share (its people, its tone) does not count as likeness. The centre is that of the first 2^k records for the
    largest 2^k there is, so it depends on the records alone, and is made anew only when their number has doubled.

    From `INT8_FROM` vectors on they are held as int8. Where a scope has an approximate index (see `sidecars.py`),
    `nearest` asks that, and scores what it offers exactly; all else, and any search among some rows alone, is exact.
    """

    def __init__(
        self,
        store: SqlStore,
        cache_mb: int,
        ann_from: int | None = None,
        sidecars: Callable[[VectorCache, int | None], Sidecars] = Sidecars,
    ) -> None:
        self.store = store
        self.cache_bytes = cache_mb << 20
        self.sidecars = sidecars(self, ann_from)
        self._held: OrderedDict[Scope, _Held] = OrderedDict()
        self._process = os.getpid()
        self.lock = forks.guard(threading.Lock())

    def nearest(self, scope: Scope, query: NDArray[np.float32], k: int, allowed: NDArray[np.int64] | None) -> Found:
        """The k nearest among the scope's vectors."""
        held, model = self._current(scope, exact=allowed is not None)
        if held is None or model is None or (allowed is not None and not len(allowed)):
            return NOTHING
        moved = query - held.centre
        if held.ann is not None and allowed is None:
            return self._approximate(model, scope, held, held.ann, moved, k)
        if held.index is None or not len(held.index):
            return NOTHING
        found = held.index.search(moved, k, allowed)
        return replace(found, note=held.note) if held.note and allowed is None else found

    def cosines(self, scope: Scope, query: NDArray[np.float32], ns: Sequence[int]) -> dict[int, float]:
        """The score of each of these rows that has a vector in the scope."""
        held, model = self._current(scope)
        if held is None or model is None or not len(ns):
            return {}
        return self._scores(model, scope, held, query - held.centre, list(ns))

    def size(self, scope: Scope) -> int | None:
        """How many vectors of the scope are held; None if none are."""
        held = self._held.get(scope)
        if held is None:
            return None
        return (len(held.index) if held.index is not None else len(held.ann) if held.ann is not None else 0) or None

    def nearest_older(self, scope: Scope, ns: Sequence[int], k: int) -> dict[int, list[tuple[int, float]]]:
        """For each of these rows the k nearest of lower row number, best first."""
        held, _ = self._current(scope, exact=True)
        return {} if held is None or held.index is None else held.index.nearest_older(list(ns), k)

    def clear(self) -> None:
        """Forget every vector."""
        with self.lock:
            self._held.clear()

    def forget(self, scope: Scope) -> None:
        """Forget the vectors of one scope: its next search looks at what there is."""
        with self.lock:
            self._held.pop(scope, None)

    def fold(self) -> None:
        """Write what came since into the approximate indexes that are held, where it is much."""
        for held in list(self._held.values()):
            if held.ann is not None and held.ann.pending >= FOLD and not self.store.readonly:
                with suppress(StoreError, ConflictError):  # no room, or replaced meanwhile: it can be made at any time
                    held.ann.save()

    def standing(self, scope: Scope) -> tuple[int, str, str | None]:
        """The highest row number there ever was, the epoch of the vectors, what is said of the scope's sidecar."""
        return self.store.standing(scope, key(scope))

    def numbers(self, model: Model, scope: Scope, newest: int) -> NDArray[np.int64]:
        """The row numbers, up to this one, that have a vector in the scope, in no order."""
        condition, named = scope_sql(scope)
        rows = self.store.read(
            f"SELECT v.engram FROM scopes s JOIN vectors v ON v.scope = s.n WHERE {condition} AND v.model = ? "
            "AND v.engram <= ?",
            [*named, model.n, newest],
        )
        return np.fromiter((row[0] for row in rows), dtype=np.int64, count=len(rows))

    def pages(
        self, model: Model, scope: Scope, after: int, newest: int
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """Row numbers and vectors of the scope with after < n <= newest, some thousands at a time."""
        for ids, blobs in self._blobs(model, scope, after, newest):
            yield np.array(ids, dtype=np.int64), decode(blobs, model.dim, model.dtype)

    def _current(self, scope: Scope, exact: bool = False) -> tuple[_Held | None, Model | None]:
        """The scope's vectors, brought up to date, and the model; `exact` asks for all of them in memory."""
        model = self.store.current_model()
        if model is None:
            return None, None
        with self.lock:
            stamp = self.store.stamp()
            if self._process != os.getpid():  # a fork: a thread of the parent may have been inside the graph
                self._process = os.getpid()
                self._held = OrderedDict((s, h) for s, h in self._held.items() if h.ann is None)
            held = self._held.get(scope)
            if held is None or held.stamp != stamp or held.model != model.n:
                newest, epoch, entry = self.standing(scope)
                if held is None or (held.model, held.epoch, held.entry) != (model.n, epoch, entry):
                    held = self._opened(model, scope, newest, epoch, entry)
                if held.last < newest:
                    held = self._caught_up(model, scope, held, newest)
                held.stamp = stamp
            if exact and held.index is None:
                held.index = self._load(model, scope, held.last, held.centre)
            self._held[scope] = held
            self._held.move_to_end(scope)
            self._trim()
            return held, model

    def _opened(self, model: Model, scope: Scope, newest: int, epoch: str, entry: str | None) -> _Held:
        """The approximate index where it can serve, else all vectors."""
        note = ""
        if entry is not None and self.sidecars.wanted:
            ann = self.sidecars.opened(scope, model, epoch, newest, entry)
            if not isinstance(ann, str):
                said, last = Entry.unpacked(entry), ann.highest
                return _Held(None, ann, said.centre, said.counted, model.n, last, epoch, entry)
            note = ann
        return self._scanned(model, scope, newest, epoch, entry, note)

    def _scanned(self, model: Model, scope: Scope, newest: int, epoch: str, entry: str | None, note: str) -> _Held:
        index, centre = self._read(model, scope, newest)
        if self.sidecars.wanted and len(index) >= self.sidecars.ann_from:
            note = f"{note or 'no approximate index yet'}: all {len(index)} vectors are scanned; see Memory.build_ann"
        return _Held(index, None, centre, counted(len(index)), model.n, newest, epoch, entry, note)

    def _caught_up(self, model: Model, scope: Scope, held: _Held, newest: int) -> _Held:
        """With the rows that came since; read anew where there are now twice as many as made the centre."""
        size = len(held.ann) if held.ann is not None else len(held.index or ())
        came = list(self.pages(model, scope, held.last, newest))
        if counted(size + sum(len(ids) for ids, _ in came)) > held.counted:
            note = "the approximate index is of less than half the records" if held.ann is not None else ""
            return self._scanned(model, scope, newest, held.epoch, held.entry, note)
        for ids, vectors in came:
            rows = centred(vectors, held.centre)
            for index in (held.index, held.ann):
                if isinstance(index, ExactIndex):
                    index.extend(ids, rows)
                elif index is not None:
                    index.add(ids, rows)
        held.last = newest
        return held

    def _read(self, model: Model, scope: Scope, newest: int) -> tuple[ExactIndex, NDArray[np.float32]]:
        """All vectors of the scope up to a row, and their centre."""
        ids, blobs = list[int](), list[bytes]()
        for more, page in self._blobs(model, scope, 0, newest):
            ids += more
            blobs += page
        order = np.argsort(np.array(ids, dtype=np.int64), kind="stable").tolist()
        first = counted(len(ids))

        def rows(start: int, stop: int) -> NDArray[np.float32]:
            return decode([blobs[place] for place in order[start:stop]], model.dim, model.dtype)

        centre = centre_of((rows(at, min(at + PAGE, first)) for at in range(0, first, PAGE)), model.dim)
        index = ExactIndex(model.dim, _dtype(len(ids)), capacity=len(ids))
        for at in range(0, len(ids), PAGE):
            index.extend([ids[place] for place in order[at : at + PAGE]], centred(rows(at, at + PAGE), centre))
        return index, centre

    def _load(self, model: Model, scope: Scope, newest: int, centre: NDArray[np.float32]) -> ExactIndex:
        """All vectors of the scope up to a row, moved by a centre that is known."""
        ids = self.numbers(model, scope, newest)
        index = ExactIndex(model.dim, _dtype(len(ids)), capacity=len(ids))
        for some, vectors in self.pages(model, scope, 0, newest):
            index.extend(some, centred(vectors, centre))
        return index

    def _blobs(self, model: Model, scope: Scope, after: int, newest: int) -> Iterator[tuple[list[int], list[bytes]]]:
        """Row numbers and kept vectors of the scope with after < n <= newest, a page at a time."""
        condition, named = scope_sql(scope)
        places = [n for (n,) in self.store.read(f"SELECT s.n FROM scopes s WHERE {condition}", named)]
        for rows in self.store.vector_pages(model, places, after, newest, PAGE):
            yield [row[0] for row in rows], [row[1] for row in rows]

    def _approximate(
        self, model: Model, scope: Scope, held: _Held, ann: AnnSidecar | PostgresAnn, moved: NDArray[np.float32], k: int
    ) -> Found:
        """What the approximate index finds, scored exactly: as a scan would have scored it."""
        length = max(float(np.linalg.norm(moved)), 1e-6)
        found = ann.search(moved / np.float32(length), max(k, RESCORED))
        scores = self._scores(model, scope, held, moved, found.ids.tolist())
        rows = np.fromiter(scores.keys(), dtype=np.int64, count=len(scores))
        exact = np.fromiter(scores.values(), dtype=np.float32, count=len(scores))
        best = np.lexsort((rows, -exact))[:k]
        return Found(rows[best], exact[best], found.mean * length, found.std * length)

    def _scores(
        self, model: Model, scope: Scope, held: _Held, moved: NDArray[np.float32], ns: list[int]
    ) -> dict[int, float]:
        """Cosines with these rows, from memory where all vectors are there, else from the database."""
        if held.index is not None:
            scores = held.index.scores(moved, ns)
            return {n: score for n, score in zip(ns, scores.tolist(), strict=True) if not isnan(score)}
        condition, named = scope_sql(scope)
        dialect = self.store.connections.dialect
        rows = self.store.read(
            f"SELECT v.engram, v.vector FROM {dialect.each_number} {dialect.ordered} engrams e ON e.n = j.value "
            "JOIN scopes s ON s.n = e.scope CROSS JOIN vectors v "
            f"WHERE v.model = ? AND v.scope = e.scope AND v.engram = e.n AND {condition}",
            [dialect.listed(ns), model.n, *named],
        )
        if not rows:
            return {}
        vectors = centred(decode([row[1] for row in rows], model.dim, model.dtype), held.centre)
        return dict(zip([row[0] for row in rows], (vectors @ moved).tolist(), strict=True))

    def _trim(self) -> None:
        total = sum(_bytes(held) for held in self._held.values())
        while total > self.cache_bytes and len(self._held) > 1:
            _, gone = self._held.popitem(last=False)
            total -= _bytes(gone)


def _dtype(count: int) -> VectorDtype:
    return "int8" if count >= INT8_FROM else "float32"


def _bytes(held: _Held) -> int:
    """What a scope's vectors take in memory; a graph is mapped, and the system takes it back when it has to."""
    return held.index.nbytes if held.index is not None else 0
