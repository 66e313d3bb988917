"""mem0 beside slowwave: the open-source Memory, infer=False, its default store (Qdrant in process, on a path)."""

from __future__ import annotations

import importlib
import logging
import os
import tempfile
from pathlib import Path
from typing import Any

from slowwave.bench.peers.contract import Encoder, Peer
from slowwave.bench.peers.protocol import main

os.environ["MEM0_TELEMETRY"] = "False"
os.environ.setdefault("MEM0_DIR", tempfile.mkdtemp(prefix="mem0-"))  # its settings file, kept out of the home folder


class Shared:
    """The shared encoder with the two methods that mem0 calls on an embedding model."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder

    def embed(self, text: str, memory_action: str | None = None) -> list[float]:
        return [float(value) for value in self.encoder([text])[0]]

    def embed_batch(self, texts: list[str], memory_action: str = "add") -> list[list[float]]:
        return [[float(value) for value in row] for row in self.encoder(texts)]


class Mem0(Peer):
    """Its defaults but for the folder, the vector width and the encoder, which is put in place of its OpenAI client."""

    name = "mem0ai"
    module = "mem0"
    packages = ("mem0ai", "qdrant-client")
    notes = (
        "the shared encoder replaces `Memory.embedding_model`; no provider of mem0 takes a local ONNX file",
        "with infer=False mem0 embeds and writes the messages of a batch one by one",
        "without the packages spaCy and fastembed, as `pip install mem0ai` leaves it: search is by vector alone",
    )

    def __init__(self, folder: Path, encoder: Encoder, threads: int) -> None:
        mem0: Any = importlib.import_module("mem0")
        logging.getLogger("mem0").setLevel(logging.ERROR)
        folder.mkdir(parents=True, exist_ok=True)
        self.memory = mem0.Memory.from_config(
            {
                "vector_store": {
                    "provider": "qdrant",
                    "config": {
                        "collection_name": "memory",
                        "embedding_model_dims": encoder.dim,
                        "path": str(folder / "qdrant"),
                    },
                },
                "llm": {"provider": "openai", "config": {"api_key": "none"}},
                "embedder": {"provider": "openai", "config": {"api_key": "none", "embedding_dims": encoder.dim}},
                "history_db_path": str(folder / "history.db"),
            }
        )
        self.memory.embedding_model = Shared(encoder)

    def add(self, texts: list[str], user: str) -> None:
        self.memory.add([{"role": "user", "content": text} for text in texts], user_id=user, infer=False)

    def search(self, text: str, user: str, top_k: int) -> list[str]:
        found = self.memory.search(text, filters={"user_id": user}, top_k=top_k)
        return [item["memory"] for item in found["results"]]

    def count(self) -> int:
        return int(self.memory.vector_store.client.count("memory").count)

    def close(self) -> None:
        self.memory.vector_store.client.close()
        self.memory.close()


if __name__ == "__main__":
    main(Mem0)
