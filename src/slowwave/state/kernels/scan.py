"""The gated linear recurrence h[t] = a[t] * h[t-1] + b[t]: a loop, and a scan of log2(time) parallel steps."""

from __future__ import annotations

import torch
from torch import Tensor


def scan_reference(a: Tensor, b: Tensor, start: Tensor | None = None) -> Tensor:
    """The recurrence token by token. Shapes as `scan`."""
    h = torch.zeros_like(b[0]) if start is None else start
    out = []
    for gate, new in zip(a, b, strict=True):
        h = gate * h + new
        out.append(h)
    return torch.stack(out) if out else b


def scan(a: Tensor, b: Tensor, start: Tensor | None = None) -> Tensor:
    """All h at once, by doubling: after step n each place has gathered what its 2**n predecessors gave.

    a      (time, ...), broadcast against b; any values, zero as well: no logarithm is taken
    b      (time, ...)
    start  h before the first; zero where None
    returns (time, ...)
    """
    time = b.shape[0]
    if start is not None and time:
        b = torch.cat([(b[0] + a[0] * start)[None], b[1:]])
    shift = 1
    while shift < time:
        b = torch.cat([b[:shift], b[shift:] + a[shift:] * b[:-shift]])
        a = torch.cat([a[:shift], a[shift:] * a[:-shift]])
        shift *= 2
    return b
