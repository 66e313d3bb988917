"""Fast weights and their momentum moved by a block of outer products, with few passes over the large tensors.

    delta' = keep delta + before speed - Σ_t a[t] e[t] i[t]ᵀ        speed' = after speed - Σ_t b[t] e[t] i[t]ᵀ

The gradient is written by hand: autograd would make a temporary of the weights' size for every product above.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def advance_reference(
    delta: Tensor,
    speed: Tensor,
    keep: Tensor,
    before: Tensor,
    after: Tensor,
    e: Tensor,
    i: Tensor,
    a: Tensor,
    b: Tensor,
) -> tuple[Tensor, Tensor]:
    """As it is written above. Shapes as `advance`."""
    keep, before, after = (x[..., None, None] for x in (keep, before, after))
    learned = (e * a[..., None]).transpose(-1, -2) @ i
    pushed = (e * b[..., None]).transpose(-1, -2) @ i
    return keep * delta + before * speed - learned, after * speed - pushed


def advance(
    delta: Tensor,
    speed: Tensor,
    keep: Tensor,
    before: Tensor,
    after: Tensor,
    e: Tensor,
    i: Tensor,
    a: Tensor,
    b: Tensor,
) -> tuple[Tensor, Tensor]:
    """The weights and their momentum after a block.

    delta, speed         (batch, heads, out, in)
    keep, before, after  (batch, heads)
    e                    (batch, heads, time, out), errors
    i                    (batch, heads, time, in), inputs
    a, b                 (batch, heads, time)
    """
    run: Any = _Advance.apply
    new: tuple[Tensor, Tensor] = run(delta, speed, keep, before, after, e, i, a, b)
    return new


class _Advance(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *given: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(*given)
        delta, speed, keep, before, after, e, i, a, b = given
        keep, before, after = (x[..., None, None] for x in (keep, before, after))
        new = (keep * delta).addcmul_(before, speed)
        moved = after * speed
        for target, weights in ((new, a), (moved, b)):
            _flat(target).baddbmm_(_flat(e * weights[..., None]).transpose(1, 2), _flat(i), alpha=-1)
        return new, moved

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_new: Tensor, of_moved: Tensor) -> tuple[Tensor, ...]:
        delta, speed, keep, before, after, e, i, a, b = ctx.saved_tensors
        of_new, of_moved = of_new.contiguous(), of_moved.contiguous()  # once; each sum below would copy them anew
        of_delta = keep[..., None, None] * of_new
        of_speed = (before[..., None, None] * of_new).addcmul_(after[..., None, None], of_moved)
        of_e, of_i, of_weights = torch.zeros_like(e), torch.zeros_like(i), []
        for gradient, weights in ((of_new, a), (of_moved, b)):
            back = i @ gradient.transpose(-1, -2)
            of_weights.append(-(e * back).sum(-1))
            of_e -= weights[..., None] * back
            of_i -= (e * weights[..., None]) @ gradient
        gates = (_dot(of_new, delta), _dot(of_new, speed), _dot(of_moved, speed))
        return (of_delta, of_speed, *gates, of_e, of_i, *of_weights)


def _flat(x: Tensor) -> Tensor:
    """(batch, heads, a, b) -> (batch x heads, a, b), sharing memory where it can."""
    return x.view(-1, *x.shape[2:]) if x.is_contiguous() else x.reshape(-1, *x.shape[2:])


def _dot(x: Tensor, y: Tensor) -> Tensor:
    """Σ x y over the last two axes, without a temporary of their size."""
    pairs = zip(_flat(x).flatten(1), _flat(y).flatten(1), strict=True)
    return torch.stack([torch.dot(one, other) for one, other in pairs]).view(x.shape[:2])
