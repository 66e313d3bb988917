"""Where events begin: at tokens more surprising than the recent past, then moved to where keys cluster best.

Source: Fountas et al. 2024 (EM-LLM). Differs: the modularity is worked out from cumulative sums in O(1) a candidate,
not by a loop over pairs, and negative similarities count as none, so that it stays a graph.
"""

from __future__ import annotations

import torch
from torch import Tensor


def surprise(logits: Tensor, ids: Tensor) -> Tensor:
    """-log p of each token but the first: logits (..., time, vocabulary), ids (..., time) -> (..., time), first 0."""
    logp = logits[..., :-1, :].log_softmax(-1).gather(-1, ids[..., 1:, None]).squeeze(-1)
    return torch.cat([torch.zeros_like(logp[..., :1]), -logp], -1)


def boundaries(surprises: Tensor, gamma: float = 1.0, window: int = 128, least: int = 8, most: int = 128) -> Tensor:
    """Which tokens begin an event: (time,) -> (time,) bool. A token's threshold is mean + gamma x deviation of the
    `window` before it; events are `least` to `most` tokens long."""
    return spaced(surprising(surprises, gamma, window), least, most)


def surprising(surprises: Tensor, gamma: float = 1.0, window: int = 128) -> Tensor:
    """(time,) bool: above mean + gamma x deviation of the `window` before; the first has nothing before it."""
    values = surprises.to(torch.float64)
    ones = torch.cat([values.new_zeros(1), values.cumsum(0)])
    squares = torch.cat([values.new_zeros(1), values.pow(2).cumsum(0)])
    ends = torch.arange(len(values))
    starts = (ends - window).clamp_min(0)
    n = (ends - starts).clamp_min(1).to(torch.float64)
    mean = (ones[ends] - ones[starts]) / n
    deviation = ((squares[ends] - squares[starts]) / n - mean.pow(2)).clamp_min(0).sqrt()
    return (values > mean + gamma * deviation) & (ends > 0)


def spaced(marks: Tensor, least: int = 8, most: int = 128) -> Tensor:
    """Which tokens begin an event, of those marked (time,): the first, and events are `least` to `most` tokens long."""
    high = marks.tolist()
    out, last = [], 0
    for t in range(len(high)):
        begins = t == 0 or (high[t] and t - last >= least) or t - last >= most
        out.append(begins)
        last = t if begins else last
    return torch.tensor(out, dtype=torch.bool)


def boundaries_reference(
    surprises: Tensor, gamma: float = 1.0, window: int = 128, least: int = 8, most: int = 128
) -> Tensor:
    """The same with each window taken out."""
    out, last = [], 0
    for t in range(len(surprises)):
        before = surprises[max(0, t - window) : t].to(torch.float64)
        high = bool(surprises[t] > before.mean() + gamma * before.std(correction=0)) if t else False
        begins = t == 0 or (high and t - last >= least) or t - last >= most
        out.append(begins)
        last = t if begins else last
    return torch.tensor(out, dtype=torch.bool)


def modularity(keys: Tensor, starts: Tensor) -> float:
    """Newman's modularity of events as groups in the graph of positive key similarities: keys (time, dim)."""
    graph = (keys @ keys.t()).clamp_min(0).to(torch.float64)
    total = float(graph.sum())
    if total == 0:
        return 0.0
    group = starts.to(torch.int64).cumsum(0)
    same = group[:, None] == group[None]
    degree = graph.sum(1)
    return float(((graph - degree[:, None] * degree[None] / total) * same).sum() / total)


def refined(keys: Tensor, starts: Tensor, least: int = 1, most: int | None = None) -> Tensor:
    """Each inner boundary moved, one after the other, to where modularity is highest between its two neighbours, so
    that events stay `least` to `most` tokens long."""
    graph = (keys @ keys.t()).clamp_min(0).to(torch.float64)
    total = float(graph.sum())
    if total == 0:
        return starts
    sums = torch.zeros(len(keys) + 1, len(keys) + 1, dtype=torch.float64)
    sums[1:, 1:] = graph.cumsum(0).cumsum(1)
    degrees = torch.cat([torch.zeros(1, dtype=torch.float64), graph.sum(1).cumsum(0)])
    places = starts.nonzero()[:, 0].tolist()

    def inside(a: Tensor, b: Tensor) -> Tensor:
        """What the event from a up to b adds to the modularity."""
        weight = sums[b, b] - sums[a, b] - sums[b, a] + sums[a, a]
        return weight - (degrees[b] - degrees[a]).pow(2) / total

    for n in range(1, len(places)):
        low, high = places[n - 1], places[n + 1] if n + 1 < len(places) else len(keys)
        first, last = low + least, high - least
        if most is not None:
            first, last = max(first, high - most), min(last, low + most)
        if first > last:
            continue
        cuts = torch.arange(first, last + 1)
        gain = inside(torch.tensor(low), cuts) + inside(cuts, torch.tensor(high))
        places[n] = int(cuts[int(gain.argmax())])
    out = torch.zeros_like(starts)
    out[places] = True
    return out


def refined_reference(keys: Tensor, starts: Tensor, least: int = 1, most: int | None = None) -> Tensor:
    """The same by trying every place of every boundary, and the modularity of the whole."""
    places = starts.nonzero()[:, 0].tolist()
    for n in range(1, len(places)):
        low, high = places[n - 1], places[n + 1] if n + 1 < len(places) else len(keys)
        tried = []
        for cut in range(low + 1, high):
            if all(least <= size and (most is None or size <= most) for size in (cut - low, high - cut)):
                marks = torch.zeros_like(starts)
                marks[[*places[:n], cut, *places[n + 1 :]]] = True
                tried.append((modularity(keys, marks), -cut))
        if tried:
            places[n] = -max(tried)[1]
    out = torch.zeros_like(starts)
    out[places] = True
    return out
