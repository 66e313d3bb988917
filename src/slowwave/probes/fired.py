"""Which features fire at each position of a corpus: on disk, or in an array, and never whole in memory."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from slowwave.probes.activations import Table
from slowwave.probes.base import Progress
from slowwave.probes.sae import Sae

CHUNK = 1 << 15  # positions


@dataclass(frozen=True)
class Fired:
    """The features that fire, position after position.

    ends      (positions + 1,) int64: those of position p stand at ends[p] to ends[p + 1]
    indices   (ends[-1],) int32, the features
    features  how many there are, fired or not

    >>> Fired(np.array([0, 2, 2, 3]), np.array([4, 1, 0]), 5).at(np.array([0, 2])).tolist()
    [0, 1, 4]
    """

    ends: NDArray[Any]
    indices: NDArray[Any]
    features: int

    def __len__(self) -> int:
        return len(self.ends) - 1

    def chunks(self) -> Iterator[tuple[slice, sparse.csr_matrix]]:
        """(positions, (positions, features) sparse int32 of ones), some positions at a time."""
        for begin in range(0, len(self), CHUNK):
            part = slice(begin, min(begin + CHUNK, len(self)))
            ends = np.asarray(self.ends[part.start : part.stop + 1])
            found = np.array(self.indices[ends[0] : ends[-1]])
            ones = np.ones(len(found), np.int32)
            yield part, sparse.csr_matrix((ones, found, ends - ends[0]), shape=(len(ends) - 1, self.features))

    def at(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """The features that fire at any of these positions, each once, in order."""
        parts = [self.indices[self.ends[p] : self.ends[p + 1]] for p in positions]
        return np.unique(np.concatenate(parts)).astype(np.int64) if parts else np.empty(0, np.int64)


def fired_of(active: sparse.csr_matrix | Fired) -> Fired:
    """A sparse matrix, non-zero where a feature fires, as `Fired`; zeros that are stored do not fire."""
    if isinstance(active, Fired):
        return active
    rows = sparse.csr_matrix(active, copy=True)
    rows.eliminate_zeros()
    return Fired(rows.indptr.astype(np.int64), rows.indices.astype(np.int32), rows.shape[1])


def encode(
    sae: Sae, raw: Table, folder: Path, progress: Progress = lambda stage, done, total: None, batch: int = 2048
) -> Fired:
    """Which features of an autoencoder fire at each row of raw activations; a run that was killed goes on.

    folder  holds fired.i32 and ends.i64; read from there, so that memory does not grow with the rows
    """
    folder.mkdir(parents=True, exist_ok=True)
    marker, indices, ends = folder / "fired.json", folder / "fired.i32", folder / "ends.i64"
    done = json.loads(marker.read_text(encoding="utf-8")) if marker.is_file() else {"rows": 0, "fired": 0}
    if done["rows"] == 0:
        ends.write_bytes(np.zeros(1, np.int64).tobytes())
        indices.write_bytes(b"")
    os.truncate(indices, 4 * done["fired"])
    os.truncate(ends, 8 * (done["rows"] + 1))
    with indices.open("ab") as to_indices, ends.open("ab") as to_ends:
        for begin in range(done["rows"], len(raw), batch):
            places = np.arange(begin, min(begin + batch, len(raw)))
            with torch.no_grad():
                found = torch.nonzero(sae.encode(torch.as_tensor(np.asarray(raw[places], np.float32)))).numpy()
            count = np.bincount(found[:, 0], minlength=len(places))
            to_indices.write(found[:, 1].astype(np.int32).tobytes())
            to_ends.write((done["fired"] + np.cumsum(count)).astype(np.int64).tobytes())
            done = {"rows": int(places[-1]) + 1, "fired": done["fired"] + len(found)}
            if begin // batch % 16 == 15 or done["rows"] == len(raw):
                to_indices.flush()
                to_ends.flush()
                marker.with_suffix(".new").write_text(json.dumps(done), encoding="utf-8")
                marker.with_suffix(".new").replace(marker)
            progress("encoding", done["rows"], len(raw))
    held = np.memmap(indices, np.int32, "r") if done["fired"] else np.empty(0, np.int32)
    return Fired(np.fromfile(ends, np.int64), held, sae.config.latents)
