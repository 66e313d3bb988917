"""What was learned and what was lost: a matrix of accuracies, a curve between task ends, the cost; reported together.

R[i, j] is the accuracy on task j after task i. Read them together: a method that forgets little because it learns
little shows in `plasticity`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from slowwave.weights.batch import IGNORED, Batch
from slowwave.weights.objective import NextToken
from slowwave.weights.vectors import still

Guard = Callable[[nn.Module], float]


@dataclass
class Record:
    """What a learner's life on a stream showed.

    matrix    one row a period: the accuracy on every test set after it
    before    the accuracies of the untrained model
    own       which test set is that of each period
    curve     (step, period, accuracies on the tests of the periods so far), between task ends and at them, after their
              nights, if asked for
    ends      the step at which each period ended
    seconds   of training of each period, evaluation not counted; cpu_seconds those of all processors of this process
    bytes     what the methods held after each period, beside the model
    guards    after each period, what the guards said: held-out perplexity, cloze, ...
    """

    matrix: list[list[float]] = field(default_factory=list)
    before: list[float] = field(default_factory=list)
    own: list[int] = field(default_factory=list)
    curve: list[tuple[int, int, list[float]]] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    bytes: list[int] = field(default_factory=list)
    guards: list[dict[str, float]] = field(default_factory=list)

    def summary(self) -> dict[str, float]:
        """All that can be told of what is there, by name."""
        out: dict[str, float] = {}
        each = self.square()
        if each is None:
            if self.matrix:
                out["accuracy"] = float(np.mean(self.matrix[-1]))
        else:
            first = [self.before[t] for t in dict.fromkeys(self.own)] if self.before else None
            out |= matrix_metrics(each, first)
        if self.curve:
            out |= curve_metrics(self.curve, self.ends)
        if self.seconds:
            out["seconds a period"] = float(np.mean(self.seconds))
            out["bytes"] = float(max(self.bytes))
        for name in self.guards[-1] if self.guards else ():
            out[name] = self.guards[-1][name]
        return out

    def square(self) -> NDArray[np.float64] | None:
        """R, if every period has a test set of its own."""
        if not self.matrix or len(set(self.own)) != len(self.own):
            return None
        return np.asarray(self.matrix)[:, self.own]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a snapshot."""
        return asdict(self)


def matrix_metrics(r: NDArray[np.float64], before: Sequence[float] | None = None) -> dict[str, float]:
    """From R (T, T): accuracy, backward and forward transfer, forgetting, plasticity (Lopez-Paz and Ranzato 2017;
    Chaudhry et al. 2018).

    before  accuracies of the untrained model, for forward transfer

    >>> matrix_metrics(np.array([[0.9, 0.1], [0.5, 0.8]]), [0.1, 0.1])["backward transfer"]
    -0.4
    """
    many = len(r)
    out = {"accuracy": float(r[-1].mean()), "plasticity": float(np.diag(r).mean())}
    if many > 1:
        old = np.arange(many - 1)
        out["backward transfer"] = float((r[-1, old] - r[old, old]).mean())
        peaks = [r[j : many - 1, j].max() for j in old]
        out["forgetting"] = float(np.mean(peaks - r[-1, old]))
        if before is not None:
            later = np.arange(1, many)
            out["forward transfer"] = float(np.mean(r[later - 1, later] - np.asarray(before)[later]))
    return {name: round(value, 10) for name, value in out.items()}


def curve_metrics(
    curve: Sequence[tuple[int, int, list[float]]], ends: Sequence[int], smooth: int = 1
) -> dict[str, float]:
    """From accuracies between task ends: the worst case and the stability gap (De Lange et al. 2023).

    min-ACC  mean over old tasks of the lowest accuracy at any step after the task ended
    WC-ACC   1/k of the last task's accuracy and the rest of min-ACC, at the last step
    stability gap, steps to recover  mean over switches: old tasks' accuracy at the end of a period, after its night,
             minus its minimum in the next; and how many steps it takes until the gap has halved

    smooth   mean over so many evaluations before a minimum is taken, since minima of noisy values are biased
    """
    periods = max(p for _, p, _ in curve) + 1
    if periods < 2:
        return {}
    low = []
    for task in range(periods - 1):
        after = _smoothed([a[task] for s, _, a in curve if s > ends[task] and task < len(a)], smooth)
        low.append(min(after, default=float("nan")))
    last = curve[-1][2]
    worst = float(np.nanmean(low))
    gaps, recoveries = [], []
    for period in range(1, periods):
        start = [np.mean(a[:period]) for s, _, a in curve if s <= ends[period - 1] and len(a) >= period]
        run = [(s, float(np.mean(a[:period]))) for s, p, a in curve if p == period]
        if not start or not run:
            continue
        values = _smoothed([v for _, v in run], smooth)
        place = int(np.argmin(values))
        gap = float(start[-1]) - values[place]
        gaps.append(gap)
        back = next((run[i][0] for i in range(place, len(values)) if values[i] >= values[place] + gap / 2), run[-1][0])
        recoveries.append(back - ends[period - 1])
    out = {"min-ACC": worst, "WC-ACC": last[periods - 1] / periods + (1 - 1 / periods) * worst}
    if gaps:
        out |= {"stability gap": float(np.mean(gaps)), "steps to recover": float(np.mean(recoveries))}
    return {name: round(value, 10) for name, value in out.items()}


def _smoothed(values: Sequence[float], window: int) -> list[float]:
    if window <= 1 or len(values) < window:
        return list(values)
    return [float(np.mean(values[i : i + window])) for i in range(len(values) - window + 1)]


class Perplexity:
    """A guard: the perplexity of held-out text. rows (n, time) int64, -1 where a row has ended."""

    def __init__(self, rows: Tensor, batch: int = 16) -> None:
        self.rows, self.batch = rows, batch

    def __call__(self, model: nn.Module) -> float:
        total, many = 0.0, 0
        aim = NextToken()
        with still(model), torch.no_grad():
            for start in range(0, len(self.rows), self.batch):
                x = self.rows[start : start + self.batch]
                y = torch.where(x < 0, IGNORED, x)
                part = Batch(x, y, torch.zeros(len(x), dtype=torch.int64))
                total -= float(aim.log_likelihood(aim.logits(model, part), part, y).sum())
                many += int((y[:, 1:] != IGNORED).sum())
        return math.exp(total / max(1, many))


class Cloze:
    """A guard: of things known before, the share whose answer is still the likeliest, word for word.

    items  a batch whose y is scored at the answers alone
    """

    def __init__(self, items: Batch, batch: int = 32) -> None:
        self.items, self.batch = items, batch

    def __call__(self, model: nn.Module) -> float:
        aim, hits = NextToken(), 0.0
        with still(model), torch.no_grad():
            for start in range(0, len(self.items), self.batch):
                part = self.items.take(torch.arange(start, min(start + self.batch, len(self.items))))
                hits += float(aim.right(aim.logits(model, part), part).sum())
        return hits / max(1, len(self.items))


def guarded(model: nn.Module, guards: Mapping[str, Guard]) -> dict[str, float]:
    """What each says of the model."""
    return {name: float(guard(model)) for name, guard in guards.items()}
