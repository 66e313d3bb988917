"""How likely a fact is held, given its scores, with thresholds that no scored statement sets for itself.

What is held is what comes back however it is asked: against fresh wrong values, in another wording, the right value is
the one most tied to its subject. No truth from outside is needed to learn how scores foretell that: of each statement
that sets thresholds, one wording and half of the wrong values ask, the other wordings and the other half score. A
logistic model of the outcome on the scores is fitted; what chance alone would get right is taken off. Statements are
parted into folds by their subjects, and each fold is judged by the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slowwave.errors import InputError

Floats = NDArray[np.float64]
FEWEST = 12  # statements from which thresholds can be set
TWINS = 4.0  # how many statements all the twins together count for: they keep a fit to few statements from the extremes


@dataclass(frozen=True)
class Calibrator:
    """Scores -> confidence.

    centre, scale  (features,) of the twins
    weights, bias  of the logarithm of the odds that the statement comes back when it is asked
    chance         share that comes back where nothing is held
    """

    centre: Floats
    scale: Floats
    weights: Floats
    bias: float
    chance: float

    def __call__(self, scores: Floats) -> Floats:
        """Confidence in [0, 1] that a statement with these scores (n, features) is held."""
        logit = features(scores, self.centre, self.scale) @ self.weights + self.bias
        back = 1 / (1 + np.exp(-np.clip(logit, -30, 30)))
        return np.asarray(np.clip((back - self.chance) / (1 - self.chance), 0, 1))

    @classmethod
    def fit(cls, real: Floats, came_back: Floats, twins: Floats, twins_back: Floats, chance: float) -> Calibrator:
        """Set by the scores of statements (n, features) and whether each came back (n,), and the same of twins, which
        are the statements with a wrong value.

        raises  InputError with fewer than two of either
        """
        if min(len(real), len(twins)) < 2:
            raise InputError(f"{len(real)} statements and {len(twins)} twins cannot set a threshold")
        centre = np.median(twins, 0)
        scale = np.maximum(1.4826 * np.median(np.abs(twins - centre), 0), 1e-6)
        x = features(np.concatenate([real, twins]), centre, scale)
        mass = np.concatenate([np.ones(len(real)), np.full(len(twins), TWINS / len(twins))])
        weights, bias = logistic(x, np.concatenate([came_back, twins_back]).astype(float), mass)
        return cls(centre, scale, weights, bias, chance)


def folds_of(groups: Sequence[str], folds: int, seed: int) -> NDArray[np.int64]:
    """The fold of each item, all items of a group in one, groups dealt in a random order."""
    distinct = sorted(set(groups))
    order = np.random.default_rng(seed).permutation(len(distinct))
    of = {distinct[place]: n % folds for n, place in enumerate(order)}
    return np.array([of[group] for group in groups])


def reliability(confidence: Floats, truth: NDArray[np.bool_], bins: int = 10) -> dict[str, object]:
    """How far confidence is from the share that was true: {"ece", "brier", "bins": [mean confidence, share, n]}.

    ece  expected calibration error: the gap, averaged over bins by how many fall in each (Naeini et al. 2015)
    """
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    rows = []
    for n in range(bins):
        inside = place == n
        if inside.any():
            rows.append([float(confidence[inside].mean()), float(truth[inside].mean()), int(inside.sum())])
    ece = sum(abs(c - share) * n for c, share, n in rows) / max(1, len(confidence))
    return {"ece": ece, "brier": float(((confidence - truth) ** 2).mean()), "bins": rows}


def features(scores: Floats, centre: Floats, scale: Floats) -> Floats:
    """In units of the twins' spread, large values drawn in, so that one outlier sets no weight."""
    return np.asarray(np.arcsinh((scores - centre) / scale))


def logistic(x: Floats, y: Floats, mass: Floats, ridge: float = 0.3) -> tuple[Floats, float]:
    """Weighted logistic regression by Newton's method; weights are kept from below 0: a higher score is never less."""
    z = np.column_stack([x, np.ones(len(x))])
    free = np.ones(z.shape[1], bool)
    w = np.zeros(z.shape[1])
    for _ in range(z.shape[1]):  # drop what would turn negative, and fit the rest again
        w = np.zeros(z.shape[1])
        penalty = np.full(int(free.sum()), ridge)
        penalty[-1] = 1e-6
        part, v = z[:, free], np.zeros(int(free.sum()))
        for _ in range(50):
            p = 1 / (1 + np.exp(-np.clip(part @ v, -30, 30)))
            curve = (part * (mass * np.maximum(p * (1 - p), 1e-6))[:, None]).T @ part + np.diag(penalty)
            step = np.linalg.solve(curve, part.T @ (mass * (y - p)) - penalty * v)
            v = v + np.clip(step, -2, 2)
            if np.abs(step).max() < 1e-8:
                break
        w[free] = v
        negative = (w[:-1] < 0) & free[:-1]
        if not negative.any():
            break
        free[:-1] &= ~negative
    return w[:-1], float(w[-1])
