"""HEMA's salience of a memory by age and use, what a pruning takes, and the blocks that summaries are rolled up by.

Salience is printed as lambda * exp(-gamma * age) + beta * (1 - delta), with delta 1 for what was retrieved within the
last hundred turns (Ahn 2025): so what was NOT used gets the bonus, against the paper's own words. `bonus="used"` means
what the text means, `bonus="unused"` what is printed.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from slowwave.errors import InputError
from slowwave.records import Change, Engram

Floats = NDArray[np.float64]
Bonus = Literal["used", "unused"]
T = TypeVar("T")


def salience(
    age_turns: ArrayLike,
    used: ArrayLike,
    decay: float = 0.002,
    recency: float = 1.0,
    use: float = 0.5,
    bonus: Bonus = "used",
) -> Floats:
    """(n,) recency * exp(-decay * age) + use * (1 where it gets the bonus).

    age_turns  turns since it was said
    used       whether it was retrieved lately
    decay      per turn (the paper's gamma); recency its lambda, use its beta
    bonus      who gets it: "used" follows the paper's text, "unused" its formula
    """
    if bonus not in ("used", "unused"):
        raise InputError(f'bonus is {bonus!r}; it must be "used" (the text) or "unused" (the formula)')
    ages, lately = np.asarray(age_turns, dtype=np.float64), np.asarray(used, dtype=bool)
    return np.asarray(recency * np.exp(-decay * ages) + use * (lately if bonus == "used" else ~lately))


def lowest(scores: ArrayLike, count: int) -> list[int]:
    """Places of the `count` lowest scores, the earlier first among equals: what a pruning takes out of view."""
    given = np.asarray(scores, dtype=np.float64)
    return [int(place) for place in np.argsort(given, kind="stable")[: max(0, count)]]


def least_salient(
    oldest_first: Iterable[tuple[T, int, bool]], count: int, decay: float, recency: float, use: float, bonus: Bonus
) -> list[T]:
    """The `count` least salient, without looking at all: salience falls with age, so a walk from the oldest may stop.

    oldest_first  (item, age in turns, used lately), ages falling

    It stops once none of the younger can fall below what was found: they have at least `recency * exp(-decay * age)`.
    With bonus="unused" what is low is what was used, wherever it stands, so the walk goes on for long.
    """
    if count < 1:
        return []
    found: list[tuple[float, int, T]] = []  # a heap with the most salient of the `count` on top, as (-score, -place)
    for place, (item, age, used) in enumerate(oldest_first):
        if len(found) >= count and -found[0][0] <= recency * math.exp(-decay * age):
            break
        score = float(salience([age], [used], decay, recency, use, bonus)[0])
        entry = (-score, -place, item)
        if len(found) < count:
            heapq.heappush(found, entry)
        else:
            heapq.heappushpop(found, entry)
    return [item for _, _, item in sorted(found, key=lambda entry: (-entry[0], -entry[1]))]


def due_prunings(turns_before: int, turns_now: int, every: int) -> int:
    """How often a boundary of `every` turns was crossed."""
    return max(0, turns_now // every - turns_before // every)


def blocks(turns: Sequence[T], first: int, size: int) -> Iterator[tuple[int, list[T]]]:
    """(number of the block, its turns among these), for turns that are counted from `first` on."""
    start = 0
    while start < len(turns):
        number, inside = divmod(first + start, size)
        stop = min(len(turns), start + size - inside)
        yield number, list(turns[start:stop])
        start = stop


def archived(engram: Engram, reason: str, now: datetime, why: str = "archived") -> Change:
    """Take a record out of view, with its reason; it is not deleted, and an undo brings it back."""
    fields = {"retired": now, "retired_why": why}
    return Change("retire", engram.id, reason, fields=fields, guard={"retired": None}, sources=(engram.id,))
