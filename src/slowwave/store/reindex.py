"""Remaking what is derived: the vectors of another model, the full text, the times. Resumable, swapped atomically."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from slowwave.errors import InputError, ModelMismatchError
from slowwave.records import Engram
from slowwave.store.base import Index
from slowwave.store.cache import Model
from slowwave.store.connection import Connections
from slowwave.store.ids import new_id
from slowwave.store.sqlite_rows import COLUMNS, TABLES, decode, fetch_sources
from slowwave.store.sqlite_view import scope_tokens
from slowwave.store.vectors import VectorDtype, encode


def set_model(connections: Connections, held: Model | None, name: str, dim: int, dtype: VectorDtype, path: str) -> None:
    """Name the embedder of a new store; another than the one it has is a ModelMismatchError."""
    if held is None and not connections.readonly:
        with connections.write() as connection:
            connection.execute(
                "INSERT INTO models (name, dim, dtype, current) "
                "SELECT ?, ?, ?, 1 WHERE NOT EXISTS (SELECT 1 FROM models WHERE current = 1) "
                "ON CONFLICT (name) DO UPDATE SET current = 1",
                (name, dim, dtype),
            )
            held = Model(*connection.execute("SELECT n, name, dim, dtype FROM models WHERE current = 1").fetchone())
    if held is not None and (held.name, held.dim) != (name, dim):
        raise mismatch(path, held, name, dim)


def mismatch(path: str, held: Model, name: str, dim: int) -> ModelMismatchError:
    """The error of a store that holds vectors of another model."""
    return ModelMismatchError(
        f"{path} holds vectors of {held.name} ({held.dim} wide), this memory would search with {name} "
        f"({dim} wide); open it with {held.name}, or change it for good with: slowwave reembed"
    )


def reembed(
    connections: Connections,
    name: str,
    dim: int,
    dtype: VectorDtype,
    embed: Callable[[Sequence[Engram]], NDArray[np.float32]],
    batch: int,
) -> Iterator[tuple[int, int]]:
    """Make vectors of another model beside the old ones, batch by batch; swap in one transaction when none is missing.

    After a kill it goes on where it was: what is missing is found by comparing the tables. Records that are added
    meanwhile get old vectors at once and new ones here. Searching goes on with the old model until the swap.
    """
    if batch < 1:
        raise InputError(f"batch is {batch}; it must be at least 1")
    with connections.write() as connection:
        connection.execute(
            "INSERT OR IGNORE INTO models (name, dim, dtype, current) VALUES (?, ?, ?, 0)", (name, dim, dtype)
        )
        model = connection.execute("SELECT n, dim, dtype FROM models WHERE name = ?", (name,)).fetchone()
        if model[1] != dim:
            raise ModelMismatchError(f"{name} was {model[1]} wide before and is {dim} wide now; give it another name")
    missing = (
        "FROM engrams e WHERE NOT EXISTS "
        "(SELECT 1 FROM vectors v WHERE v.model = ? AND v.scope = e.scope AND v.engram = e.n)"
    )
    while True:
        last = 0
        total = connections.fetch("SELECT count(*) FROM engrams")[0][0]
        done = total - connections.fetch(f"SELECT count(*) {missing}", [model[0]])[0][0]
        yield done, total
        page = f"SELECT e.n {missing} AND e.n > ? ORDER BY e.n LIMIT ?"
        while ns := [n for (n,) in connections.fetch(page, [model[0], last, batch])]:
            _embed_batch(connections, model[0], model[2], ns, embed)
            last = ns[-1]
            done += len(ns)
            yield done, max(done, total)
        with connections.write() as connection:
            if connection.execute(f"SELECT count(*) {missing}", (model[0],)).fetchone()[0]:
                continue  # somebody wrote since the last look
            connection.execute("UPDATE models SET current = (n = ?)", (model[0],))
            connection.execute("DELETE FROM vectors WHERE model <> ?", (model[0],))
            connection.execute("DELETE FROM models WHERE n <> ?", (model[0],))
            bump_epoch(connection)
        return


def _embed_batch(
    connections: Connections,
    model: int,
    dtype: VectorDtype,
    ns: Sequence[int],
    embed: Callable[[Sequence[Engram]], NDArray[np.float32]],
) -> None:
    engrams = read_engrams(connections, ns)
    blobs = encode(embed(list(engrams.values())), dtype)
    with connections.write() as connection:
        for n, blob in zip(engrams, blobs, strict=True):
            connection.execute(
                "INSERT OR IGNORE INTO vectors SELECT ?, e.scope, e.n, ? FROM engrams e WHERE e.n = ?", (model, blob, n)
            )


def rebuild(
    connections: Connections,
    current_model: Callable[[], Model | None],
    index: Callable[[Sequence[Engram]], Sequence[Index]],
    batch: int,
) -> Iterator[tuple[int, int]]:
    """Remake full text, times and vectors of every record, batch by batch. After a kill it goes on where it was."""
    with connections.write() as connection:
        row = connection.execute("SELECT value FROM meta WHERE key = 'rebuilt'").fetchone()
        last = int(row[0]) if row else 0
        if not row:
            connection.execute("INSERT INTO words (words) VALUES ('rebuild')")
    done = connections.fetch("SELECT count(*) FROM engrams WHERE n <= ?", [last])[0][0]
    total = connections.fetch("SELECT count(*) FROM engrams")[0][0]
    while True:
        ns = [n for (n,) in connections.fetch("SELECT n FROM engrams WHERE n > ? ORDER BY n LIMIT ?", [last, batch])]
        yield done, max(done, total)
        done += len(ns)
        engrams = read_engrams(connections, ns)
        made = index(list(engrams.values())) if engrams else []
        with connections.write() as connection:
            model = current_model()
            if not ns:
                connection.execute("DELETE FROM words WHERE rowid NOT IN (SELECT n FROM engrams)")
                connection.execute("DELETE FROM times WHERE engram NOT IN (SELECT n FROM engrams)")
                connection.execute("DELETE FROM vectors WHERE engram NOT IN (SELECT n FROM engrams)")
                connection.execute("INSERT INTO words (words) VALUES ('optimize')")
                connection.execute("DELETE FROM meta WHERE key = 'rebuilt'")
                bump_epoch(connection)
                return
            for (n, engram), entry in zip(engrams.items(), made, strict=True):
                scope = connection.execute("SELECT scope FROM engrams WHERE n = ?", (n,)).fetchone()
                if scope is None:
                    continue
                connection.execute("DELETE FROM words WHERE rowid = ?", (n,))
                connection.execute(
                    "INSERT INTO words (rowid, scope, body) VALUES (?, ?, ?)",
                    (n, " ".join(scope_tokens(engram.scope)), entry.words),
                )
                connection.execute("DELETE FROM times WHERE engram = ?", (n,))
                for start, stop in entry.times:
                    connection.execute("INSERT OR IGNORE INTO times VALUES (?, ?, ?, ?)", (scope[0], start, stop, n))
                if model is not None and entry.vector is not None:
                    blob = encode(entry.vector[None, :], model.dtype)[0]
                    connection.execute(
                        "INSERT OR REPLACE INTO vectors VALUES (?, ?, ?, ?)", (model.n, scope[0], n, blob)
                    )
            last = ns[-1]
            connection.execute("INSERT OR REPLACE INTO meta VALUES ('rebuilt', ?)", (str(last),))


def read_engrams(connections: Connections, ns: Sequence[int]) -> dict[int, Engram]:
    """Records by row number, whatever their scope: for maintenance of the whole file alone."""
    rows = connections.fetch(
        f"SELECT {COLUMNS} FROM {TABLES} WHERE e.n IN (SELECT value FROM json_each(?)) ORDER BY e.n",
        [json.dumps(list(ns))],
    )
    sources = fetch_sources(connections.fetch, list(ns))
    return {row[0]: decode(row, sources.get(row[0], ())) for row in rows}


def bump_epoch(connection: sqlite3.Connection) -> None:
    """Tell every process that vectors went away, so that their caches are read again."""
    connection.execute("INSERT OR REPLACE INTO meta VALUES ('epoch', ?)", (new_id(),))
    connection.execute("DELETE FROM meta WHERE key LIKE 'ann-%'")  # and their approximate indexes serve no more
