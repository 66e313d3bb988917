"""What the engine asks of an embedder, and the shipped fake."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]


@runtime_checkable
class Embedder(Protocol):
    """Turns texts into unit vectors.

    name  names the weights exactly; vectors of two embedders are comparable only if their names are equal
    dim   the width of a vector
    """

    @property
    def name(self) -> str: ...

    @property
    def dim(self) -> int: ...

    def embed(self, texts: Sequence[str]) -> Vectors:
        """texts -> (len(texts), dim) float32, each row of unit length; an empty list gives (0, dim)."""
        ...


class FakeEmbedder:
    """A bag of hashed word stems: fast, repeatable, no model. For unit tests; it knows nothing of meaning."""

    def __init__(self, dim: int = 64) -> None:
        self.dim = dim
        self.name = f"fake-{dim}"

    def embed(self, texts: Sequence[str]) -> Vectors:
        """texts -> (n, dim) float32 unit rows; texts that share words point the same way."""
        out = np.zeros((len(texts), self.dim), dtype=np.float32)
        for row, text in enumerate(texts):
            for word in re.findall(r"\w+", text.lower()) or ["\0"]:
                digest = hashlib.blake2b(word[:6].encode("utf-8", "replace"), digest_size=8).digest()
                out[row, int.from_bytes(digest[:4], "little") % self.dim] += 1.0 if digest[4] & 1 else -1.0
            if not out[row].any():
                out[row, 0] = 1.0
        norms = np.linalg.norm(out, axis=1, keepdims=True)
        return np.asarray(out / norms, dtype=np.float32)
