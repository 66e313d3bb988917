"""Recall of evidence at places and at token budgets, and bootstrap intervals over conversations."""

from __future__ import annotations

import string
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from slowwave.ops.words import stem

Floats = NDArray[np.float64]
RESAMPLES = 10_000


@dataclass(frozen=True, slots=True)
class Found:
    """One result: the units of evidence it shows, what it costs in a prompt, and how many places it takes.

    A record that was derived from several shows them all, and takes as many places as it shows units: a summary of
    twenty turns is no cheap way to recall twenty.
    """

    units: tuple[str, ...]
    tokens: int


def scores(
    found: Sequence[Found],
    evidence: Sequence[str],
    places: Sequence[int] = (5, 10, 20),
    budgets: Sequence[int] = (500, 1000),
) -> dict[str, float]:
    """How much of the evidence one ranking shows.

    recall@k       share of the evidence among the first k distinct units
    all@10, any@k  1 if all of it, or any, is there
    recall@Nt      share of it in the best results that fit N tokens; what is too long is passed over, as in `context`
    """
    wanted = set(evidence)
    order = list(dict.fromkeys(unit for result in found for unit in result.units))
    out: dict[str, float] = {}
    for k in places:
        seen = wanted.intersection(order[:k])
        out[f"recall@{k}"] = len(seen) / len(wanted)
        out[f"any@{k}"] = float(bool(seen))
        out[f"all@{k}"] = float(seen == wanted)
    for budget in budgets:
        used, shown = 0, set[str]()
        for result in found:
            if used + result.tokens <= budget:
                used += result.tokens
                shown.update(result.units)
        out[f"recall@{budget}t"] = len(wanted & shown) / len(wanted)
    return out


def interval(
    values: ArrayLike, clusters: ArrayLike, seed: int = 0, resamples: int = RESAMPLES
) -> dict[str, float | int | None]:
    """The mean over questions with its 95 % interval, resampling whole conversations (percentile bootstrap).

    values    (n,) one number a question
    clusters  (n,) the conversation of each
    returns   mean, low, high, n; low and high are None below three conversations, where the bootstrap says nothing
    """
    v = np.asarray(values, dtype=np.float64)
    if not len(v):
        return {"mean": None, "low": None, "high": None, "n": 0}
    _, member = np.unique(np.asarray(clusters), return_inverse=True)
    sums, counts = np.bincount(member, weights=v), np.bincount(member)
    out: dict[str, float | int | None] = {"mean": round(float(v.mean()), 4), "low": None, "high": None, "n": len(v)}
    if len(counts) >= 3:
        drawn = np.random.default_rng(seed).integers(0, len(counts), (resamples, len(counts)))
        means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
        low, high = np.percentile(means, [2.5, 97.5])
        out |= {"low": round(float(low), 4), "high": round(float(high), 4)}
    return out


def table(
    rows: Mapping[str, Mapping[str, Floats]],
    clusters: NDArray[np.str_],
    chosen: NDArray[np.bool_],
    baseline: str,
    seed: int,
) -> dict[str, dict[str, dict[str, float | int | None]]]:
    """Row -> metric -> mean and interval over the chosen questions, and of the difference to the baseline, paired."""
    out: dict[str, dict[str, dict[str, float | int | None]]] = {}
    for row, metrics in rows.items():
        out[row] = {}
        for name, values in metrics.items():
            out[row][name] = interval(values[chosen], clusters[chosen], seed)
            if baseline in rows and row != baseline and name in rows[baseline]:
                paired = values[chosen] - rows[baseline][name][chosen]
                out[row][f"{name} over {baseline}"] = interval(paired, clusters[chosen], seed)
    return out


def overlap(reply: str, gold: str) -> float:
    """Token F1 of two texts in [0, 1]: lower case, without punctuation, articles and "and", on word stems."""
    a, b = _stems(reply), _stems(gold)
    shared = sum((Counter(a) & Counter(b)).values())
    return 2 * shared / (len(a) + len(b)) if shared else 0.0


def _stems(text: str) -> list[str]:
    plain = text.lower().translate(str.maketrans("", "", string.punctuation))
    return [stem(word) for word in plain.split() if word not in ("a", "an", "the", "and")]
