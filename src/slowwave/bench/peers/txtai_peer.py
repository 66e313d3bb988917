"""txtai beside slowwave: Embeddings with content in SQLite and vectors in Faiss, filtered by SQL on the user."""

from __future__ import annotations

import importlib
import os
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from slowwave.bench.peers.contract import Encoder, Peer
from slowwave.bench.peers.protocol import main

os.environ["HF_HUB_OFFLINE"] = "1"


class Txtai(Peer):
    """Its defaults with content=True. Nothing is on disk until save(), so an add that lasts is upsert() and save()."""

    name = "txtai"
    module = "txtai"
    packages = ("txtai", "faiss-cpu", "torch")
    notes = (
        "a durable add is upsert() followed by save(), which rewrites the whole vector file",
        "the load is upserts with one save at the end: what came before it would be lost in a crash",
        "the index begins with few records, so Faiss stays exact (IDMap,Flat) while it grows",
        "the SQL filter runs on the 10 * top_k nearest of all users, txtai's default",
    )
    query = "select text, score from txtai where similar(:cue) and user_id = :user limit {top_k}"

    def __init__(self, folder: Path, encoder: Encoder, threads: int) -> None:
        txtai: Any = importlib.import_module("txtai")
        self.folder = folder

        def transform(texts: Sequence[str]) -> Any:  # txtai asks for a plain function
            return encoder(list(texts))

        self.index = txtai.Embeddings({"method": "external", "transform": transform, "content": True})
        if (folder / "config.json").is_file():
            self.index.load(str(folder), config={"transform": transform})

    def add(self, texts: list[str], user: str) -> None:
        self.load(texts, user)
        self.flush()

    def load(self, texts: list[str], user: str) -> None:
        self.index.upsert([(uuid.uuid4().hex, {"text": text, "user_id": user}) for text in texts])

    def flush(self) -> None:
        self.index.save(str(self.folder))

    def search(self, text: str, user: str, top_k: int) -> list[str]:
        found = self.index.search(self.query.format(top_k=top_k), parameters={"cue": text, "user": user})
        return [item["text"] for item in found]

    def count(self) -> int:
        return int(self.index.count())

    def close(self) -> None:
        self.index.close()


if __name__ == "__main__":
    main(Txtai)
