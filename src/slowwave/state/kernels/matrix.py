"""A matrix memory with a normaliser, M += σ(K)ᵀV and z += Σσ(K), read as σ(q)M / σ(q)z with σ = ELU + 1.

Source: Katharopoulos et al. 2020; as a compressive memory, Munkhdalai et al. 2024.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def features(x: Tensor) -> Tensor:
    """ELU + 1: positive, so that the normaliser cannot vanish."""
    return F.elu(x) + 1


def matrix_write(
    k: Tensor, v: Tensor, matrix: Tensor, norm: Tensor, delta: bool = False, there: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Add a block of pairs: k (..., time, key), v (..., time, value), matrix (..., key, value), norm (..., key).

    delta  write only what the memory does not say already (read before the block)
    there  (..., time) bool, false for pairs to leave out
    """
    keys = features(k)
    if delta:
        v = v - matrix_read(k, matrix, norm)
    if there is not None:
        keys = keys * there[..., None].to(keys.dtype)
    return matrix + keys.transpose(-1, -2) @ v, norm + keys.sum(-2)


def matrix_read(q: Tensor, matrix: Tensor, norm: Tensor) -> Tensor:
    """(..., time, value); zero from a memory that holds nothing."""
    asked = features(q)
    weight = (asked @ norm[..., None]).clamp_min(torch.finfo(asked.dtype).tiny)
    return asked @ matrix / weight


def linear_attention(
    q: Tensor, k: Tensor, v: Tensor, matrix: Tensor, norm: Tensor, there: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Causal: each token reads what stood before and what came up to itself. Returns outputs, matrix, norm.

    there  (..., time) bool, false for pairs, behind all others, that are not written
    """
    asked, keys = features(q), features(k)
    within = (asked @ keys.transpose(-1, -2)).tril()
    weight = within.sum(-1, keepdim=True) + asked @ norm[..., None]
    out = (within @ v + asked @ matrix) / weight.clamp_min(torch.finfo(asked.dtype).tiny)
    matrix, norm = matrix_write(k, v, matrix, norm, there=there)
    return out, matrix, norm


def linear_attention_reference(
    q: Tensor, k: Tensor, v: Tensor, matrix: Tensor, norm: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The same, token by token: write, then read."""
    outs = []
    for t in range(q.shape[-2]):
        one = slice(t, t + 1)
        matrix, norm = matrix_write(k[..., one, :], v[..., one, :], matrix, norm)
        outs.append(matrix_read(q[..., one, :], matrix, norm))
    return torch.cat(outs, -2), matrix, norm
