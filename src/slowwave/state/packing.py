"""Tokens that are there, moved to the front: after this a mask is only a length a row, wherever its gaps were."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Packing:
    """How the tokens of a batch were moved.

    order    (batch, time) int64: the token that now stands at each place; those that are not there come last
    back     (batch, time) int64: where each token went
    lengths  (batch,) int64: how many are there
    """

    order: Tensor
    back: Tensor
    lengths: Tensor

    @classmethod
    def of(cls, mask: Tensor) -> Packing:
        """From a mask (batch, time), true where a token is there."""
        order = torch.argsort((~mask).to(torch.uint8), dim=1, stable=True)
        return cls(order, torch.argsort(order, dim=1), mask.sum(1))

    def pack(self, x: Tensor) -> Tensor:
        """(batch, time, ...) with the tokens that are there in front."""
        return take(x, self.order)

    def unpack(self, x: Tensor, mask: Tensor) -> Tensor:
        """Back where they were, and zero where none was."""
        out = take(x, self.back)
        here: Tensor = mask.view(*mask.shape, *[1] * (out.dim() - 2)).to(out.dtype)
        return out * here


def take(x: Tensor, places: Tensor) -> Tensor:
    """x[b, places[b, n]] for x (batch, time, ...) and places (batch, n)."""
    index = places.view(*places.shape, *[1] * (x.dim() - 2)).expand(*places.shape, *x.shape[2:])
    return x.gather(1, index)


def unflatten(x: Tensor, axis: int, *sizes: int) -> Tensor:
    """One axis of x broken into several."""
    axis %= x.dim()
    return x.reshape(*x.shape[:axis], *sizes, *x.shape[axis + 1 :])


def there(lengths: Tensor, time: int) -> Tensor:
    """(batch, time), true before each row's length."""
    return torch.arange(time, device=lengths.device) < lengths[:, None]


@dataclass(frozen=True)
class Grid:
    """Packed tokens laid into blocks whose first is begun already, `start` places of it, by what came before.

    Blocks are where the state says, not where a call begins: so one long call, many short ones and single tokens meet
    the same boundaries.

    size   places of a block
    start  (batch,) int64, places of the first block that are taken
    """

    size: int
    start: Tensor
    lengths: Tensor
    time: int

    @property
    def blocks(self) -> int:
        """How many blocks the fullest row touches."""
        most = int((self.start + self.lengths).max()) if len(self.start) else 0
        return max(1, -(-most // self.size))

    @property
    def valid(self) -> Tensor:
        """(batch, blocks, size), true where a token of this call stands."""
        places = torch.arange(self.blocks * self.size, device=self.start.device)[None]
        here = (places >= self.start[:, None]) & (places < (self.start + self.lengths)[:, None])
        return unflatten(here, 1, self.blocks, self.size)

    @property
    def closed(self) -> Tensor:
        """(batch, blocks), true where this call reaches the block's end."""
        ends = torch.arange(1, self.blocks + 1, device=self.start.device) * self.size
        return ends[None] <= (self.start + self.lengths)[:, None]

    def lay(self, x: Tensor) -> Tensor:
        """(batch, time, ...) -> (batch, blocks, size, ...); zero where no token stands."""
        places = torch.arange(self.blocks * self.size, device=x.device)[None] - self.start[:, None]
        laid = unflatten(take(x, places.clamp(0, self.time - 1)), 1, self.blocks, self.size)
        here: Tensor = self.valid.view(*self.valid.shape, *[1] * (x.dim() - 2)).to(x.dtype)
        return laid * here

    def lift(self, x: Tensor) -> Tensor:
        """(batch, blocks, size, ...) -> (batch, time, ...), the inverse for tokens that are there."""
        flat = x.flatten(1, 2)
        places = torch.arange(self.time, device=x.device)[None] + self.start[:, None]
        return take(flat, places.clamp(max=flat.shape[1] - 1))

    @property
    def end(self) -> Tensor:
        """(batch,) places of the last block that are taken afterwards."""
        taken: Tensor = (self.start + self.lengths) % self.size
        return taken
