"""The full-text indexes of the scopes that are searched, kept in memory and brought up to date at each search."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from slowwave.records import SCOPE_FIELDS, Scope
from slowwave.store import forks
from slowwave.store.rows import scope_sql
from slowwave.store.words import WordIndex

if TYPE_CHECKING:
    from slowwave.store.postgres import PostgresStore

MANY = 1000  # scopes of a tenant from which the mean length of its records may be a minute old
SECONDS = 60.0
PLACES = 256  # scopes read in one statement
NAMED = " + ".join(f"CASE WHEN s.{name} = '' THEN 0 ELSE 1 END" for name in SCOPE_FIELDS)


@dataclass(slots=True)
class _Held:
    index: WordIndex
    last: int
    epoch: str
    stamp: object


class WordCache:
    """An index for each scope that is searched; the least used go when `cache_mb` is full."""

    def __init__(self, store: PostgresStore, cache_mb: int) -> None:
        self.store = store
        self.cache_bytes = cache_mb << 20
        self._held: OrderedDict[Scope, _Held] = OrderedDict()
        self._mean: tuple[object, float, float] | None = None
        self.lock = forks.guard(threading.Lock())

    def index(self, scope: Scope) -> WordIndex:
        """The words of a scope as they are now."""
        with self.lock:
            stamp = self.store.stamp()
            held = self._held.get(scope)
            if held is None or held.stamp != stamp:
                newest, epoch, _ = self.store.standing(scope, "")
                if held is None or held.epoch != epoch:
                    held = _Held(WordIndex(), 0, epoch, stamp)
                if held.last < newest:
                    for ns, stems, lengths in self._pages(scope, held.last, newest):
                        held.index.extend(ns, stems, lengths)
                    held.last = newest
                held.stamp = stamp
            self._held[scope] = held
            self._held.move_to_end(scope)
            total = sum(one.index.nbytes for one in self._held.values())
            while total > self.cache_bytes and len(self._held) > 1:
                total -= self._held.popitem(last=False)[1].index.nbytes
            return held.index

    def mean_length(self) -> float:
        """The mean length of the tenant's records; exact while it has few scopes, else up to a minute old."""
        stamp, now = self.store.stamp(), time.monotonic()
        if self._mean is None or (self._mean[0] != stamp and now > self._mean[1]):
            scopes, records, length = self.store.read("SELECT count(*), sum(records), sum(length) FROM scopes", [])[0]
            due = now + SECONDS if scopes > MANY else now
            self._mean = (stamp, due, float(length or 0) / float(records or 1))
        return self._mean[2]

    def clear(self) -> None:
        """Forget every index."""
        with self.lock:
            self._held.clear()
        self._mean = None

    def _pages(self, scope: Scope, after: int, newest: int) -> Iterator[tuple[list[int], list[bytes], list[int]]]:
        condition, values = scope_sql(scope)
        named = dict(self.store.read(f"SELECT s.n, {NAMED} FROM scopes s WHERE {condition}", values))
        places = list(named)
        for at in range(0, len(places), PLACES):
            rows: list[Any] = self.store.read(
                "SELECT engram, stems, scope FROM words WHERE scope = ANY(?) AND engram > ? AND engram <= ? "
                "ORDER BY engram",
                [places[at : at + PLACES], after, newest],
            )
            if rows:
                lengths = [len(stems) // 8 + named[place] for _, stems, place in rows]
                yield [row[0] for row in rows], [row[1] for row in rows], lengths
