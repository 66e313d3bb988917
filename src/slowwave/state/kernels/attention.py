"""Attention with explicit masks and positions: over a prefix of keys and values, and over a sliding window."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from slowwave.state.packing import unflatten


def rotate(x: Tensor, positions: Tensor, base: float = 10_000.0) -> Tensor:
    """Rotary positions, halves paired as Llama pairs them.

    x          (batch, heads, time, dim), dim even
    positions  (batch, time) int64; angles are taken in float64, so that the millionth token is as exact as the first
    """
    half = x.shape[-1] // 2
    rates = base ** (-torch.arange(half, dtype=torch.float64, device=x.device) / half)
    angles = positions[:, None, :, None].to(torch.float64) * rates
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    first, second = x[..., :half], x[..., half:]
    return torch.cat([first * cos - second * sin, second * cos + first * sin], -1)


def prefix_attention(
    near: tuple[Tensor, Tensor, Tensor],
    far: tuple[Tensor, Tensor, Tensor] | None = None,
    far_there: Tensor | None = None,
    scale: float | None = None,
) -> tuple[Tensor, Tensor]:
    """Causal attention whose tokens also see keys that lie before; the caller has put positions into everything.

    near       q (batch, heads, time, dim); k, v (batch, kv heads, past + time, dim); a token sees those up to itself
    far        q again, perhaps at another position, and k, v (batch, kv heads, slots, dim), which every token sees
    far_there  (batch, slots) bool
    returns    (batch, heads, time, dim), and the weights (batch, heads, time, slots + past + time)
    """
    q, k, v = near
    batch, heads, time, dim = q.shape
    kv = k.shape[1]
    scale = dim**-0.5 if scale is None else scale

    def scores(query: Tensor, keys: Tensor) -> Tensor:
        found: Tensor = (query.reshape(batch, kv, -1, dim) @ keys.transpose(-1, -2)) * scale
        return found.view(batch, heads, time, keys.shape[2])

    seen = torch.ones(time, k.shape[2], dtype=torch.bool, device=q.device).tril(k.shape[2] - time)
    found = scores(q, k).masked_fill(~seen, -torch.inf)
    if far is not None and far[1].shape[2]:
        before = scores(far[0], far[1])
        if far_there is not None:
            before = before.masked_fill(~far_there[:, None, None], -torch.inf)
        found, v = torch.cat([before, found], -1), torch.cat([far[2], v], 2)
    weights = found.softmax(-1)
    out = weights.view(batch, kv, -1, v.shape[2]) @ v
    return out.view(batch, heads, time, v.shape[3]), weights


def prefix_attention_reference(q: Tensor, k: Tensor, v: Tensor, prefix_k: Tensor, prefix_v: Tensor) -> Tensor:
    """The same without masks, a token at a time, for equal numbers of heads."""
    outs = []
    for t in range(q.shape[2]):
        keys = torch.cat([prefix_k, k[:, :, : t + 1]], 2)
        values = torch.cat([prefix_v, v[:, :, : t + 1]], 2)
        weights = ((q[:, :, t : t + 1] @ keys.transpose(-1, -2)) * q.shape[-1] ** -0.5).softmax(-1)
        outs.append(weights @ values)
    return torch.cat(outs, 2)


def window_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    past_k: Tensor,
    past_v: Tensor,
    past_there: Tensor,
    always: tuple[Tensor, Tensor, Tensor] | None = None,
) -> Tensor:
    """Each token sees itself and the `window` - 1 before it; the last `window` of the calls before lie in `past`.

    q, k, v     (batch, heads, time, dim)
    past_k, _v  (batch, heads, window, dim), the newest last
    past_there  (batch, window) bool
    always      queries (batch, heads, time, dim), keys and values (heads, count, dim) of what each token sees besides,
                without positions
    Costs time x 2 window, in blocks of `window` queries.
    """
    batch, _, time, dim = q.shape
    window = past_k.shape[2]
    if not time:
        return q
    block = min(window, time)  # queries at once; their keys reach from window - 1 before the first to the last
    pad = -time % block
    keys = F.pad(torch.cat([past_k[:, :, 1:], k], 2), (0, 0, 0, pad))
    values = F.pad(torch.cat([past_v[:, :, 1:], v], 2), (0, 0, 0, pad))
    there = torch.cat([past_there[:, 1:], torch.ones(batch, time + pad, dtype=torch.bool, device=q.device)], 1)
    span, count = block + window - 1, (time + pad) // block
    laid_k = keys.unfold(2, span, block).transpose(-1, -2)  # (batch, heads, count, span, dim)
    laid_v = values.unfold(2, span, block).transpose(-1, -2)
    laid_there = there.unfold(1, span, block)  # (batch, count, span)
    laid_q = unflatten(F.pad(q, (0, 0, 0, pad)), 2, count, block)
    rows, columns = torch.arange(block, device=q.device)[:, None], torch.arange(span, device=q.device)[None]
    near = (columns >= rows) & (columns <= rows + window - 1)
    allowed = near & laid_there[:, None, :, None, :]
    if always is not None:  # a second half of every query and key, in which the two kinds do not meet
        own_q, own_k, own_v = always
        extra = own_k.shape[1]
        laid_q = torch.cat([laid_q, unflatten(F.pad(own_q, (0, 0, 0, pad)), 2, count, block)], -1)
        own_k = F.pad(own_k, (dim, 0))[None, :, None].expand(batch, -1, count, -1, -1)
        laid_k = torch.cat([own_k, F.pad(laid_k, (0, dim))], 3)
        laid_v = torch.cat([own_v[None, :, None].expand(batch, -1, count, -1, -1), laid_v], 3)
        allowed = F.pad(allowed, (extra, 0), value=True)
    out = F.scaled_dot_product_attention(laid_q, laid_k, laid_v, attn_mask=allowed, scale=dim**-0.5)
    return out.flatten(2, 3)[:, :, :time]


def window_attention_reference(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    past_k: Tensor,
    past_v: Tensor,
    past_there: Tensor,
    always: tuple[Tensor, Tensor, Tensor] | None = None,
) -> Tensor:
    """The same, row by row and token by token."""
    window, rows = past_k.shape[2], []
    for b in range(len(q)):
        keys, values = (torch.cat(pair, 1) for pair in ((past_k[b], k[b]), (past_v[b], v[b])))
        there, outs = past_there[b].tolist() + [True] * k.shape[2], []
        for t in range(q.shape[2]):
            seen = [n for n in range(t + 1, t + window + 1) if there[n]]
            scores, told = q[b, :, t, None] @ keys[:, seen].transpose(-1, -2), values[:, seen]
            if always is not None:
                own = always[0][b, :, t, None] @ always[1].transpose(-1, -2)
                scores, told = torch.cat([own, scores], -1), torch.cat([always[2], told], 1)
            outs.append((scores * q.shape[-1] ** -0.5).softmax(-1) @ told)
        rows.append(torch.cat(outs, 1))
    return torch.stack(rows)
