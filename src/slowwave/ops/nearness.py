"""The records nearest a text by the plain cosine of their vectors, or by words where there are no vectors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from slowwave.models.base import Embedder
from slowwave.ops.query import analyse, choose_terms
from slowwave.store.base import View, Want

Vector = NDArray[np.float32]


def nearest(view: View, vector: Vector, k: int, want: Want, also: Sequence[int] = ()) -> dict[int, float]:
    """Row number -> cosine of the vectors as the encoder made them, best first; the k nearest, and those of `also`.

    `View.dense` measures from the scope's centre, which ranks better but is no cosine that a paper's threshold knows.
    """
    found = view.dense(vector, k, want).ids.tolist()
    stored = view.vectors(list(dict.fromkeys([*found, *also])))
    near = {n: float(row @ vector) for n, row in stored.items()}
    return dict(sorted(near.items(), key=lambda one: (-one[1], one[0])))


def alike(view: View, text: str, embedder: Embedder | None, k: int, want: Want) -> tuple[dict[int, float], list[str]]:
    """(row number -> likeness in [0, 1], best first; what was degraded) for a text.

    Without an embedder likeness is BM25 as a share of the best, at most 0.5: words alone never look like certainty.
    """
    if embedder is not None:
        near = nearest(view, embedder.embed([text])[0], k, want)
        return {n: min(1.0, max(0.0, cosine)) for n, cosine in near.items()}, []
    terms = analyse(text).terms
    records, frequency = view.document_frequency(terms)
    found = view.lexical(choose_terms(terms, frequency, records), k, want)
    best = max((score for _, score in found), default=0.0) or 1.0
    return {n: 0.5 * score / best for n, score in found}, ["dense: there is no embedder"]
