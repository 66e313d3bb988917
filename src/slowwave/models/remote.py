"""Embeddings from any OpenAI-compatible endpoint, through the official client (extra `llm`)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from slowwave.errors import ExtraMissingError, ModelError
from slowwave.models.base import Vectors

BATCH = 128  # texts a request


class OpenAIEmbedder:
    """Vectors of `model` from `base_url`; scaled to unit length.

    base_url  None reads SLOWWAVE_EMBED_BASE_URL, then OPENAI_BASE_URL, then OpenAI's own
    api_key   None reads SLOWWAVE_EMBED_API_KEY, then OPENAI_API_KEY; many local servers take any text
    dim       None asks the endpoint once
    """

    def __init__(
        self, model: str, base_url: str | None = None, api_key: str | None = None, dim: int | None = None
    ) -> None:
        try:
            import openai
        except ImportError as error:
            raise ExtraMissingError(f"embedder openai:{model}", "llm") from error
        env = os.environ
        self._error: type[Exception] = openai.OpenAIError
        self._client: Any = openai.OpenAI(
            base_url=base_url or env.get("SLOWWAVE_EMBED_BASE_URL") or env.get("OPENAI_BASE_URL"),
            api_key=api_key or env.get("SLOWWAVE_EMBED_API_KEY") or env.get("OPENAI_API_KEY") or "none",
        )
        self.model = model
        self.name = f"openai:{model}"
        self._dim = dim

    @property
    def dim(self) -> int:
        """Width of a vector; asks the endpoint once if it was not given."""
        if self._dim is None:
            self._dim = len(self._request(["width"])[0])
        return self._dim

    def embed(self, texts: Sequence[str]) -> Vectors:
        """texts -> (n, dim) float32 unit rows; ModelError says what the endpoint answered."""
        if not texts:
            return np.zeros((0, self.dim), dtype=np.float32)
        rows = [row for start in range(0, len(texts), BATCH) for row in self._request(texts[start : start + BATCH])]
        out = np.asarray(rows, dtype=np.float32)
        self._dim = self._dim or out.shape[1]
        norms = np.linalg.norm(out, axis=1, keepdims=True)
        return np.asarray(out / np.maximum(norms, 1e-12), dtype=np.float32)

    def _request(self, texts: Sequence[str]) -> list[list[float]]:
        try:
            answer = self._client.embeddings.create(model=self.model, input=[text or " " for text in texts])
        except self._error as error:
            raise ModelError(
                f"the embeddings endpoint {self._client.base_url} failed for {self.model}: {error}"
            ) from error
        rows = sorted(answer.data, key=lambda item: item.index)
        if len(rows) != len(texts):
            raise ModelError(f"the embeddings endpoint answered {len(rows)} vectors for {len(texts)} texts")
        return [row.embedding for row in rows]
