"""Token classes by frequency: the commonest tokens that together make up a share of a corpus are function tokens.

Source: Zhang, Lin, Li 2025, section on token classes: sort by frequency, take tokens from the top until their summed
share reaches 40 %. Document coverage of a token is the share of documents in which it occurs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slowwave.errors import InputError
from slowwave.probes.activations import Tokens
from slowwave.probes.subjects import Subject


@dataclass(frozen=True)
class Classes:
    """Token ids of a corpus in the order of their frequency.

    ids       (n,) int32, commonest first
    count     (n,) int64
    coverage  (n,) float64, share of documents that hold it
    function  how many of the first ids are function tokens
    share     the threshold they were cut at
    """

    ids: NDArray[np.int32]
    count: NDArray[np.int64]
    coverage: NDArray[np.float64]
    function: int
    share: float

    def is_function(self, ids: NDArray[np.integer]) -> NDArray[np.bool_]:
        """Whether each of these token ids is a function token; any shape."""
        return np.isin(ids, self.ids[: self.function])

    @property
    def cumulative(self) -> NDArray[np.float64]:
        """Summed share of all occurrences, token by token."""
        return np.asarray(np.cumsum(self.count) / self.count.sum())

    def zipf(self, first: int = 10, last: int = 1000) -> float:
        """alpha of f(r) ~ r**-alpha, by least squares on the logarithms of ranks `first` to `last`."""
        last = min(last, len(self.count))
        if last - first < 5:
            return float("nan")
        rank = np.log(np.arange(first, last + 1))
        slope = np.polyfit(rank, np.log(self.count[first - 1 : last]), 1)[0]
        return float(-slope)


def classify(tokens: Tokens, share: float = 0.4) -> Classes:
    """The classes of a corpus; ties in frequency go to the smaller id, so that they are the same every time.

    raises  InputError unless 0 < share < 1
    """
    if not 0 < share < 1:
        raise InputError(f"share is {share}; it must lie between 0 and 1")
    flat, document, place = tokens.flat()
    flat, document = flat[place >= tokens.marks], document[place >= tokens.marks]
    found, count = np.unique(flat, return_counts=True)
    pairs = np.unique(np.stack([flat.astype(np.int64), document.astype(np.int64)]), axis=1)
    _, in_documents = np.unique(pairs[0], return_counts=True)
    order = np.lexsort((found, -count))
    cumulative = np.cumsum(count[order]) / count.sum()
    function = int(np.searchsorted(cumulative, share - 1e-12)) + 1
    documents = len(np.unique(document))
    return Classes(found[order].astype(np.int32), count[order], in_documents[order] / documents, function, share)


def starts_word(subject: Subject, ids: Sequence[int]) -> NDArray[np.bool_]:
    """Whether each token begins a word: it has a space before it, or no letter or digit at all."""
    out = []
    for piece in subject.pieces(list(ids)):
        out.append(piece[:1].isspace() or not any(c.isalnum() for c in piece))
    return np.array(out, dtype=bool)


def spread(tokens: Tokens, token: int, bins: int = 50) -> NDArray[np.int64]:
    """Occurrences of one token in equal bins of documents, in corpus order: even for function words, else bursty.

    bins  at most as many as there are documents
    """
    flat, document, _ = tokens.flat()
    last = int(document.max()) + 1
    bins = min(bins, last)
    where = document[flat == token].astype(np.int64) * bins // last
    return np.bincount(where, minlength=bins)
