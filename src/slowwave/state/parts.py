"""Small layers that several systems stand on: a norm, a gated read-out, unit length."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from slowwave.state.packing import unflatten


class RMSNorm(nn.Module):
    """Divides by the root mean square over the last axis, and scales."""

    def __init__(self, width: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        normed: Tensor = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps) * self.weight
        return normed


def unit(x: Tensor, eps: float = 1e-6) -> Tensor:
    """x / |x| over the last axis, smooth at zero."""
    return x * torch.rsqrt(x.pow(2).sum(-1, keepdim=True) + eps)


def split(x: Tensor, heads: int) -> Tensor:
    """(..., heads x dim) -> (..., heads, dim)."""
    return unflatten(x, -1, heads, x.shape[-1] // heads)
