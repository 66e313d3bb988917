"""Vectors of the scopes that are searched, kept in memory and brought up to date at each search, and word stems."""

from __future__ import annotations

import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from slowwave.records import Scope
from slowwave.store import forks
from slowwave.store.vectors import ExactIndex, Found, VectorDtype, decode

if TYPE_CHECKING:
    from slowwave.store.sqlite import SqliteStore

PAGE = 8192  # vectors read at once
NOTHING = Found(np.empty(0, np.int64), np.empty(0, np.float32), 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Model:
    """An embedder as the store knows it: row number, name, width, and how its vectors are kept."""

    n: int
    name: str
    dim: int
    dtype: VectorDtype


@dataclass(slots=True)
class _Held:
    """One scope's index, the centre taken from its vectors, and up to which row and epoch it is current."""

    index: ExactIndex
    centre: NDArray[np.float32]
    counted: int
    model: int
    last: int
    epoch: str


class VectorCache:
    """An exact index for each scope that is searched; the least used go when `cache_mb` is full.

    A search costs two small reads to learn whether rows came (they are added) or went (the index is read again).

    Vectors are kept with the scope's centre taken away and scaled to unit length again, so that what all records of a
    scope share (its people, its tone) does not count as likeness. The centre is that of the first 2^k records for the
    largest 2^k there is, so it depends on the records alone, and is made anew only when their number has doubled.
    """

    def __init__(self, store: SqliteStore, cache_mb: int) -> None:
        self.store = store
        self.cache_bytes = cache_mb << 20
        self._held: OrderedDict[Scope, _Held] = OrderedDict()
        self.lock = forks.guard(threading.Lock())

    def nearest(self, scope: Scope, query: NDArray[np.float32], k: int, allowed: NDArray[np.int64] | None) -> Found:
        """The k nearest among the scope's vectors."""
        held = self._current(scope)
        if held is None or not len(held.index) or (allowed is not None and not len(allowed)):
            return NOTHING
        return held.index.search(query - held.centre, k, allowed)

    def cosines(self, scope: Scope, query: NDArray[np.float32], ns: Sequence[int]) -> dict[int, float]:
        """The score of each of these rows that has a vector in the scope."""
        held = self._current(scope)
        if held is None or not len(ns):
            return {}
        scores = held.index.scores(query - held.centre, list(ns))
        return {n: float(score) for n, score in zip(ns, scores, strict=True) if not np.isnan(score)}

    def size(self, scope: Scope) -> int | None:
        """How many vectors of the scope are held; None if none are."""
        held = self._held.get(scope)
        return None if held is None or not len(held.index) else len(held.index)

    def nearest_older(self, scope: Scope, ns: Sequence[int], k: int) -> dict[int, list[tuple[int, float]]]:
        """For each of these rows the k nearest of lower row number, best first."""
        held = self._current(scope)
        if held is None:
            return {}
        return held.index.nearest_older(list(ns), k)

    def clear(self) -> None:
        """Forget every vector."""
        with self.lock:
            self._held.clear()

    def drop_sidecars(self) -> None:
        """Remove derived files beside the database."""

    def stems(self, words: Sequence[str]) -> dict[str, str]:
        """Words -> their stems as the full-text index makes them."""
        return {word: _stem(word) for word in words}

    def _current(self, scope: Scope) -> _Held | None:
        """The scope's index, brought up to date."""
        model = self.store.current_model()
        if model is None:
            return None
        with self.lock:
            row = self.store.read(
                "SELECT ifnull((SELECT seq FROM sqlite_sequence WHERE name = 'engrams'), 0), "
                "ifnull((SELECT value FROM meta WHERE key = 'epoch'), '')",
                [],
            )[0]
            newest, epoch = int(row[0]), str(row[1])
            held = self._held.get(scope)
            if held is None or held.model != model.n or held.epoch != epoch:
                held = self._load(model, scope, newest, epoch)
            elif held.last < newest:
                ids, vectors = self._read(model, scope, held.last, newest)
                if counted(len(held.index) + len(ids)) > held.counted:
                    held = self._load(model, scope, newest, epoch)
                else:
                    held.index.extend(ids, _centred(vectors, held.centre))
                    held.last = newest
            self._held[scope] = held
            self._held.move_to_end(scope)
            self._trim()
            return held

    def _load(self, model: Model, scope: Scope, newest: int, epoch: str) -> _Held:
        ids, vectors = self._read(model, scope, 0, newest)
        order = np.argsort(ids)
        ids, vectors = ids[order], vectors[order]
        first = counted(len(ids))
        centre = centre_of(vectors[:first])
        index = ExactIndex(model.dim, "float32", capacity=len(ids))
        index.extend(ids, _centred(vectors, centre))
        return _Held(index, centre, first, model.n, newest, epoch)

    def _read(
        self, model: Model, scope: Scope, after: int, newest: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Row numbers and vectors of the scope with after < n <= newest."""
        named = scope.to_dict()
        condition = " AND ".join(f"s.{name} = ?" for name in named)
        ids: list[int] = []
        parts: list[NDArray[np.float32]] = []
        for (place,) in self.store.read(f"SELECT s.n FROM scopes s WHERE {condition}", list(named.values())):
            last = after
            while True:
                rows: list[Any] = self.store.read(
                    "SELECT engram, vector FROM vectors WHERE model = ? AND scope = ? AND engram > ? AND engram <= ? "
                    "ORDER BY engram LIMIT ?",
                    [model.n, place, last, newest, PAGE],
                )
                if rows:
                    ids += [row[0] for row in rows]
                    parts.append(decode([row[1] for row in rows], model.dim, model.dtype))
                    last = ids[-1]
                if len(rows) < PAGE:
                    break
        vectors = np.concatenate(parts) if parts else np.empty((0, model.dim), np.float32)
        return np.array(ids, dtype=np.int64), vectors

    def _trim(self) -> None:
        total = sum(held.index.nbytes for held in self._held.values())
        while total > self.cache_bytes and len(self._held) > 1:
            _, gone = self._held.popitem(last=False)
            total -= gone.index.nbytes


def counted(records: int) -> int:
    """How many of the first records the centre is made of: all up to 64, then the largest power of two."""
    return records if records <= 64 else 1 << (records.bit_length() - 1)


def centre_of(vectors: NDArray[np.float32], prior: float = 10.0) -> NDArray[np.float32]:
    """The mean of unit vectors, drawn towards 0 in a small scope as if `prior` zero vectors were among them."""
    return np.asarray(vectors.sum(axis=0) / (len(vectors) + prior), dtype=np.float32)


def _centred(vectors: NDArray[np.float32], centre: NDArray[np.float32]) -> NDArray[np.float32]:
    """Unit rows from which the centre was taken."""
    moved = vectors - centre
    return np.asarray(moved / np.maximum(np.linalg.norm(moved, axis=1, keepdims=True), 1e-6), dtype=np.float32)


_stemmer_lock = forks.guard(threading.Lock())
_stemmer: sqlite3.Connection | None = None


@lru_cache(maxsize=65536)
def _stem(word: str) -> str:
    """The index's own tokenizer is asked, through a one-word index in memory."""
    global _stemmer
    with _stemmer_lock:
        if _stemmer is None:
            _stemmer = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
            _stemmer.execute("CREATE VIRTUAL TABLE w USING fts5 (b, tokenize = 'porter unicode61 remove_diacritics 2')")
            _stemmer.execute("CREATE VIRTUAL TABLE v USING fts5vocab (w, 'row')")
        _stemmer.execute("INSERT INTO w (rowid, b) VALUES (1, ?)", (word,))
        row = _stemmer.execute("SELECT term FROM v LIMIT 1").fetchone()
        _stemmer.execute("DELETE FROM w WHERE rowid = 1")
    return str(row[0]) if row else word
