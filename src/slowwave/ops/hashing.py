"""Cross-polytope hashing: vectors that lie close together fall into the same bucket, so that few need be compared.

    bucket of x in one table = argmax over [xR ; -xR], R a random matrix of `buckets` / 2 columns

One table misses neighbours that lie across a border. Two remedies: several tables, each with an R of its own, and
several probes, which look into the buckets of the next largest entries as well; both cost comparisons.
Of what they find, those that share most buckets with the query come first, so that a share may be enough to compare.
Source: Andoni et al. 2015, "Practical and Optimal LSH for Angular Distance"; as used by Liu et al. 2023, "TiM".
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from slowwave.errors import InputError
from slowwave.models.base import Vectors

Codes = NDArray[np.int64]


def rotations(dim: int, buckets: int, tables: int, seed: int = 0) -> Vectors:
    """The random matrices, (tables, dim, buckets / 2) float32; equal arguments give equal ones.

    raises  InputError for an odd number of buckets, or for less than 2 buckets or 1 table
    """
    if buckets < 2 or buckets % 2 or tables < 1:
        raise InputError(f"buckets is {buckets} and tables {tables}; give an even number of buckets, and a table")
    drawn = np.random.default_rng(seed).standard_normal((tables, dim, buckets // 2))
    return np.asarray(drawn, dtype=np.float32)


def codes(vectors: Vectors, planes: Vectors, probes: int = 1) -> Codes:
    """(n, dim) vectors -> (n, tables, probes) buckets, the likeliest first; there are no more probes than buckets."""
    turned = np.matmul(np.asarray(vectors, dtype=np.float32)[None], planes).transpose(1, 0, 2)
    both = np.concatenate([turned, -turned], axis=2)
    if probes == 1:
        return np.asarray(both.argmax(axis=2)[:, :, None], dtype=np.int64)
    return np.asarray(np.argsort(-both, axis=2, kind="stable")[:, :, :probes], dtype=np.int64)


class Buckets:
    """Hash tables in memory: positions by table and bucket.

    >>> table = Buckets(rotations(dim=2, buckets=4, tables=2))
    >>> table.extend(np.array([[1, 0], [0, 1]], dtype=np.float32))
    >>> table.candidates(np.array([1, 0.01], dtype=np.float32), most=1).tolist()
    [0]
    """

    def __init__(self, planes: Vectors) -> None:
        self.planes = planes
        self.size = 0
        self._held: dict[tuple[int, int], list[int]] = defaultdict(list)

    def extend(self, vectors: Vectors) -> None:
        """Add rows; they get the next positions."""
        for row in codes(vectors, self.planes)[:, :, 0].tolist():
            for table, bucket in enumerate(row):
                self._held[table, bucket].append(self.size)
            self.size += 1

    def candidates(self, vector: Vectors, probes: int = 1, most: int | None = None) -> Codes:
        """Positions in any of the vector's buckets, each once: what has to be compared with it.

        Those that share most buckets with it come first, a rare bucket counting more, as a rare word does; `most` keeps
        so many of them.
        """
        votes = np.zeros(self.size)
        for table, row in enumerate(codes(vector[None], self.planes, probes)[0].tolist()):
            for bucket in row:
                held = self._held.get((table, bucket), [])
                votes[held] += np.log((self.size + 1) / len(held)) if held else 0.0
        found = np.flatnonzero(votes)
        return found[np.argsort(-votes[found], kind="stable")][:most]


def together(mine: Codes, theirs: Codes) -> NDArray[np.bool_]:
    """Which rows lie in one of the buckets that a vector looks into: what a table would have given back.

    mine    (tables, probes) of the vector
    theirs  (n, tables), each row's own buckets
    returns (n,)
    """
    return np.asarray((theirs[:, :, None] == mine[None]).any(axis=(1, 2)))


def agreement(exact: Sequence[int], found: Sequence[int]) -> float:
    """Share of the exact neighbours that are among those found; 1 where there is none to find."""
    return len(set(exact) & set(found)) / len(exact) if exact else 1.0
