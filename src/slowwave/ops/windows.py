"""Sliding windows over what happened: chunks of consecutive records, and windows of chunks whose size grows with them.

Source: ComoRAG (Wang et al. 2025), whose code lays windows side by side; a `stride` below the size makes them overlap.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from slowwave.errors import InputError
from slowwave.ops.packing import estimate_tokens
from slowwave.ops.segments import by_session, by_tokens
from slowwave.records import Engram

SIZES = ((5, 2), (20, 3), (50, 5), (100, 8), (200, 10))  # (up to so many chunks, chunks a window)
MOST = 20  # chunks in a window, however many there are


def window_size(chunks: int) -> int:
    """How many chunks one window covers: 2/3/5/8/10 up to 5/20/50/100/200 chunks, then 2 log2 n, from 10 to 20."""
    for most, size in SIZES:
        if chunks <= most:
            return size
    return min(MOST, max(SIZES[-1][1], int(2 * math.log2(chunks))))


def windows(chunks: int, size: int, stride: int | None = None) -> list[range]:
    """Ranges of `size` places over `chunks`; the last is shorter where they do not come out even.

    stride  from one window's first place to the next one's; None takes `size`, so that none overlap
    """
    step = size if stride is None else stride
    if size < 1 or step < 1:
        raise InputError(f"size is {size} and stride {step}; both must be at least 1")
    out: list[range] = []
    for start in range(0, chunks, step):
        out.append(range(start, min(start + size, chunks)))
        if start + size >= chunks:
            break
    return out


def chunked(
    engrams: Sequence[Engram], tokens: int = 512, count: Callable[[str], int] = estimate_tokens
) -> list[list[Engram]]:
    """Consecutive records of one scope and session, put together up to so many tokens; a longer one stands alone."""
    return [
        chunk
        for sitting in by_session(engrams)
        for chunk in by_tokens(sitting, tokens, lambda engram: count(engram.text))
    ]
