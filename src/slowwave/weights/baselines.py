"""What every method is held against: learn on plainly, replay from a buffer, distil from before, or keep everything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.func import functional_call

from slowwave.errors import InputError
from slowwave.weights import linear
from slowwave.weights.base import Method, Term
from slowwave.weights.batch import Batch, join
from slowwave.weights.buffer import Buffer, Policy
from slowwave.weights.learner import Learner
from slowwave.weights.model import distil
from slowwave.weights.objective import Classification, plain
from slowwave.weights.vectors import Named, still


class Naive(Method):
    """Plain finetuning: the lower bound."""

    name = "naive"


class Replay(Method):
    """A batch from a buffer beside each new one (experience replay). As it stands it needs no boundary.

    capacity  examples kept
    many      drawn each step; 0 as many as are new
    policy    "reservoir", "balanced" (by class), "by-task", "largest" or "ring"; see `Buffer`
    when      "step": an example comes into the buffer once it is learned; "sleep": at the end of its period, so that
              nothing of the present is replayed
    seed      of what is kept
    """

    name = "replay"
    keeps: ClassVar[tuple[str, ...]] = ("buffer",)
    keep_logits: ClassVar[bool] = False

    def __init__(
        self, capacity: int = 200, many: int = 0, policy: Policy = "reservoir",
        when: Literal["step", "sleep"] = "step", seed: int = 0,
    ) -> None:  # fmt: skip
        if when not in ("step", "sleep"):
            raise InputError(f"examples cannot come into the buffer at {when!r}; there are step and sleep")
        self.capacity, self.many, self.policy, self.when, self.seed = capacity, many, policy, when, seed
        self.buffer = Buffer(capacity, policy, seed)

    def replay(self, learner: Learner, batch: Batch) -> Batch | None:
        return self.buffer.sample(self.many or len(batch), learner.rng) if len(self.buffer) else None

    def after_step(self, learner: Learner, batch: Batch, logits: Tensor) -> None:
        first = learner.first  # each example is offered once, as it was given
        if self.when == "step" and bool(first.any()):
            said = logits[: len(first)][first] if self.keep_logits else None
            self.buffer.add(learner.given.take(first), learner.step, said)

    def sleep(self, learner: Learner, day: Batch) -> Mapping[str, float]:
        if self.when == "sleep":
            with still(learner.model), torch.no_grad():
                said = learner.logits(day) if self.keep_logits else None
            self.buffer.add(day, learner.step, said)
        return {}


class LwF(Method):
    """Learning without forgetting: what the model said before the period of classes met before, is kept up.

    strength     of that term
    temperature  of both distributions

    Source: Li and Hoiem 2016, equation 3, with one head.
    """

    name = "lwf"
    keeps: ClassVar[tuple[str, ...]] = ("teacher", "met")
    learns = "labels"

    def __init__(self, strength: float = 1.0, temperature: float = 2.0) -> None:
        self.strength, self.temperature = strength, temperature
        self.teacher: Named = {}
        self.met: list[int] = []
        self._layers: tuple[Named, list[linear.Affine], Tensor] | None = None  # of which teacher, and the classes

    def loss_terms(self, learner: Learner, batch: Batch, logits: Tensor) -> Mapping[str, Tensor]:
        if not self.teacher:
            return {}
        with torch.no_grad():
            before = plain(functional_call(learner.model, self.teacher, (batch.x,)))
        if isinstance(aim := learner.aim(), Classification) and aim.masks:
            logits = plain(learner.model(batch.x))  # classes of other tasks are masked in those of the step
        classes = torch.tensor([c for c in self.met if c < before.shape[1]])
        away = distil(logits[:, classes], before[:, classes], self.temperature)
        return {"teacher": self.strength * away.mean()}

    @torch.no_grad()
    def loss_slopes(self, learner: Learner, batch: Batch, logits: Tensor) -> Mapping[str, Term]:
        if not self.teacher:
            return {}
        if self._layers is None or self._layers[0] is not self.teacher:
            names = [name.removesuffix(".weight") for name in self.teacher if name.endswith(".weight")]
            layers = [(self.teacher[f"{name}.weight"], self.teacher.get(f"{name}.bias")) for name in names]
            self._layers = self.teacher, layers, torch.tensor([c for c in self.met if c < len(layers[-1][0])])
        _, layers, classes = self._layers
        before = linear.forwards(layers, batch.x)[-1]
        whole = len(classes) == logits.shape[1]  # then no class is to be picked out, since they are in order
        theirs, own = (
            ((one if whole else one.index_select(1, classes)) / self.temperature).log_softmax(1)
            for one in (before, logits)
        )
        expected = theirs.exp()
        share = self.strength / len(batch)
        value = share * float(torch.dot(expected.flatten(), (theirs - own).flatten()))
        slope = own.exp_().sub_(expected).mul_(share / self.temperature)
        return {"teacher": Term(value, slope if whole else torch.zeros_like(logits).index_copy_(1, classes, slope))}

    def sleep(self, learner: Learner, day: Batch) -> Mapping[str, float]:
        self.teacher = {name: part.detach().clone() for name, part in learner.model.state_dict().items()}
        self.met = sorted({*self.met, *day.y.tolist()})
        return {}


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
