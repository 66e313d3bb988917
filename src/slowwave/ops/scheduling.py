"""What is kept at hand, what is let go, and when order is made anew: the arithmetic of a memory's scheduler.

    score = 0.9 relevance + 0.05 keyword + 0.05 use        each term in [0, 1] and weighted once

Source: MemOS (2025, arXiv 2507.03724) and its code. Differs: there the keyword and the use term are multiplied by their
weights twice, so that they count a twentieth of what the weights say.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

import numpy as np
from numpy.typing import ArrayLike, NDArray

from slowwave.errors import InputError
from slowwave.ops.fading import strength_at
from slowwave.records import Engram

Floats = NDArray[np.float64]
WEIGHTS = (0.9, 0.05, 0.05)  # relevance, keyword, use


def rank(
    relevance: ArrayLike, keyword: ArrayLike, use: ArrayLike, weights: tuple[float, float, float] = WEIGHTS
) -> Floats:
    """(n,) scores in [0, 1] where the terms are: each term times its weight, once.

    raises  InputError where the lengths differ
    """
    terms = [np.asarray(term, dtype=np.float64) for term in (relevance, keyword, use)]
    if len({term.shape for term in terms}) != 1:
        raise InputError(f"relevance, keyword and use have shapes {[term.shape for term in terms]}; give one of each")
    return sum((weight * term for weight, term in zip(weights, terms, strict=True)), np.zeros(terms[0].shape))


def working_set(ids: Sequence[str], scores: ArrayLike, size: int = 20) -> list[str]:
    """The `size` ids of the highest scores, best first; equal scores keep their order."""
    order = np.argsort(-np.asarray(scores, dtype=np.float64), kind="stable")
    return [ids[place] for place in order[:size]]


def share(wanted: Collection[str], tags: Collection[str]) -> float:
    """The share of the wanted words that the tags hold, in [0, 1]; 0 where nothing is wanted."""
    return len(set(wanted) & set(tags)) / len(set(wanted)) if wanted else 0.0


def use(engram: Engram, now: datetime) -> float:
    """How lately a record was used, in [0, 1]: halved with each half-life since; 0 if it never was."""
    return 0.0 if engram.used is None else strength_at(1.0, engram.used, now, engram.half_life_days)


def crowded_out(engrams: Sequence[Engram], size: int, now: datetime) -> list[Engram]:
    """Those beyond `size`: the least lately used go first, and of those never used the oldest."""
    order = sorted(engrams, key=lambda engram: (use(engram, now), engram.at, engram.id))
    return order[: max(0, len(engrams) - size)]


def reorganise_due(
    waiting: int, last: datetime | None, now: datetime, least: int = 20, every_seconds: float = 100.0
) -> bool:
    """Whether so many records wait, and so long has passed since the last time, that order is made anew."""
    return waiting >= least and (last is None or (now - last).total_seconds() >= every_seconds)
