"""The token-feature graph: which tokens ever make which features fire, how far the commonest reach, and two nulls.

Source: Zhang, Lin, Li 2025: an edge (t, i) is there if token t ever makes feature i non-zero, once however often.
C(k) is the share of the features reached by the k commonest tokens; the paper does not say of which, so both are given.
Ours: edges at 1 % of a token's occurrences; labels permuted over positions (what frequency alone allows); and D50, the
features fired within exactly 50 occurrences from 50 documents, which frequency cannot raise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from slowwave.probes.fired import Fired, fired_of

Floats = NDArray[np.float64]
OCCURRENCES = 50  # of D50


@dataclass(frozen=True)
class Graph:
    """How often each token fires each feature.

    counts  (tokens, features) sparse int32; row n belongs to ids[n]
    ids     (tokens,) int32, commonest first
    often   (tokens,) int64, occurrences
    """

    counts: sparse.csr_matrix
    ids: NDArray[np.int32]
    often: NDArray[np.int64]

    def degrees(self, least: float = 0.0) -> NDArray[np.int64]:
        """Features of each token; with `least`, only those that fire at that share of its occurrences."""
        return np.asarray(self._edges(least).sum(1)).ravel().astype(np.int64)

    def coverage(self, ks: Sequence[int], least: float = 0.0) -> dict[str, list[float]]:
        """C(k): the share of the features with an edge ("of connected"), and of the dictionary ("of all")."""
        edges = self._edges(least)
        connected = int((edges.sum(0) > 0).sum())
        reached = np.zeros(edges.shape[1], dtype=bool)
        out: dict[str, list[float]] = {"of connected": [], "of all": []}
        place = 0
        for k in sorted(ks):
            while place < min(k, edges.shape[0]):
                reached[edges.indices[edges.indptr[place] : edges.indptr[place + 1]]] = True
                place += 1
            out["of connected"].append(float(reached.sum()) / max(1, connected))
            out["of all"].append(float(reached.sum()) / edges.shape[1])
        return out

    @property
    def connected(self) -> int:
        """Features with at least one edge."""
        return int((self._edges(0.0).sum(0) > 0).sum())

    def _edges(self, least: float) -> sparse.csr_matrix:
        counts = self.counts.tocsr()
        if least <= 0:
            kept = counts.copy()
            kept.data = np.ones_like(kept.data)
            return kept
        row = np.repeat(np.arange(counts.shape[0]), np.diff(counts.indptr))
        keep = counts.data >= np.maximum(1, least * self.often[row])
        return sparse.csr_matrix(
            (np.ones(int(keep.sum()), np.int32), (row[keep], counts.indices[keep])), shape=counts.shape
        )


def graph_of(active: sparse.csr_matrix | Fired, tokens: NDArray[np.int32]) -> Graph:
    """The graph of a corpus; memory grows with its edges, not with its positions.

    active  (positions, features) sparse, non-zero where a feature fires; or Fired
    tokens  (positions,) int32
    """
    fired = fired_of(active)
    ids, inverse, often = np.unique(tokens, return_inverse=True, return_counts=True)
    order = np.lexsort((ids, -often))
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    counts = sparse.csr_matrix((len(ids), fired.features), dtype=np.int32)
    for part, piece in fired.chunks():
        n = part.stop - part.start
        choose = sparse.csr_matrix((np.ones(n, np.int32), (rank[inverse[part]], np.arange(n))), shape=(len(ids), n))
        counts = counts + choose @ piece
    return Graph(sparse.csr_matrix(counts), ids[order].astype(np.int32), often[order])


def permuted(active: sparse.csr_matrix | Fired, tokens: NDArray[np.int32], seed: int) -> Graph:
    """The graph where labels are shuffled over positions: the reach that frequency alone allows."""
    return graph_of(active, np.random.default_rng(seed).permutation(tokens))


def rarefied(
    active: sparse.csr_matrix | Fired,
    tokens: NDArray[np.int32],
    document: NDArray[np.int32],
    chosen: Sequence[int],
    seed: int,
    occurrences: int = OCCURRENCES,
) -> dict[int, int]:
    """Token -> features fired within `occurrences` of its occurrences, each from another document.

    Tokens that occur in fewer documents are left out.
    """
    fired = fired_of(active)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(tokens))
    out: dict[int, int] = {}
    shuffled_tokens, shuffled_documents = tokens[order], document[order]
    by_token = np.argsort(shuffled_tokens, kind="stable")
    sorted_tokens = shuffled_tokens[by_token]
    for token in chosen:
        begin, end = np.searchsorted(sorted_tokens, [token, token + 1])
        places = by_token[begin:end]
        _, first = np.unique(shuffled_documents[places], return_index=True)
        if len(first) < occurrences:
            continue
        first = rng.permutation(first)[:occurrences]
        out[int(token)] = distinct(fired, order[places[first]])
    return out


def rarefied_anywhere(
    active: sparse.csr_matrix | Fired, many: int, seed: int, occurrences: int = OCCURRENCES
) -> list[int]:
    """Features fired within `occurrences` random positions, `many` times: what breadth of context alone gives."""
    rng = np.random.default_rng(seed)
    fired = fired_of(active)
    return [distinct(fired, rng.choice(len(fired), occurrences, replace=False)) for _ in range(many)]


def distinct(fired: Fired, positions: NDArray[np.int64]) -> int:
    """How many features fire at any of these positions."""
    return len(fired.at(positions))


def ratio_interval(
    above: Sequence[float], below: Sequence[float], seed: int = 0, resamples: int = 2000
) -> tuple[float, float, float]:
    """Mean(above) / mean(below) with its 95 % bootstrap interval over items; (nan, nan, nan) where one is empty."""
    a, b = np.asarray(above, float), np.asarray(below, float)
    if not len(a) or not len(b):
        return float("nan"), float("nan"), float("nan")
    rng = np.random.default_rng(seed)
    means_a = a[rng.integers(0, len(a), (resamples, len(a)))].mean(1)
    means_b = b[rng.integers(0, len(b), (resamples, len(b)))].mean(1)
    low, high = np.percentile(means_a / means_b, [2.5, 97.5])
    return float(a.mean() / b.mean()), float(low), float(high)
