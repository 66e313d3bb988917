"""Remaking what is derived: the vectors of another model, the full text, the times. Resumable, swapped atomically."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from slowwave.errors import InputError, ModelMismatchError
from slowwave.records import Engram
from slowwave.store.base import Index
from slowwave.store.ids import new_id
from slowwave.store.rows import COLUMNS, TABLES, decode, fetch_sources
from slowwave.store.sql import Connections, Dialect, Model, Session, get_meta, put_meta
from slowwave.store.vectors import VectorDtype, encode

if TYPE_CHECKING:
    from slowwave.store.sql_store import SqlStore

Read = Callable[[str, Sequence[Any]], list[Any]]


def set_model(connections: Connections, held: Model | None, name: str, dim: int, dtype: VectorDtype, path: str) -> None:
    """Name the embedder of a new store; another than the one it has is a ModelMismatchError."""
    if held is None and not connections.readonly:
        with connections.write() as connection:
            current = "SELECT n, name, dim, dtype FROM models WHERE current = 1"
            if connection.execute(current).fetchone() is None:
                _name(connection, name, dim, dtype)
                connection.execute("UPDATE models SET current = 1 WHERE name = ?", (name,))
            held = Model(*connection.execute(current).fetchone())
    if held is not None and (held.name, held.dim) != (name, dim):
        raise mismatch(path, held, name, dim)


def _name(connection: Session, name: str, dim: int, dtype: VectorDtype) -> None:
    connection.execute(
        "INSERT INTO models (name, dim, dtype, current) VALUES (?, ?, ?, 0) ON CONFLICT DO NOTHING", (name, dim, dtype)
    )


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
        _name(connection, name, dim, dtype)
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
            connection.execute("UPDATE models SET current = CASE WHEN n = ? THEN 1 ELSE 0 END", (model[0],))
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
    engrams = read_engrams(connections.fetch, connections.dialect, ns)
    blobs = encode(embed(list(engrams.values())), dtype)
    with connections.write() as connection:
        connection.executemany(
            "INSERT INTO vectors (model, scope, engram, vector) "
            "SELECT ?, e.scope, e.n, ? FROM engrams e WHERE e.n = ? ON CONFLICT DO NOTHING",
            [(model, blob, n) for n, blob in zip(engrams, blobs, strict=True)],
        )


def rebuild(
    store: SqlStore,
    index: Callable[[Sequence[Engram]], Sequence[Index]],
    batch: int,
) -> Iterator[tuple[int, int]]:
    """Remake full text, times and vectors of every record, batch by batch. After a kill it goes on where it was."""
    connections = store.connections
    kept = get_meta(connections.fetch, "rebuilt")
    last = int(kept or 0)
    if kept is None:
        with connections.write() as connection:
            store.begin_rebuild(connection)
    done = connections.fetch("SELECT count(*) FROM engrams WHERE n <= ?", [last])[0][0]
    total = connections.fetch("SELECT count(*) FROM engrams")[0][0]
    while True:
        ns = [n for (n,) in connections.fetch("SELECT n FROM engrams WHERE n > ? ORDER BY n LIMIT ?", [last, batch])]
        yield done, max(done, total)
        done += len(ns)
        engrams = read_engrams(connections.fetch, connections.dialect, ns)
        made = index(list(engrams.values())) if engrams else []
        with connections.write() as connection:
            model = store.current_model()
            if not ns:
                connection.execute("DELETE FROM times WHERE engram NOT IN (SELECT n FROM engrams)")
                connection.execute("DELETE FROM vectors WHERE engram NOT IN (SELECT n FROM engrams)")
                store.end_rebuild(connection)
                connection.execute("DELETE FROM meta WHERE key = 'rebuilt'")
                bump_epoch(connection)
                return
            places = dict(
                connection.execute(
                    f"SELECT n, scope FROM engrams WHERE {connections.dialect.among('n')}",
                    [connections.dialect.listed(ns)],
                ).fetchall()
            )
            fresh = [(n, one, entry) for (n, one), entry in zip(engrams.items(), made, strict=True) if n in places]
            store.index_words(
                connection, [(one.scope, places[n], n, entry.words) for n, one, entry in fresh], anew=True
            )
            connection.executemany("DELETE FROM times WHERE engram = ?", [(n,) for n, _, _ in fresh])
            connection.executemany(
                "INSERT INTO times (scope, start, stop, engram) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
                [(places[n], start, stop, n) for n, _, entry in fresh for start, stop in entry.times],
            )
            embedded = [(n, entry.vector) for n, _, entry in fresh if entry.vector is not None]
            if model is not None and embedded:
                blobs = encode(np.stack([vector for _, vector in embedded]), model.dtype)
                connection.executemany(
                    "INSERT INTO vectors (model, scope, engram, vector) VALUES (?, ?, ?, ?) "
                    "ON CONFLICT (model, scope, engram) DO UPDATE SET vector = excluded.vector",
                    [(model.n, places[n], n, blob) for (n, _), blob in zip(embedded, blobs, strict=True)],
                )
            last = ns[-1]
            put_meta(connection, "rebuilt", str(last))


def read_engrams(read: Read, dialect: Dialect, ns: Sequence[int]) -> dict[int, Engram]:
    """Records by row number, whatever their scope: for maintenance of the whole file alone."""
    rows = read(f"SELECT {COLUMNS} FROM {TABLES} WHERE {dialect.among('e.n')} ORDER BY e.n", [dialect.listed(ns)])
    sources = fetch_sources(read, dialect, list(ns))
    return {row[0]: decode(row, sources.get(row[0], ())) for row in rows}


def bump_epoch(connection: Session) -> None:
    """Tell every process that vectors went away, so that their caches are read again."""
    put_meta(connection, "epoch", new_id())
    connection.execute("DELETE FROM meta WHERE key LIKE 'ann-%'")  # and their approximate indexes serve no more
