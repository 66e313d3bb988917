"""Center loss: features of a new domain are drawn to the old centres of their classes, and the head stays as it was."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from slowwave.weights.base import Method
from slowwave.weights.batch import Batch, widened
from slowwave.weights.learner import Learner
from slowwave.weights.model import featured


class CenterLoss(Method):
    """Regularisation to class centres, for streams whose labels stay and whose inputs change.

    strength  lambda
    rate      alpha: how fast centres follow the features in the first period
    freeze    whether the head is frozen after the first period

    Source: Olpadkar and Gavas 2021, section 3; centres: Wen et al. 2016.
    """

    name = "center-loss"
    paper = "Center Loss Regularization for Continual Learning"
    operations = ("consolidation",)
    claim = (
        "Competitive on rotated and permuted MNIST, Digits and PACS, and with replay better than other replay "
        "methods (numbers unverified)."
    )
    differs = (
        "What is frozen from the second task on is read as: centres and head, while all features learn. It helps "
        "where the labels stay alone; new classes cannot be learned by a frozen head."
    )
    proof = "proofs/center_loss.py"
    keeps: ClassVar[tuple[str, ...]] = ("centres", "known")
    learns = "labels"

    def __init__(self, strength: float = 0.01, rate: float = 0.5, freeze: bool = True) -> None:
        self.strength, self.rate, self.freeze = strength, rate, freeze
        self.centres = torch.zeros(0, 0)
        self.known = torch.zeros(0, dtype=torch.bool)

    def prepare(self, learner: Learner) -> None:
        featured(learner.model, "center-loss")

    def loss_terms(self, learner: Learner, batch: Batch, logits: Tensor) -> Mapping[str, Tensor]:
        if not len(self.known):
            return {}
        own = self.known[batch.y.clamp_max(len(self.known) - 1)] & (batch.y < len(self.known))
        if not own.any():
            return {}
        features = featured(learner.model, "center-loss").features(batch.x[own])
        away = (features - self.centres[batch.y[own]]).pow(2).sum(1)
        return {"centre": self.strength / 2 * away.sum() / len(batch)}

    def after_step(self, learner: Learner, batch: Batch, logits: Tensor) -> None:
        if learner.period:
            return
        with torch.no_grad():
            features = featured(learner.model, "center-loss").features(batch.x)
        classes = int(max(logits.shape[1], int(batch.y.max()) + 1))
        if len(self.known) < classes:
            self.centres = widened(self.centres.view(len(self.known), -1), (classes, features.shape[1])) if len(
                self.known
            ) else torch.zeros(classes, features.shape[1])  # fmt: skip
            self.known = torch.cat([self.known, torch.zeros(classes - len(self.known), dtype=torch.bool)])
        for label in sorted(set(batch.y.tolist())):
            mean = features[batch.y == label].mean(0)
            step = self.rate if self.known[label] else 1.0
            self.centres[label] += step * (mean - self.centres[label])
            self.known[label] = True

    def sleep(self, learner: Learner, day: Batch) -> Mapping[str, float]:
        if self.freeze and learner.period == 0:
            for parameter in featured(learner.model, "center-loss").head.parameters():
                parameter.requires_grad_(False)
        return {}
