"""What is to be learned, told apart from how: labels, numbers, or the next tokens of a language model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from slowwave.errors import InputError
from slowwave.weights.batch import IGNORED, Batch


@runtime_checkable
class Objective(Protocol):
    """A loss for each example, and whether it was got right."""

    def logits(self, model: nn.Module, batch: Batch) -> Tensor:
        """(n, classes) or (n, time, vocabulary) float32."""
        ...

    def losses(self, logits: Tensor, batch: Batch) -> Tensor:
        """(n,) float32, in nats."""
        ...

    def right(self, logits: Tensor, batch: Batch) -> Tensor:
        """(n,) float32 in [0, 1]."""
        ...

    def log_likelihood(self, logits: Tensor, batch: Batch, labels: Tensor) -> Tensor:
        """(n,) float32: log p(labels), summed over what is scored; labels as in Batch.y."""
        ...


class Classification:
    """Cross-entropy over the classes; where tasks are known at test (task-incremental), over the task's own alone.

    masks  task -> the classes it has; empty where the task is not known at test
    """

    def __init__(self, masks: Mapping[int, Sequence[int]] | None = None) -> None:
        self.masks = {task: sorted(classes) for task, classes in (masks or {}).items()}

    def logits(self, model: nn.Module, batch: Batch) -> Tensor:
        return self.masked(plain(model(batch.x)), batch.task)

    def masked(self, logits: Tensor, tasks: Tensor) -> Tensor:
        """Classes of other tasks at -1e9."""
        if not self.masks:
            return logits
        allowed = torch.ones(logits.shape, dtype=torch.bool)
        for task in set(tasks.tolist()) & set(self.masks):
            row = torch.zeros(logits.shape[1], dtype=torch.bool)
            row[[c for c in self.masks[task] if c < logits.shape[1]]] = True
            allowed[tasks == task] = row
        return logits.masked_fill(~allowed, -1e9)

    def losses(self, logits: Tensor, batch: Batch) -> Tensor:
        return F.cross_entropy(logits, batch.y, reduction="none")

    def right(self, logits: Tensor, batch: Batch) -> Tensor:
        return (logits.argmax(1) == batch.y).float()

    def log_likelihood(self, logits: Tensor, batch: Batch, labels: Tensor) -> Tensor:
        return -F.cross_entropy(logits, labels, reduction="none")


class Regression:
    """Half the squared error, summed over outputs: the log-likelihood of a Gaussian of unit variance, a constant aside.
    Higher is better in `right` too, so that accuracies are minus mean squared errors.
    """

    def logits(self, model: nn.Module, batch: Batch) -> Tensor:
        return plain(model(batch.x)).flatten(1)

    def losses(self, logits: Tensor, batch: Batch) -> Tensor:
        return -self.log_likelihood(logits, batch, batch.y)

    def right(self, logits: Tensor, batch: Batch) -> Tensor:
        return -(logits - _alike(batch.y, logits)).pow(2).mean(1)

    def log_likelihood(self, logits: Tensor, batch: Batch, labels: Tensor) -> Tensor:
        return -0.5 * (logits - _alike(labels, logits)).pow(2).sum(1)


def _alike(labels: Tensor, logits: Tensor) -> Tensor:
    if labels.numel() != logits.numel():
        raise InputError(
            f"labels are {tuple(labels.shape)} {labels.dtype} and the model gives {tuple(logits.shape)}; numbers to be "
            "learned are as many as it gives, classes are int64"
        )
    return labels.view_as(logits)


class NextToken:
    """Mean cross-entropy of the scored tokens of each sequence; right if each of them is the likeliest (greedy would
    say it word for word).
    """

    def logits(self, model: nn.Module, batch: Batch) -> Tensor:
        return plain(model(batch.x.clamp_min(0)))

    def losses(self, logits: Tensor, batch: Batch) -> Tensor:
        flat, scored = self._tokens(logits, batch.y)
        return (flat * scored).sum(1) / scored.sum(1).clamp_min(1)

    def right(self, logits: Tensor, batch: Batch) -> Tensor:
        targets = batch.y[:, 1:]
        hit = (logits[:, :-1].argmax(-1) == targets) | (targets == IGNORED)
        return hit.all(1).float()

    def first_right(self, logits: Tensor, batch: Batch) -> Tensor:
        """(n,) whether the first scored token is the likeliest."""
        targets = batch.y[:, 1:]
        first = (targets != IGNORED).float().argmax(1, keepdim=True)
        said = logits[:, :-1].argmax(-1).gather(1, first)
        return (said == targets.gather(1, first)).squeeze(1).float()

    def log_likelihood(self, logits: Tensor, batch: Batch, labels: Tensor) -> Tensor:
        flat, scored = self._tokens(logits, labels)
        return -(flat * scored).sum(1)

    @staticmethod
    def _tokens(logits: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        targets = y[:, 1:]
        scored = targets != IGNORED
        flat = F.cross_entropy(logits[:, :-1].flatten(0, 1), targets.clamp_min(0).flatten(), reduction="none")
        return flat.view_as(targets), scored.float()


def plain(out: Tensor | object) -> Tensor:
    """The logits of what a model returned, a transformers output included."""
    found = getattr(out, "logits", out)
    assert isinstance(found, Tensor)
    return found if found.dtype == torch.float64 else found.float()
