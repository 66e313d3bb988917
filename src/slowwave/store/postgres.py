"""A store in PostgreSQL, for many machines and many users: the same contract, records and filters as the SQLite file.

The database holds the rows; the vectors and words of the scopes that are searched are indexed in the memory of whoever
searches, and brought up to date by row number, so that the time of a search does not depend on how many scopes there
are. Where a scope has very many vectors, pgvector's HNSW serves it from a partition of its own (`postgres_ann.py`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

from slowwave.errors import InputError, StoreBusyError
from slowwave.records import Change, Scope
from slowwave.store import erasure, postgres_erasure
from slowwave.store.base import Applied, Index, Operation
from slowwave.store.cache import VectorCache
from slowwave.store.clock import to_micros
from slowwave.store.postgres_ann import PostgresSidecars
from slowwave.store.postgres_connections import PostgresConnections
from slowwave.store.postgres_schema import SCHEMA
from slowwave.store.postgres_view import PostgresView
from slowwave.store.postgres_words import PLACES, WordCache
from slowwave.store.rows import scope_sql
from slowwave.store.sql import Model, Session
from slowwave.store.sql_store import HELD, SqlStore
from slowwave.store.vectors import VectorDtype
from slowwave.store.words import packed
from slowwave.store.writer import Writer

T = TypeVar("T")
KEPT = 16  # values that a thread keeps for as long as nothing is written
LOOKED_SECONDS = 0.02  # for which a view that was just made does not ask again whether anything was written
LENGTH = (  # of a scope's records as the full-text index of SQLite counts them: their words, and a word a named field
    "sum(length(w.stems) / 8 + num_nonnulls(nullif(t.user_id, ''), nullif(t.agent_id, ''), nullif(t.run_id, ''), "
    "nullif(t.app_id, '')))"
)
TRIES = 3  # of a transaction that another one's locks stood against


class PostgresStore(SqlStore):
    """A store in a PostgreSQL database, which many processes and machines may use at once.

    url              postgresql://user:password@host:5432/database?tenant=name
    readonly         search only; nothing is written, not even what was used
    timeout_seconds  how long a writer waits for others
    durable          wait for the disk at each commit
    vector_dtype     int8 (a quarter of the bytes, cosines within 0.002) or float32, for a new tenant
    cache_mb         memory for vectors of scopes that were searched, and a quarter of it for their words
    ann_from         vectors from which a scope gets an HNSW partition, where pgvector is installed; 0 or None: never
    pool             connections at most
    """

    def __init__(
        self,
        url: str,
        readonly: bool = False,
        timeout_seconds: float = 60.0,
        durable: bool = True,
        vector_dtype: VectorDtype = "int8",
        cache_mb: int = 2048,
        ann_from: int | None = 200_000,
        pool: int = 16,
    ) -> None:
        if vector_dtype not in ("int8", "float32"):
            raise InputError(f"vector_dtype is {vector_dtype!r}; it must be int8 or float32")
        self.readonly = readonly
        self.vector_dtype = vector_dtype
        self.connections: PostgresConnections = PostgresConnections(url, readonly, timeout_seconds, durable, pool)
        self.path = self.connections.path
        self.cache = VectorCache(self, cache_mb, ann_from, PostgresSidecars)
        self.words = WordCache(self, max(1, cache_mb // 4))
        self._recent = threading.local()

    # -- reading

    def view(self, scope: Scope) -> PostgresView:
        self._recent.looked = 0.0
        return PostgresView(self, scope)

    def stamp(self) -> object:
        now, recent, writes = time.monotonic(), self._recent, self.connections.writes
        old = now - getattr(recent, "looked", 0.0) > LOOKED_SECONDS or recent.writes != writes
        if old or self.connections.inside:
            recent.stamp, recent.looked, recent.writes = self.connections.stamp(), now, writes
        return recent.stamp

    def unless_written(self, key: Hashable, read: Callable[[], T]) -> T:
        stamp = self.stamp()
        if getattr(self._recent, "of", None) != stamp or len(self._recent.values) >= KEPT:
            self._recent.of, self._recent.values = stamp, {}
        values: dict[Hashable, T] = self._recent.values
        if key not in values:
            values[key] = read()
        return values[key]

    def standing(self, scope: Scope, key: str) -> tuple[int, str, str | None]:
        condition, values = scope_sql(scope)
        horizon = self.connections.horizon(scope)
        row = self.read(
            "SELECT (SELECT max((SELECT max(e.n) FROM engrams e WHERE e.scope = s.n)) FROM scopes s "
            f"WHERE {condition}), (SELECT value FROM meta WHERE key = 'epoch'), (SELECT value FROM meta WHERE key = ?)",
            [*values, key],
        )[0]
        newest = int(row[0] or 0)
        return newest if horizon is None else min(newest, horizon), str(row[1] or ""), row[2]

    def vector_pages(
        self, model: Model, places: Sequence[int], after: int, newest: int, most: int
    ) -> Iterator[list[tuple[int, bytes]]]:
        if len(places) == 1:
            yield from super().vector_pages(model, places, after, newest, most)
            return
        for at in range(0, len(places), PLACES):  # not one statement a scope: each is a journey
            rows = self.read(
                "SELECT engram, vector FROM vectors WHERE model = ? AND scope = ANY(?) AND engram > ? AND engram <= ? "
                "ORDER BY engram",
                [model.n, list(places[at : at + PLACES]), after, newest],
            )
            if rows:
                yield rows

    def size(self) -> dict[str, int]:
        """Bytes of each table with its indexes, of all tenants together."""
        return dict(
            self.read(
                "SELECT c.relname, pg_total_relation_size(c.oid) FROM pg_class c "
                "WHERE c.relnamespace = to_regnamespace(?) AND c.relkind = 'r' ORDER BY c.relname",
                [SCHEMA],
            )
        )

    def held_texts(self) -> tuple[str, ...]:
        return (
            *HELD,
            "SELECT body AS part FROM words",
            "SELECT name AS part FROM speakers",
            "SELECT name AS part FROM sessions",
            "SELECT id || ' ' || scope || ' ' || arguments || ' ' || actor AS part FROM jobs",
            "SELECT name AS part FROM tenants",
        )

    def holds(self, piece: str) -> bool:
        """Where the server's files are scanned, what other tenants hold accounts for bytes as well."""
        if super().holds(piece):
            return True
        instr = self.connections.dialect.found_in("lower(part)", "lower(%s)")
        with self.connections.maintenance() as connection:
            return any(
                connection.execute(
                    f"SELECT EXISTS (SELECT 1 FROM ({texts.replace('%', '%%')}) held WHERE {instr})", (piece,)
                ).fetchall()[0][0]
                for texts in self.held_texts()
            )

    def scan(self, needles: Sequence[bytes]) -> dict[str, list[str]]:
        return postgres_erasure.scan(self.connections, needles)

    def check(self) -> list[str]:
        counts = self.read(
            "SELECT (SELECT count(*) FROM engrams), "
            "(SELECT count(*) FROM words w JOIN engrams e ON e.n = w.engram AND e.scope = w.scope), "
            "(SELECT count(*) FROM vectors v JOIN models m ON m.n = v.model WHERE m.current = 1), "
            "(SELECT count(*) FROM (SELECT source FROM sources UNION ALL SELECT source FROM rejected_sources "
            "UNION ALL SELECT source FROM reply_sources) t WHERE NOT EXISTS "
            "(SELECT 1 FROM engrams e WHERE e.n = t.source)), (SELECT count(*) FROM words), "
            "(SELECT count(*) FROM scopes s LEFT JOIN (SELECT w.scope, count(*) AS records, "
            f"{LENGTH} AS length FROM words w JOIN scopes t ON t.n = w.scope GROUP BY w.scope) c ON c.scope = s.n "
            "WHERE s.records <> coalesce(c.records, 0) OR s.length <> coalesce(c.length, 0))",
            [],
        )[0]
        found = []
        if not counts[0] == counts[1] == counts[4]:
            found.append(f"{counts[0]} records but {counts[4]} in the full-text index; run: slowwave rebuild")
        elif counts[5]:
            found.append(f"{counts[5]} scopes whose lengths are not those of their records; run: slowwave rebuild")
        if self.model() is not None and counts[0] != counts[2]:
            found.append(f"{counts[0]} records but {counts[2]} vectors; run: slowwave rebuild")
        if counts[3]:
            found.append(f"{counts[3]} sources name records that are not there")
        if erasure.is_open(self.connections):
            found.append("an erasure is not finished: tables are to be rewritten; see docs/postgres.md")
        return found

    def close(self) -> None:
        self.cache.clear()
        self.words.clear()
        self.connections.close()

    # -- writing

    def apply(self, operation: Operation, changes: Sequence[Change], index: Mapping[str, Index]) -> Applied:
        for again in reversed(range(TRIES)):
            try:
                return super().apply(operation, changes, index)
            except StoreBusyError as error:
                if not again or "deadlock" not in str(error):
                    raise
        raise AssertionError("every try returns or raises")

    def touch(self, uses: Mapping[str, tuple[datetime, float, datetime | None]]) -> None:
        # What somebody else holds is passed over, so that this waits for nobody, and nobody for what waits.
        rows = [
            (id_, to_micros(moment), half_life_days, None if due is None else to_micros(due))
            for id_, (moment, half_life_days, due) in uses.items()
        ]
        if not rows:
            return
        with self.connections.jotting() as session:
            session.execute(
                "WITH v AS (SELECT * FROM unnest(?::text[], ?::bigint[], ?::float8[], ?::bigint[]) "
                "v (id, used, half_life_days, due)), free AS (SELECT e.n, e.id FROM engrams e "
                "WHERE e.id IN (SELECT v.id FROM v) FOR UPDATE SKIP LOCKED) "
                "UPDATE engrams e SET used = v.used, strength = 1.0, half_life_days = v.half_life_days, due = v.due "
                "FROM v JOIN free ON free.id = v.id WHERE e.n = free.n",
                [list(column) for column in zip(*rows, strict=True)],
            )

    def index_words(self, session: Session, records: Sequence[tuple[Scope, int, int, str]], anew: bool = False) -> None:
        session.executemany(
            "INSERT INTO words (scope, engram, stems, body) VALUES (?, ?, ?, ?) ON CONFLICT (scope, engram) "
            "DO UPDATE SET stems = excluded.stems, body = excluded.body",
            [(place, n, packed(words), words) for _, place, n, words in records],
        )

    def end_write(self, session: Session, writer: Writer) -> None:
        """Count the records that came and the words in them, scope by scope."""
        came = [n for _, _, n in writer.inserted]
        if came:
            places = list({place for _, place, _ in writer.inserted})
            where = "w.scope = ANY(?) AND w.engram = ANY(?)"
            self._count(session, where, [places, came], "s.records + ", "s.length + ")

    def erase_words(self, session: Session) -> int:
        gone = session.execute(
            "DELETE FROM words WHERE (scope, engram) IN (SELECT d.scope, d.n FROM doomed d)"
        ).rowcount
        # What has ended is told of no more where it may name somebody whose records go.
        session.execute(
            "DELETE FROM jobs WHERE ended IS NOT NULL AND EXISTS (SELECT 1 FROM scopes b WHERE b.n IN (SELECT scope "
            "FROM doomed) AND b.user_id = coalesce(jobs.scope::json ->> 'user_id', b.user_id))"
        )
        session.execute(
            "UPDATE scopes s SET records = 0, length = 0 WHERE s.n IN (SELECT scope FROM doomed)",
        )
        self._count(session, "w.scope IN (SELECT scope FROM doomed)", [], "", "")
        return gone

    def begin_rebuild(self, session: Session) -> None:
        pass

    def end_rebuild(self, session: Session) -> None:
        session.execute("DELETE FROM words w WHERE NOT EXISTS (SELECT 1 FROM engrams e WHERE e.n = w.engram)")
        session.execute("UPDATE scopes SET records = 0, length = 0")
        self._count(session, "TRUE", [], "", "")

    def words_table(self) -> str:
        return "words"

    def reserve(self, session: Session, table: str, most: int) -> int:
        sequence = f"{table}_n_seq"
        session.execute("SELECT pg_advisory_xact_lock(?)", (self.connections.key("numbers", table),))
        last, used = session.execute(f"SELECT last_value, is_called FROM {sequence}").fetchall()[0]
        base = int(last) if used else 0
        if most:
            session.execute(f"SELECT setval('{sequence}', ?)", (base + most,))
        return base

    def moved_in(self) -> None:
        with self.connections.write() as session:
            self._count(session, "TRUE", [], "", "")
        self.words.clear()

    def compact(self) -> str:
        self.words.clear()
        return postgres_erasure.compact(self.connections)

    def drop_indexes(self) -> None:
        self.words.clear()
        sidecars = self.cache.sidecars
        assert isinstance(sidecars, PostgresSidecars)
        sidecars.drop_all()

    def _count(self, session: Session, which: str, values: list[Any], records: str, length: str) -> None:
        session.execute(
            f"UPDATE scopes s SET records = {records}c.records, length = {length}c.length FROM (SELECT w.scope, "
            f"count(*) AS records, {LENGTH} AS length FROM words w "
            f"JOIN scopes t ON t.n = w.scope WHERE {which} GROUP BY w.scope) c WHERE s.n = c.scope",
            values,
        )
