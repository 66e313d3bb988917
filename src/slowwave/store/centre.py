"""Where a scope's vectors have their centre, which is taken away so that what all of them share does not count."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def counted(records: int) -> int:
    """How many of the first records the centre is made of: all up to 64, then the largest power of two."""
    return records if records <= 64 else 1 << (records.bit_length() - 1)


def centre_of(parts: Iterable[Floats], dim: int, prior: float = 10.0) -> Floats:
    """The mean of unit vectors, drawn towards 0 in a small scope as if `prior` zero vectors were among them.

    parts  arrays of (n, dim), read as they come, so that they need not be in memory at once
    """
    total, records = np.zeros(dim), 0
    for part in parts:
        total += part.sum(axis=0)
        records += len(part)
    return np.asarray(total / (records + prior), dtype=np.float32)


def centred(vectors: Floats, centre: Floats) -> Floats:
    """Unit rows from which the centre was taken."""
    moved = vectors - centre
    return np.asarray(moved / np.maximum(np.linalg.norm(moved, axis=1, keepdims=True), 1e-6), dtype=np.float32)


__all__ = ["centre_of", "centred", "counted"]
