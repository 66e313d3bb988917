"""Groups of records that belong together: k-means over their vectors, cut to a size, and the topic above each group.

Source: MemOS (2025, arXiv 2507.03724): mini-batch k-means into clusters of at most 20, those of more than 10 kept, a
parent node over each. Mini-batches after Sculley 2010, "Web-scale k-means clustering". Differs: seeded, and vectors
that no split can part are cut in their order.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from slowwave.errors import InputError
from slowwave.ops.made import Made
from slowwave.records import Engram, Link, Scope
from slowwave.store.ids import new_id

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]
BATCH = 256  # rows of one step
STEPS = 60
STILL = 1e-4  # a centre that moves less than this in all of a step's moves has settled


def kmeans(rows: ArrayLike, k: int, seed: int = 0, batch: int = BATCH, steps: int = STEPS) -> Labels:
    """Mini-batch k-means on unit rows.

    rows     (n, dim) float32, of unit length
    k        groups wanted; fewer come back where rows coincide
    batch    rows a step; n <= batch is plain k-means
    returns  (n,) int64, the group of each row, numbered from 0 in the order of first mention

    Centres start by k-means++ and are unit vectors, so that the nearest is the one of the highest cosine.
    """
    x = np.asarray(rows, dtype=np.float32)
    if x.ndim != 2 or not len(x) or k < 1:
        raise InputError(f"rows is {x.shape} and k is {k}; give (n, dim) with n and k at least 1")
    rng = np.random.default_rng(seed)
    centres = _spread(x, min(k, len(x)), rng)
    counts = np.zeros(len(centres))
    for _ in range(steps):
        part = x if len(x) <= batch else x[rng.choice(len(x), batch, replace=False)]
        nearest = (part @ centres.T).argmax(axis=1)
        before = centres.copy()
        for place in np.unique(nearest):
            mine = part[nearest == place]
            counts[place] = len(mine) if len(x) <= batch else counts[place] + len(mine)
            step = len(mine) / counts[place]
            centres[place] = _unit((1 - step) * centres[place] + step * mine.mean(axis=0))
        if float(np.abs(centres - before).sum()) < STILL:
            break
    labels = (x @ centres.T).argmax(axis=1)
    _, first, numbered = np.unique(labels, return_index=True, return_inverse=True)
    places: Labels = np.argsort(np.argsort(first))[numbered].astype(np.int64)
    return places


def groups(rows: ArrayLike, most: int = 20, keep: int = 10, seed: int = 0) -> tuple[list[list[int]], list[int]]:
    """Positions of rows as groups of at most `most`, and those that belong to none.

    keep     a group of no more than this is not one: its members are left over
    returns  (groups, left over), both in the order of the rows; every row stands in exactly one place
    """
    x = np.asarray(rows, dtype=np.float32)
    if not 0 <= keep < most:
        raise InputError(f"keep is {keep} and most is {most}; keep must be at least 0 and below most")
    found: list[list[int]] = []
    left: list[int] = []
    waiting = [list(range(len(x)))] if len(x) else []
    while waiting:
        group = waiting.pop()
        if len(group) <= keep:
            left += group
        elif len(group) <= most:
            found.append(group)
        else:
            labels = kmeans(x[group], -(-len(group) // most), seed)
            parts = [[group[i] for i in np.flatnonzero(labels == label)] for label in range(int(labels.max()) + 1)]
            # nothing to part them by
            waiting += parts if len(parts) > 1 else [group[i : i + most] for i in range(0, len(group), most)]
    return sorted(found), sorted(left)


def propose_topic(
    name: str, text: str, members: Sequence[Engram], made: Made, now: datetime, attrs: dict[str, Any], reason: str
) -> Engram:
    """Propose the topic above some records: a summary made from them, each tied to it as a part.

    attrs  kept with it, beside its name and its size
    """
    topic = Engram(
        id=new_id(),
        kind="summary",
        text=text,
        scope=Scope.common(member.scope for member in members),
        at=min(member.at for member in members),
        recorded=now,
        sources=tuple(member.id for member in members),
        attrs={"topic": name, "members": len(members), **attrs},
        origin=f"topic:{name.casefold()}",
    )
    made.add(topic, "summarise", reason, [Link(member.id, "part", topic.id) for member in members])
    return topic


def _spread(x: Floats, k: int, rng: np.random.Generator) -> Floats:
    """k rows far from each other: each drawn with a probability that grows with its distance from those drawn."""
    chosen = [int(rng.integers(len(x)))]
    far = 1 - x @ x[chosen[0]]
    while len(chosen) < k:
        weights = np.maximum(far.astype(np.float64), 0.0)
        if weights.sum() <= 1e-9:
            break  # all coincide with those drawn
        chosen.append(int(rng.choice(len(x), p=weights / weights.sum())))
        far = np.minimum(far, 1 - x @ x[chosen[-1]])
    return x[chosen].copy()


def _unit(row: Floats) -> Floats:
    return np.asarray(row / max(float(np.linalg.norm(row)), 1e-12), dtype=np.float32)
