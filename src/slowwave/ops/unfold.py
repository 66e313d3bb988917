"""From what was derived back to what was said: a unit that a search finds points to the turns it was made from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from slowwave.records import Engram
from slowwave.store.base import View, Want

DEPTH = 6  # derived from derived from ...: no system goes further


@dataclass(frozen=True, slots=True)
class Pointed:
    """A record that may be shown, by row number, with the best score that points to it and the unit that gave it.

    via  the row number of the derived unit; `n` itself where the record was found directly
    """

    n: int
    score: float
    via: int


def all_sources(engram: Engram) -> Sequence[str]:
    """What a unit stands for, unless a system says otherwise: every record it was made from."""
    return engram.sources


def always(engram: Engram) -> bool:
    """Any record may be shown itself, unless a system says otherwise."""
    return True


def unfold(
    view: View,
    scores: Mapping[int, float],
    want: Want,
    stands_for: Callable[[Engram], Sequence[str]] = all_sources,
    shown_alone: Callable[[Engram], bool] = always,
) -> dict[int, Pointed]:
    """Row number -> how a wanted record was found; each once, at the best score, however many units point to it.

    scores  row number -> score of whatever a search found: turns, and units derived from them
    others  see `said_by`
    """
    best: dict[int, Pointed] = {}
    for via, ns in said_by(view, list(scores), want, stands_for, shown_alone).items():
        for n in ns:
            pointed = Pointed(n, scores[via], via)
            held = best.get(n)
            # Of equal scores the record's own counts, so that it says of itself that it was found directly.
            if held is None or (pointed.score, pointed.via == n) > (held.score, held.via == n):
                best[n] = pointed
    return best


def said_by(
    view: View,
    ns: Sequence[int],
    want: Want,
    stands_for: Callable[[Engram], Sequence[str]] = all_sources,
    shown_alone: Callable[[Engram], bool] = always,
) -> dict[int, tuple[int, ...]]:
    """For each of these rows the wanted records that it goes back to, in the order of its sources.

    stands_for   the ids of the records that a unit leads to; one that leads to none stands for itself
    shown_alone  whether a unit stands for itself where none of those is wanted or in view (they were corrected, or
                 forgotten); else it stands for nothing
    """
    engrams: dict[int, Engram] = {}
    below: dict[int, tuple[int, ...]] = {}
    edge = list(dict.fromkeys(ns))
    for _ in range(DEPTH):
        fetched = view.engrams(edge, want.as_of)
        engrams |= fetched
        numbers = view.numbers(list(dict.fromkeys(id_ for engram in fetched.values() for id_ in stands_for(engram))))
        for n, engram in fetched.items():
            below[n] = tuple(numbers[id_] for id_ in stands_for(engram) if id_ in numbers)
        edge = [n for n in dict.fromkeys(numbers.values()) if n not in engrams]
        if not edge:
            break
    wanted = view.rows(list(engrams), want)
    known: dict[int, tuple[int, ...]] = {}

    def leaves(n: int) -> tuple[int, ...]:
        if n not in known:
            known[n] = ()  # sources cannot run in a circle; should they, it ends here
            found = dict.fromkeys(leaf for source in below.get(n, ()) for leaf in leaves(source))
            alone = n in wanted and (not stands_for(engrams[n]) or shown_alone(engrams[n]))
            known[n] = tuple(found) or ((n,) if alone else ())
        return known[n]

    return {n: leaves(n) for n in ns}
