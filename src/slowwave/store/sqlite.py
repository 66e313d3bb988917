"""The default store: one SQLite file holds records, links, journal, full text and vectors, in one transaction."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from slowwave.errors import InputError, StoreCorruptError
from slowwave.records import Change, Engram, Link, Scope
from slowwave.store import erasure, reindex, sqlite_leases, sqlite_serving
from slowwave.store.base import (
    Applied,
    Bookmark,
    Erased,
    Index,
    Kept,
    Key,
    Lease,
    Operation,
    Past,
    Restored,
    Store,
    Usage,
)
from slowwave.store.cache import Model, VectorCache
from slowwave.store.clock import to_micros
from slowwave.store.connection import MEMORY, Connections
from slowwave.store.sidecars import drop_all
from slowwave.store.sqlite_replies import SqliteReplies
from slowwave.store.sqlite_restorer import Restorer
from slowwave.store.sqlite_rows import fetch_sources, scope_of
from slowwave.store.sqlite_view import SqliteView
from slowwave.store.sqlite_writer import Writer
from slowwave.store.vectors import Found, VectorDtype, decode

T = TypeVar("T")
KEPT = 16  # values that a thread keeps for as long as nothing is written


class SqliteStore(Store):
    """A store in one SQLite file.

    path             the file; ":memory:" for one that goes with the process
    readonly         search only; nothing is written, not even what was used
    timeout_seconds  how long a writer waits for another process
    durable          wait for the disk at each commit
    vector_dtype     int8 (a quarter of the bytes, cosines within 0.002) or float32, for a new store
    cache_mb         memory for vectors of scopes that were searched; the least used go first
    ann_from         vectors from which a scope gets an approximate index, where usearch is installed; 0 or None: never
    """

    def __init__(
        self,
        path: str | Path,
        readonly: bool = False,
        timeout_seconds: float = 60.0,
        durable: bool = True,
        vector_dtype: VectorDtype = "int8",
        cache_mb: int = 2048,
        ann_from: int | None = 200_000,
    ) -> None:
        if vector_dtype not in ("int8", "float32"):
            raise InputError(f"vector_dtype is {vector_dtype!r}; it must be int8 or float32")
        self.path = str(path)
        self.readonly = readonly
        self.vector_dtype = vector_dtype
        self._named: tuple[str, int] | None = None
        self._connections = Connections(path, readonly, timeout_seconds, durable)
        self._cache = VectorCache(self, cache_mb, ann_from)
        self._recent = threading.local()
        if not readonly and erasure.is_open(self._connections):
            erasure.compact(self._connections)  # an erasure was cut short, or somebody was reading then

    # -- reading

    def view(self, scope: Scope) -> SqliteView:
        return SqliteView(self, scope)

    def read(self, sql: str, values: Sequence[Any]) -> list[Any]:
        """The rows of a statement; only views, and maintenance below, call it."""
        return self._connections.fetch(sql, values)

    def unless_written(self, key: Hashable, read: Callable[[], T]) -> T:
        """What `read` gave this thread before, if nothing was written since; else what it gives now.

        key  names what is read; a value that can be changed is kept as it is, so that a reader may add to it
        """
        stamp = self._connections.stamp()
        if getattr(self._recent, "stamp", None) != stamp or len(self._recent.values) >= KEPT:
            self._recent.stamp, self._recent.values = stamp, {}
        values: dict[Hashable, T] = self._recent.values
        if key not in values:
            values[key] = read()
        return values[key]

    def stamp(self) -> tuple[object, int, int]:
        """Equal to an earlier one of this thread if nothing was written in between."""
        return self._connections.stamp()

    def snapshot(self) -> AbstractContextManager[None]:
        """What this thread reads inside is of one moment."""
        return self._connections.snapshot()

    def sources(self, ns: Sequence[int]) -> dict[int, list[str]]:
        """Row number -> ids of its sources."""
        return fetch_sources(self.read, ns)

    def stems(self, words: Sequence[str]) -> dict[str, str]:
        """Words -> the stems under which the full-text index keeps them."""
        return self._cache.stems(words)

    def nearest(self, scope: Scope, query: NDArray[np.float32], k: int, allowed: NDArray[np.int64] | None) -> Found:
        """Nearest vectors among those of one scope."""
        return self._cache.nearest(scope, query, k, allowed)

    def indexed(self, scope: Scope) -> int | None:
        """How many vectors of a scope are in memory; None if it was not searched by vector yet."""
        return self._cache.size(scope)

    def cosines(self, scope: Scope, query: NDArray[np.float32], ns: Sequence[int]) -> dict[int, float]:
        """The scores that `nearest` would give these rows."""
        return self._cache.cosines(scope, query, ns)

    def nearest_older(self, scope: Scope, ns: Sequence[int], k: int) -> dict[int, list[tuple[int, float]]]:
        """For each row the nearest of lower row number."""
        return self._cache.nearest_older(scope, ns, k)

    def holds(self, piece: str) -> bool:
        """The schema's own words and the journal lines of records that are left count as well."""
        texts = (
            "SELECT e.text || ' ' || e.attrs || ' ' || ifnull(e.origin, '') || ' ' || e.id || ' ' || e.at_zone "
            "AS part FROM engrams e",
            "SELECT user_id || ' ' || agent_id || ' ' || run_id || ' ' || app_id AS part FROM scopes",
            "SELECT term AS part FROM vocabulary",
            "SELECT sql AS part FROM sqlite_schema WHERE sql IS NOT NULL",
            "SELECT name AS part FROM models",
            "SELECT id || ' ' || verb || ' ' || system || ' ' || model || ' ' || params AS part FROM operations",
            "SELECT reason || before || after || verb AS part FROM journal",
            "SELECT operation || ' ' || model || ' ' || prompt || ' ' || problem AS part FROM calls",
            "SELECT operation || ' ' || reason || ' ' || text || ' ' || model || ' ' || prompt AS part FROM rejected",
            "SELECT key || ' ' || model || ' ' || text || ' ' || tokens AS part FROM replies",
            "SELECT name || ' ' || holder || ' ' || token || ' ' || machine AS part FROM leases",
            "SELECT user_id || ' ' || agent_id || ' ' || run_id || ' ' || app_id AS part FROM leases",
            "SELECT id || ' ' || name || ' ' || scopes || ' ' || verbs AS part FROM keys",
            "SELECT id || ' ' || text || ' ' || item || ' ' || reason AS part FROM held",
        )
        return any(
            self.read(f"SELECT EXISTS (SELECT 1 FROM ({text}) WHERE instr(lower(part), lower(?)) > 0)", [piece])[0][0]
            for text in texts
        )

    def owner(self, id: str) -> Scope | None:
        rows = self.read(
            "SELECT s.user_id, s.agent_id, s.run_id, s.app_id FROM engrams e JOIN scopes s ON s.n = e.scope "
            "WHERE e.id = ?",
            [id],
        )
        return scope_of(rows[0]) if rows else None

    def decode(self, blobs: Sequence[bytes], model: Model) -> NDArray[np.float32]:
        """Kept vectors -> (n, dim) float32."""
        return decode(blobs, model.dim, model.dtype)

    def model(self) -> Model | None:
        """The embedder whose vectors are searched; None before the first."""
        sql = "SELECT n, name, dim, dtype FROM models WHERE current = 1"
        rows = self.unless_written("model", lambda: self.read(sql, []))
        return Model(*rows[0]) if rows else None

    def current_model(self) -> Model | None:
        """As `model`; ModelMismatchError if another process has changed it since this one named its embedder."""
        model = self.model()
        if model is not None and self._named is not None and self._named != (model.name, model.dim):
            raise reindex.mismatch(self.path, model, *self._named)
        return model

    def scopes(self) -> list[tuple[Scope, int]]:
        rows = self.read(
            "SELECT user_id, agent_id, run_id, app_id, (SELECT count(*) FROM engrams e WHERE e.scope = s.n) "
            "FROM scopes s ORDER BY 1, 2, 3, 4",
            [],
        )
        return [(scope_of(row[:4]), row[4]) for row in rows]

    def files(self) -> list[Path]:
        """Every file of this store that there is: the database, its log, its sidecars."""
        if self.path == MEMORY:
            return []
        main = Path(self.path).resolve()  # SQLite puts its log beside the file that a link leads to
        near = (file for file in main.parent.iterdir() if file.name.startswith((main.name + "-", main.name + ".")))
        return [file for file in [main, *sorted(near)] if file.is_file()]

    def size(self) -> dict[str, int]:
        sizes = {}
        for file in self.files():
            with suppress(FileNotFoundError):  # the log goes when the last process closes
                sizes[file.name] = file.stat().st_size
        return sizes

    def check(self) -> list[str]:
        try:
            return self._faults()
        except StoreCorruptError as error:
            return [str(error)]

    def _faults(self) -> list[str]:
        found = [row[0] for row in self.read("PRAGMA integrity_check(20)", []) if row[0] != "ok"]
        found += [f"foreign key broken: {row}" for row in self.read("PRAGMA foreign_key_check", [])[:20]]
        counts = self.read(
            "SELECT (SELECT count(*) FROM engrams), (SELECT count(*) FROM words_docsize), "
            "(SELECT count(*) FROM vectors v JOIN models m ON m.n = v.model WHERE m.current = 1), "
            "(SELECT count(*) FROM (SELECT source FROM sources UNION ALL SELECT source FROM rejected_sources "
            "UNION ALL SELECT source FROM reply_sources) t WHERE NOT EXISTS "
            "(SELECT 1 FROM engrams e WHERE e.n = t.source))",
            [],
        )[0]
        if counts[0] != counts[1]:
            found.append(f"{counts[0]} records but {counts[1]} in the full-text index; run: slowwave rebuild")
        if self.model() is not None and counts[0] != counts[2]:
            found.append(f"{counts[0]} records but {counts[2]} vectors; run: slowwave rebuild")
        if counts[3]:
            found.append(f"{counts[3]} sources name records that are not there")
        if erasure.is_open(self._connections):
            found.append("an erasure is not finished; end other processes that use the file, and open it for writing")
        return found

    def close(self) -> None:
        self._cache.fold()
        self._cache.clear()
        self._connections.close()

    # -- writing

    def apply(self, operation: Operation, changes: Sequence[Change], index: Mapping[str, Index]) -> Applied:
        writer = Writer(self, operation, index)
        with self._connections.write() as connection:
            writer.run(connection, changes)
        return Applied(writer.op_id, writer.added, tuple(writer.done), tuple(writer.refused))

    def restore(
        self,
        scope: Scope,
        records: Sequence[Kept],
        links: Sequence[Link],
        operations: Sequence[Past],
        bookmarks: Sequence[Bookmark],
        index: Mapping[str, Index],
        so_far: Restored,
    ) -> None:
        restorer = Restorer(self, scope, index, so_far)
        with self._connections.write() as connection:
            restorer.restore(connection, records, links, operations, bookmarks)

    def touch(self, uses: Mapping[str, tuple[datetime, float, datetime | None]]) -> None:
        rows = [
            (to_micros(moment), half_life_days, None if due is None else to_micros(due), id_)
            for id_, (moment, half_life_days, due) in uses.items()
        ]
        with self._connections.write() as connection:
            connection.executemany(
                "UPDATE engrams SET used = ?, strength = 1.0, half_life_days = ?, due = ? WHERE id = ?", rows
            )

    def set_model(self, name: str, dim: int) -> None:
        reindex.set_model(self._connections, self.model(), name, dim, self.vector_dtype, self.path)
        self._named = (name, dim)

    def reembed(
        self, name: str, dim: int, embed: Callable[[Sequence[Engram]], NDArray[np.float32]], batch: int = 256
    ) -> Iterator[tuple[int, int]]:
        yield from reindex.reembed(self._connections, name, dim, self.vector_dtype, embed, batch)
        self._named = (name, dim)
        self._cache.clear()
        drop_all(self.path)

    def rebuild(
        self, index: Callable[[Sequence[Engram]], Sequence[Index]], batch: int = 256
    ) -> Iterator[tuple[int, int]]:
        yield from reindex.rebuild(self._connections, self.current_model, index, batch)
        self._cache.clear()
        drop_all(self.path)

    def build_ann(self, scope: Scope, progress: Callable[[int, int], None] | None = None) -> str:
        return self._cache.sidecars.build(scope, progress)

    def ann_scopes(self) -> list[Scope]:
        return self._cache.sidecars.scopes()

    def note_sidecar(self, key: str, text: str, epoch: str) -> bool:
        """Say of an index file what is in it; False if rows went since it was begun, so that it must not serve."""
        with self._connections.write() as connection:
            held = connection.execute("SELECT ifnull((SELECT value FROM meta WHERE key = 'epoch'), '')").fetchone()[0]
            if held == epoch:
                connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, text))
        return bool(held == epoch)

    def erase(self, scope: Scope, ids: Sequence[str]) -> Erased:
        self._cache.clear()
        return erasure.erase(self._connections, self.view(scope), ids)

    def replies(self, scope: Scope) -> SqliteReplies:
        return SqliteReplies(self._connections, scope)

    def take_lease(self, scope: Scope, name: str, holder: str, seconds: float) -> Lease | None:
        return sqlite_leases.take(self._connections, scope, name, holder, seconds)

    def held_lease(self, scope: Scope, name: str) -> Lease | None:
        return sqlite_leases.held(self._connections, scope, name)

    def renew_lease(self, lease: Lease, seconds: float) -> Lease | None:
        return sqlite_leases.renew(self._connections, lease, seconds)

    def release_lease(self, lease: Lease) -> None:
        sqlite_leases.release(self._connections, lease)

    def put_key(self, key: Key) -> None:
        sqlite_serving.put_key(self._connections, key)

    def all_keys(self) -> list[Key]:
        return sqlite_serving.keys(self._connections)

    def note_usage(self, used: Sequence[Usage]) -> None:
        sqlite_serving.note_usage(self._connections, used)

    def usage(self, since: str) -> list[Usage]:
        return sqlite_serving.usage(self._connections, since)

    def scan(self, needles: Sequence[bytes]) -> dict[str, list[str]]:
        return erasure.scan(self.files(), needles)
