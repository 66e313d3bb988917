"""After an erasure from PostgreSQL: tables are rewritten without what was freed, and their bytes are looked at.

What can be had of a server: every row of the tenant, and, where the role that logs in may read the server's files, the
files of every table and index, and of the planner's samples. What cannot: the write-ahead log, backups, replicas, and
the disk below.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import psycopg

from slowwave.errors import StoreError
from slowwave.store.erasure import OPEN
from slowwave.store.postgres_connections import PostgresConnections
from slowwave.store.postgres_schema import SCHEMA

AT_ONCE = 1 << 30  # bytes of a table and its indexes up to which an erasure rewrites them there and then
BLOCK = 1 << 24
OVERLAP = 4096  # more than the longest needle
TABLES = (
    "SELECT c.oid, c.relname, pg_total_relation_size(c.oid) FROM pg_class c WHERE c.relnamespace = to_regnamespace(%s)"
)
SAMPLES = "pg_catalog.pg_statistic"  # of columns' values, names of scopes among them, for the planner
LATER = "the rows are gone, but {} may still hold their bytes in free space; run when quiet: {}"


def compact(connections: PostgresConnections) -> str:
    """Rewrite what is small enough, clear the rest of dead rows; "" if all was rewritten, else what to do."""
    large = []
    try:
        with connections.maintenance() as connection:
            tables = connection.execute(f"{TABLES} AND c.relkind = 'r' ORDER BY c.relname", (SCHEMA,)).fetchall()
            for _, name, size in tables:
                if size <= AT_ONCE:
                    connection.execute(f"VACUUM (FULL, ANALYZE) {SCHEMA}.{name}")
                else:
                    connection.execute(f"VACUUM (ANALYZE) {SCHEMA}.{name}")
                    large.append(f"VACUUM (FULL) {SCHEMA}.{name};")
            if _may_read(connection):
                connection.execute(f"VACUUM (FULL) {SAMPLES}")
    except StoreError as error:
        return f"the tables could not be rewritten ({error}); run as their owner: VACUUM (FULL)"
    with connections.write() as session:
        session.execute("DELETE FROM meta WHERE key = ?", (OPEN,))
    return LATER.format(f"{len(large)} tables", " ".join(large)) if large else ""


def scan(connections: PostgresConnections, needles: Sequence[bytes]) -> dict[str, list[str]]:
    """Look for bytes in every row of the tenant, and in every file of the tables and indexes that may be read.

    returns  needle (as text) -> the tables and indexes that hold it
    """
    found: dict[str, list[str]] = {}
    wanted = [needle for needle in needles if needle]
    for name, blocks in _readable(connections):
        left, tail = set(wanted), b""
        for block in blocks:
            data = tail + block
            held = {needle for needle in left if needle in data}
            for needle in held:
                found.setdefault(needle.decode("utf-8", "replace"), []).append(name)
            left -= held
            tail = data[-OVERLAP:]
    return found


def files_readable(connections: PostgresConnections) -> bool:
    """Whether the role that logs in may read the server's files."""
    with connections.maintenance() as connection:
        return _may_read(connection)


def _may_read(connection: psycopg.Connection[Any]) -> bool:
    row = connection.execute(
        "SELECT has_function_privilege('pg_read_binary_file(text, bigint, bigint)', 'EXECUTE') "
        "AND (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)"
    ).fetchone()
    return bool(row and row[0])


def _readable(connections: PostgresConnections) -> Iterator[tuple[str, Iterator[bytes]]]:
    with connections.maintenance() as connection:
        if _may_read(connection):
            connection.execute("CHECKPOINT")  # what is in memory goes to the files
            rows = connection.execute(
                "WITH own AS (SELECT oid, reltoastrelid FROM pg_class "
                "WHERE relnamespace = to_regnamespace(%s) OR oid = %s::regclass) "
                "SELECT c.relname, pg_relation_filepath(c.oid) FROM pg_class c WHERE pg_relation_filepath(c.oid) "
                "IS NOT NULL AND c.oid IN (SELECT oid FROM own UNION SELECT reltoastrelid FROM own UNION "
                "SELECT i.indexrelid FROM pg_index i JOIN own t ON i.indrelid IN (t.oid, t.reltoastrelid)) "
                "ORDER BY c.relname",
                (SCHEMA, SAMPLES),
            ).fetchall()
            for name, path in rows:
                yield name, _file(connection, path)
            return
    tables = connections.fetch(
        "SELECT c.relname FROM pg_class c WHERE c.relnamespace = to_regnamespace(?) AND c.relkind = 'r' ORDER BY 1",
        [SCHEMA],
    )
    for (name,) in tables:
        yield f"rows of {name}", _rows(connections, name)


def _file(connection: psycopg.Connection[Any], path: str) -> Iterator[bytes]:
    """A relation's file and its further segments, a block at a time."""
    segment = 0
    while True:
        name, at = path if not segment else f"{path}.{segment}", 0
        while True:
            row = connection.execute(
                "SELECT pg_read_binary_file(%s, %s, %s, true)", (name, at, BLOCK), binary=True
            ).fetchone()
            block = bytes(row[0]) if row and row[0] is not None else b""
            if not block:
                break
            yield block
            at += len(block)
        if at < 1 << 30:
            return
        segment += 1


def _rows(connections: PostgresConnections, table: str) -> Iterator[bytes]:
    for (row,) in connections.fetch(f"SELECT t::text FROM {table} t"):
        yield row.encode() + b"\0" * OVERLAP


__all__ = ["compact", "files_readable", "scan"]
