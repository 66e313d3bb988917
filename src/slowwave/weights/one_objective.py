"""The one objective of which EWC, LwF, replay and DER++ are cases: the reference that tests hold those methods to.

The loss on what is new, plus alpha times the divergence of what the model says from what it is to say, plus beta times
that of its weights from older ones (Wang et al. 2024, equation 1). No method is computed by it: each writes its own
case out, which is faster.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def bregman(phi: Callable[[Tensor], Tensor], a: Tensor, b: Tensor) -> Tensor:
    """D(a, b) = phi(a) - phi(b) - <grad phi(b), a - b>, for a convex phi that gives a scalar; it has both gradients.

    Negative entropy with the target first gives LwF and replay (the target a distribution, or a label), half the square
    of logits DER, half of theta F theta EWC.
    """
    fixed = not b.requires_grad
    at = b.detach().requires_grad_() if fixed else b
    with torch.enable_grad():
        value = phi(at)
        slope = torch.autograd.grad(value, at, create_graph=not fixed, retain_graph=True)[0]
    if fixed:
        at, value, slope = at.detach(), value.detach(), slope.detach()
    return phi(a) - value - (slope * (a - at)).sum()


def negative_entropy(p: Tensor) -> Tensor:
    """sum p log p; its divergence is that of Kullback and Leibler."""
    return (p * p.clamp_min(1e-300 if p.dtype == torch.float64 else 1e-30).log()).sum()


def half_square(z: Tensor) -> Tensor:
    """1/2 |z|^2."""
    return 0.5 * z.pow(2).sum()
