"""GEM: each gradient is turned so far that no stored task's loss may rise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from slowwave.weights import linear
from slowwave.weights.base import Method
from slowwave.weights.batch import Batch, join
from slowwave.weights.buffer import Buffer
from slowwave.weights.learner import Learner
from slowwave.weights.vectors import still


class GEM(Method):
    """Gradient episodic memory, and its averaged form A-GEM.

    variant   "gem": a constraint for each old task; "a-gem": one, the mean gradient of examples from all of them
    memories  examples kept of each task, the latest
    margin    the least multiplier of a task that is lifted
    lifts     once a constraint is hurt, "violated": tasks whose loss would rise are lifted; "all": every task that is
              asked, as the authors' code does
    ridge     epsilon, which keeps the small quadratic program well posed
    most      at most so many old tasks are asked at a step, drawn anew each step; 0 all
    many      a-gem: examples in the mean gradient

    Source: Lopez-Paz and Ranzato 2017, equations 8 to 11; A-GEM: Chaudhry et al. 2019.
    """

    name = "gem"
    paper = "Gradient Episodic Memory for Continual Learning"
    operations = ("consolidation", "updating")
    claim = (
        "Highest accuracy with backward transfer near zero on 20-task MNIST and CIFAR-100; CIFAR-100 .487 to .654 "
        "as memory grows (unverified)."
    )
    differs = (
        "At most ten old tasks are asked at a step, so that cost does not grow with their number; up to eleven "
        "tasks that is the paper's. The margin binds only tasks whose loss would rise (the authors' code lifts all "
        "once one is violated, here lifts='all'). Rings start empty with each task; theirs keep their counter over a "
        "switch, and zero rows with it."
    )
    proof = "proofs/gem.py"

    def __init__(
        self,
        variant: Literal["gem", "a-gem"] = "gem",
        memories: int = 256,
        margin: float = 0.5,
        ridge: float = 1e-3,
        most: int = 10,
        many: int = 256,
        lifts: Literal["violated", "all"] = "violated",
    ) -> None:
        self.variant, self.memories, self.margin = variant, memories, margin
        self.ridge, self.most, self.many, self.lifts = ridge, most, many, lifts
        self.rings: dict[int, Buffer] = {}
        self.violated = 0  # steps at which a constraint bound
        self._asked: tuple[list[tuple[int, int]], Batch] | None = None  # which rings were joined last, and how

    def grad_transform(self, learner: Learner, gradient: Tensor, batch: Batch) -> Tensor:
        here = set((batch.task if batch.replayed is None else batch.task[~batch.old]).tolist())
        old = [task for task in self.rings if task not in here]
        if not old:
            return gradient
        if self.most and len(old) > self.most:
            old = [int(t) for t in learner.rng.choice(old, self.most, replace=False)]
        if self.variant == "a-gem":
            return self._averaged(learner, gradient, old)
        rows = self._rows(learner, old)
        if bool((rows @ gradient >= 0).all()):
            return gradient
        self.violated += 1
        return project(gradient, rows, self.margin, self.ridge, self.lifts)

    def _rows(self, learner: Learner, old: list[int]) -> Tensor:
        """(k, parameters) the gradient of each old task; of all at once, where rings and layers allow it."""
        rings = [self.rings[task] for task in old]
        if len({len(ring) for ring in rings}) > 1:
            return torch.stack([learner.gradient(ring.everything()) for ring in rings])
        told = [(task, ring.seen) for task, ring in zip(old, rings, strict=True)]
        if self._asked is None or self._asked[0] != told:
            self._asked = told, join([ring.everything() for ring in rings])
        whole, many = self._asked[1], len(rings)
        if (weights := learner.plain(whole)) is not None:
            with torch.no_grad():
                passed = linear.forwards(weights, whole.x)
                _, slope = linear.cross_entropy(passed[-1], whole.y, many)
                slopes = linear.backwards(weights, passed, slope)
                return linear.grouped(weights, passed, slopes, many)
        with still(learner.model), linear.watched(learner.model) as found:
            losses = learner.aim(whole.y).losses(learner.logits(whole), whole)
            if seen := found(len(whole)):
                back = linear.back(losses.sum() / len(rings[0]), seen)
                return linear.rows(learner.model, back, many)
        return torch.stack([learner.gradient(ring.everything()) for ring in rings])

    def _averaged(self, learner: Learner, gradient: Tensor, old: list[int]) -> Tensor:
        each = max(1, self.many // len(old))
        reference = learner.gradient(join([self.rings[task].sample(each, learner.rng) for task in old]))
        along = gradient @ reference
        if along >= 0:
            return gradient
        self.violated += 1
        return gradient - along / (reference @ reference) * reference

    def after_step(self, learner: Learner, batch: Batch, logits: Tensor) -> None:
        if not bool(learner.first.any()):
            return
        new = learner.given if bool(learner.first.all()) else learner.given.take(learner.first)
        tasks = sorted(set(new.task.tolist()))
        for task in tasks:
            ring = self.rings.setdefault(task, Buffer(self.memories, "ring"))
            ring.add(new if len(tasks) == 1 else new.take(new.task == task), learner.step)

    @property
    def bytes(self) -> int:
        return sum(ring.bytes for ring in self.rings.values())

    def state(self) -> dict[str, Any]:
        return {"rings": {task: ring.state() for task, ring in self.rings.items()}, "violated": self.violated}

    def load(self, state: Mapping[str, Any]) -> None:
        self.violated, self.rings, self._asked = state["violated"], {}, None
        for task, kept in state["rings"].items():
            self.rings[task] = Buffer(self.memories, "ring")
            self.rings[task].load(kept)


def project(
    gradient: Tensor, rows: Tensor, margin: float = 0.0, ridge: float = 1e-3,
    lifts: Literal["violated", "all"] = "violated",
) -> Tensor:  # fmt: skip
    """The gradient nearest to this one along which no row's loss rises: rows @ result >= -ridge * multipliers.

    gradient  (parameters,)
    rows      (k, parameters), the gradients of the old tasks
    margin    least multiplier of the rows that are violated, or of all
    """
    gram = (rows @ rows.T).double().numpy() + ridge * np.eye(len(rows))
    towards = (rows @ gradient).double().numpy()
    v = solve(gram, towards, np.where((towards < 0) | (lifts == "all"), margin, 0.0))
    return gradient + torch.from_numpy(v).to(gradient.dtype) @ rows


def solve(p: Any, q: Any, floor: Any, rounds: int = 5000) -> Any:
    """min 1/2 v'Pv + q'v with v >= floor; P positive definite.

    By pivots of whole blocks: what lies below its floor is put there, what the floor holds back unduly is let go
    (Júdice and Pires 1994). That mostly ends within a few turns; where it does not, by exact steps along one coordinate
    at a time.
    """
    at, far = np.zeros(len(q), bool), 1e-12 * (1 + np.abs(q).max(initial=0.0))
    for _ in range(10):
        free, v = ~at, floor.copy()
        if free.any():
            v[free] = np.linalg.solve(p[np.ix_(free, free)], -q[free] - p[np.ix_(free, at)] @ floor[at])
        below, held_back = free & (v < floor), at & (p @ v + q < -far)
        if not (below | held_back).any():
            return v
        at = (at | below) & ~held_back
    v = floor.copy()
    for _ in range(rounds):
        moved = 0.0
        for i in range(len(v)):
            new = max(floor[i], v[i] - (p[i] @ v + q[i]) / p[i, i])
            moved, v[i] = max(moved, abs(new - v[i])), new
        if moved < 1e-10 * (1 + np.abs(v).max()):
            break
    return v
