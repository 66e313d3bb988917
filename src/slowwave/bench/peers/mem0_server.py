"""mem0's library behind HTTP for `bench serve`: its own server as shipped needs an OpenAI key and PostgreSQL.

The paths, the bodies and the plain functions that FastAPI runs in threads are those of mem0's server; the memory is
that of `mem0_peer`: infer=False, Qdrant on a path, the shared encoder.
"""

from __future__ import annotations

import argparse
import importlib
import threading
from pathlib import Path
from typing import Any

from slowwave.bench.peers.contract import Encoder
from slowwave.bench.peers.mem0_peer import Mem0
from slowwave.models import resolve_embedder


class OneByOne:
    """A vector store whose methods are called by one thread at a time: Qdrant on a path raises an IndexError where a
    search meets an upsert. The encoder runs beside it."""

    def __init__(self, store: Any) -> None:
        self._store, self._lock = store, threading.RLock()

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if not callable(found):
            return found

        def call(*args: Any, **kwargs: Any) -> Any:
            with self._lock:
                return found(*args, **kwargs)

        return call


def app_of(memory: Any) -> Any:
    """The three routes that the load asks."""
    fastapi: Any = importlib.import_module("fastapi")
    app = fastapi.FastAPI()
    memory.vector_store = OneByOne(memory.vector_store)

    def add(body: dict[str, Any]) -> Any:
        return memory.add(body["messages"], user_id=body["user_id"], infer=False)

    def search(body: dict[str, Any]) -> Any:
        return memory.search(body["query"], filters={"user_id": body["user_id"]}, top_k=body["top_k"])

    def get(memory_id: str) -> Any:
        return memory.get(memory_id)

    for path, methods, function in (
        ("/memories", ["POST"], add), ("/search", ["POST"], search), ("/memories/{memory_id}", ["GET"], get),
    ):  # fmt: skip
        app.add_api_route(path, function, methods=methods)
    return app


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve mem0 for a load test.")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--embedder", default="minilm")
    args = parser.parse_args()
    uvicorn: Any = importlib.import_module("uvicorn")
    embedder = resolve_embedder(args.embedder)
    peer = Mem0(args.folder, Encoder(embedder), 2)
    uvicorn.run(app_of(peer.memory), host="127.0.0.1", port=args.port, log_level="error")


if __name__ == "__main__":
    main()
