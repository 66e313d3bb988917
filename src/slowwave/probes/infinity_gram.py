"""How likely a corpus makes a token after a context, by the longest ending of the context that it holds.

Source: Liu et al. 2024 (Infini-gram): counts in a suffix array, no smoothing, no limit on n. Ours: an ending counts
where a token follows it in the same document, so that the chances of all tokens sum to one.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from slowwave.errors import InputError

DEEP = 64  # tokens by which suffixes are sorted; no longer ending is looked for


class InfinityGram:
    """The counts of a corpus.

    documents  token ids, one sequence a document; no ending reaches over two
    memory     some 30 bytes a token

    Example:

        gram = InfinityGram([[1, 2, 3], [1, 2, 4], [5, 2, 3]])
        gram.probability([1, 2], 3)           # 0.5: of two documents that go on after 1 2, one goes on with 3
        gram.probability([9, 2], 3)           # 2 / 3: no 9 2, so 2 alone counts
    """

    def __init__(self, documents: Sequence[Sequence[int]]) -> None:
        if not any(len(one) for one in documents):
            raise InputError("the corpus holds no token; give texts that the model has read")
        shifted = [np.append(np.asarray(one, np.int64) + 1, 0) for one in documents]  # 0 ends a document
        ids = np.concatenate(shifted)
        self.order = _suffixes(ids)
        self._bytes = ids.astype(">i4").tobytes()  # bytes of this order sort as the numbers do

    def probability(self, context: Sequence[int], token: int) -> float:
        """The share of the places at which the longest ending of the context is followed by this token."""
        tail = list(context)[-DEEP + 1 :]
        low, high = 0, len(tail)  # of any length up to the longest there is at least one place
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self._followed(tail[len(tail) - middle :]) else (low, middle - 1)
        ending = tail[len(tail) - low :]
        return self._count([*ending, token]) / self._followed(ending)

    def span(self, context: Sequence[int], tokens: Sequence[int]) -> float:
        """The product of the probabilities of tokens one after another."""
        out = 1.0
        for n, token in enumerate(tokens):
            out *= self.probability([*context, *tokens[:n]], token)
        return out

    def _followed(self, tokens: Sequence[int]) -> int:
        return self._count(tokens) - self._count([*tokens, -1])

    def _count(self, tokens: Sequence[int]) -> int:
        """Places at which these tokens stand; -1 is the end of a document."""
        key = (np.asarray(tokens, np.int64) + 1).astype(">i4").tobytes()
        wide, size = len(key), len(self.order)

        def at(place: int) -> bytes:
            begin = 4 * int(self.order[place])
            return self._bytes[begin : begin + wide]

        first = bisect_left(range(size), key, key=at)
        after = int.from_bytes(key, "big") + 1  # the next key of this length
        beyond = size if after >> (8 * wide) else bisect_left(range(size), after.to_bytes(wide, "big"), first, key=at)
        return beyond - first


def _suffixes(ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """The places of an array in the order of what follows them, by doubling; exact to DEEP tokens."""
    n = len(ids)
    rank = np.unique(ids, return_inverse=True)[1].astype(np.int64)
    order, length = np.argsort(rank, kind="stable"), 1
    while length < DEEP and rank.max() < n - 1:
        later = np.zeros(n, np.int64)
        later[:-length] = rank[length:] + 1
        both = rank * (n + 1) + later
        order = np.argsort(both, kind="stable")
        rank = np.empty(n, np.int64)
        rank[order] = np.concatenate([[0], np.cumsum(np.diff(both[order]) > 0)])
        length *= 2
    return order
