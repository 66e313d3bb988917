"""What a step learns from: examples with labels, the task each belongs to, and what was kept with a replayed one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from slowwave.errors import InputError

IGNORED = -100  # a target that is not scored, as in torch's cross-entropy
PAD = -1  # a token that is not there


@dataclass(frozen=True)
class Batch:
    """Examples side by side.

    x         (n, ...) float32 inputs, or (n, time) int64 token ids with -1 where there is none
    y         (n,) int64 labels, or (n, time) int64 token ids with -100 where a token is not to be scored
    task      (n,) int64, the period in which each was first met
    logits    (n, ...) float32, what the model said of a replayed one when it was stored; NaN where nothing was kept
    age       (n,) int64, the step at which a replayed one was stored; -1 for a new one
    view      (n,) int64, which view of its sample it is; 0 is the sample itself
    replayed  (n,) bool
    """

    x: Tensor
    y: Tensor
    task: Tensor
    logits: Tensor | None = None
    age: Tensor | None = None
    view: Tensor | None = None
    replayed: Tensor | None = None

    def __post_init__(self) -> None:
        if not len(self.x) == len(self.y) == len(self.task):
            raise InputError(
                f"a batch has {len(self.x)} inputs, {len(self.y)} labels and {len(self.task)} tasks; "
                "give as many of each"
            )

    def __len__(self) -> int:
        return len(self.x)

    @property
    def old(self) -> Tensor:
        """(n,) bool, which of them are replayed."""
        return torch.zeros(len(self), dtype=torch.bool) if self.replayed is None else self.replayed

    def take(self, index: Tensor | Sequence[int]) -> Batch:
        """Some of them, in that order; also by a mask of bools."""
        chosen = torch.as_tensor(index)
        parts = {name: part[chosen] for name, part in vars(self).items() if part is not None}
        return Batch(**parts)

    def cut(self, size: int) -> Iterator[Batch]:
        """Batches of so many, the last of what is left; they share its memory."""
        parts = {name: part.split(size) for name, part in vars(self).items() if part is not None}
        for row in zip(*parts.values(), strict=True):
            yield Batch(**dict(zip(parts, row, strict=True)))

    def marked(self, task: int) -> Batch:
        """The same, all of one task."""
        return replace(self, task=torch.full((len(self),), task, dtype=torch.int64))


def examples(x: Tensor, y: Tensor, task: int = 0) -> Batch:
    """Examples of one task."""
    return Batch(x, y, torch.full((len(x),), task, dtype=torch.int64))


def join(batches: Sequence[Batch]) -> Batch:
    """Batches one after the other; sequences of unlike length are padded, logits that were not kept are NaN."""
    if len(batches) == 1:
        return batches[0]
    if not batches:
        raise InputError("no batch was given to join")
    x = _stack([b.x for b in batches], PAD)
    y = _stack([b.y for b in batches], IGNORED)
    task = torch.cat([b.task for b in batches])
    logits = None
    if kept := [b.logits for b in batches if b.logits is not None]:
        like = kept[0]
        empty = [torch.full((len(b), *like.shape[1:]), float("nan")) for b in batches]
        logits = _stack([e if b.logits is None else b.logits for e, b in zip(empty, batches, strict=True)], 0)
    age = torch.cat([torch.full((len(b),), -1) if b.age is None else b.age for b in batches])
    view = torch.cat([torch.zeros(len(b), dtype=torch.int64) if b.view is None else b.view for b in batches])
    return Batch(x, y, task, logits, age, view, torch.cat([b.old for b in batches]))


def _stack(parts: Sequence[Tensor], filler: int) -> Tensor:
    if len({part.shape[1:] for part in parts}) > 1:
        shape = [max(sizes) for sizes in zip(*(part.shape[1:] for part in parts), strict=True)]
        parts = [widened(part, (len(part), *shape), filler) for part in parts]
    return torch.cat(list(parts))


def widened(tensor: Tensor, shape: Sequence[int], filler: float = 0) -> Tensor:
    """The tensor in the corner of a larger one."""
    if tuple(tensor.shape) == tuple(shape):
        return tensor
    if tensor.ndim != len(shape) or any(a > b for a, b in zip(tensor.shape, shape, strict=True)):
        raise InputError(f"a tensor of {tuple(tensor.shape)} does not fit into {tuple(shape)}")
    out = torch.full(tuple(shape), filler, dtype=tensor.dtype)
    out[tuple(slice(0, size) for size in tensor.shape)] = tensor
    return out
