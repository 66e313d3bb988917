"""What a peer script must offer, and what it is given: its inputs and the one encoder that all share."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from slowwave.models.base import Embedder, Vectors

BLOCK = 100  # texts in a batch
LARGE, SMALL = "ana", "ben"  # whose memories: nine blocks in ten are ana's, the tenth is ben's


class Encoder:
    """Texts to vectors, for a peer: by looking up those that were computed before, else by the embedder.

    A peer cannot tell the two apart, so the same code is timed with encoding and, with the vectors known, without.

    name, dim  the embedder's
    encoded    how many texts had to be encoded so far; it must be 0 after a run with known vectors
    """

    def __init__(self, embedder: Embedder) -> None:
        self.embedder = embedder
        self.name = embedder.name
        self.encoded = 0
        self._known: dict[str, Vectors] = {}

    def know(self, texts: list[str], rows: Vectors) -> None:
        """From now on these texts, and no others, need no encoding."""
        self._known = dict(zip(texts, rows, strict=True))

    def __call__(self, texts: list[str]) -> Vectors:
        """(len(texts), dim) float32 unit rows."""
        if texts and all(text in self._known for text in texts):
            return np.stack([self._known[text] for text in texts])
        self.encoded += len(texts)
        return self.embedder.embed(texts)

    @property
    def dim(self) -> int:
        return self.embedder.dim

    def embed(self, texts: Sequence[str]) -> Vectors:
        """The same, under the name by which slowwave asks an embedder."""
        return self(list(texts))


class Peer(ABC):
    """One system under test. `folder` is its own; made anew or opened again by the constructor.

    module    what is imported under the clock
    packages  whose versions are written down
    notes     what a reader must know of how it was run
    """

    name: ClassVar[str]
    module: ClassVar[str]
    packages: ClassVar[tuple[str, ...]] = ()
    notes: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def __init__(self, folder: Path, encoder: Encoder, threads: int) -> None: ...

    @abstractmethod
    def add(self, texts: list[str], user: str) -> None:
        """Store the texts; returning is the acknowledgement that they will be there after a crash."""

    @abstractmethod
    def search(self, text: str, user: str, top_k: int) -> list[str]:
        """The texts of the user's records nearest to the cue, best first."""

    @abstractmethod
    def count(self) -> int:
        """How many records there are, of all users."""

    @abstractmethod
    def close(self) -> None:
        """Shut down in good order."""

    def load(self, texts: list[str], user: str) -> None:
        """As `add`, by the fastest way there is; it need not last before `flush`."""
        self.add(texts, user)

    def flush(self) -> None:  # noqa: B027 - most have nothing left to do
        """Make what `load` took in last."""


@dataclass(frozen=True)
class Inputs:
    """The three files that every script gets.

    texts    JSONL of {"text", "user", "extra"}: records first, then the extras that are added to a full store
    queries  JSONL of {"text"}
    vectors  .npy of (texts + queries, dim) float32, in that order
    """

    texts: Path
    queries: Path
    vectors: Path

    def blocks(self, n: int) -> Iterator[tuple[list[str], str, Vectors]]:
        """The first n records as (texts, user, vectors), a block at a time, so that none stays in memory."""
        rows = read_jsonl(self.texts)
        for start in range(0, n, BLOCK):
            block = [next(rows) for _ in range(min(BLOCK, n - start))]
            yield [row["text"] for row in block], block[0]["user"], self.rows(start, start + len(block))

    def extras(self) -> tuple[list[str], Vectors]:
        """Texts beyond the records, with their vectors."""
        rows = [(i, row["text"]) for i, row in enumerate(read_jsonl(self.texts)) if row["extra"]]
        return [text for _, text in rows], self.rows(rows[0][0], rows[-1][0] + 1)

    def cues(self) -> tuple[list[str], Vectors]:
        """The queries, with their vectors."""
        texts = [row["text"] for row in read_jsonl(self.queries)]
        total = len(np.load(self.vectors, mmap_mode="r"))
        return texts, self.rows(total - len(texts), total)

    def rows(self, start: int, stop: int) -> Vectors:
        """A copy of some vectors; the file is not kept mapped, for mapped pages would count as the peer's memory."""
        return np.array(np.load(self.vectors, mmap_mode="r")[start:stop])


def user_of(row: int) -> str:
    """Whose record that row is."""
    return SMALL if (row // BLOCK) % 10 == 9 else LARGE


def read_jsonl(file: Path) -> Iterator[dict[str, Any]]:
    """The objects of a JSONL file, one at a time."""
    with file.open(encoding="utf-8") as handle:
        for line in handle:
            yield json.loads(line)
