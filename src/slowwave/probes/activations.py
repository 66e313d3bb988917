"""Activations of a model over texts, streamed to memory-mapped files: bounded memory, resumable, a token a row."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from slowwave.cloze.scoring import opening
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
    marks     how many tokens at the beginning of each row are no text: what the tokenizer puts before every text
    """

    ids: NDArray[np.int32]
    document: NDArray[np.int32]
    start: NDArray[np.int32]
    marks: int = 0

    @property
    def count(self) -> int:
        """Tokens, padding aside."""
        return int((self.ids >= 0).sum())

    def take(self, rows: NDArray[Any] | slice) -> Tokens:
        """Some of the rows."""
        return Tokens(self.ids[rows], self.document[rows], self.start[rows], self.marks)

    def inside(self) -> NDArray[np.intp]:
        """Which of all tokens are text behind the first position of their row, which carries massive activations."""
        return np.flatnonzero(self.flat()[2] >= max(1, self.marks))

    def flat(self) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
        """(token id, document, position in the row), each (count,), in reading order."""
        rows, places = np.nonzero(self.ids >= 0)
        return self.ids[rows, places], self.document[rows], places.astype(np.int32)


def tokenise(subject: Subject, texts: Sequence[str], most: int | None = None, context: int = 256) -> Tokens:
    """Texts -> rows of at most `context` tokens, `most` of text in all; a row never spans two documents.

    What the tokenizer puts before every text, such as a beginning-of-sequence mark, stands before every row.
    """
    marks = opening(subject)
    room = context - len(marks)
    rows: list[list[int]] = []
    document: list[int] = []
    start: list[int] = []
    count = 0
    for n, text in enumerate(texts):
        ids = subject.encode(text)
        for begin in range(0, len(ids), room):
            row = ids[begin : begin + room]
            if most is not None:
                row = row[: most - count]
            if len(row) < 2:
                continue
            rows.append(marks + row)
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
    return Tokens(ids_, np.array(document, np.int32), np.array(start, np.int32), len(marks))


def batches_of(tokens: Tokens, size: int) -> Iterator[tuple[slice, torch.Tensor, NDArray[np.bool_]]]:
    """(rows, ids with padding as 0, which are no padding), cut to the longest row of each batch."""
    for begin in range(0, len(tokens.ids), size):
        rows = slice(begin, min(begin + size, len(tokens.ids)))
        ids = tokens.ids[rows]
        real = ids >= 0
        longest = int(real.sum(1).max())
        yield rows, torch.from_numpy(np.where(real, ids, 0)[:, :longest].astype(np.int64)), real[:, :longest]


class OnDisk:
    """Rows of a file of numbers, read when they are asked for and mapped no longer: memory does not grow with it.

    shape  (rows, width)

    >>> OnDisk(Path("absent.f16"), (5, 3)).shape
    (5, 3)
    """

    def __init__(self, path: Path, shape: tuple[int, int], dtype: Any = np.float16) -> None:
        self.path, self.shape, self.dtype = path, shape, np.dtype(dtype)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, places: Any) -> NDArray[Any]:
        """A copy of some rows, chosen as in an array."""
        return np.array(np.memmap(self.path, self.dtype, "r", shape=self.shape)[places])


class Chosen:
    """Some rows of a table, in the order given, read when they are asked for."""

    def __init__(self, table: OnDisk | NDArray[Any], places: NDArray[np.int64]) -> None:
        self.table, self.places = table, places
        self.shape = (len(places), table.shape[1])

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, places: Any) -> NDArray[Any]:
        found: NDArray[Any] = self.table[self.places[places]]
        return found


class Rows(Protocol):
    """Anything with rows that can be chosen as in an array."""

    shape: tuple[int, int]

    def __len__(self) -> int: ...

    def __getitem__(self, places: Any) -> NDArray[Any]:
        """A copy of some rows."""
        ...


Table = OnDisk | Chosen | Rows | NDArray[Any]


@dataclass(frozen=True)
class Streamed:
    """Activations on disk: `of(layer, site)` is (n, width) float16, row by row as in `Tokens.flat`."""

    folder: Path
    tokens: Tokens

    def of(self, layer: int, site: Site = "block") -> OnDisk:
        """The rows of one place, read-only."""
        rows, width = json.loads((self.folder / f"{layer}-{site}.json").read_text(encoding="utf-8"))
        return OnDisk(self.folder / f"{layer}-{site}.f16", (rows, width))


def stream(
    subject: Subject,
    tokens: Tokens,
    places: Sequence[Where],
    folder: Path,
    progress: Progress = lambda stage, done, total: None,
    batch: int = 8,
    whole: bool = False,
) -> Streamed:
    """Run the model over all tokens once and write what passes at each place; a run that was killed goes on.

    folder  made if it is not there; holds LAYER-SITE.f16, its shape beside it, and how many rows are done
    whole   run each pass to its end; else it ends after the last place, since what follows is not looked at
    memory  one batch; the files grow to 2 bytes * tokens * width each
    """
    folder.mkdir(parents=True, exist_ok=True)
    total = tokens.count
    marker = folder / "done.json"
    want = {"count": total, "places": [list(place) for place in places]}
    done = json.loads(marker.read_text(encoding="utf-8")) if marker.is_file() else {}
    begin_batch, written = (int(done["batch"]), int(done["rows"])) if done.get("want") == want else (0, 0)
    if written == total:
        return Streamed(folder, tokens)
    with Taps(subject.model) as taps, ExitStack() as stack:
        files: dict[Where, Any] = {}
        for layer, site in places:
            taps.read(layer, site)
        if not whole:
            taps.stop_after(max(layer for layer, _ in places))
        for number, (_, ids, real) in enumerate(batches_of(tokens, batch)):
            if number < begin_batch:
                continue
            taps.run(subject.states, ids)
            chosen = None if real.all() else torch.from_numpy(real)
            n = int(real.sum())
            for place in places:
                passed = taps.seen.pop(place)
                rows = (passed.flatten(0, 1) if chosen is None else passed[chosen]).to(torch.float16).numpy()
                if place not in files:
                    files[place] = stack.enter_context(_file(folder, place, (total, rows.shape[1]), written))
                files[place].write(np.ascontiguousarray(rows).tobytes())
            written += n
            if number % 32 == 31 or written == total:
                for file in files.values():
                    file.flush()
                new = marker.with_suffix(".new")
                new.write_text(json.dumps({"want": want, "batch": number + 1, "rows": written}), encoding="utf-8")
                new.replace(marker)
            progress("activations", written, total)
    return Streamed(folder, tokens)


def _file(folder: Path, place: Where, shape: tuple[int, int], written: int) -> IO[bytes]:
    """The file of one place, to be written on from the rows that are done."""
    path = folder / f"{place[0]}-{place[1]}.f16"
    path.with_suffix(".json").write_text(json.dumps(shape), encoding="utf-8")
    path.touch()
    os.truncate(path, written * shape[1] * 2)
    return path.open("ab")
