"""Where the research data lies, its fingerprints, and encoded texts kept by content so that a rerun is quick."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from slowwave.errors import NotFoundError
from slowwave.models.base import Embedder, Vectors


def data_root() -> Path:
    """SLOWWAVE_DATA, else `shared/data` beside the checkout."""
    if given := os.environ.get("SLOWWAVE_DATA"):
        return Path(given).expanduser()
    return Path(__file__).resolve().parents[4] / "shared" / "data"


def folder_of(name: str) -> Path:
    """The folder of one data set; NotFoundError with the next step where it is absent."""
    folder = data_root() / name
    if not folder.is_dir():
        raise NotFoundError(
            f"no data set {name} in {data_root()}; set SLOWWAVE_DATA to the folder of research data that holds it"
        )
    return folder


def fingerprints(files: Iterable[Path], root: Path) -> dict[str, str]:
    """Path below `root` -> the first 16 digits of the file's sha256."""
    return {
        file.relative_to(root).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()[:16] for file in sorted(files)
    }


def cache_folder() -> Path:
    """SLOWWAVE_CACHE, else ~/.slowwave/cache."""
    return Path(os.environ.get("SLOWWAVE_CACHE") or "~/.slowwave/cache").expanduser()


class CachedEmbedder:
    """An embedder that looks up what it has encoded before, by the text's hash, in one SQLite file a model.

    Only hashes and vectors are kept, no text. A vector does not depend on what it was batched with (measured: cosine
    1.0 to six digits), so a rerun gives equal numbers.
    """

    def __init__(self, embedder: Embedder, folder: Path | None = None) -> None:
        self.embedder = embedder
        self.name = embedder.name
        folder = folder or cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
        safe = "".join(c if c.isalnum() or c in "-." else "_" for c in self.name)
        self._db = sqlite3.connect(folder / f"vectors-{safe}.sqlite", timeout=60, check_same_thread=False)
        self._db.execute("CREATE TABLE IF NOT EXISTS vectors (text BLOB PRIMARY KEY, vector BLOB) WITHOUT ROWID")

    @property
    def dim(self) -> int:
        """The width of a vector."""
        return self.embedder.dim

    def embed(self, texts: Sequence[str]) -> Vectors:
        """texts -> (n, dim) float32 unit rows."""
        keys = [hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest() for text in texts]
        known: dict[bytes, bytes] = {}
        for start in range(0, len(keys), 500):
            part = keys[start : start + 500]
            marks = ",".join("?" * len(part))
            known.update(self._db.execute(f"SELECT text, vector FROM vectors WHERE text IN ({marks})", part))
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        if missing:
            rows = self.embedder.embed(list(missing.values()))
            known.update({key: row.tobytes() for key, row in zip(missing, rows, strict=True)})
            with self._db:
                self._db.executemany(
                    "INSERT OR IGNORE INTO vectors VALUES (?, ?)", [(key, known[key]) for key in missing]
                )
        out = np.empty((len(texts), self.dim), dtype=np.float32)
        for place, key in enumerate(keys):
            out[place] = np.frombuffer(known[key], dtype=np.float32)
        return out

    def close(self) -> None:
        """Let the file go."""
        self._db.close()


class KnownVectors:
    """An embedder that looks up vectors which were worked out beforehand, so that all but the encoding can be timed."""

    def __init__(self, embedder: Embedder) -> None:
        self.embedder = embedder
        self.name = embedder.name
        self._known: dict[str, Vectors] = {}

    @property
    def dim(self) -> int:
        """The width of a vector."""
        return self.embedder.dim

    def know(self, texts: Sequence[str], rows: Vectors) -> None:
        """From now on these texts need no encoding."""
        self._known.update(zip(texts, rows, strict=True))

    def embed(self, texts: Sequence[str]) -> Vectors:
        """texts -> (n, dim) float32 unit rows; those not known are encoded."""
        missing = [text for text in dict.fromkeys(texts) if text not in self._known]
        if missing:
            self.know(missing, self.embedder.embed(missing))
        return np.stack([self._known[text] for text in texts]) if texts else np.empty((0, self.dim), np.float32)
