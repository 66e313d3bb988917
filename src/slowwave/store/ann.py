"""An approximate index of a large scope: a usearch graph in a file beside the database, which stays the truth.

The graph in the file never changes. Rows added since lie in an ExactIndex, removed ones in a list, and a search looks
at all three, so it never meets a graph that is being changed. `save` folds them into a new file, which takes the old
one's place in one step; whoever reads the old one keeps it until the next `load`.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from slowwave.errors import ConflictError, ExtraMissingError, InputError
from slowwave.store.ann_file import (
    Contents,
    Identity,
    UnusableError,
    claimed,
    delete_sidecar,
    disk,
    identity_at,
    put,
    read,
)
from slowwave.store.vectors import ExactIndex, Floats, Found, Ids, quantise, unit_rows

__all__ = ["AnnSidecar", "Standing", "delete_sidecar"]

Progress = Callable[[int, int], None]
Doubles = NDArray[np.float64]
CHUNK = 10_000  # rows between two reports of progress
NONE: Ids = np.empty(0, np.int64)
NOWHERE: Identity = (0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Standing:
    """Whether the file can serve.

    state    "current"; "stale": `differs` says what to add and remove; "missing" or "unusable": build it
    why      a sentence
    count    rows it holds
    highest  the highest row number among them, -1 if there is none
    """

    state: str
    why: str
    count: int = 0
    highest: int = -1


class _Graph(NamedTuple):
    """A finished graph: what is in the file, or will be. Slots are numbered from 0 in the order of adding."""

    index: Any
    known: Ids  # the row numbers in it, ascending
    contents: Contents
    saved: bool


class _State(NamedTuple):
    graph: _Graph | None
    dead: Ids  # row numbers in the graph that were removed since, ascending
    fresh: ExactIndex  # rows that are not in the graph

    @property
    def own(self) -> Ids:
        """The row numbers of the graph that were not removed, ascending."""
        known = self.graph.known if self.graph else NONE
        return known[~_within(self.dead, known)] if len(self.dead) else known


class AnnSidecar:
    """An approximate index that can be thrown away and made again at any time. Begin with `load`, or with `build`.

    path              its file; unfinished ones lie beside it under its name, a dot, and an ending in ".tmp"
    dim               width of a vector
    model             what the vectors must have in common with those in the file: the encoder's name, best with
                      something that names the database, since row numbers of two databases mean different things
    threads           for building; 0 takes all cores
    connectivity      edges a node in the graph
    expansion_add     candidates kept while building: more find better neighbours and take longer
    expansion_search  candidates kept while searching, likewise
    raises            ExtraMissingError without usearch

    Threads may share one; their searches of the graph take turns, because usearch gives them all the same scratch space
    (unum-cloud/USearch#441). Any number of processes may read a file while one of them replaces it.
    """

    def __init__(
        self,
        path: str | Path,
        dim: int,
        model: str,
        threads: int = 0,
        connectivity: int = 16,
        expansion_add: int = 128,
        expansion_search: int = 300,
    ) -> None:
        _import_usearch()
        self.path = Path(path)
        self.dim = dim
        self.model = model
        self.threads = threads
        self.connectivity = connectivity
        self.expansion_add = expansion_add
        self.expansion_search = expansion_search
        self._searching = threading.Lock()
        self._changing = threading.Lock()
        self._saving = threading.Lock()  # where both are held, this one was taken first
        self._claim: Path | None = None
        self._state = self._empty()

    def __len__(self) -> int:
        state = self._state
        return len(state.own) + len(state.fresh)

    @property
    def pending(self) -> int:
        """Rows added since the last save or build, each of which every search scans; at 20,000 it is time to save."""
        return len(self._state.fresh)

    @property
    def worn(self) -> float:
        """The share of the graph that is removed rows, which a search still walks through; above 0.2 build it again."""
        state = self._state
        return 1 - len(state.own) / max(1, len(state.graph.contents.ids)) if state.graph else 0.0

    def ids(self) -> Ids:
        """The row numbers it holds, ascending."""
        state = self._state
        return np.sort(np.concatenate([state.own, state.fresh.ids()]))

    @property
    def highest(self) -> int:
        """The highest row number it holds; 0 if none."""
        return int(self.ids().max(initial=0))

    def differs(self, ids: ArrayLike) -> tuple[Ids, Ids]:
        """The rows to add and the rows to remove, so that it holds exactly these row numbers."""
        wanted, own = np.unique(np.asarray(ids, dtype=np.int64)), self.ids()
        return np.setdiff1d(wanted, own, assume_unique=True), np.setdiff1d(own, wanted, assume_unique=True)

    def load(self, count: int, highest: int, verify: bool = True) -> Standing:
        """Open the file, if it can serve a database that holds `count` rows, the highest numbered `highest`.

        Called again it is quick while the file is still the same, and else opens the one that took its place; what was
        added or removed and not saved is then dropped, as `differs` will tell. Waits for a build or save under way.

        verify  read the whole file once to check its CRC-32 (2 GB/s); without it a damaged graph can end the process
        """
        with self._saving, self._changing:
            state = self._state
            kept = bool(state.graph and state.graph.saved and state.graph.contents.identity == identity_at(self.path))
            try:
                if not kept:
                    with disk(self.path), self.path.open("rb") as handle:
                        contents = read(handle, self.model, self.dim, verify)
                    state = self._empty()._replace(graph=self._opened(contents))
            except FileNotFoundError:
                self._state = self._empty()
                return Standing("missing", f"no file at {self.path}")
            except UnusableError as error:
                self._state = self._empty()
                return Standing("unusable", str(error))
            own = state.own
            top = int(own[-1]) if len(own) else -1
            if top > highest:
                self._state = self._empty()
                return Standing("unusable", f"it has row {top}, the database ends at {highest}: not of one history")
            self._state = state
            held, top = len(self), max(top, int(state.fresh.ids().max(initial=-1)))
            if (held, top) == (count, highest):
                return Standing("current", f"{held} rows, as in the database", held, top)
            return Standing("stale", f"{held} of {count} rows, up to {top} of {highest}", held, top)

    def build(self, ids: ArrayLike, vectors: Floats, progress: Progress | None = None) -> None:
        """Replace everything by these rows, in memory; `save` writes them. Progress is told (done, total).

        ids      (n,) row numbers, each once
        vectors  (n, dim) unit rows
        raises   InputError for another shape, rows not of unit length, or an id given twice
        """
        rows, count = np.asarray(ids, dtype=np.int64).reshape(-1), len(vectors)
        if len(rows) != count:
            raise InputError(f"{len(rows)} ids came with {count} vectors; give one id a vector")
        parts = ((rows[at : at + CHUNK], vectors[at : at + CHUNK]) for at in range(0, count, CHUNK))
        self.build_from(parts, count, progress)

    def build_from(
        self, parts: Iterable[tuple[ArrayLike, Floats]], total: int, progress: Progress | None = None
    ) -> None:
        """`build` from parts (ids, vectors), read as it goes, so that all vectors are never in memory as float32.

        A search meanwhile answers from what was there before. Rows that others add or remove meanwhile are lost to it:
        ask `differs` afterwards.
        """
        with self._saving:
            self._drop_claim()
            self._claim = claimed(self.path)
            index, ids = self._new_index(), NONE
            sums, outer = np.zeros(self.dim), np.zeros((self.dim, self.dim))
            for numbers, vectors in parts:
                rows, part = unit_rows(vectors, self.dim), np.asarray(numbers, dtype=np.int64).reshape(-1)
                if len(rows) != len(part):
                    raise InputError(f"{len(part)} ids came with {len(rows)} vectors; give one id a vector")
                self._append(index, len(ids), rows)
                ids = np.concatenate([ids, part])
                sums += rows.sum(axis=0, dtype=np.float64)
                outer += rows.T @ rows
                if progress:
                    progress(len(ids), total)
            known = np.sort(ids)
            if (twice := known[1:] == known[:-1]).any():
                raise InputError(f"row {known[1:][twice][0]} was given twice")
            graph = _Graph(index, known, self._contents(ids, sums, outer), saved=False)
            with self._changing:
                self._state = self._empty()._replace(graph=graph)

    def add(self, ids: ArrayLike, vectors: Floats) -> None:
        """Add rows; they are found at once, and are in the file after `save`.

        raises  InputError as ExactIndex.extend does; ConflictError if nothing was loaded or built to add them to
        """
        rows = np.asarray(ids, dtype=np.int64).reshape(-1)
        with self._changing:
            state = self._state
            if state.graph is None:
                raise ConflictError(f"{self.path} was neither loaded nor built; do one of them before adding")
            there = rows[_within(state.graph.known, rows) & ~_within(state.dead, rows)]
            if len(there):
                raise InputError(f"row {there[0]} is in the index already; remove it first")
            state.fresh.extend(rows, vectors)

    def remove(self, ids: ArrayLike) -> int:
        """Take rows out; ids that are not there are passed over. Returns how many went.

        They are found no more, but their bytes stay in the file, and their cosines in mean and std, until it is built
        again. To erase, call `delete_file`.
        """
        rows = np.unique(np.asarray(ids, dtype=np.int64))
        with self._changing:
            state = self._state
            known = state.graph.known if state.graph else NONE
            found = rows[_within(known, rows) & ~_within(state.dead, rows)]
            self._state = state._replace(dead=np.union1d(state.dead, found))
            return len(found) + state.fresh.remove(rows)

    def search(self, query: Floats, k: int) -> Found:
        """About the k nearest rows, best first, with approximate cosines (within 0.003): `rescore` them exactly.

        query    (dim,) unit vector
        returns  Found; its mean and std are those of all rows, from sums that the file keeps, not of the rows found
        raises   InputError for another shape, a value that is not finite, or k < 1
        """
        graph, dead, fresh = self._state
        late = fresh.search(query, k)
        if graph is None or not len(graph.known):
            return late
        unit = np.asarray(query, dtype=np.float32)
        ids, scores = self._nearest(graph, dead, quantise(unit[None])[0][0], k)
        ids, scores = np.concatenate([ids, late.ids]), np.concatenate([scores, late.scores])
        best = np.lexsort((ids, -scores))[:k]
        return Found(ids[best], scores[best], *_spread(graph.contents, unit.astype(np.float64), late, len(fresh)))

    def save(self) -> None:
        """Fold in what was added and removed, write a new file beside the old one and put it in its place.

        A kill at any moment leaves the old file or the new one. Searches, adds and removals go on meanwhile.
        raises  ConflictError if the file was deleted or replaced since it was read or the build began: load, or build
                StoreFullError, StoreReadOnlyError, StoreError from the disk; the old file then stays
        """
        with self._saving:
            state = self._state
            if state.graph and not state.graph.saved:
                self._put(state.graph, None, NONE, NONE)
                state = self._state
            if state.graph and (len(state.fresh) or len(state.dead)):
                ids, rows = state.fresh.rows()
                order = np.argsort(ids)
                ids, rows = ids[order], rows[order]
                base = state.graph.contents.identity
                if identity_at(self.path) != base:
                    raise ConflictError(f"{self.path} was deleted or replaced by another process; load it again")
                self._put(self._folded(state.graph, state.dead, ids, rows), base, ids, state.dead)

    def close(self) -> None:
        """Let go of the file, and of what was not saved."""
        with self._saving, self._changing:
            self._state = self._empty()
            self._drop_claim()

    def delete_file(self) -> bool:
        """Delete the file for good, with what is in memory; True if there was one. As `delete_sidecar`."""
        self.close()
        return delete_sidecar(self.path)

    def _put(self, graph: _Graph, base: Identity | None, came: Ids, went: Ids) -> None:
        """Write a graph that took in and left out these rows, and search it from now on."""
        claim, self._claim = self._claim or claimed(self.path), None
        opened = self._opened(put(self.path, claim, base, graph.index.save, graph.contents))
        with self._changing:
            now, fresh = self._state, ExactIndex(self.dim)
            ids, rows = now.fresh.rows()
            late = ~_within(came, ids)
            fresh.extend(ids[late], rows[late])
            # Whatever was removed while the file was being written is in it, and so is dead.
            dead = np.union1d(np.setdiff1d(now.dead, went), np.setdiff1d(came, ids))
            self._state = _State(opened, dead, fresh)

    def _folded(self, old: _Graph, dead: Ids, ids: Ids, rows: Floats) -> _Graph:
        """The graph with some rows left out and others taken in, as a copy in memory."""
        index, was = self._new_index(), old.contents
        index.load(was.graph)
        self._append(index, len(was.ids), rows)
        slots = np.concatenate([np.where(_within(dead, was.ids), -1, was.ids), ids])
        total, outer = was.total + rows.sum(axis=0, dtype=np.float64), was.outer + rows.T @ rows
        return _Graph(index, np.sort(slots[slots >= 0]), self._contents(slots, total, outer), saved=False)

    def _contents(self, ids: Ids, total: Doubles, outer: Doubles) -> Contents:
        known = ids[ids >= 0]
        manifest = {
            "model": self.model,
            "dim": self.dim,
            "slots": len(ids),
            "count": len(known),
            "highest": int(known.max(initial=-1)),
            "connectivity": self.connectivity,
        }
        return Contents(manifest, np.empty(0, np.uint8), ids, total, outer, NOWHERE)

    def _opened(self, contents: Contents) -> _Graph:
        """A graph that reads from a file's bytes."""
        index, slots = self._new_index(int(contents.manifest["connectivity"])), contents.ids
        try:
            (index.view if os.name == "posix" else index.load)(contents.graph)
        except (RuntimeError, ValueError) as error:
            raise UnusableError(f"usearch cannot read it: {error}") from error
        if len(index) != len(slots):
            raise UnusableError(f"its graph has {len(index)} rows, its list {len(slots)}")
        return _Graph(index, np.sort(slots[slots >= 0]), contents, saved=True)

    def _nearest(self, graph: _Graph, dead: Ids, query: NDArray[np.int8], k: int) -> tuple[Ids, Floats]:
        """The k nearest live rows of the graph; asks again for more where the dead crowd them out."""
        slots, wanted = graph.contents.ids, k
        while True:
            with self._searching:
                matches = graph.index.search(query, min(wanted, len(slots)), threads=1)
            ids = slots[np.asarray(matches.keys, dtype=np.int64)]
            live = (ids >= 0) & ~_within(dead, ids)
            if live.sum() >= k or wanted >= len(slots):
                return ids[live][:k], 1 - np.asarray(matches.distances, dtype=np.float32)[live][:k]
            wanted *= 4

    def _append(self, index: Any, start: int, rows: Floats) -> None:
        """Add rows under the next slots, as int8 that use their whole range: a cosine needs no scale."""
        if len(rows):
            index.add(np.arange(start, start + len(rows)), quantise(rows)[0], threads=self.threads)

    def _new_index(self, connectivity: int | None = None) -> Any:
        from usearch.index import Index

        return Index(
            ndim=self.dim,
            metric="cos",
            dtype="i8",
            connectivity=connectivity or self.connectivity,
            expansion_add=self.expansion_add,
            expansion_search=self.expansion_search,
            enable_key_lookups=False,
        )

    def _empty(self) -> _State:
        return _State(None, NONE, ExactIndex(self.dim))

    def _drop_claim(self) -> None:
        if self._claim:
            self._claim.unlink(missing_ok=True)
        self._claim = None


def _import_usearch() -> None:
    # onnxruntime 1.32 ends the process (SIGSEGV, Linux) when it is imported after usearch 2.26, so it goes first. The
    # variable keeps it from sending Microsoft anything; it is read at import.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    with contextlib.suppress(ImportError):
        if "usearch" not in sys.modules:  # else it is too late, but perhaps nobody needs onnxruntime
            import onnxruntime  # noqa: F401
    try:
        import usearch.index  # noqa: F401
    except ImportError as error:
        raise ExtraMissingError("the approximate index", "ann") from error


def _spread(contents: Contents, unit: Doubles, late: Found, late_count: int) -> tuple[float, float]:
    """Mean and deviation of the cosines with all rows: E[q·v] = q·E[v], E[(q·v)²] = q·E[vvᵀ]·q."""
    count = len(contents.ids) + late_count
    mean = (float(unit @ contents.total) + late_count * late.mean) / count
    square = (float(unit @ contents.outer @ unit) + late_count * (late.std**2 + late.mean**2)) / count
    return mean, max(square - mean * mean, 0.0) ** 0.5


def _within(ascending: Ids, values: Ids) -> NDArray[np.bool_]:
    """Which values are among the ascending ones."""
    if not len(ascending):
        return np.zeros(len(values), dtype=bool)
    return np.asarray(ascending[np.minimum(np.searchsorted(ascending, values), len(ascending) - 1)] == values)
