"""Refresh learning: unlearn the current batch a little, then learn it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from slowwave.weights.baselines import Replay
from slowwave.weights.batch import Batch
from slowwave.weights.learner import Learner
from slowwave.weights.vectors import Named, fisher, still, trainable


class DarkReplay(Replay):
    """DER++: replayed examples keep their labels and the logits that the model gave them when they were stored.

    alpha, beta  weights of the old logits and of the old labels, each on a draw of its own
    """

    keep_logits: ClassVar[bool] = True

    def __init__(
        self, capacity: int = 200, many: int = 0, alpha: float = 0.2, beta: float = 0.5, seed: int = 0
    ) -> None:
        super().__init__(capacity, many, seed=seed)
        self.alpha, self.beta = alpha, beta

    def replay(self, learner: Learner, batch: Batch) -> Batch | None:
        return None

    def loss_terms(self, learner: Learner, batch: Batch, logits: Tensor) -> Mapping[str, Tensor]:
        if not len(self.buffer):
            return {}
        many = self.many or int((~batch.old).sum())
        by_logits, by_labels = (self.buffer.sample(many, learner.rng) for _ in range(2))
        said = learner.logits(by_logits, training=True)
        held = by_logits.logits
        assert held is not None
        usable = ~held.isnan()
        gap = torch.where(usable, said[:, : held.shape[1]] - held.nan_to_num(), torch.zeros(()))
        return {
            "old logits": self.alpha * gap.pow(2).sum() / usable.sum().clamp_min(1),
            "old labels": self.beta * learner.aim().losses(learner.logits(by_labels, True), by_labels).mean(),
        }


class RefreshLearning(DarkReplay):
    """A few steps of ascent on the current batch, small where the Fisher is large, before the ordinary step.

    delta    size of an unlearning step, relative to the length of each parameter
    steps    unlearning steps (J)
    noise    standard deviation of the noise beside the ascent
    damping  of the preconditioner 1 / (1 + damping * F)
    decay    of the Fisher at each period
    base     whether DER++ replay runs beneath; without it, another method may be given beside this one

    Source: Wang et al. 2024, algorithm 1.
    """

    name = "refresh"
    paper = "A Unified and General Framework for Continual Learning"
    operations = ("forgetting", "updating", "consolidation")
    claim = (
        "Gains of one to a few points on CIFAR-10/100 and Tiny-ImageNet over ER, DER++, LwF and EWC-like baselines "
        "(unverified)."
    )
    differs = (
        "The Fisher is taken over at most 200 examples, example by example in chunks; the ascent goes along the "
        "batch's gradient rescaled to each parameter's length, as in the authors' code."
    )
    proof = "proofs/refresh.py"
    keeps: ClassVar[tuple[str, ...]] = ("buffer", "curvature")

    def __init__(
        self, capacity: int = 200, many: int = 0, alpha: float = 0.2, beta: float = 0.5, delta: float = 1e-5,
        steps: int = 1, noise: float = 1e-3, damping: float = 1e-3, decay: float = 1e-5, base: bool = True,
        seed: int = 0,
    ) -> None:  # fmt: skip
        super().__init__(capacity, many, alpha, beta, seed)
        self.delta, self.steps, self.noise, self.damping = delta, steps, noise, damping
        self.decay, self.base = decay, base
        self.curvature: Named = {}

    def pre_step(self, learner: Learner, batch: Batch) -> None:
        if not self.delta:
            return
        for _ in range(self.steps):
            named = trainable(learner.model)
            with still(learner.model):
                loss = learner.aim(batch.y).losses(learner.logits(batch), batch).mean()
            grads = torch.autograd.grad(loss, list(named.values()), materialize_grads=True)
            with torch.no_grad():
                for (name, parameter), grad in zip(named.items(), grads, strict=True):
                    length = grad.norm()
                    up = grad * (parameter.norm() / length) if length > 0 else grad
                    held = self.curvature.get(name)
                    known = torch.zeros(()) if held is None or held.shape != up.shape else held
                    soft = 1 / (1 + self.damping * known)
                    noise = self.noise * torch.randn(up.shape, generator=learner.generator)
                    parameter.add_(self.delta * (up + noise) * soft)

    def loss_terms(self, learner: Learner, batch: Batch, logits: Tensor) -> Mapping[str, Tensor]:
        return super().loss_terms(learner, batch, logits) if self.base else {}

    def sleep(self, learner: Learner, day: Batch) -> Mapping[str, float]:
        if not self.delta:
            return {}
        if len(day) > 200:
            day = day.take(torch.from_numpy(learner.rng.permutation(len(day))[:200]))
        found = fisher(learner.model, learner.aim(day.y), day, "empirical")
        for name, part in found.items():
            old = self.curvature.get(name)
            self.curvature[name] = part if old is None or old.shape != part.shape else self.decay * old + part
        return {}
