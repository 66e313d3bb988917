"""Attention in two levels: over the summaries of chunks, then inside the few best of them.

Source: Lampinen et al. 2021 (HCAM).
"""

from __future__ import annotations

import torch
from torch import Tensor


def two_level(
    summary_query: Tensor,
    query: Tensor,
    summaries: Tensor,
    keys: Tensor,
    values: Tensor,
    visible: Tensor,
    k: int,
) -> tuple[Tensor, Tensor]:
    """Values from inside the k best chunks, weighted by how relevant each chunk is.

    summary_query  (batch, time, dim)
    query          (batch, time, heads, head_dim), asked inside the chunks
    summaries      (batch, chunks, dim)
    keys, values   (batch, chunks, size, heads, head_dim)
    visible        (batch, time, chunks) bool; others are neither scored nor read
    returns        (batch, time, heads, head_dim), zero where no chunk is visible; relevance (batch, time, chunks)

    The softmax runs over the k chosen alone, so only they are trained: begin with a k near the number of chunks.
    """
    chunks = summaries.shape[1]
    k = min(k, chunks)
    scores = summary_query @ summaries.transpose(-1, -2) * summary_query.shape[-1] ** -0.5
    scores = scores.masked_fill(~visible, -torch.inf)
    best, places = scores.topk(k, -1)
    seen = best > -torch.inf
    weights = torch.where(seen, best, torch.finfo(best.dtype).min).softmax(-1) * seen.to(best.dtype)
    rows = torch.arange(len(places), device=places.device)[:, None, None]
    chosen_k, chosen_v = keys[rows, places], values[rows, places]  # (batch, time, k, size, heads, head_dim)
    inside = torch.einsum("bthd,btkshd->btkhs", query, chosen_k) * query.shape[-1] ** -0.5
    read = torch.einsum("btkhs,btkshd->btkhd", inside.softmax(-1), chosen_v)
    out = (weights[..., None, None] * read).sum(2)
    return out, torch.zeros_like(scores).scatter(-1, places, weights)


def two_level_reference(
    summary_query: Tensor,
    query: Tensor,
    summaries: Tensor,
    keys: Tensor,
    values: Tensor,
    visible: Tensor,
    k: int,
) -> Tensor:
    """The same by loops over rows, tokens and chunks."""
    out = torch.zeros_like(query)
    for b in range(query.shape[0]):
        for t in range(query.shape[1]):
            known = visible[b, t].nonzero()[:, 0].tolist()
            if not known:
                continue
            score = {c: summary_query[b, t] @ summaries[b, c] * summary_query.shape[-1] ** -0.5 for c in known}
            best = sorted(known, key=lambda c: -float(score[c].detach()))[:k]
            weights = torch.stack([score[c] for c in best]).softmax(0)
            for weight, c in zip(weights, best, strict=True):
                inside = torch.einsum("hd,shd->hs", query[b, t], keys[b, c]) * query.shape[-1] ** -0.5
                read = torch.einsum("hs,shd->hd", inside.softmax(-1), values[b, c])
                out[b, t] = out[b, t] + weight * read
    return out
