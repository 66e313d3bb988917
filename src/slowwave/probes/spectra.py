"""The shape of a cloud of states: effective rank and how fast its spectrum decays.

Sources: Garrido et al. 2023 (RankMe; on singular values there), Agrawal et al. 2022 (alpha-ReQ), Li et al. 2025, who
take both on the eigenvalues of the covariance, as is done here.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from slowwave.errors import InputError

Floats = NDArray[np.float64]
FIRST, LAST = 11, 100  # of the eigenvalues whose slope is taken; the paper does not give its range


def eigenvalues(states: NDArray[np.floating]) -> Floats:
    """Eigenvalues of the covariance of states (n, d), largest first, by the smaller of the two Gram matrices.

    raises  InputError for fewer than two states, or values that are no finite numbers
    """
    x = np.asarray(states, np.float64)
    if len(x) < 2:
        raise InputError(f"there are {len(x)} states; give at least two")
    if not np.isfinite(x).all():
        raise InputError("the states hold values that are no finite numbers")
    x = x - x.mean(0)
    gram = x.T @ x if x.shape[1] <= len(x) else x @ x.T
    return np.asarray(np.clip(np.linalg.eigvalsh(gram / len(x))[::-1], 0, None))


def rankme(values: Floats) -> float:
    """exp of the entropy of the eigenvalues as shares: 32 equal ones give 32."""
    shares = values / max(values.sum(), 1e-300)
    shares = shares[shares > 0]
    return float(np.exp(-(shares * np.log(shares)).sum()))


def alpha_req(values: Floats, first: int = FIRST, last: int = LAST) -> float:
    """Minus the slope of ln(eigenvalue) on ln(rank), ranks `first` to `last`; nan where there are too few."""
    last = min(last, int((values > values[0] * 1e-12).sum()))
    if last - first < 5:
        return float("nan")
    rank = np.log(np.arange(first, last + 1))
    return float(-np.polyfit(rank, np.log(values[first - 1 : last]), 1)[0])


def resampled(
    states: NDArray[np.floating], resamples: int, seed: int
) -> tuple[tuple[float, float], tuple[float, float]]:
    """95 % intervals of (RankMe, alpha), from halves of the states drawn without replacement.

    Both depend on how many states there are, so a half's own value is no value of the whole; but halves spread about
    their mean as wholes do about theirs (the jackknife that leaves a half out). So the spread is laid about the whole's
    value: as a ratio for RankMe, as a difference for alpha.
    """
    rng = np.random.default_rng(seed)
    whole = eigenvalues(states)
    ranks, alphas = [], []
    for _ in range(resamples):
        values = eigenvalues(states[rng.choice(len(states), len(states) // 2, replace=False)])
        ranks.append(rankme(values))
        alphas.append(alpha_req(values))
    low, high = rankme(whole) * np.percentile(ranks, [2.5, 97.5]) / np.mean(ranks)
    if np.isnan(alphas).all():
        return (float(low), float(high)), (float("nan"), float("nan"))
    least, most = alpha_req(whole) + np.nanpercentile(alphas, [2.5, 97.5]) - np.nanmean(alphas)
    return (float(low), float(high)), (float(least), float(most))
