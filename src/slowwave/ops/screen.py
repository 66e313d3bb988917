"""A view as it would be without some of its records: what a night sees of a memory from which a batch is held back.

    seen = without(view, ids)

Nothing is copied; what a search or a night reads through `seen` is read from `view`, and the records of `ids` are left
out of it. Counts of words, the centre of the vectors and the journal stay those of the whole: they are statistics, and
what they say of the records held back is that they are there.
"""

from __future__ import annotations

from abc import update_abstractmethods
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slowwave.records import Engram, Link, Scope
from slowwave.store.base import Cursor, Row, View, Want
from slowwave.store.vectors import Found

MOST_SPARE = 500  # records fetched beyond what is asked for, since some of the best may be held back


def without(view: View, ids: Iterable[str], cursors: Mapping[str, Cursor] | None = None) -> View:
    """The view without these records; the view itself where there is nothing to leave out.

    cursors  how far systems have looked, where that is not what the view says: by system
    """
    hidden = frozenset(view.numbers(list(ids)).values())
    return Screened(view, hidden, cursors or {}) if hidden or cursors else view  # type: ignore[abstract]


class Screened(View):
    """See `without`. What is not defined here is passed on; every reading of records is defined here."""

    def __init__(self, view: View, hidden: frozenset[int], cursors: Mapping[str, Cursor]) -> None:
        self.view = view
        self.hidden = hidden
        self.cursors = cursors
        self.spare = min(len(hidden), MOST_SPARE)

    @property
    def scope(self) -> Scope:  # type: ignore[override]
        """The scope of the view behind it."""
        return self.view.scope

    def _seen(self, ns: Iterable[int]) -> list[int]:
        return [n for n in ns if n not in self.hidden]

    def _known(self, ids: Iterable[str]) -> list[str]:
        wanted = list(ids)
        numbers = self.view.numbers(wanted)
        return [id_ for id_ in wanted if id_ in numbers and numbers[id_] not in self.hidden]

    # -- records

    def get(self, ids: Sequence[str]) -> dict[str, Engram]:
        return self.view.get(self._known(ids))

    def engrams(self, ns: Sequence[int], as_of: datetime | None = None) -> dict[int, Engram]:
        return self.view.engrams(self._seen(ns), as_of)

    def select(self, want: Want, limit: int | None = None, offset: int = 0, newest_first: bool = False) -> list[Engram]:
        bound = None if limit is None else limit + offset + len(self.hidden)
        found = self.view.select(want, bound, 0, newest_first)
        known = set(self._known(engram.id for engram in found))
        kept = [engram for engram in found if engram.id in known]
        return kept[offset : None if limit is None else offset + limit]

    def after(self, n: int, limit: int, want: Want) -> list[tuple[int, Engram]]:
        out: list[tuple[int, Engram]] = []
        while len(out) < limit and (page := self.view.after(n, limit, want)):
            n = page[-1][0]
            out += [(number, engram) for number, engram in page if number not in self.hidden]
        return out[:limit]

    def count(self, want: Want) -> int:
        return self.view.count(want) - len(self.view.rows(sorted(self.hidden), want))

    def find_content(self, scope: Scope, contents: Sequence[bytes]) -> dict[bytes, Engram]:
        found = self.view.find_content(scope, contents)
        known = set(self._known(engram.id for engram in found.values()))
        return {content: engram for content, engram in found.items() if engram.id in known}

    def find_origin(self, origins: Sequence[str]) -> dict[str, list[Engram]]:
        found = self.view.find_origin(origins)
        known = set(self._known(engram.id for many in found.values() for engram in many))
        kept = {origin: [engram for engram in many if engram.id in known] for origin, many in found.items()}
        return {origin: many for origin, many in kept.items() if many}

    def numbers(self, ids: Sequence[str]) -> dict[str, int]:
        return {id_: n for id_, n in self.view.numbers(ids).items() if n not in self.hidden}

    def derived(self, ids: Sequence[str]) -> dict[str, tuple[str, ...]]:
        found = self.view.derived(self._known(ids))
        known = set(self._known(made for many in found.values() for made in many))
        kept = {source: tuple(made for made in many if made in known) for source, many in found.items()}
        return {source: many for source, many in kept.items() if many}

    def due(self, moment: datetime, limit: int) -> list[Engram]:
        found = self.view.due(moment, limit if limit < 0 else limit + len(self.hidden))
        known = set(self._known(engram.id for engram in found))
        kept = [engram for engram in found if engram.id in known]
        return kept if limit < 0 else kept[:limit]

    def links(self, ids: Sequence[str], relations: Sequence[str] | None = None) -> list[Link]:
        found = self.view.links(self._known(ids), relations)
        known = set(self._known({end for tie in found for end in (tie.source, tie.target)}))
        return [tie for tie in found if tie.source in known and tie.target in known]

    def cursor(self, system: str) -> Cursor:
        return self.cursors[system] if system in self.cursors else self.view.cursor(system)

    # -- channels

    def dense(self, query: NDArray[np.float32], k: int, want: Want) -> Found:
        found = self.view.dense(query, k + self.spare, want)
        keep = np.array([n not in self.hidden for n in found.ids.tolist()], dtype=bool)
        return Found(found.ids[keep][:k], found.scores[keep][:k], found.mean, found.std, found.note)

    def cosines(self, query: NDArray[np.float32], ns: Sequence[int]) -> dict[int, float]:
        return self.view.cosines(query, self._seen(ns))

    def lexical(self, terms: Sequence[str], k: int, want: Want) -> list[tuple[int, float]]:
        return [(n, s) for n, s in self.view.lexical(terms, k + self.spare, want) if n not in self.hidden][:k]

    def during(self, start: int, stop: int, k: int, want: Want) -> list[int]:
        return self._seen(self.view.during(start, stop, k + self.spare, want))[:k]

    def nearest_older(self, ns: Sequence[int], k: int) -> dict[int, list[tuple[int, float]]]:
        found = self.view.nearest_older(self._seen(ns), k + self.spare)
        return {n: [pair for pair in pairs if pair[0] not in self.hidden][:k] for n, pairs in found.items()}

    def rows(self, ns: Sequence[int], want: Want) -> dict[int, Row]:
        return self.view.rows(self._seen(ns), want)

    def times(self, ns: Sequence[int]) -> dict[int, list[tuple[int, int]]]:
        return self.view.times(self._seen(ns))

    def neighbours(self, rows: Sequence[Row], radius: int) -> dict[tuple[int, int], int]:
        return {place: n for place, n in self.view.neighbours(rows, radius).items() if n not in self.hidden}

    def vectors(self, ns: Sequence[int]) -> dict[int, NDArray[np.float32]]:
        return self.view.vectors(self._seen(ns))


def _passed_on(name: str) -> Callable[..., Any]:
    def call(self: Screened, *args: Any, **settings: Any) -> Any:
        return getattr(self.view, name)(*args, **settings)

    call.__name__, call.__doc__ = name, getattr(View, name).__doc__
    return call


for _name in sorted(Screened.__abstractmethods__):  # speakers, journal, stats, ...: about the whole
    setattr(Screened, _name, _passed_on(_name))
update_abstractmethods(Screened)  # type: ignore[type-abstract]
