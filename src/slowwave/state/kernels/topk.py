"""The exact k best of many keys, in blocks, so that no row of all scores has to stand in memory."""

from __future__ import annotations

import torch
from torch import Tensor


def top_k(
    query: Tensor, keys: Tensor, k: int, there: Tensor | None = None, block: int = 65_536
) -> tuple[Tensor, Tensor]:
    """Scores and places of the best by dot product, the best first; ties go to the earlier key.

    query  (batch, queries, dim)
    keys   (batch, count, dim), or (count, dim) for all rows alike
    there  (batch, count) or (count,) bool; what is not there scores -inf
    returns  (batch, queries, min(k, count)), twice
    """
    keys = keys.expand(query.shape[0], -1, -1) if keys.dim() == 2 else keys
    count = keys.shape[1]
    k = min(k, count)
    best = query.new_full((*query.shape[:2], 0), -torch.inf)
    places = torch.zeros(*query.shape[:2], 0, dtype=torch.int64, device=query.device)
    for start in range(0, max(count, 1), block):
        part = keys[:, start : start + block]
        scores = query @ part.transpose(-1, -2)
        if there is not None:
            mask = there.expand(query.shape[0], -1)[:, None, start : start + block]
            scores = scores.masked_fill(~mask, -torch.inf)
        here = torch.arange(start, start + part.shape[1], device=query.device).expand_as(scores)
        best, places = torch.cat([best, scores], -1), torch.cat([places, here], -1)
        order = torch.sort(best, dim=-1, descending=True, stable=True).indices[..., :k]
        best, places = best.gather(-1, order), places.gather(-1, order)
    return best, places


def top_k_reference(query: Tensor, keys: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """All scores, sorted."""
    scores = query @ keys.transpose(-1, -2)
    order = torch.sort(scores, dim=-1, descending=True, stable=True).indices[..., :k]
    return scores.gather(-1, order), order
