"""The Contextual Maintenance and Retrieval model of human recall, in closed form where it has one, else by simulation.

Source: Ji-An et al. 2024 after Howard and Kahana 2002: items are one-hot; the shift matrix T takes each item to the
next and the last to an absorbing state; M = (I - (1 - b_enc) T)^-1 T ties context to items; retrieval is proportional
to M^T t; an item recalled brings back t_in = (1 - g) f + g M f, normalised, and t <- (1 - b_rec) t + b_rec t_in.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def association(items: int, b_enc: float) -> Floats:
    """M (items + 1, items + 1): entry [i, j] is how strongly the context after item i calls item j.

    The last index is the absorbing state after the list. From i, the item k places on has b_enc (1 - b_enc)^(k - 1).
    """
    shift = np.zeros((items + 1, items + 1))
    shift[np.arange(items), np.arange(1, items + 1)] = 1.0
    return np.asarray(np.linalg.inv(np.eye(items + 1) - (1 - b_enc) * shift) @ shift)


def first_recall(items: int, start: int, b_enc: float) -> Floats:
    """Probability that item j is the first recalled when the context is that of item `start`, (items,)."""
    strength = association(items, b_enc)[start, :items]
    return np.asarray(strength * b_enc)


def lag_curve(
    b_enc: float, b_rec: float, gamma: float, lags: int = 8, items: int = 100, runs: int = 1000, seed: int = 0
) -> Floats:
    """Conditional response probability at lags -lags to lags, after one recall from the middle; lag 0 is kept.

    An item in the middle is recalled; the context takes up what it brings back; the curve is the strength of each
    item in that context, averaged over `runs` starting contexts drawn at random. gamma 0 brings back the item's own
    place, so that recall goes forwards alone; gamma 1 what was there when it was studied, which also calls what stood
    before it.
    """
    rng = np.random.default_rng(seed)
    ties = association(items, b_enc)
    middle = items // 2
    item = np.zeros(items + 1)
    item[middle] = 1.0
    brought = (1 - gamma) * item + gamma * (ties @ item)
    brought /= max(float(np.linalg.norm(brought)), 1e-12)
    many = runs if b_rec < 1 else 1
    before = np.zeros((many, items + 1))
    if b_rec < 1:
        before[np.arange(many), rng.integers(0, items, many)] = 1.0
    context = (1 - b_rec) * before + b_rec * brought
    context /= np.linalg.norm(context, axis=1, keepdims=True)
    strength = np.clip((context @ ties)[:, :items], 0, None)
    strength /= np.maximum(strength.sum(1, keepdims=True), 1e-12)
    return np.asarray(strength[:, middle - lags : middle + lags + 1].mean(0))


def grid(b_enc: Floats, b_rec: Floats, gamma: Floats, lags: int = 5) -> tuple[Floats, NDArray[np.float64]]:
    """(parameters (n, 3), curves (n, 2 lags + 1)) for every combination."""
    points = np.array([(e, r, g) for e in b_enc for r in b_rec for g in gamma])
    return points, np.stack([lag_curve(e, r, g, lags) for e, r, g in points])


def distance(curve: Floats, attention: Floats) -> float:
    """Mean over lags of (scaled curve - shifted attention)^2 over the attention's variance; scale and shift are fitted.

    0 is a perfect fit, 1 what a constant gives; below 0.5 counts as CMR-like.
    """
    return float(distances(curve[None], attention[None])[0, 0])


def distances(curves: Floats, attention: Floats) -> Floats:
    """`distance` of every attention curve (n, lags) from every recall curve (m, lags): (n, m); inf where it is flat."""
    x = curves - curves.mean(1, keepdims=True)
    y = attention - attention.mean(1, keepdims=True)
    variance = (y**2).mean(1)
    flat = variance <= 1e-18
    inner = np.clip(y @ x.T, 0, None)  # a recall curve may be scaled, not turned over
    explained = inner**2 / np.maximum((x**2).sum(1), 1e-18) / y.shape[1]
    left = 1 - explained / np.where(flat, 1.0, variance)[:, None]
    return np.where(flat[:, None], np.inf, np.clip(left, 0, None))


def best_fit(points: Floats, curves: Floats, attention: Floats) -> tuple[float, Floats]:
    """(least distance, its parameters) of an attention curve over the grid."""
    found = distances(curves, attention[None])[0]
    best = int(found.argmin())
    return float(found[best]), points[best]


def bumps(attention: Floats) -> Floats:
    """The distance of the best Gaussian bump from each curve (n, lags): the control for "any smooth peak fits"."""
    lags = np.arange(attention.shape[1]) - attention.shape[1] // 2
    shapes = [
        np.exp(-((lags - centre) ** 2) / (2 * width**2))
        for centre in np.linspace(-2, 2, 17)
        for width in np.geomspace(0.3, 4, 12)
    ]
    return np.asarray(distances(np.array(shapes), attention).min(1))
