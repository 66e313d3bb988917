"""The default store: one SQLite file holds records, links, journal, full text and vectors, in one transaction."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from slowwave.errors import InputError, StoreCorruptError
from slowwave.records import Change, Scope
from slowwave.store import erasure, sqlite_erasure
from slowwave.store.base import Applied, Index, Operation
from slowwave.store.cache import VectorCache
from slowwave.store.connection import MEMORY, SqliteConnections
from slowwave.store.sidecars import drop_all
from slowwave.store.sql import Session
from slowwave.store.sql_store import HELD, SqlStore
from slowwave.store.sqlite_view import SqliteView, scope_tokens
from slowwave.store.together import Together
from slowwave.store.vectors import VectorDtype
from slowwave.store.writer import Writer

T = TypeVar("T")
KEPT = 16  # values that a thread keeps for as long as nothing is written


class SqliteStore(SqlStore):
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
        self.connections: SqliteConnections = SqliteConnections(path, readonly, timeout_seconds, durable)
        self.cache = VectorCache(self, cache_mb, ann_from)
        self._together = Together(self.connections)
        self._recent = threading.local()
        if not readonly and erasure.is_open(self.connections):
            self.compact()  # an erasure was cut short, or somebody was reading then

    def view(self, scope: Scope) -> SqliteView:
        return SqliteView(self, scope)

    def unless_written(self, key: Hashable, read: Callable[[], T]) -> T:
        """What `read` gave this thread before, if nothing was written since; else what it gives now.

        key  names what is read; a value that can be changed is kept as it is, so that a reader may add to it
        """
        stamp = self.connections.stamp()
        if getattr(self._recent, "stamp", None) != stamp or len(self._recent.values) >= KEPT:
            self._recent.stamp, self._recent.values = stamp, {}
        values: dict[Hashable, T] = self._recent.values
        if key not in values:
            values[key] = read()
        return values[key]

    def standing(self, scope: Scope, key: str) -> tuple[int, str, str | None]:
        row = self.read(
            "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'engrams'), 0), "
            "coalesce((SELECT value FROM meta WHERE key = 'epoch'), ''), (SELECT value FROM meta WHERE key = ?)",
            [key],
        )[0]
        return int(row[0]), str(row[1]), row[2]

    def apply(self, operation: Operation, changes: Sequence[Change], index: Mapping[str, Index]) -> Applied:
        """As the contract says; transactions of several threads at once wait for the disk together."""

        def work(session: Session) -> Applied:
            writer = Writer(self, operation, index)
            writer.run(session, changes)
            return Applied(writer.op_id, writer.added, tuple(writer.done), tuple(writer.refused))

        return self._together.write(work)

    def held_texts(self) -> tuple[str, ...]:
        return (
            *HELD,
            "SELECT term AS part FROM vocabulary",
            "SELECT sql AS part FROM sqlite_schema WHERE sql IS NOT NULL",
        )

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
        if erasure.is_open(self.connections):
            found.append("an erasure is not finished; end other processes that use the file, and open it for writing")
        return found

    def index_words(self, session: Session, records: Sequence[tuple[Scope, int, int, str]], anew: bool = False) -> None:
        if anew:
            session.executemany("DELETE FROM words WHERE rowid = ?", [(n,) for _, _, n, _ in records])
        rows = [(n, " ".join(scope_tokens(scope)), words) for scope, _, n, words in records]
        session.executemany("INSERT INTO words (rowid, scope, body) VALUES (?, ?, ?)", rows)

    def erase_words(self, session: Session) -> int:
        gone = session.execute(f"DELETE FROM words WHERE rowid IN {erasure.DOOMED}").rowcount
        # Deleted words leave marks in the full-text index until its parts are merged: merge them now.
        session.execute("INSERT INTO words (words) VALUES ('optimize')")
        return gone

    def begin_rebuild(self, session: Session) -> None:
        session.execute("INSERT INTO words (words) VALUES ('rebuild')")

    def end_rebuild(self, session: Session) -> None:
        session.execute("DELETE FROM words WHERE rowid NOT IN (SELECT n FROM engrams)")
        session.execute("INSERT INTO words (words) VALUES ('optimize')")

    def words_table(self) -> str:
        return "(SELECT e.scope AS scope, e.n AS engram, w.body AS body FROM engrams e JOIN words w ON w.rowid = e.n) w"

    def reserve(self, session: Session, table: str, most: int) -> int:
        return 0  # the file is this store's alone

    def compact(self) -> str:
        return sqlite_erasure.compact(self.connections)

    def drop_indexes(self) -> None:
        drop_all(self.path)

    def scan(self, needles: Sequence[bytes]) -> dict[str, list[str]]:
        return sqlite_erasure.scan(self.files(), needles)
