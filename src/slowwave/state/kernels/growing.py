"""A record that only grows, shared by the states that go on from one another: what is added costs what is added.

A state holds a view of a longer buffer. Whoever appends first writes into the room behind the view; every other branch
of the same state finds that room taken and copies. So no state ever sees another's tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor

ROOM = 64  # entries of a first buffer; later ones have half as much room again as they hold


def appended(held: Tensor, new: Tensor) -> Tensor:
    """held (batch, n, ...) and new (batch, m, ...) joined: (batch, n + m, ...), without copying held where it can be.

    Where gradients are wanted it is a plain join.
    """
    count, more = held.shape[1], new.shape[1]
    if not more:
        return held
    if torch.is_grad_enabled() and (held.requires_grad or new.requires_grad):
        return torch.cat([held, new.to(held.dtype)], 1)
    base = held._base
    end = _end(held, base)
    if base is None or end is None or base.shape[1] < end + more:
        room = max(ROOM, (count + more) * 3 // 2)
        base = held.new_empty(held.shape[0], room, *held.shape[2:])
        base[:, :count] = held
        end = count
    base[:, end : end + more] = new
    base.filled = end + more  # type: ignore[attr-defined]
    return base[:, end - count : end + more]


def _end(held: Tensor, base: Tensor | None) -> int | None:
    """Where the view ends in its buffer, if nobody has written behind it."""
    if base is None or not hasattr(base, "filled") or held.shape[0] != base.shape[0] or held.stride() != base.stride():
        return None
    end = held.storage_offset() // held.stride(1) + held.shape[1]
    return end if end == base.filled else None
