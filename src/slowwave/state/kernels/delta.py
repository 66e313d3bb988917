"""The gated delta rule, token by token and in chunks by one unit-triangular solve.

    S[t] = a[t] (I - beta[t] k[t] k[t]ᵀ) S[t-1] + beta[t] k[t] v[t]ᵀ        o[t] = S[t]ᵀ q[t]

Source: Yang et al. 2024 (DeltaNet in parallel, Gated DeltaNet). Without a gate (log_decay 0) it is the delta rule, with
beta 1 and orthonormal keys it stores and finds exactly.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from slowwave.state.packing import unflatten


def delta_step(
    q: Tensor, k: Tensor, v: Tensor, beta: Tensor, log_decay: Tensor, matrix: Tensor
) -> tuple[Tensor, Tensor]:
    """One token: q, k (..., key), v (..., value), beta and log_decay (...), matrix (..., key, value)."""
    matrix = matrix * log_decay.exp()[..., None, None]
    error = v - (k[..., None, :] @ matrix).squeeze(-2)
    matrix = matrix + (beta[..., None] * k)[..., :, None] * error[..., None, :]
    return (q[..., None, :] @ matrix).squeeze(-2), matrix


def delta_recurrent(
    q: Tensor, k: Tensor, v: Tensor, beta: Tensor, log_decay: Tensor, matrix: Tensor
) -> tuple[Tensor, Tensor]:
    """The reference: a loop over tokens. Shapes as `delta_chunked`."""
    outs = []
    for t in range(q.shape[-2]):
        now = (q[..., t, :], k[..., t, :], v[..., t, :], beta[..., t], log_decay[..., t])
        out, matrix = delta_step(*now, matrix)
        outs.append(out)
    return torch.stack(outs, -2), matrix


def delta_chunked(
    q: Tensor, k: Tensor, v: Tensor, beta: Tensor, log_decay: Tensor, matrix: Tensor, chunk: int = 32
) -> tuple[Tensor, Tensor]:
    """The same numbers, a chunk at a time: within one, what each token writes solves a triangular system.

    q, k       (..., time, key)
    v          (..., time, value)
    beta       (..., time), 0 for a token that writes nothing
    log_decay  (..., time), at most 0; 0 for a token that forgets nothing
    matrix     (..., key, value), the memory before
    returns    outputs (..., time, value) and the memory after
    """
    time = q.shape[-2]
    pad = -time % chunk
    if pad:
        q, k, v = (F.pad(x, (0, 0, 0, pad)) for x in (q, k, v))
        beta, log_decay = F.pad(beta, (0, pad)), F.pad(log_decay, (0, pad))
    blocks = (time + pad) // chunk
    q, k, v = (unflatten(x, -2, blocks, chunk) for x in (q, k, v))
    beta, log_decay = unflatten(beta, -1, blocks, chunk), unflatten(log_decay, -1, blocks, chunk)
    total = log_decay.cumsum(-1)
    lower = torch.ones(chunk, chunk, dtype=torch.bool, device=q.device).tril()
    between = (total[..., :, None] - total[..., None, :]).masked_fill(~lower, -torch.inf).exp()
    weighted = beta[..., None] * k
    system = (weighted @ k.transpose(-1, -2)) * between  # its diagonal is taken as ones by the solver
    both = torch.cat([beta[..., None] * v, weighted * total.exp()[..., None]], -1)
    solved = torch.linalg.solve_triangular(system, both, upper=False, unitriangular=True)
    own, from_memory = solved.split([v.shape[-1], k.shape[-1]], -1)
    seen = (q @ k.transpose(-1, -2)) * between
    asked = q * total.exp()[..., None]
    left = (total[..., -1:] - total).exp()[..., None] * k
    kept = total[..., -1, None, None].exp()
    outs = []
    # unbound at once: indexing one block at a time, its gradient would be a tensor of zeros as large as the whole
    for own_, past, asked_, seen_, left_, kept_ in zip(
        *(x.unbind(-3) for x in (own, from_memory, asked, seen, left, kept)), strict=True
    ):
        written = own_ - past @ matrix
        outs.append(asked_ @ matrix + seen_ @ written)
        matrix = kept_ * matrix + left_.transpose(-1, -2) @ written
    return torch.stack(outs, -3).flatten(-3, -2)[..., :time, :], matrix
