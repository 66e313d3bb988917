"""How likely a fact is held, given how far its value leads, with thresholds that no scored statement sets for itself.

A statement's lead is how much more its value hangs on its subject than wrong values do, in units of their spread. What
a model does not hold leads as a wrong value does, by luck: some wrong value is always the first. So the leads of
statements are a mixture of two groups, one of which is known from the wrong values ("twins", which take the value's
place in turn), and the confidence is a statement's share of the other (two groups: Efron 2008; fitted by expectation
and maximisation). Statements are parted into folds by their subjects, and each fold is judged by the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slowwave.errors import InputError

Floats = NDArray[np.float64]
FEWEST = 12  # statements from which thresholds can be set
PRIOR = 1.0  # how many statements the prior counts for: one not held, one a twin's spread wide
ROUNDS = 200


@dataclass(frozen=True)
class Calibrator:
    """Leads -> confidence. Both groups are normal in arcsinh(lead), which draws large leads in.

    held           share of statements that are held
    mean, spread   of the group that is not held: that of the twins
    top, width     mean and spread of the group that is held
    """

    held: float
    mean: float
    spread: float
    top: float
    width: float

    def __call__(self, leads: Floats) -> Floats:
        """Confidence in [0, 1] that statements with these leads (n,) are held; a larger lead never gives less."""
        x = np.arcsinh(np.asarray(leads, float))
        tilt = self.spread**-2 - self.width**-2
        if tilt:  # the ratio of two normal densities turns there
            turn = (self.mean * self.spread**-2 - self.top * self.width**-2) / tilt
            x = np.maximum(x, turn) if tilt > 0 else np.minimum(x, turn)
        return np.asarray(_share(x, self))

    @classmethod
    def fit(cls, leads: Floats, twins: Floats) -> Calibrator:
        """Set by the leads of statements (n,) and of twins (m,), which are statements with a wrong value.

        raises  InputError with fewer than two of either
        """
        if min(len(leads), len(twins)) < 2:
            raise InputError(f"{len(leads)} statements and {len(twins)} twins cannot set a threshold")
        x, null = np.arcsinh(np.asarray(leads, float)), np.arcsinh(np.asarray(twins, float))
        mean, spread = float(null.mean()), max(float(null.std()), 1e-3)
        found = cls(0.5, mean, spread, max(float(np.quantile(x, 0.9)), mean + 2 * spread), spread)
        for _ in range(ROUNDS):
            share = _share(x, found)
            mass = float(share.sum())
            top = max((float(share @ x) + PRIOR * found.top) / (mass + PRIOR), mean + spread)
            width = float(share @ (x - top) ** 2) + PRIOR * spread**2
            new = cls(mass / (len(x) + PRIOR), mean, spread, top, (width / (mass + PRIOR)) ** 0.5)
            if abs(new.held - found.held) + abs(new.top - found.top) < 1e-9:
                break
            found = new
        return found


def _share(x: Floats, of: Calibrator) -> Floats:
    """The share of the held group at arcsinh(lead)."""
    odds = (
        np.log(max(of.held, 1e-12) / max(1 - of.held, 1e-12)) + np.log(of.spread / of.width)
        + ((x - of.mean) / of.spread) ** 2 / 2 - ((x - of.top) / of.width) ** 2 / 2
    )  # fmt: skip
    return np.asarray(1 / (1 + np.exp(-np.clip(odds, -500, 500))))


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
