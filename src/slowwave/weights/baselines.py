"""What every method is held against: learn on plainly, replay from a buffer, or keep everything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor

from slowwave.weights.base import Method
from slowwave.weights.batch import Batch, join
from slowwave.weights.buffer import Buffer, Policy
from slowwave.weights.learner import Learner


class Naive(Method):
    """Plain finetuning: the lower bound."""

    name = "naive"


class Replay(Method):
    """A batch from a buffer beside each new one (experience replay, without boundaries).

    capacity  examples kept
    many      drawn each step; 0 as many as are new
    policy    "reservoir", "balanced" or "ring"
    seed      of what is kept
    """

    name = "replay"
    keeps: ClassVar[tuple[str, ...]] = ("buffer",)
    keep_logits: ClassVar[bool] = False

    def __init__(self, capacity: int = 200, many: int = 0, policy: Policy = "reservoir", seed: int = 0) -> None:
        self.capacity, self.many, self.policy, self.seed = capacity, many, policy, seed
        self.buffer = Buffer(capacity, policy, seed)

    def replay(self, learner: Learner, batch: Batch) -> Batch | None:
        return self.buffer.sample(self.many or len(batch), learner.rng) if len(self.buffer) else None

    def after_step(self, learner: Learner, batch: Batch, logits: Tensor) -> None:
        first = learner.first  # each example is offered once, as it was given
        if bool(first.any()):
            said = logits[: len(first)][first] if self.keep_logits else None
            self.buffer.add(learner.given.take(first), learner.step, said)


class Joint(Method):
    """All examples so far, in every period: the upper bound, whose cost grows."""

    name = "joint"
    keeps: ClassVar[tuple[str, ...]] = ("past",)

    def __init__(self) -> None:
        self.past: list[dict[str, Tensor]] = []

    def material(self, learner: Learner, batch: Batch) -> Batch:
        return join([*(Batch(**part) for part in self.past), batch])

    def sleep(self, learner: Learner, day: Batch) -> Mapping[str, float]:
        self.past.append({"x": day.x, "y": day.y, "task": day.task})
        return {}
