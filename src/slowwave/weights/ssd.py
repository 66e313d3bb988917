"""SSD: knowledge is taken out by shrinking the weights that matter far more to it than to everything else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from slowwave.errors import InputError
from slowwave.weights.base import Method
from slowwave.weights.batch import Batch, widened
from slowwave.weights.learner import Learner
from slowwave.weights.objective import Objective
from slowwave.weights.vectors import Named, sample_gradients, still, trainable, values

ALPHAS = (50.0, 30.0, 20.0, 15.0, 10.0, 8.0, 6.0, 5.0, 4.0, 3.0, 2.5, 2.0, 1.7, 1.5, 1.3, 1.15)


class SSD(Method):
    """Selective synaptic dampening. While it learns, it only notes how much each weight matters; `forget` then acts.

    alpha    a weight is dampened where it matters more than alpha times as much to what is to go as to all; None takes
             the largest of a ladder that brings what is to go down to chance within the budget
    strength lambda: how little is left of a dampened weight
    samples  examples a period that importances are taken over; 0 all
    labels   False takes importances without labels, from the length of the output
    budget   with alpha None: how much the mean loss on what is to stay may rise, in nats

    Source: Foster et al. 2024, equations 3 and 4.
    """

    name = "ssd"
    paper = "Fast Machine Unlearning Without Retraining Through Selective Synaptic Dampening"
    operations = ("forgetting",)
    claim = (
        "Near-zero accuracy on the forgotten with little loss elsewhere on CIFAR and faces (figures unverified); an"
        " independent run kept 83 to 95 % for eight classes, 12.5 % and 17.7 % for two."
    )
    differs = (
        "Importance is the mean square of each example's gradient; the authors' code squares the gradient of a "
        "batch's mean, which ties alpha to the batch's size. With a share q of all examples to forget, alpha >= 1/q"
        " then selects nothing, so alpha is not 10 but found by a budget of the loss on what stays. Importances of "
        "all data are noted at each sleep, so that the data may go."
    )
    proof = "proofs/ssd.py"
    keeps: ClassVar[tuple[str, ...]] = ("importance", "seen")

    def __init__(
        self, alpha: float | None = None, strength: float = 1.0, samples: int = 500, labels: bool = True,
        budget: float = 0.1,
    ) -> None:  # fmt: skip
        self.alpha, self.strength, self.samples, self.labels, self.budget = alpha, strength, samples, labels, budget
        self.importance: Named = {}
        self.seen = 0

    def sleep(self, learner: Learner, day: Batch) -> Mapping[str, float]:
        many = len(day)
        if self.samples and many > self.samples:
            day = day.take(torch.from_numpy(learner.rng.permutation(many)[: self.samples]))
        found = importance(learner.model, learner.aim(day.y), day, self.labels)
        total = self.seen + many
        for name, part in found.items():
            old = widened(self.importance.get(name, torch.zeros_like(part)), part.shape)  # of a head that has grown
            self.importance[name] = old * (self.seen / total) + part * (many / total)
        self.seen = total
        return {"examples": float(total)}

    def forget(self, learner: Learner, batch: Batch, stays: Batch | None = None) -> dict[str, float]:
        """Take out what these examples taught. Weights that are not selected keep every bit.

        stays    examples by which the budget is watched; needed where alpha is None
        returns  alpha, the share of weights dampened, accuracies and losses before and after
        raises   InputError where nothing was learned yet, or no alpha of the ladder keeps to the budget
        """
        if not self.importance:
            raise InputError("no importance has been noted; let a learner with SSD among its methods sleep on its data")
        found = importance(learner.model, learner.aim(batch.y), batch, self.labels)
        before = values(trainable(learner.model))
        report = {"accuracy before": learner.score(batch)}
        if stays is not None:
            report |= {"stays before": learner.score(stays), "loss before": _loss(learner, stays)}
        if self.alpha is not None:
            report["alpha"], report["share"] = self.alpha, dampen(
                learner.model, found, self.importance, self.alpha, self.strength
            )  # fmt: skip
        else:
            report |= self._search(learner, batch, stays, found, before)
        report["accuracy after"] = learner.score(batch)
        if stays is not None:
            report |= {"stays after": learner.score(stays), "loss after": _loss(learner, stays)}
        return report

    def _search(
        self, learner: Learner, batch: Batch, stays: Batch | None, found: Named, before: Named
    ) -> dict[str, float]:
        """Down the ladder of alphas until what is to go is at chance, as long as what stays keeps to the budget."""
        if stays is None:
            raise InputError("alpha is found by a budget: give `stays`, examples of what is to stay, or an alpha")
        start = _loss(learner, stays)
        chance = 1 / max(2, learner.logits(batch.take([0])).shape[-1])
        best: tuple[float, float, Named] | None = None
        for alpha in ALPHAS:
            put(learner.model, before)
            share = dampen(learner.model, found, self.importance, alpha, self.strength)
            if _loss(learner, stays) > start + self.budget:
                break
            best = (alpha, share, values(trainable(learner.model)))
            if learner.score(batch) <= chance:
                break
        if best is None:
            put(learner.model, before)
            raise InputError(f"no alpha up to {ALPHAS[0]:g} keeps the loss on what stays within {self.budget:g} nats")
        put(learner.model, best[2])
        return {"alpha": best[0], "share": best[1]}


def importance(model: nn.Module, objective: Objective, batch: Batch, labels: bool = True) -> Named:
    """Mean over examples of the loss's squared gradient; without labels, of |gradient| of the output's square."""
    total = {name: torch.zeros_like(p, requires_grad=False) for name, p in trainable(model).items()}
    length = None if labels else lambda logits, row, label: logits.pow(2).flatten(1).sum(1)
    for chunk in sample_gradients(model, objective, batch, batch.y, length):
        for name, rows in chunk.items():
            total[name] += (rows.detach().pow(2) if labels else rows.detach().abs()).sum(0)
    return {name: part / len(batch) for name, part in total.items()}


def dampen(
    model: nn.Module, goes: Mapping[str, Tensor], all_: Mapping[str, Tensor], alpha: float, strength: float
) -> float:
    """Shrink what is selected, in place; returns the share of weights that was."""
    hit = many = 0
    with torch.no_grad():
        for name, parameter in trainable(model).items():
            many += parameter.numel()
            if name not in goes or name not in all_ or goes[name].shape != all_[name].shape:
                continue
            chosen = goes[name] > alpha * all_[name]
            factor = (strength * all_[name] / goes[name].clamp_min(1e-30)).clamp_max(1)
            parameter.copy_(torch.where(chosen, parameter * factor, parameter))
            hit += int(chosen.sum())
    return hit / max(1, many)


def put(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Set parameters by name."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name in weights:
                parameter.copy_(weights[name])


def membership(model: nn.Module, objective: Objective, seen: Batch, unseen: Batch) -> float:
    """How well the loss tells what was trained on from what was not: area under the ROC curve; 0.5 is not at all."""
    with still(model), torch.no_grad():
        inside, outside = (objective.losses(objective.logits(model, part), part) for part in (seen, unseen))
    below = (inside[:, None] < outside[None]).float() + 0.5 * (inside[:, None] == outside[None]).float()
    return float(below.mean())


def _loss(learner: Learner, batch: Batch) -> float:
    with still(learner.model), torch.no_grad():
        return float(learner.aim(batch.y).losses(learner.logits(batch), batch).mean())
