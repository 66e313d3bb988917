"""chromadb beside slowwave: a PersistentClient, one collection, cosine distance, a metadata filter on the user."""

from __future__ import annotations

import importlib
import os
import uuid
from pathlib import Path
from typing import Any

from slowwave.bench.peers.contract import Encoder, Peer
from slowwave.bench.peers.protocol import main

os.environ["ANONYMIZED_TELEMETRY"] = "False"


class Chroma(Peer):
    """Its defaults but for cosine distance and the thread count; vectors are given, so its own encoder never runs."""

    name = "chromadb"
    module = "chromadb"
    packages = ("chromadb",)
    notes = ("embeddings are computed by the shared encoder and passed to add() and query()",)

    def __init__(self, folder: Path, encoder: Encoder, threads: int) -> None:
        chromadb: Any = importlib.import_module("chromadb")
        settings = chromadb.Settings(anonymized_telemetry=False)
        self.encoder = encoder
        self.client = chromadb.PersistentClient(path=str(folder), settings=settings)
        self.records = self.client.get_or_create_collection(
            "memory",
            embedding_function=None,
            configuration={"hnsw": {"space": "cosine", "num_threads": threads}},
        )

    def add(self, texts: list[str], user: str) -> None:
        """Returns when chromadb's write-ahead log in SQLite has them."""
        self.records.add(
            ids=[uuid.uuid4().hex for _ in texts],
            documents=texts,
            embeddings=self.encoder(texts),
            metadatas=[{"user_id": user} for _ in texts],
        )

    def search(self, text: str, user: str, top_k: int) -> list[str]:
        found = self.records.query(
            query_embeddings=self.encoder([text]),
            n_results=top_k,
            where={"user_id": user},
            include=["documents", "distances"],
        )
        return list(found["documents"][0])

    def count(self) -> int:
        return int(self.records.count())

    def close(self) -> None:
        self.client.close()


if __name__ == "__main__":
    main(Chroma)
