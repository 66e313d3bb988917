"""slowwave itself by the same protocol as its peers: Memory in one file, its default system, a user as the scope."""

from __future__ import annotations

from pathlib import Path

from slowwave.bench.peers.contract import LARGE, SMALL, Encoder, Peer
from slowwave.bench.peers.protocol import main


class Slowwave(Peer):
    """Its defaults, with the shared encoder; threshold=0, so that it returns ten as the others do."""

    name = "slowwave"
    module = "slowwave.memory"
    packages = ("numpy",)
    notes = (
        "search fuses vectors with BM25, times and speakers, so recall against the cosine alone is not its aim",
        "every add waits for the disk (durable=True, the default)",
        "search notes what was recalled (note_use=True, the default)",
    )

    def __init__(self, folder: Path, encoder: Encoder, threads: int) -> None:
        from slowwave.memory import Memory

        folder.mkdir(parents=True, exist_ok=True)
        self.memory = Memory(folder / "memory.db", embedder=encoder)

    def add(self, texts: list[str], user: str) -> None:
        self.memory.add(texts, user_id=user)

    def search(self, text: str, user: str, top_k: int) -> list[str]:
        return [hit.text for hit in self.memory.search(text, user_id=user, top_k=top_k, threshold=0)]

    def count(self) -> int:
        held = {scope.user_id: records for scope, records in self.memory.scopes()}
        return sum(held.get(user, 0) for user in (LARGE, SMALL))

    def close(self) -> None:
        self.memory.close()


if __name__ == "__main__":
    main(Slowwave)
