"""Cuts a run of records into stretches: by session or silence, by speaker, by topic, by a token buffer.

A topic ends where the talk before a place and the talk after it are least alike: the cosine of the two windows' means,
near turns counting most, has a valley there that is deeper than most (M. Hearst, "TextTiling", 1997, on vectors). A
fixed threshold on the cosine of two adjacent turns, as LightMem falls back to (Fang et al. 2025), is `low_cosines`: two
adjacent turns of one topic are often a question and a one-word answer, so it cuts too much (measured in
proofs/light_mem.py).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from datetime import timedelta
from itertools import pairwise
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from slowwave.errors import InputError
from slowwave.ops.packing import estimate_tokens
from slowwave.records import Engram

Floats = NDArray[np.float32]
T = TypeVar("T")

SILENCE = timedelta(hours=6)  # that ends a sitting where no session is named
FEWEST_FOR_CENTRE = 12  # vectors whose mean says what all of the talk has in common
CLOSE = 2  # places around a valley that must not be lower


def by_session(engrams: Sequence[Engram], silence: timedelta = SILENCE) -> list[list[Engram]]:
    """Records by scope and session in the order of time; those of no session are cut where a silence falls."""
    order = sorted(engrams, key=lambda e: (str(e.scope), e.session or "", e.at, e.id))
    cuts = [
        n
        for n in range(1, len(order))
        if (order[n].scope, order[n].session) != (order[n - 1].scope, order[n - 1].session)
        or (order[n].session is None and order[n].at - order[n - 1].at > silence)
    ]
    return runs(order, cuts)


def by_change(engrams: Sequence[Engram], key: Callable[[Engram], Hashable]) -> list[list[Engram]]:
    """A new stretch wherever the key changes, such as `lambda engram: engram.speaker`; the order is kept."""
    return runs(engrams, [n for n in range(1, len(engrams)) if key(engrams[n]) != key(engrams[n - 1])])


def by_tokens(
    engrams: Sequence[T], most: int, count: Callable[[T], int] | None = None, whole: Sequence[int] = ()
) -> list[list[T]]:
    """Stretches of at most `most` tokens, filled in order; one record that is longer stands alone.

    count  tokens of one record; None estimates those of an Engram's text
    whole  places where a topic begins: a stretch then ends at one of them where it can, so that no topic which fits
           the buffer is cut in two
    """
    if most < 1:
        raise InputError(f"most is {most}; a buffer holds at least 1 token")
    sizes = [count(e) if count else estimate_tokens(e.text if isinstance(e, Engram) else str(e)) for e in engrams]
    cuts: list[int] = []
    start = used = 0
    for n, size in enumerate(sizes):
        if n > start and used + size > most:
            cut = max((place for place in whole if start < place <= n), default=n)
            cuts.append(cut)
            start, used = cut, sum(sizes[cut:n])
            if n > start and used + size > most:  # what stayed behind after the topic's beginning fills it again
                cuts.append(n)
                start, used = n, 0
        used += size
    return runs(engrams, cuts)


def by_topic(
    engrams: Sequence[T], vectors: Floats | None, window: int = 5, fade: float = 0.7, depth: float = 0.75
) -> list[list[T]]:
    """Stretches of one topic each, in order; see `topic_cuts`. Without vectors there is one."""
    return runs(engrams, [] if vectors is None else topic_cuts(vectors, window, fade, depth))


def topic_cuts(vectors: Floats, window: int = 5, fade: float = 0.7, depth: float = 0.75) -> list[int]:
    """Places at which a new topic begins: n stands for "between n - 1 and n".

    vectors  (n, dim) unit rows, in the order of the talk
    window   turns looked at on either side
    fade     weight of each turn further away, relative to the one before it
    depth    how much deeper than the mean a valley must be, in standard deviations of all depths

    The mean of all vectors is taken away first: what everything here has in common separates nothing.
    """
    if window < 1 or not 0 < fade <= 1:
        raise InputError(f"window is {window} and fade {fade}; give at least 1, and a fade in (0, 1]")
    if len(vectors) < 3:
        return []
    likeness = _across(_centred(vectors), window, fade)
    n = len(likeness)
    depths = np.array(
        [
            likeness[max(0, i - window) : i + 1].max() + likeness[i : i + window + 1].max() - 2 * likeness[i]
            for i in range(n)
        ]
    )
    deep = depths.mean() + depth * depths.std()
    lowest = (likeness[i] <= likeness[max(0, i - CLOSE) : i + CLOSE + 1].min() for i in range(n))
    return [i + 1 for i, low in enumerate(lowest) if low and depths[i] > max(deep, 1e-6)]


def low_cosines(vectors: Floats, lowest: float = 0.2, highest: float = 0.5, step: float = 0.05) -> list[int]:
    """Places where two adjacent turns have a cosine below a threshold, raised from `lowest` until one is found.

    LightMem's rule where it has no attention to go by; kept to be measured against.
    """
    if len(vectors) < 2:
        return []
    near = np.einsum("ij,ij->i", vectors[:-1], vectors[1:])
    threshold = lowest
    while threshold <= highest + 1e-9:
        if (near < threshold).any():
            return [int(n) + 1 for n in np.flatnonzero(near < threshold)]
        threshold += step
    return []


def runs(items: Sequence[T], cuts: Sequence[int]) -> list[list[T]]:
    """The items cut at these places, which are ascending and lie within; no items give no run."""
    edges = [0, *cuts, len(items)]
    return [list(items[a:b]) for a, b in pairwise(edges) if b > a]


def _centred(vectors: Floats) -> Floats:
    if len(vectors) < FEWEST_FOR_CENTRE:
        return vectors
    rows = vectors - vectors.mean(axis=0)
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9), dtype=np.float32)


def _across(vectors: Floats, window: int, fade: float) -> NDArray[np.float64]:
    """(n - 1,) cosine of what stands before each place with what stands after it."""
    weights = fade ** np.arange(window)
    out = np.empty(len(vectors) - 1)
    for place in range(1, len(vectors)):
        before, after = vectors[max(0, place - window) : place][::-1], vectors[place : place + window]
        a, b = weights[: len(before)] @ before, weights[: len(after)] @ after
        out[place - 1] = a @ b / max(float(np.linalg.norm(a) * np.linalg.norm(b)), 1e-9)
    return out
