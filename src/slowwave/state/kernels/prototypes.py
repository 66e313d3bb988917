"""Consolidation by use: the entries most used for their age become prototypes, and the rest flow into them.

Source: Cheng and Schwing 2022 (XMem), "memory potentiation".
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from slowwave.state.packing import take


class Prototypes(NamedTuple):
    """keys (batch, count, key), exactly those chosen; values (batch, count, value), means over what is like them;
    places (batch, count) of the chosen."""

    keys: Tensor
    values: Tensor
    places: Tensor


def prototypes(keys: Tensor, values: Tensor, use: Tensor, life: Tensor, count: int, scale: float = 1.0) -> Prototypes:
    """Choose by use / life, then give each the softmax-weighted mean of all candidates' values.

    keys (batch, n, key); values (batch, n, value); use, life (batch, n), life at least 1
    scale  multiplies the similarity, minus the squared distance over the root of the key's width
    """
    rank = use / life.clamp_min(1).to(use.dtype)
    places = torch.argsort(rank, dim=1, descending=True, stable=True)[:, :count].sort(1).values
    chosen = take(keys, places)
    similarity = -torch.cdist(chosen, keys).pow(2) * (scale * keys.shape[-1] ** -0.5)
    return Prototypes(chosen, similarity.softmax(-1) @ values, places)


def prototypes_reference(
    keys: Tensor, values: Tensor, use: Tensor, life: Tensor, count: int, scale: float = 1.0
) -> Prototypes:
    """The same, entry by entry."""
    all_keys, all_values, all_places = [], [], []
    for row in range(len(keys)):
        n = keys.shape[1]
        rank = sorted(range(n), key=lambda i: (-float(use[row, i] / max(1.0, float(life[row, i]))), i))
        places = sorted(rank[:count])
        means = []
        for place in places:
            similarity = torch.stack(
                [-((keys[row, i] - keys[row, place]) ** 2).sum() * scale * keys.shape[-1] ** -0.5 for i in range(n)]
            )
            means.append((similarity.softmax(0)[:, None] * values[row]).sum(0))
        all_keys.append(keys[row, places])
        all_values.append(torch.stack(means))
        all_places.append(torch.tensor(places))
    return Prototypes(torch.stack(all_keys), torch.stack(all_values), torch.stack(all_places))
