"""Which tokens of a text are worth keeping: those that draw most attention from all others.

Source: Memory^3 (Yang et al. 2024, arXiv 2407.01178, section 3): the weight of token j is the sum over i of
exp(q_i . k_j / sqrt(dim)), without causal mask and without positions.
"""

from __future__ import annotations

import torch
from torch import Tensor


def drawn(q: Tensor, k: Tensor) -> Tensor:
    """The logarithm of what each token draws: q (heads, time, dim), k (kv heads, time, dim) -> (kv heads, time).

    A kv head's queries are summed over its group.
    """
    heads, _, dim = k.shape
    queries = q.reshape(heads, -1, *q.shape[1:])
    scores = torch.einsum("hgid,hjd->hgij", queries.float(), k.float()) / dim**0.5
    found: Tensor = scores.flatten(1, 2).logsumexp(1)
    return found


def drawn_reference(q: Tensor, k: Tensor) -> Tensor:
    """The same by loops over pairs, not as a logarithm."""
    heads, time, dim = k.shape
    group = q.shape[0] // heads
    out = torch.zeros(heads, time)
    for h in range(heads):
        for j in range(time):
            for i in range(time):
                for g in range(group):
                    out[h, j] += torch.exp(q[h * group + g, i] @ k[h, j] / dim**0.5)
    return out


def strongest(q: Tensor, k: Tensor, keep: int, chunk: int) -> Tensor:
    """Places (kv heads, kept), rising, of the tokens that draw most: `keep` of each `chunk`, fewer of a rest."""
    found = []
    for start in range(0, k.shape[1], chunk):
        stop = min(start + chunk, k.shape[1])
        many = min(stop - start, max(1, -(-keep * (stop - start) // chunk)))
        weights = drawn(q[:, start:stop], k[:, start:stop])
        found.append(weights.topk(many, -1).indices.sort(-1).values + start)
    return torch.cat(found, -1)
