"""A short causal convolution, one filter a channel, that goes on where the call before ended and crosses no row."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from slowwave.state.packing import take


def causal_conv(x: Tensor, weight: Tensor, past: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Each token's filtered value, and the inputs that the next call needs.

    x        (batch, time, channels), row b's tokens in its first `lengths[b]` places
    weight   (channels, taps), the newest input last
    past     (batch, taps - 1, channels), the inputs before
    returns  (batch, time, channels), (batch, taps - 1, channels)
    """
    joined = torch.cat([past, x], 1)
    out = F.conv1d(joined.transpose(1, 2), weight[:, None], groups=x.shape[2]).transpose(1, 2)
    keep = past.shape[1]
    if not keep:
        return out, past
    places = lengths[:, None] + torch.arange(keep, device=x.device)
    return out, take(joined, places)


def conv_step(x: Tensor, weight: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
    """One token: x (batch, channels)."""
    joined = torch.cat([past, x[:, None]], 1)
    return (joined * weight.t()).sum(1), joined[:, 1:]
