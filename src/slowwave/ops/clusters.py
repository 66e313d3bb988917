"""Soft clusters of vectors, of their summaries, and so on up: a tree in which one thing may stand in several places.

Vectors are turned to their main axes (PCA, at most ten), a mixture of Gaussians is fitted by EM, the number of its
parts is the one with the least BIC, and a vector belongs to every part that explains more than `threshold` of it. All
of it is numpy, and repeats: the start is k-means++ from a fixed seed.

Source: ComoRAG (Wang et al. 2025), after RAPTOR (Sarthi et al. 2024). Differs: PCA in place of UMAP; diagonal
covariances with a floor, since full ones of ten dimensions fit a dozen points to death, and BIC then asks for more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slowwave.errors import InputError

Floats = NDArray[np.float64]
FLOOR = 0.05  # least variance of a part along an axis, as a share of the mean variance of all points
STARTS = 3  # of each number of parts, since EM stops at the nearest peak
ROUNDS = 60  # of EM at most
SETTLED = 1e-4  # gain in mean log-likelihood at which EM stops
PATIENCE = 2  # times the best number of parts so far up to which more are tried


@dataclass(frozen=True)
class Mixture:
    """A fitted mixture of k Gaussians in d dimensions.

    weights    (k,) adding up to 1
    means      (k, d)
    variances  (k, d) along the axes
    bic        less is better
    """

    weights: Floats
    means: Floats
    variances: Floats
    bic: float

    def shares(self, points: Floats) -> Floats:
        """(n, k) how much of each point each part explains; rows add up to 1."""
        joint = _log_joint(points, self.weights, self.means, self.variances)
        return np.asarray(np.exp(joint - _log_sum(joint)[:, None]))


def soft_clusters(
    vectors: NDArray[np.floating], dims: int = 10, most: int = 50, threshold: float = 0.01, seed: int = 0
) -> list[list[int]]:
    """Places of the vectors by cluster, in the order of their first member; a place may stand in several.

    vectors    (n, d) float
    dims       axes kept
    most       clusters at most
    threshold  a place is a member where its cluster explains more than this of it
    """
    points = reduced(vectors, dims)
    if not len(points):
        return []
    shares = best_mixture(points, most, seed).shares(points)
    member = shares > threshold
    member[np.arange(len(points)), shares.argmax(axis=1)] = True
    groups = [np.flatnonzero(column).tolist() for column in member.T if column.any()]
    return sorted({tuple(group): group for group in groups}.values())


def bounded_clusters(
    vectors: NDArray[np.floating], largest: int, dims: int = 10, most: int = 50, threshold: float = 0.01, seed: int = 0
) -> list[list[int]]:
    """The same, but none with more than `largest` members: one that is larger is clustered again by itself.

    A cluster in which BIC sees no parts is halved along its main axis.
    """
    if largest < 2:
        raise InputError(f"largest is {largest}; a cluster has room for at least 2")
    out: dict[tuple[int, ...], list[int]] = {}
    todo = [list(range(len(vectors)))] if len(vectors) else []
    while todo:
        group = todo.pop()
        if len(group) <= largest and len(group) < len(vectors):
            out[tuple(group)] = group
            continue
        parts = [[group[p] for p in part] for part in soft_clusters(vectors[group], dims, most, threshold, seed)]
        if len(group) <= largest:
            out |= {tuple(part): part for part in parts}
        elif all(len(part) < len(group) for part in parts):
            todo += parts
        else:
            order = np.argsort(reduced(vectors[group], 1)[:, 0], kind="stable").tolist()
            half = len(group) // 2
            todo += [sorted(group[p] for p in order[:half]), sorted(group[p] for p in order[half:])]
    return sorted(out.values())


def tree(
    vectors: NDArray[np.floating],
    sum_up: Callable[[int, Sequence[int]], NDArray[np.floating] | None],
    levels: int = 5,
    largest: int = 12,
    dims: int = 10,
    most: int = 50,
    threshold: float = 0.01,
    seed: int = 0,
) -> int:
    """Cluster, sum each cluster up, cluster the summaries, ... ; returns how many levels were made.

    sum_up  (level from 1, places in the level below) -> the vector of the summary it made; None where it made none

    It ends after `levels`, with one cluster, or where a level would not be smaller than the one below.
    """
    rows = np.asarray(vectors)
    for level in range(1, levels + 1):
        if len(rows) < 2:
            return level - 1
        groups = [group for group in bounded_clusters(rows, largest, dims, most, threshold, seed) if len(group) > 1]
        if not groups or len(groups) >= len(rows):
            return level - 1
        made = [vector for group in groups if (vector := sum_up(level, group)) is not None]
        if len(made) < 2:
            return level
        rows = np.stack(made)
    return levels


def reduced(vectors: NDArray[np.floating], dims: int) -> Floats:
    """(n, at most dims) float64: the vectors along their main axes, each axis with its largest loading positive."""
    rows = np.asarray(vectors, dtype=np.float64)
    if rows.ndim != 2:
        raise InputError(f"vectors is {rows.shape}; give (n, d)")
    if not len(rows):
        return rows.reshape(0, 0)
    centred = rows - rows.mean(axis=0)
    _, scale, axes = np.linalg.svd(centred, full_matrices=False)
    kept = min(dims, int(np.sum(scale > 1e-9 * max(float(scale[0]), 1e-30)))) or 1
    axes = axes[:kept]
    signs = np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)])
    return np.asarray(centred @ (axes * np.where(signs == 0, 1.0, signs)[:, None]).T)


def best_mixture(points: Floats, most: int = 50, seed: int = 0) -> Mixture:
    """The mixture of least BIC: numbers of parts in steps of a quarter until they are worse, then those around."""
    top = max(1, min(most, len(points) // 2))
    tried = {1: fit(points, 1, seed)}
    k = 1
    while k < top and k <= PATIENCE * _least(tried):
        k = min(top, max(k + 1, k * 5 // 4))
        tried[k] = fit(points, k, seed)
    best = _least(tried)
    below = max((k for k in tried if k < best), default=best)
    above = min((k for k in tried if k > best), default=best)
    tried |= {k: fit(points, k, seed) for k in range(below + 1, above) if k not in tried}
    return tried[_least(tried)]


def _least(tried: Mapping[int, Mixture]) -> int:
    return min(tried, key=lambda k: (tried[k].bic, k))


def fit(points: Floats, k: int, seed: int = 0) -> Mixture:
    """A mixture of k Gaussians with variances along the axes, by EM: the likeliest of a few k-means++ starts."""
    rng = np.random.default_rng(seed)
    return min((_settled(points, _starts(points, k, rng)) for _ in range(STARTS if k > 1 else 1)), key=lambda m: m.bic)


def _settled(points: Floats, means: Floats) -> Mixture:
    """EM from these means until it settles."""
    (n, d), k = points.shape, len(means)
    floor = FLOOR * max(float(points.var(axis=0).mean()), 1e-12)
    variances = np.tile(np.maximum(points.var(axis=0), floor), (k, 1))
    weights = np.full(k, 1.0 / k)
    before = -np.inf
    for _ in range(ROUNDS):
        joint = _log_joint(points, weights, means, variances)
        total = _log_sum(joint)
        shares = np.exp(joint - total[:, None])
        mass = shares.sum(axis=0) + 1e-9
        weights = mass / mass.sum()
        means = (shares.T @ points) / mass[:, None]
        variances = np.maximum((shares.T @ points**2) / mass[:, None] - means**2, floor)
        after = float(total.mean())
        if after - before < SETTLED:
            break
        before = after
    likelihood = float(_log_sum(_log_joint(points, weights, means, variances)).sum())
    free = k * 2 * d + k - 1
    return Mixture(weights, means, variances, float(free * np.log(n) - 2 * likelihood))


def _starts(points: Floats, k: int, rng: np.random.Generator) -> Floats:
    """k-means++ (Arthur and Vassilvitskii 2007), then a few rounds of k-means."""
    chosen = [int(rng.integers(len(points)))]
    nearest = ((points - points[chosen[0]]) ** 2).sum(axis=1)
    for _ in range(1, k):
        total = float(nearest.sum())
        pick = int(rng.choice(len(points), p=nearest / total)) if total > 0 else int(rng.integers(len(points)))
        chosen.append(pick)
        nearest = np.minimum(nearest, ((points - points[pick]) ** 2).sum(axis=1))
    means = points[chosen].copy()
    for _ in range(5):
        place = ((points[:, None, :] - means[None]) ** 2).sum(axis=2).argmin(axis=1)
        for part in range(k):
            mine = place == part
            if mine.any():
                means[part] = points[mine].mean(axis=0)
    return means


def _log_joint(points: Floats, weights: Floats, means: Floats, variances: Floats) -> Floats:
    distance = (points**2) @ (1 / variances).T - 2 * points @ (means / variances).T + (means**2 / variances).sum(axis=1)
    scale = np.log(2 * np.pi * variances).sum(axis=1)
    return np.asarray(np.log(weights) - 0.5 * (distance + scale))


def _log_sum(joint: Floats) -> Floats:
    top = joint.max(axis=1)
    return np.asarray(top + np.log(np.exp(joint - top[:, None]).sum(axis=1)))
