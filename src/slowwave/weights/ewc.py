"""EWC: a spring on each weight, as stiff as the weight mattered to what was learned before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from torch import Tensor

from slowwave.weights.base import Method, Term
from slowwave.weights.batch import Batch
from slowwave.weights.learner import Learner
from slowwave.weights.quadratic import Quadratic
from slowwave.weights.vectors import FisherKind, fisher, trainable, values


class EWC(Method):
    """Elastic weight consolidation.

    strength  lambda; the right one depends on the data: too little forgets, too much no longer learns
    variant   "separate": a spring for each task, anchored where that task ended (the paper); "summed": the same
              stiffness, all anchored where the last task ended; "online": the old stiffness fades by `decay` before
              each addition
    fisher    "exact": over the labels that the model itself expects; "empirical": over the given labels
    decay     gamma of the online form
    samples   examples that the Fisher is taken over; 0 all
    implicit  the springs' pull is an implicit step after the optimiser's, w = (w + lr A m) / (1 + lr A) with A = lambda
              F, which no stiffness makes overshoot; False adds them to the loss, where lr A above 2 diverges under SGD

    Source: Kirkpatrick et al. 2017, equation 3; online form: Schwarz et al. 2018.
    """

    name = "ewc"
    paper = "Overcoming catastrophic forgetting in neural networks"
    operations = ("consolidation",)
    claim = (
        "On permuted MNIST old tasks stay near single-task level over 10 tasks where plain and uniform penalties "
        "fail (numbers unverified); class-incremental it equals naive."
    )
    differs = (
        "The springs of all tasks are kept as one quadratic, equal to their sum, so that cost and memory do not "
        "grow with the number of tasks. The Fisher is exact over the model's own labels, example by example, in "
        "evaluation mode, over at most 200 examples; the paper does not say how it was estimated."
    )
    proof = "proofs/ewc.py"
    keeps: ClassVar[tuple[str, ...]] = ("springs",)

    def __init__(
        self,
        strength: float = 100.0,
        variant: Literal["separate", "summed", "online"] = "separate",
        fisher: FisherKind = "exact",
        decay: float = 0.9,
        samples: int = 200,
        implicit: bool = False,
    ) -> None:
        self.strength, self.variant, self.fisher, self.decay, self.samples = strength, variant, fisher, decay, samples
        self.implicit = implicit
        self.springs = Quadratic()

    def loss_terms(self, learner: Learner, batch: Batch, logits: Tensor) -> Mapping[str, Tensor]:
        if not len(self.springs) or not self.strength or self.implicit:
            return {}
        return {"spring": self.strength * self.springs(trainable(learner.model))}

    def loss_slopes(self, learner: Learner, batch: Batch, logits: Tensor) -> Mapping[str, Term]:
        if not len(self.springs) or not self.strength or self.implicit:
            return {}
        value, slopes = self.springs.slopes(learner.named, self.strength)
        return {"spring": Term(value, on_weights=slopes)}

    def after_step(self, learner: Learner, batch: Batch, logits: Tensor) -> None:
        if self.implicit and len(self.springs) and self.strength:
            self.springs.pull(learner.named, learner.rate * self.strength)

    def sleep(self, learner: Learner, day: Batch) -> Mapping[str, float]:
        if self.samples and len(day) > self.samples:
            chosen = learner.rng.permutation(len(day))[: self.samples]
            day = day.take(torch.from_numpy(chosen))
        found = fisher(learner.model, learner.aim(day.y), day, self.fisher, learner.generator)
        here = values(trainable(learner.model))
        if self.variant == "online":
            self.springs.scale(self.decay)
        self.springs.add(found, here)
        if self.variant != "separate":
            self.springs.move(here)
        return {"largest": self.springs.stiffest()}

    def advice(self, learner: Learner) -> str:
        push = learner.lr * self.strength * self.springs.stiffest()
        if push < 1 or self.implicit:
            return ""
        return (
            f"lr x strength x the largest Fisher entry is {push:.3g}, and above 2 a step overshoots its anchor by more "
            f"than it was off; implicit=True, strength={self.strength / push:.3g} or a smaller lr would do"
        )
