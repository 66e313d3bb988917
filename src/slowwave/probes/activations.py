"""Activations of a model over texts, streamed to memory-mapped files: bounded memory, resumable, a token a row."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from slowwave.errors import InputError
from slowwave.probes.base import Progress
from slowwave.probes.subjects import Subject
from slowwave.probes.taps import Site, Taps

Where = tuple[int, Site]


@dataclass(frozen=True)
class Tokens:
    """A corpus as rows of equal length, documents one after another and never two in a row of the same text cut short.

    ids       (rows, context) int32, padded with -1
    document  (rows,) int32, the document of each row
    start     (rows,) int32, the position in the document at which the row begins
    """

    ids: NDArray[np.int32]
    document: NDArray[np.int32]
    start: NDArray[np.int32]

    @property
    def count(self) -> int:
        """Tokens, padding aside."""
        return int((self.ids >= 0).sum())

    def flat(self) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
        """(token id, document, position in the row), each (count,), in reading order."""
        rows, places = np.nonzero(self.ids >= 0)
        return self.ids[rows, places], self.document[rows], places.astype(np.int32)


def tokenise(subject: Subject, texts: Sequence[str], most: int | None = None, context: int = 256) -> Tokens:
    """Texts -> rows of at most `context` tokens, `most` in all; a row never spans two documents."""
    rows: list[list[int]] = []
    document: list[int] = []
    start: list[int] = []
    count = 0
    for n, text in enumerate(texts):
        ids = subject.encode(text)
        for begin in range(0, len(ids), context):
            row = ids[begin : begin + context]
            if most is not None:
                row = row[: most - count]
            if len(row) < 2:
                continue
            rows.append(row)
            document.append(n)
            start.append(begin)
            count += len(row)
        if most is not None and count >= most:
            break
    if not rows:
        raise InputError("the texts hold no two tokens in a row")
    ids_ = np.full((len(rows), context), -1, dtype=np.int32)
    for n, row in enumerate(rows):
        ids_[n, : len(row)] = row
    return Tokens(ids_, np.array(document, np.int32), np.array(start, np.int32))


def batches_of(tokens: Tokens, size: int) -> Iterator[tuple[slice, torch.Tensor, NDArray[np.bool_]]]:
    """(rows, ids with padding as 0, which are no padding), cut to the longest row of each batch."""
    for begin in range(0, len(tokens.ids), size):
        rows = slice(begin, min(begin + size, len(tokens.ids)))
        ids = tokens.ids[rows]
        real = ids >= 0
        longest = int(real.sum(1).max())
        yield rows, torch.from_numpy(np.where(real, ids, 0)[:, :longest].astype(np.int64)), real[:, :longest]


@dataclass(frozen=True)
class Streamed:
    """Activations on disk: `of(layer, site)` is an (n, width) float16 memory map, row by row as in `Tokens.flat`."""

    folder: Path
    tokens: Tokens

    def of(self, layer: int, site: Site = "block") -> NDArray[np.float16]:
        """The rows of one place, read-only."""
        shape = json.loads((self.folder / f"{layer}-{site}.json").read_text(encoding="utf-8"))
        return np.memmap(self.folder / f"{layer}-{site}.f16", np.float16, "r", shape=tuple(shape))


def stream(
    subject: Subject,
    tokens: Tokens,
    places: Sequence[Where],
    folder: Path,
    progress: Progress = lambda stage, done, total: None,
    batch: int = 8,
) -> Streamed:
    """Run the model over all tokens once and write what passes at each place; a run that was killed goes on.

    folder  made if it is not there; holds LAYER-SITE.f16, its shape beside it, and how many rows are done
    memory  one batch; the files grow to 2 bytes * tokens * width each
    """
    folder.mkdir(parents=True, exist_ok=True)
    total = tokens.count
    marker = folder / "done.json"
    want = {"count": total, "places": [list(place) for place in places]}
    done = json.loads(marker.read_text(encoding="utf-8")) if marker.is_file() else {}
    begin_batch, written = (int(done["batch"]), int(done["rows"])) if done.get("want") == want else (0, 0)
    files: dict[Where, Any] = {}
    with Taps(subject.model) as taps:
        for layer, site in places:
            taps.read(layer, site)
        for number, (_, ids, real) in enumerate(batches_of(tokens, batch)):
            if number < begin_batch:
                continue
            subject.logits(ids)
            chosen = torch.from_numpy(real)
            n = int(chosen.sum())
            for place in places:
                rows = taps.seen[place][chosen].to(torch.float16).numpy()
                if place not in files:
                    files[place] = _file(folder, place, (total, rows.shape[1]), begin_batch == 0)
                files[place][written : written + n] = rows
            written += n
            if number % 32 == 31 or written == total:
                for file in files.values():
                    file.flush()
                marker.write_text(json.dumps({"want": want, "batch": number + 1, "rows": written}), encoding="utf-8")
            progress("activations", written, total)
    return Streamed(folder, tokens)


def _file(folder: Path, place: Where, shape: tuple[int, int], fresh: bool) -> Any:
    path = folder / f"{place[0]}-{place[1]}.f16"
    path.with_suffix(".json").write_text(json.dumps(shape), encoding="utf-8")
    if fresh or not path.is_file():
        return np.memmap(path, np.float16, "w+", shape=shape)
    return np.memmap(path, np.float16, "r+", shape=shape)
