"""Two groups in a row of numbers, by a mixture of two Gaussians: which similarities stand out, without a threshold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
FLOOR = 1e-6  # added to variances, so that a group of one value keeps a width


@dataclass(frozen=True)
class Mixture:
    """Two Gaussians on a line, the lower mean first.

    weights, means, variances  (2,) each; weights add up to 1
    log_likelihood             of the values it was fitted to, in nats, before the last round
    rounds                     how many rounds of EM it took
    """

    weights: Floats
    means: Floats
    variances: Floats
    log_likelihood: float
    rounds: int

    def upper(self, values: ArrayLike) -> Floats:
        """(n,) the probability that each value is of the component with the higher mean."""
        return np.asarray(_responsibilities(np.asarray(values, dtype=np.float64), self)[0][:, 1])


def fit(values: ArrayLike, rounds: int = 500, tolerance: float = 1e-10) -> Mixture | None:
    """The mixture that makes the values likely, by EM from the best cut in two; None where all values are equal.

    values     (n,) finite
    tolerance  it stops where a round raises the mean log-likelihood by less

    The start is the cut of the sorted values with the least squared distance to the two means (k-means, exact in one
    dimension), so equal values always give equal groups.
    """
    v = np.sort(np.asarray(values, dtype=np.float64))
    if len(v) < 2 or v[0] == v[-1]:
        return None
    cut = best_cut(v)
    share = np.zeros((len(v), 2))
    share[:cut, 0] = share[cut:, 1] = 1.0
    last = -np.inf
    mixture = _maximise(v, share, 0.0, 0)
    for done in range(1, rounds + 1):
        share, likelihood = _responsibilities(v, mixture)
        mixture = _maximise(v, share, likelihood, done)
        if likelihood - last < tolerance * len(v):
            break
        last = likelihood
    order = np.argsort(mixture.means, kind="stable")
    return Mixture(
        mixture.weights[order], mixture.means[order], mixture.variances[order], mixture.log_likelihood, mixture.rounds
    )


def stand_out(values: ArrayLike) -> NDArray[np.bool_]:
    """(n,) which values belong to the component with the higher mean; all of them where nothing tells them apart."""
    v = np.asarray(values, dtype=np.float64)
    mixture = fit(v)
    return np.ones(len(v), dtype=bool) if mixture is None else mixture.upper(v) > 0.5


def best_cut(ordered: Floats) -> int:
    """How many of the sorted values the lower group takes where two groups lie closest to their means."""
    n = len(ordered)
    below = np.arange(1, n)
    sums = np.cumsum(ordered)[:-1]
    # within = all squares - sum(lower)^2 / n_lower - sum(upper)^2 / n_upper
    between = sums**2 / below + (ordered.sum() - sums) ** 2 / (n - below)
    return int(below[np.argmax(between)])


def _maximise(v: Floats, share: Floats, likelihood: float, rounds: int) -> Mixture:
    mass = share.sum(axis=0) + 1e-300
    means = share.T @ v / mass
    variances = (share * (v[:, None] - means) ** 2).sum(axis=0) / mass + FLOOR
    return Mixture(mass / len(v), means, variances, likelihood, rounds)


def _responsibilities(v: Floats, m: Mixture) -> tuple[Floats, float]:
    """((n, 2) the share of each component in each value, the log-likelihood of all)."""
    with np.errstate(divide="ignore"):
        log = np.log(m.weights) - 0.5 * (np.log(2 * np.pi * m.variances) + (v[:, None] - m.means) ** 2 / m.variances)
    most = log.max(axis=1, keepdims=True)
    total = most + np.log(np.exp(log - most).sum(axis=1, keepdims=True))
    return np.exp(log - total), float(total.sum())
