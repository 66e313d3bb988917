"""Encoders that other packages run or fetch: sentence-transformers, and ONNX models of the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from slowwave.errors import ExtraMissingError, ModelMissingError
from slowwave.models.base import Vectors

HUB_FILES = ("onnx/model_qint8_avx512_vnni.onnx", "onnx/model_quantized.onnx", "onnx/model.onnx", "model.onnx")


class SentenceTransformerEmbedder:
    """Any model of sentence-transformers (extra `st`), by name or path; vectors are scaled to unit length."""

    def __init__(self, model: str) -> None:
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError as error:
            raise ExtraMissingError(f"embedder st:{model}", "st") from error
        self.name = f"st:{model}"
        try:
            self._model: Any = SentenceTransformer(model)
        except (OSError, ValueError) as error:
            raise ModelMissingError(f"sentence-transformers cannot load {model}: {error}") from error
        self.dim = int(self._model.get_sentence_embedding_dimension())

    def embed(self, texts: Sequence[str]) -> Vectors:
        """texts -> (n, dim) float32 unit rows."""
        if not texts:
            return np.zeros((0, self.dim), dtype=np.float32)
        rows = self._model.encode(list(texts), normalize_embeddings=True, show_progress_bar=False)
        return np.asarray(rows, dtype=np.float32)


def from_hub(repository: str) -> Path:
    """The folder of a hub repository's ONNX encoder; asks the network unless it is cached or HF_HUB_OFFLINE is set."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError

    problems = []
    for file in HUB_FILES:
        try:
            model = Path(hf_hub_download(repository, file))
            hf_hub_download(repository, "tokenizer.json")
        except (HfHubHTTPError, OSError, ValueError) as error:
            problems.append(f"{file}: {type(error).__name__}")
            continue
        return model
    raise ModelMissingError(
        f"hub:{repository} has no ONNX encoder that could be fetched ({'; '.join(problems)}); "
        "check the name and the network, or give a local folder"
    )
