"""How near a record is to the time that a query names: by when it happened, and by the times its text speaks of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

DAY = 86_400_000_000  # microseconds
LAG_DAYS = 7.0  # what happened is told for days afterwards
LEAD_DAYS = 2.0  # and announced shortly before

Interval = tuple[int, int]


def time_closeness(
    asked: Sequence[Interval],
    at: ArrayLike,
    spoken: Sequence[Sequence[Interval]],
    lag_days: float = LAG_DAYS,
    lead_days: float = LEAD_DAYS,
) -> NDArray[np.float64]:
    """(n,) in [0, 1]: 1 for a record from within an asked stretch, or whose text speaks of it.

    asked      the half-open stretches [start, stop) that the query names, in microseconds since 1970 UTC
    at         (n,) when each record happened, likewise
    spoken     for each record the stretches its text names ("yesterday" said on 8 May is 7 May), resolved
    lag_days   a record from after the stretch fades by a factor e in so many days; from before it, in `lead_days`

    A stretch in the text counts by the share of the shorter of the two that both cover, so "last year" in a text is
    a full match for "July" and "July" for "last year".
    """
    moments = np.asarray(at, dtype=np.float64)
    near = np.zeros(len(moments))
    for start, stop in asked:
        late = np.maximum(0.0, moments - stop) / DAY
        early = np.maximum(0.0, start - moments) / DAY
        near = np.maximum(near, np.exp(-late / lag_days - early / lead_days))
        for row, stretches in enumerate(spoken):
            for first, last in stretches:
                shared = min(last, stop) - max(first, start)
                if shared > 0:
                    near[row] = max(near[row], shared / min(last - first, stop - start))
    return near
