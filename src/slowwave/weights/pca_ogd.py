"""PCA-OGD: new gradients keep off the main directions in which old outputs would move."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from torch import Tensor

from slowwave.errors import InputError
from slowwave.weights.base import Method
from slowwave.weights.batch import Batch
from slowwave.weights.learner import Learner
from slowwave.weights.vectors import leading, output_gradients


class PCAOGD(Method):
    """Orthogonal gradient descent on principal components of old output gradients.

    variant   "pca-ogd": the leading components of many gradients; "ogd": as many single gradients
    keep      directions kept of each period (M)
    samples   gradients that the components are taken of (s)
    capacity  at most so many directions in all, the leading ones of what is kept; 0 keeps all, and grows

    Source: Doan et al. 2021, algorithm 1; OGD: Farajtabar et al. 2020. The overlap of two tasks' tangent features is
    `slowwave.weights.vectors.overlap`.
    """

    name = "pca-ogd"
    paper = "A Theoretical Analysis of Catastrophic Forgetting through the NTK Overlap Matrix"
    operations = ("consolidation", "compression")
    claim = (
        "Better than OGD, A-GEM and EWC where data has structure, level with OGD on permuted MNIST (numbers "
        "unverified)."
    )
    differs = (
        "With `capacity` the directions of all periods are compressed together, so that room does not grow. The "
        "guarantee holds for plain SGD; momentum or Adam turn the step again."
    )
    proof = "proofs/pca_ogd.py"
    keeps: ClassVar[tuple[str, ...]] = ("rows",)
    learns = "labels"

    def __init__(
        self,
        variant: Literal["pca-ogd", "ogd"] = "pca-ogd",
        keep: int = 100,
        samples: int = 1000,
        capacity: int = 0,
    ) -> None:
        self.variant, self.keep, self.samples, self.capacity = variant, keep, samples, capacity
        self.rows = torch.zeros(0, 0)  # (k, parameters) orthogonal directions, each as long as its singular value
        self._basis: Tensor | None = None

    def grad_transform(self, learner: Learner, gradient: Tensor, batch: Batch) -> Tensor:
        basis = self.basis(len(gradient))
        return gradient if basis is None else gradient - (basis @ gradient) @ basis

    def basis(self, parameters: int) -> Tensor | None:
        """(k, parameters) orthonormal; None before the first sleep."""
        if not len(self.rows):
            return None
        if self.rows.shape[1] != parameters:
            raise InputError(
                f"the directions kept have {self.rows.shape[1]} entries and the model now trains {parameters}; "
                "pca-ogd needs a model that keeps its shape: give all classes at the start"
            )
        if self._basis is None or len(self._basis) != len(self.rows):
            self._basis = self.rows / self.rows.norm(dim=1, keepdim=True)
        return self._basis

    def sleep(self, learner: Learner, day: Batch) -> Mapping[str, float]:
        many = self.samples if self.variant == "pca-ogd" else self.keep
        if len(day) > many:
            day = day.take(torch.from_numpy(learner.rng.permutation(len(day))[:many]))
        rows = output_gradients(learner.model, learner.aim(day.y), day)
        total = float(rows.pow(2).sum())
        basis = self.basis(rows.shape[1])
        rest = rows if basis is None else rows - (rows @ basis.T) @ basis
        new = leading(rest, self.keep)
        if basis is not None:  # once more, for what rounding left
            new = new - (new @ basis.T) @ basis
        self.rows = torch.cat([self.rows.view(-1, rows.shape[1]), new])
        if self.capacity and len(self.rows) > self.capacity:
            order = self.rows.norm(dim=1).argsort(descending=True)[: self.capacity]
            self.rows = self.rows[order]
        self._basis = None
        inside = self.basis(rows.shape[1])
        share = 0.0 if inside is None else float((rows @ inside.T).pow(2).sum()) / max(total, 1e-30)
        return {"directions": float(len(self.rows)), "mass kept": share}

    def load(self, state: Mapping[str, Tensor]) -> None:
        self.rows, self._basis = state["rows"], None
