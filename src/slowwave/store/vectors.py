"""Vectors as bytes for a database row, and an exact index that holds the vectors of one scope in memory."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from slowwave.errors import InputError, StoreCorruptError

VectorDtype = Literal["int8", "float32"]
Floats = NDArray[np.float32]
Ids = NDArray[np.int64]
BLOCK = 512  # int8 rows turned to float32 at a time: 0.8 MB at 384 wide, which stays in a core's cache
QUERIES = 64  # rows compared with all others in one matrix product


@dataclass(frozen=True, slots=True)
class Found:
    """The rows nearest to a query, best first.

    ids     (k,) int64 row numbers
    scores  (k,) float32 cosines
    mean    of the query's cosines with every row that was searched, whether allowed or not; 0 if there is none
    std     their standard deviation, so that (scores - mean) / std is a z-score wherever std > 0
    note    why it took longer than it had to; "" if it did not
    """

    ids: Ids
    scores: Floats
    mean: float
    std: float
    note: str = ""


def quantise(vectors: Floats) -> tuple[NDArray[np.int8], Floats]:
    """(n, dim) float32 -> (n, dim) int8 and (n,) float32 scales; row * scale has unit length.

    Each row uses the whole of [-127, 127]; its scale then restores the length exactly, so a cosine stays a cosine.
    Quantising what came from int8 gives the same int8 again.
    """
    peak = np.abs(vectors).max(axis=1, keepdims=True, initial=0)
    rows = np.rint(vectors * (127 / np.maximum(peak, 1e-30)))
    scales = 1 / np.maximum(np.linalg.norm(rows, axis=1), 1)
    return rows.astype(np.int8), scales.astype(np.float32)


def encode(vectors: Floats, dtype: VectorDtype = "int8") -> list[bytes]:
    """Unit rows -> one blob a row: int8 as a float32 scale and dim int8, float32 as dim float32, little-endian.

    vectors  (n, dim), each row finite and of unit length
    returns  n blobs of dim + 4 bytes (int8) or 4 * dim bytes (float32)
    raises   InputError for another shape, another length of a row, or an unknown dtype

    Cosines of int8 rows differ from those of float32 rows by 0.0004 (root mean square; MiniLM, 3 million pairs).
    """
    rows = unit_rows(vectors)
    table: NDArray[Any]
    if dtype == "int8":
        values, scales = quantise(rows)
        table = np.hstack([scales.astype("<f4").view(np.uint8).reshape(-1, 4), values.view(np.uint8)])
    elif dtype == "float32":
        table = rows.astype("<f4")
    else:
        raise InputError(f'dtype is {dtype!r}; it must be "int8" or "float32"')
    buffer, width = table.tobytes(), table.shape[1] * table.itemsize
    return [buffer[start : start + width] for start in range(0, len(buffer), width)]


def decode(blobs: Sequence[bytes], dim: int, dtype: VectorDtype = "int8") -> Floats:
    """Blobs that `encode` made -> (n, dim) float32 unit rows.

    raises  StoreCorruptError where a blob has not the length that dim and dtype ask for
    """
    if dtype not in ("int8", "float32"):
        raise InputError(f'dtype is {dtype!r}; it must be "int8" or "float32"')
    width = dim + 4 if dtype == "int8" else 4 * dim
    wrong = next((at for at, blob in enumerate(blobs) if len(blob) != width), None)
    if wrong is not None:
        raise StoreCorruptError(
            f"vector {wrong} of {len(blobs)} has {len(blobs[wrong])} bytes; {dtype} with dim={dim} has {width}. "
            "Run: slowwave rebuild"
        )
    buffer = b"".join(blobs)
    if dtype == "float32":
        return np.frombuffer(buffer, dtype="<f4").reshape(-1, dim).astype(np.float32)
    table = np.frombuffer(buffer, dtype=np.uint8).reshape(-1, width)
    scales = np.ascontiguousarray(table[:, :4]).view("<f4")
    rows: Floats = np.multiply(table[:, 4:].view(np.int8), scales, dtype=np.float32)
    return rows


def rescore(found: Found, query: Floats, ids: ArrayLike, vectors: Floats, k: int) -> Found:
    """The k best of some rows by their exact cosines; mean and std stay those of `found`.

    ids, vectors  the candidates of `found` as read from the database: (n,) and (n, dim), in any order, some may lack
    """
    rows = np.asarray(ids, dtype=np.int64)
    scores = np.asarray(vectors, dtype=np.float32) @ query
    best = np.lexsort((rows, -scores))[:k]
    return Found(rows[best], scores[best], found.mean, found.std)


class _Table(NamedTuple):
    """One state of the index. It is never changed, apart from the removed rows, which turn to zeros."""

    ids: Ids  # (capacity,), of which the first `filled` are in use
    data: NDArray[Any]  # (capacity, dim) float32 or int8
    scales: Floats  # (capacity,) for int8, else empty
    filled: int
    dead: Ids  # slots of removed rows, ascending; their data are zeros, so they add nothing to mean and std
    ordered: bool  # the ids ascend
    highest: int


class ExactIndex:
    """The vectors of one scope in memory, searched by a scan that misses nothing.

    dim       width of a vector
    dtype     "float32" (4 * dim bytes a row), or "int8" (dim + 4 bytes a row; rows that `encode` stored as int8 lose
              nothing more). Core for core both scan as fast; float32 alone uses the threads of NumPy's BLAS
    capacity  rows to make room for at once; more are welcome, at the price of a copy

    Any number of threads may search while others extend and remove: a search sees the rows that were there when it
    began, and may or may not see those being removed at that moment.

    >>> index = ExactIndex(dim=2)
    >>> index.extend([7, 9], np.array([[1, 0], [0, 1]], dtype=np.float32))
    >>> index.search(np.array([0.6, 0.8], dtype=np.float32), k=1).ids
    array([9])
    """

    def __init__(self, dim: int, dtype: VectorDtype = "float32", capacity: int = 0) -> None:
        if dtype not in ("int8", "float32"):
            raise InputError(f'dtype is {dtype!r}; it must be "int8" or "float32"')
        self.dim = dim
        self.dtype = dtype
        self._write = threading.Lock()
        self._order: tuple[_Table, Ids] | None = None
        self._table = self._empty(capacity)

    def __len__(self) -> int:
        return self._table.filled - len(self._table.dead)

    @property
    def highest(self) -> int:
        """The highest row number that was ever in it; -1 if none was."""
        return self._table.highest

    @property
    def nbytes(self) -> int:
        """Bytes set aside, with the room to grow."""
        table = self._table
        return table.ids.nbytes + table.data.nbytes + table.scales.nbytes + table.dead.nbytes

    def extend(self, ids: ArrayLike, vectors: Floats) -> None:
        """Add rows, at a cost that depends on them alone (amortised), above all if the ids ascend.

        ids      (n,) row numbers that are not in the index
        vectors  (n, dim) unit rows
        raises   InputError for another shape, rows not of unit length, or an id that is there already
        """
        new = np.asarray(ids, dtype=np.int64).reshape(-1)
        rows = unit_rows(vectors, self.dim)
        if len(new) != len(rows):
            raise InputError(f"{len(new)} ids came with {len(rows)} vectors; give one id a vector")
        if not len(new):
            return
        if not (new[1:] > new[:-1]).all():
            order = np.argsort(new, kind="stable")
            new, rows = new[order], rows[order]
            if (new[1:] == new[:-1]).any():
                raise InputError(f"row {new[:-1][new[1:] == new[:-1]][0]} was given twice")
        with self._write:
            table = self._table
            if new[0] <= table.highest and (there := self._slots(table, new) >= 0).any():
                raise InputError(f"row {new[there][0]} is in the index already; remove it first")
            count, end = table.filled, table.filled + len(new)
            if end > len(table.ids):
                table = self._copied(table, max(2 * len(self), len(self) + len(new), 256))
                count, end = table.filled, table.filled + len(new)
            table.ids[count:end] = new
            self._fill(table, count, end, rows)
            self._table = table._replace(
                filled=end,
                ordered=table.ordered and bool(new[0] > table.highest),
                highest=max(table.highest, int(new[-1])),
            )

    def remove(self, ids: ArrayLike) -> int:
        """Take rows out and overwrite their vectors; ids that are not there are passed over. Returns how many went."""
        gone = np.unique(np.asarray(ids, dtype=np.int64))
        with self._write:
            table = self._table
            slots = self._slots(table, gone)
            slots = np.sort(slots[slots >= 0])
            if not len(slots):
                return 0
            table.data[slots] = 0
            dead = np.insert(table.dead, np.searchsorted(table.dead, slots), slots)
            table = table._replace(dead=dead)
            # A quarter dead is when a copy costs no more than the removals that led to it.
            self._table = self._copied(table, table.filled) if 4 * len(dead) > table.filled else table
            return len(slots)

    def search(self, query: Floats, k: int, allowed: Ids | None = None) -> Found:
        """The k rows nearest to the query, best first, and the mean and deviation over all rows.

        query    (dim,) unit vector
        allowed  row numbers that may be found; those not in the index are passed over. None allows every row
        raises   InputError for another shape, a value that is not finite, or k < 1
        """
        unit, table = self._query(query), self._table
        if k < 1:
            raise InputError(f"k is {k}; it must be at least 1")
        live = table.filled - len(table.dead)
        if not live:
            return Found(np.empty(0, np.int64), np.empty(0, np.float32), 0.0, 0.0)
        scores = self._scan(table, unit)
        mean = float(scores.sum()) / live
        apart = scores - np.float32(mean)  # not E[x²] - mean²: that leaves 0.0003 where all scores are equal
        apart[table.dead] = 0
        std = (float(apart @ apart) / live) ** 0.5
        if allowed is None:
            slots = _best(scores, k, table.dead)
        else:
            rows = np.asarray(allowed, dtype=np.int64)
            pool = self._slots(table, rows if (rows[1:] > rows[:-1]).all() else np.unique(rows))
            pool = pool[pool >= 0]
            slots = pool[_best(scores[pool], k)]
        return Found(table.ids[slots], scores[slots], mean, std)

    def nearest_older(self, ids: ArrayLike, k: int) -> dict[int, list[tuple[int, float]]]:
        """For each of these rows the k nearest among rows of lower number, best first; one matrix product a block.

        returns  id -> [(id, cosine), ...]; rows that are not in the index are left out
        """
        table = self._table
        asked = np.asarray(ids, dtype=np.int64).reshape(-1)
        slots = self._slots(table, asked)
        asked, slots = asked[slots >= 0], slots[slots >= 0]
        known = table.ids[: table.filled]
        dead = np.isin(np.arange(table.filled), table.dead)
        every = self._floats(table, np.arange(table.filled)) if self.dtype == "int8" else table.data[: table.filled]
        out: dict[int, list[tuple[int, float]]] = {}
        for start in range(0, len(asked), QUERIES):
            part = asked[start : start + QUERIES]
            scores = self._floats(table, slots[start : start + QUERIES]) @ every.T
            scores[(known[None, :] >= part[:, None]) | dead[None, :]] = -np.inf
            for row, id_ in enumerate(part.tolist()):
                best = _best(scores[row], k)
                out[id_] = [(int(known[b]), float(scores[row, b])) for b in best if np.isfinite(scores[row, b])]
        return out

    def scores(self, query: Floats, ids: ArrayLike) -> Floats:
        """The query's cosine with each of some rows, in their order: (n,) float32, nan for a row that is not there."""
        unit, table = self._query(query), self._table
        slots = self._slots(table, np.asarray(ids, dtype=np.int64).reshape(-1))
        there = slots >= 0
        out = np.full(len(slots), np.nan, dtype=np.float32)
        out[there] = self._floats(table, slots[there]) @ unit
        return out

    def ids(self) -> Ids:
        """The row numbers in it, in the order of adding."""
        table = self._table
        return table.ids[_live(table)]

    def rows(self) -> tuple[Ids, Floats]:
        """A copy of everything: (n,) row numbers and (n, dim) float32 vectors."""
        table = self._table
        live = _live(table)
        return table.ids[live], self._floats(table, live)

    def _query(self, query: Floats) -> Floats:
        unit = np.asarray(query, dtype=np.float32)
        if unit.shape != (self.dim,) or not np.isfinite(unit).all():
            raise InputError(f"query is {unit.shape}; this index takes ({self.dim},) finite numbers")
        return unit

    def _scan(self, table: _Table, unit: Floats) -> Floats:
        """Cosines with every slot; those of removed rows are 0."""
        count = table.filled
        scores: Floats
        if self.dtype == "float32":
            scores = table.data[:count] @ unit
            return scores
        scores = np.empty(count, dtype=np.float32)
        block = np.empty((BLOCK, self.dim), dtype=np.float32)
        for start in range(0, count, BLOCK):
            stop = min(start + BLOCK, count)
            part = block[: stop - start]
            np.copyto(part, table.data[start:stop])
            np.matmul(part, unit, out=scores[start:stop])
        scores *= table.scales[:count]
        return scores

    def _slots(self, table: _Table, ids: Ids) -> Ids:
        """Where each id lies, -1 where it does not."""
        if not table.filled:
            return np.full(len(ids), -1, dtype=np.int64)
        known = table.ids[: table.filled]
        # The last of equal ids is the one that may be alive: a row comes back behind its removed self.
        if table.ordered:
            slots = np.searchsorted(known, ids, side="right") - 1
        else:
            if self._order is None or self._order[0] is not table:
                self._order = (table, np.argsort(known, kind="stable"))
            order = self._order[1] if self._order[0] is table else np.argsort(known, kind="stable")
            slots = order[np.searchsorted(known, ids, side="right", sorter=order) - 1]
        slots = np.where(known[slots] == ids, slots, -1)
        if len(table.dead):
            near = np.minimum(np.searchsorted(table.dead, slots), len(table.dead) - 1)
            slots[table.dead[near] == slots] = -1
        return slots

    def _floats(self, table: _Table, slots: Ids) -> Floats:
        if self.dtype == "float32":
            picked: Floats = table.data[slots]
            return picked
        floats: Floats = np.multiply(table.data[slots], table.scales[slots, None], dtype=np.float32)
        return floats

    def _fill(self, table: _Table, start: int, stop: int, rows: Floats) -> None:
        if self.dtype == "float32":
            table.data[start:stop] = rows
        else:
            table.data[start:stop], table.scales[start:stop] = quantise(rows)

    def _empty(self, capacity: int) -> _Table:
        scales = np.empty(capacity if self.dtype == "int8" else 0, dtype=np.float32)
        data = np.empty((capacity, self.dim), dtype=self.dtype)
        return _Table(np.empty(capacity, np.int64), data, scales, 0, np.empty(0, np.int64), True, -1)

    def _copied(self, table: _Table, capacity: int) -> _Table:
        """The same rows without the removed ones, in new arrays; searches under way keep the old ones."""
        new, live = self._empty(capacity), _live(table) if len(table.dead) else slice(0, table.filled)
        count = table.filled - len(table.dead)
        new.ids[:count] = table.ids[live]
        new.data[:count] = table.data[live]
        if self.dtype == "int8":
            new.scales[:count] = table.scales[live]
        return new._replace(filled=count, ordered=table.ordered, highest=table.highest)


def _live(table: _Table) -> Ids:
    return np.delete(np.arange(table.filled), table.dead)


def _best(scores: Floats, k: int, dead: Ids | None = None) -> Ids:
    """Where the k highest scores are, best first, the earlier slot first among equals."""
    count = len(scores)
    if dead is not None and len(dead):
        scores = scores.copy()
        scores[dead] = -np.inf
        k = min(k, count - len(dead))
    top = np.arange(count) if k >= count else np.argpartition(scores, count - k)[count - k :]
    return top[np.lexsort((top, -scores[top]))]


def unit_rows(vectors: Floats, dim: int | None = None) -> Floats:
    """The same vectors as (n, dim) float32; InputError if the shape is another or a row has not length 1."""
    rows = np.asarray(vectors, dtype=np.float32)
    if rows.ndim != 2 or not rows.shape[1] or dim not in (None, rows.shape[1]):
        raise InputError(f"vectors is {rows.shape}; it must be (n, {dim or 'dim'})")
    norms = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    wrong = np.flatnonzero(~(np.abs(norms - 1) < 1e-3))  # written so that nan is wrong too
    if len(wrong):
        raise InputError(f"vector {wrong[0]} has length {norms[wrong[0]]:.4g}; each must have length 1")
    return rows
