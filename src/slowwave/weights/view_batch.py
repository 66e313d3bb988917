"""View-Batch: the views of a sample are learned side by side, and then it rests longer before it comes again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from slowwave.weights.base import Method, Order
from slowwave.weights.batch import Batch
from slowwave.weights.data import rotated_images
from slowwave.weights.learner import Learner
from slowwave.weights.model import distil


class ViewBatch(Method):
    """Each sample comes `views` times in a row, then not for as many epochs; the number of steps stays what it was.

    views     V; brought down to the number of epochs where there are fewer, so that a stream without boundaries,
              which is passed once, shows each sample once and as it is
    strength  of the term that draws later views' predictions to the first's
    warm_up   epochs before that term sets in
    augment   (x, generator) -> x, for views after the first; None shifts, turns and roughens images, leaves others

    Source: "Do Your Best and Get Enough Rest for Continual Learning", CVPR 2025, section 3.
    """

    name = "view-batch"
    paper = "Do Your Best and Get Enough Rest for Continual Learning"
    operations = ("consolidation",)
    claim = (
        "iCaRL on split CIFAR-10, buffer 200: 63.58 to 69.25, forgetting 28.05 to 13.81; the sampler alone 67.21 "
        "and 18.72."
    )
    differs = (
        "A sample's views are known by their number. The authors' code takes neighbours of equal label for views of"
        " one, which merges different samples. Epochs that do not fill a whole round of V are ordinary ones."
    )
    proof = "proofs/view_batch.py"

    def __init__(
        self, views: int = 4, strength: float = 1.0, warm_up: int = 5,
        augment: Callable[[Tensor, torch.Generator], Tensor] | None = None,
    ) -> None:  # fmt: skip
        self.views, self.strength, self.warm_up, self.augment = views, strength, warm_up, augment

    def order(self, learner: Learner, many: int, epoch: int, rng: np.random.Generator) -> Order | None:
        views = max(1, min(self.views, learner.passes))
        round_, part = divmod(epoch, views)
        if (round_ + 1) * views > learner.passes:
            return None
        for _ in range(round_ + 1):
            shuffled = rng.permutation(many)
        edges = np.linspace(0, many, views + 1).round().astype(int)
        own = shuffled[edges[part] : edges[part + 1]]
        return np.repeat(own, views), np.tile(np.arange(views), len(own))

    def look(self, learner: Learner, batch: Batch) -> Batch:
        if batch.view is None or not bool((batch.view > 0).any()):
            return batch
        change = self.augment or roughened
        later = batch.view > 0
        x = batch.x.clone()
        x[later] = change(batch.x[later], learner.generator)
        return replace(batch, x=x)

    def loss_terms(self, learner: Learner, batch: Batch, logits: Tensor) -> Mapping[str, Tensor]:
        if batch.view is None or not self.strength or learner.epoch < self.warm_up:
            return {}
        place = torch.arange(len(batch))
        first = torch.where((batch.view == 0) & ~batch.old, place, -1).cummax(0).values
        pairs = (batch.view > 0) & ~batch.old & (first >= 0)
        if not bool(pairs.any()):
            return {}
        away = distil(logits[pairs], logits[first[pairs]].detach())
        return {"views": self.strength * away.sum() / len(batch)}


def roughened(x: Tensor, generator: torch.Generator) -> Tensor:
    """Images (n, side, side) shifted by a pixel, turned by up to 15 degrees, with noise; other inputs as they are."""
    if not x.is_floating_point() or x.ndim != 3:
        return x
    out = torch.empty_like(x)
    moves = torch.randint(-1, 2, (len(x), 2), generator=generator)
    angles = 30 * torch.rand(4, generator=generator) - 15
    for turn in range(4):  # four angles a batch: one by one would be slow
        rows = torch.arange(len(x)) % 4 == turn
        if bool(rows.any()):
            out[rows] = rotated_images(x[rows], float(angles[turn]))
    for move in torch.unique(moves, dim=0):
        rows = (moves == move).all(1)
        out[rows] = out[rows].roll((int(move[0]), int(move[1])), (1, 2))
    return (out + 0.1 * torch.randn(out.shape, generator=generator)).clamp(0, 1)
