"""The records around a record: which are next to it, what they lend it, and how good its session is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Indexes = NDArray[np.int64]

_ENDS_WITH_QUESTION = re.compile(r"[?？؟][\s\"'”’)\]!]*(?:\[[^\]]*\]\s*)?$")


@dataclass(frozen=True, slots=True)
class Shape:
    """What the ranking needs to know of a text beside its scores.

    words  how many words it has, cut at blanks
    asks   0 if it asks nothing, 1 if it asks somewhere, 2 if it ends by asking (a closing [image: ...] apart)
    """

    words: int
    asks: int


@lru_cache(maxsize=8192)  # the same records are candidates again and again
def shape(text: str) -> Shape:
    """Count the words of a text and see whether it asks something; a few microseconds."""
    if "?" not in text and "？" not in text and "؟" not in text:
        asks = 0
    else:
        asks = 2 if _ENDS_WITH_QUESTION.search(text) else 1
    return Shape(words=len(text.split()), asks=asks)


def adjacent(session: Sequence[int], turn: Sequence[int]) -> tuple[Indexes, Indexes]:
    """For each record the position of the one just before and just after it in its session, -1 where there is none.

    session  a number a session; a negative one means "in no session", which has no neighbours
    turn     the place in the session; turns t and t + 1 are neighbours
    """
    place = {(s, t): i for i, (s, t) in enumerate(zip(session, turn, strict=True)) if s >= 0}
    before = [place.get((s, t - 1), -1) for s, t in zip(session, turn, strict=True)]
    after = [place.get((s, t + 1), -1) for s, t in zip(session, turn, strict=True)]
    return np.array(before, dtype=np.int64), np.array(after, dtype=np.int64)


def taken_from(values: ArrayLike, where: Indexes) -> Floats:
    """values[where], and 0 where `where` is -1."""
    given = np.asarray(values, dtype=np.float64)
    if not len(given):
        return np.zeros(len(where))
    return np.where(where >= 0, given[where], 0.0)


def needs_context(words: ArrayLike, full_below: float) -> Floats:
    """How much a text leans on its neighbours, in (0, 1]: 1 up to `full_below` words, then falling as 1 / words.

    "Yes, in May!" says nothing by itself; a page of text speaks for itself, and lending to it would only make long
    texts win.
    """
    counts = np.maximum(np.asarray(words, dtype=np.float64), 1.0)
    return np.minimum(1.0, full_below / counts)


def best_of_session(values: ArrayLike, session: Sequence[int] | Indexes) -> Floats:
    """For each record the highest value in its session, its own where it is in no session (negative number)."""
    given = np.asarray(values, dtype=np.float64)
    sessions = np.asarray(session, dtype=np.int64)
    if not len(given):
        return given
    codes, inverse = np.unique(sessions, return_inverse=True)
    best = np.full(len(codes), -np.inf)
    np.maximum.at(best, inverse, given)
    return np.where(sessions < 0, given, best[inverse])
