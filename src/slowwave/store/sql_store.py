"""A store in a database: what SQLite and PostgreSQL have in common, which is nearly everything."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from slowwave.records import Change, Engram, Link, Scope
from slowwave.store import erasure, leases, reindex, serving, stems
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
from slowwave.store.cache import VectorCache
from slowwave.store.clock import to_micros
from slowwave.store.replies import SqlReplies
from slowwave.store.restorer import Restorer
from slowwave.store.rows import fetch_sources, scope_of
from slowwave.store.sql import Connections, Model, Session, get_meta, put_meta
from slowwave.store.vectors import Found, VectorDtype, decode
from slowwave.store.view import SqlView
from slowwave.store.writer import Writer

T = TypeVar("T")
HELD = (  # every table's texts, each row as one `part`: what accounts for bytes that a scan finds
    "SELECT e.text || ' ' || e.attrs || ' ' || coalesce(e.origin, '') || ' ' || e.id || ' ' || e.at_zone AS part "
    "FROM engrams e",
    "SELECT user_id || ' ' || agent_id || ' ' || run_id || ' ' || app_id AS part FROM scopes",
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


class SqlStore(Store):
    """A store in a database; `sqlite.py` and `postgres.py` add the full text, files and connections of theirs."""

    connections: Connections
    vector_dtype: VectorDtype
    cache: VectorCache
    _named: tuple[str, int] | None = None

    # -- what each database has in its own way

    @abstractmethod
    def view(self, scope: Scope) -> SqlView: ...

    @abstractmethod
    def unless_written(self, key: Hashable, read: Callable[[], T]) -> T:
        """What `read` gave this thread before, if nothing was written since; else what it gives now.

        key  names what is read; a value that can be changed is kept as it is, so that a reader may add to it
        """

    @abstractmethod
    def standing(self, scope: Scope, key: str) -> tuple[int, str, str | None]:
        """Up to which row number a scope is to be seen, the epoch of the vectors, and what `meta` has under a key."""

    def vector_pages(
        self, model: Model, places: Sequence[int], after: int, newest: int, most: int
    ) -> Iterator[list[tuple[int, bytes]]]:
        """Row numbers and kept vectors of some scopes with after < n <= newest, at most so many at once."""
        for place in places:
            last, full = after, True
            while full:
                rows = self.read(
                    "SELECT engram, vector FROM vectors WHERE model = ? AND scope = ? AND engram > ? AND engram <= ? "
                    "ORDER BY engram LIMIT ?",
                    [model.n, place, last, newest, most],
                )
                full = len(rows) == most
                if rows:
                    last = rows[-1][0]
                    yield rows

    @abstractmethod
    def index_words(self, session: Session, records: Sequence[tuple[Scope, int, int, str]], anew: bool = False) -> None:
        """Put records into the full-text index: each with its scope, that one's row number, its own, and its words.

        anew  they may be there already
        """

    @abstractmethod
    def erase_words(self, session: Session) -> int:
        """Take those in the table `doomed` out of the full-text index; how many there were."""

    @abstractmethod
    def begin_rebuild(self, session: Session) -> None:
        """Before the full-text index is made anew."""

    @abstractmethod
    def end_rebuild(self, session: Session) -> None:
        """When each record is in the full-text index again."""

    @abstractmethod
    def words_table(self) -> str:
        """The full-text index as a table with scope, engram and body, for a move to another store."""

    @abstractmethod
    def reserve(self, session: Session, table: str, most: int) -> int:
        """Set aside row numbers of a table for a move; what is to be added to 1, ..., `most`."""

    def moved_in(self) -> None:
        """Called when the rows of another store are all there."""

    @abstractmethod
    def compact(self) -> str:
        """Overwrite what an erasure left behind; "" if that is done, else why not and what to do."""

    @abstractmethod
    def drop_indexes(self) -> None:
        """Remove all approximate indexes."""

    def end_write(self, session: Session, writer: Writer) -> None:
        """Called in each transaction when its changes are written."""

    def note_sidecar(self, key: str, text: str, epoch: str) -> bool:
        """Say of an approximate index what is in it; False if rows went since it was begun: it must not serve then."""
        with self.connections.write() as session:
            held = get_meta(lambda sql, values: session.execute(sql, values).fetchall(), "epoch") or ""
            if held == epoch:
                put_meta(session, key, text)
        return bool(held == epoch)

    def erase(self, scope: Scope, ids: Sequence[str]) -> Erased:
        self.cache.clear()
        counts, gone = erasure.erase(self, scope, ids)
        return Erased(counts, gone, self.compact())

    def holds(self, piece: str) -> bool:
        """Also words of the schema and of the journal lines of records that are left count."""
        instr = self.connections.dialect.found_in("lower(part)", "lower(?)")
        return any(
            self.read(f"SELECT EXISTS (SELECT 1 FROM ({texts}) held WHERE {instr})", [piece])[0][0]
            for texts in self.held_texts()
        )

    def held_texts(self) -> tuple[str, ...]:
        """Statements that give every text of the database, as `part`."""
        return HELD

    # -- reading

    def read(self, sql: str, values: Sequence[Any]) -> list[Any]:
        """The rows of a statement; only views, and maintenance below, call it."""
        return self.connections.fetch(sql, values)

    def stamp(self) -> object:
        """Equal to an earlier one of this thread if nothing was written in between."""
        return self.connections.stamp()

    def snapshot(self, scope: Scope) -> AbstractContextManager[None]:
        """What this thread reads of a scope inside is of one moment."""
        return self.connections.snapshot(scope)

    def sources(self, ns: Sequence[int]) -> dict[int, list[str]]:
        """Row number -> ids of its sources."""
        return fetch_sources(self.read, self.connections.dialect, ns)

    def stems(self, words: Sequence[str]) -> dict[str, str]:
        """Words -> the stems under which the full-text index keeps them."""
        return stems.stems(words)

    def nearest(self, scope: Scope, query: NDArray[np.float32], k: int, allowed: NDArray[np.int64] | None) -> Found:
        """Nearest vectors among those of one scope."""
        return self.cache.nearest(scope, query, k, allowed)

    def indexed(self, scope: Scope) -> int | None:
        """How many vectors of a scope are in memory; None if it was not searched by vector yet."""
        return self.cache.size(scope)

    def cosines(self, scope: Scope, query: NDArray[np.float32], ns: Sequence[int]) -> dict[int, float]:
        """The scores that `nearest` would give these rows."""
        return self.cache.cosines(scope, query, ns)

    def nearest_older(self, scope: Scope, ns: Sequence[int], k: int) -> dict[int, list[tuple[int, float]]]:
        """For each row the nearest of lower row number."""
        return self.cache.nearest_older(scope, ns, k)

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

    def close(self) -> None:
        self.cache.fold()
        self.cache.clear()
        self.connections.close()

    # -- writing

    def apply(self, operation: Operation, changes: Sequence[Change], index: Mapping[str, Index]) -> Applied:
        writer = Writer(self, operation, index)
        with self.connections.write(operation.scope) as connection:
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
        with self.connections.write(scope) as connection:
            restorer.restore(connection, records, links, operations, bookmarks)

    def touch(self, uses: Mapping[str, tuple[datetime, float, datetime | None]]) -> None:
        rows = [
            (to_micros(moment), half_life_days, None if due is None else to_micros(due), id_)
            for id_, (moment, half_life_days, due) in sorted(uses.items())  # all writers lock them in one order
        ]
        with self.connections.note() as connection:
            connection.executemany(
                "UPDATE engrams SET used = ?, strength = 1.0, half_life_days = ?, due = ? WHERE id = ?", rows
            )

    def set_model(self, name: str, dim: int) -> None:
        reindex.set_model(self.connections, self.model(), name, dim, self.vector_dtype, self.path)
        self._named = (name, dim)

    def reembed(
        self, name: str, dim: int, embed: Callable[[Sequence[Engram]], NDArray[np.float32]], batch: int = 256
    ) -> Iterator[tuple[int, int]]:
        yield from reindex.reembed(self.connections, name, dim, self.vector_dtype, embed, batch)
        self._named = (name, dim)
        self.cache.clear()
        self.drop_indexes()

    def rebuild(
        self, index: Callable[[Sequence[Engram]], Sequence[Index]], batch: int = 256
    ) -> Iterator[tuple[int, int]]:
        yield from reindex.rebuild(self, index, batch)
        self.cache.clear()
        self.drop_indexes()

    def build_ann(self, scope: Scope, progress: Callable[[int, int], None] | None = None) -> str:
        return self.cache.sidecars.build(scope, progress)

    def ann_scopes(self) -> list[Scope]:
        return self.cache.sidecars.scopes()

    def replies(self, scope: Scope) -> SqlReplies:
        return SqlReplies(self.connections, scope)

    def take_lease(self, scope: Scope, name: str, holder: str, seconds: float) -> Lease | None:
        return leases.take(self.connections, scope, name, holder, seconds)

    def held_lease(self, scope: Scope, name: str) -> Lease | None:
        return leases.held(self.connections, scope, name)

    def renew_lease(self, lease: Lease, seconds: float) -> Lease | None:
        return leases.renew(self.connections, lease, seconds)

    def release_lease(self, lease: Lease) -> None:
        leases.release(self.connections, lease)

    def put_key(self, key: Key) -> None:
        serving.put_key(self.connections, key)

    def all_keys(self) -> list[Key]:
        return serving.keys(self.connections)

    def note_usage(self, used: Sequence[Usage]) -> None:
        serving.note_usage(self.connections, used)

    def usage(self, since: str) -> list[Usage]:
        return serving.usage(self.connections, since)
