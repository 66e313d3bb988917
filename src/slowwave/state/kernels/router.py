"""A router in mask form: each token's k best of several memories, the weights they get, and the balance loss."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Routed(NamedTuple):
    """weights (..., memories), zero where not chosen, summing to 1; chosen (..., memories) bool; balance, a scalar."""

    weights: Tensor
    chosen: Tensor
    balance: Tensor


def route(logits: Tensor, k: int, there: Tensor | None = None) -> Routed:
    """Softmax over all, the k best kept and scaled to sum 1.

    logits  (..., memories)
    there   (...) bool; tokens that are not there count nothing in the balance
    The balance loss is that of the Switch transformer: memories x Σ (share of tokens) x (mean probability), 1 at best.
    """
    memories = logits.shape[-1]
    p = logits.softmax(-1)
    places = p.topk(min(k, memories), -1).indices
    chosen = torch.zeros_like(p, dtype=torch.bool).scatter_(-1, places, True)
    kept = p * chosen.to(p.dtype)
    weights = kept / kept.sum(-1, keepdim=True)
    counted = torch.ones_like(p[..., 0]) if there is None else there.to(p.dtype)
    total = counted.sum().clamp_min(1)
    share = (chosen.to(p.dtype) * counted[..., None]).flatten(0, -2).sum(0) / (total * places.shape[-1])
    mean = (p * counted[..., None]).flatten(0, -2).sum(0) / total
    return Routed(weights, chosen, memories * (share * mean).sum())


def route_reference(logits: Tensor, k: int) -> Tensor:
    """The weights alone, a token at a time."""
    flat = logits.reshape(-1, logits.shape[-1])
    rows = []
    for row in flat:
        p = row.softmax(-1)
        best = sorted(range(len(p)), key=lambda m: (-float(p[m].detach()), m))[:k]
        total = sum(p[m] for m in best)
        rows.append(torch.stack([p[m] / total if m in best else p[m] * 0 for m in range(len(p))]))
    return torch.stack(rows).view_as(logits)
