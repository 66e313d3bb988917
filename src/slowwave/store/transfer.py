"""A whole store moved into another, row by row and verified: from a SQLite file to PostgreSQL, back, or to one's like.

The tables have the same columns in both, so that nothing is worked out anew: rows keep their order, ids, vectors and
history. Row numbers are moved by an offset where the target counts for many. Each batch is one transaction, which also
notes how far it came, so that a move that was killed goes on; at the end both sides are read again, and their checksums
compared.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from slowwave.errors import ConflictError, InputError, StoreCorruptError
from slowwave.records import Scope
from slowwave.store.ids import new_id
from slowwave.store.rows import scope_of
from slowwave.store.sql import Session, get_meta, put_meta
from slowwave.store.sql_store import SqlStore

Progress = Callable[[str, int, int], None]
BATCH = 2000
MARK = "moving"  # in `meta` of the target while a move is under way
MOVED = "moved"  # and afterwards: the checksum


@dataclass(frozen=True, slots=True)
class Table:
    """How a table is read and written.

    columns  all of them but the tenant
    keys     by which rows are ordered, each row's own
    numbers  column -> the table whose row numbers it holds
    """

    name: str
    columns: tuple[str, ...]
    keys: tuple[str, ...]
    numbers: dict[str, str]


def _table(name: str, columns: str, keys: str, **numbers: str) -> Table:
    return Table(name, tuple(columns.split()), tuple(keys.split()), numbers)


TABLES = (
    _table("scopes", "n user_id agent_id run_id app_id", "n", n="scopes"),
    _table("sessions", "n scope name turns", "n", n="sessions", scope="scopes"),
    _table(
        "engrams",
        "n id scope kind text at at_zone until until_zone recorded closed retired retired_why strength half_life_days "
        "used due session turn speaker origin content attrs", "n", n="engrams", scope="scopes", session="sessions",
    ),
    _table("speakers", "scope name", "scope name", scope="scopes"),
    _table("sources", "engram source place", "engram source", engram="engrams", source="engrams"),
    _table("links", "source relation target weight", "source relation target", source="engrams", target="engrams"),
    _table(
        "operations", "n id scope verb system model params recorded undone_by noted", "n", n="operations",
        scope="scopes",
    ),
    _table(
        "journal", "n op engram verb reason sources before after links unlinks", "n", n="journal", op="operations",
        engram="engrams",
    ),
    _table("cursors", "scope system last state", "scope system", scope="scopes", last="engrams"),
    _table("models", "n name dim dtype current", "n", n="models"),
    _table(
        "vectors", "model scope engram vector", "scope engram model", model="models", scope="scopes", engram="engrams"
    ),
    _table("times", "scope start stop engram", "scope start stop engram", scope="scopes", engram="engrams"),
    _table("words", "scope engram body", "scope engram", scope="scopes", engram="engrams"),
    _table(
        "calls", "op place operation model prompt tokens_in tokens_out seconds cached problem", "op place",
        op="operations",
    ),
    _table("rejected", "n op operation reason text model prompt", "n", n="rejected", op="operations"),
    _table("rejected_sources", "rejected source place", "rejected source", rejected="rejected", source="engrams"),
    _table(
        "replies", "n scope key model text tokens_in tokens_out finish tokens loose", "n", n="replies", scope="scopes"
    ),
    _table("reply_sources", "reply source", "reply source", reply="replies", source="engrams"),
    _table("keys", "n id name hash scopes verbs limits created expires revoked", "n", n="keys"),
    _table("usage", "key day what amount", "key day what"),
    _table("held", "n id scope text item reason recorded decided decision", "n", n="held", scope="scopes"),
)  # fmt: skip
LEFT = ("meta", "leases", "jobs", "tenants", "steps", "ann", "ann_parts")  # what belongs to the store it is in


@dataclass(frozen=True, slots=True)
class Moved:
    """What was moved: rows by table, and the checksum that both sides have."""

    rows: dict[str, int]
    checksum: str


def migrate(source: SqlStore, target: SqlStore, progress: Progress = lambda stage, done, total: None) -> Moved:
    """Copy everything; called again after a kill, it goes on where it was.

    raises  InputError if the target holds anything else than a part of this very move
            ConflictError if the source was written to since the move began
            StoreCorruptError if the two sides differ afterwards
    """
    if source.path == target.path:
        raise InputError(f"{source.path} would be moved into itself; name another target")
    with source.snapshot(Scope(user_id="*")):
        state = _begin(source, target)
        total = sum(source.read(f"SELECT count(*) FROM {table.name}", [])[0][0] for table in TABLES)
        done = 0
        for table in TABLES:
            done = _copy(source, target, table, state, done, total, progress)
        rows = {table.name: source.read(f"SELECT count(*) FROM {table.name}", [])[0][0] for table in TABLES}
        given = checksum(source, {}, lambda n: progress("verify", n, 2 * total))
    target.moved_in()
    held = checksum(target, state["base"], lambda n: progress("verify", total + n, 2 * total))
    if wrong := [name for name in given if given[name] != held[name]]:
        raise StoreCorruptError(
            f"{', '.join(wrong)} of {target.path} differ from those of {source.path} after the move; empty the target "
            "and move again"
        )
    whole = hashlib.sha256(json.dumps(given, sort_keys=True).encode()).hexdigest()
    with target.connections.write() as session:
        session.execute("DELETE FROM meta WHERE key = ?", (MARK,))
        put_meta(session, MOVED, whole)
        put_meta(session, "epoch", new_id())
    target.cache.clear()
    return Moved(rows, whole)


def checksum(store: SqlStore, base: dict[str, int], told: Callable[[int], None] = lambda n: None) -> dict[str, str]:
    """SHA-256 of every table's rows, in their order, with row numbers as they were before an offset was added."""
    out, done = {}, 0
    for table in TABLES:
        digest = hashlib.sha256()
        for rows in _pages(store, table, None):
            for row in rows:
                digest.update(json.dumps(_moved(table, row, base, -1), default=bytes.hex, ensure_ascii=False).encode())
                digest.update(b"\n")
            done += len(rows)
            told(done)
        out[table.name] = digest.hexdigest()
    return out


def _begin(source: SqlStore, target: SqlStore) -> dict[str, Any]:
    """The state of the move: where it stands, and what is added to row numbers."""
    standing = "SELECT (SELECT max(n) FROM operations), (SELECT max(n) FROM journal), (SELECT count(*) FROM engrams)"
    mark = json.dumps([source.path, *source.read(standing, [])[0]])
    held = get_meta(target.connections.fetch, MARK)
    if held is not None:
        state: dict[str, Any] = json.loads(held)
        if json.loads(state["source"])[0] != source.path:
            raise InputError(f"{target.path} holds a part of a move from elsewhere ({state['source']}); empty it first")
        if state["source"] != mark:
            raise ConflictError(
                f"{source.path} was written to since the move began; empty {target.path}, and move while nobody writes"
            )
        return state
    if any(target.read(f"SELECT EXISTS (SELECT 1 FROM {table.name})", [])[0][0] for table in TABLES):
        raise InputError(f"{target.path} is not empty; name a new file, a new database, or another ?tenant=")
    base = {}
    with target.connections.write() as session:
        for name in dict.fromkeys(t.numbers["n"] for t in TABLES if "n" in t.numbers):
            most = source.read(f"SELECT coalesce(max(n), 0) FROM {name}", [])[0][0]
            base[name] = target.reserve(session, name, int(most))
        state = {"source": mark, "base": base, "at": {}}
        put_meta(session, MARK, json.dumps(state))
    return state


def _copy(
    source: SqlStore, target: SqlStore, table: Table, state: dict[str, Any], done: int, total: int, progress: Progress
) -> int:
    """The rows of a table that are not there yet; how many are done in all."""
    at = state["at"].get(table.name)
    if at is not None:
        done += at["rows"]
    places: dict[int, Scope] = {}
    if table.name == "words":
        rows = source.read("SELECT n, user_id, agent_id, run_id, app_id FROM scopes", [])
        places = {row[0]: scope_of(row[1:]) for row in rows}
    for rows in _pages(source, table, at["last"] if at else None):
        moved = [_moved(table, row, state["base"], 1) for row in rows]
        here = state["at"].setdefault(table.name, {"rows": 0, "last": None})
        with target.connections.write() as session:
            _insert(target, session, table, moved, [places.get(row[0]) for row in rows])
            here["rows"] += len(rows)
            here["last"] = [rows[-1][table.columns.index(key)] for key in table.keys]
            put_meta(session, MARK, json.dumps(state))
        done += len(rows)
        progress("move", done, total)
    return done


def _insert(
    target: SqlStore, session: Session, table: Table, rows: Sequence[Sequence[Any]], scopes: Sequence[Scope | None]
) -> None:
    if table.name == "words":
        named = zip(rows, scopes, strict=True)
        target.index_words(session, [(scope, row[0], row[1], row[2]) for row, scope in named if scope is not None])
        return
    marks = ", ".join("?" * len(table.columns))
    session.executemany(f"INSERT INTO {table.name} ({', '.join(table.columns)}) VALUES ({marks})", rows)


def _pages(store: SqlStore, table: Table, last: Sequence[Any] | None) -> Iterator[list[tuple[Any, ...]]]:
    """The rows of a table behind `last`, in the order of their keys, some thousands at a time."""
    chosen, where = ", ".join(table.columns), ""
    source = store.words_table() if table.name == "words" else table.name
    keys = ", ".join(table.keys)
    while True:
        if last is not None:
            where = f"WHERE ({keys}) > ({', '.join('?' * len(table.keys))})"
        rows = store.read(f"SELECT {chosen} FROM {source} {where} ORDER BY {keys} LIMIT ?", [*(last or ()), BATCH])
        if rows:
            yield rows
        if len(rows) < BATCH:
            return
        last = [rows[-1][table.columns.index(key)] for key in table.keys]


def _moved(table: Table, row: Sequence[Any], base: dict[str, int], sign: int) -> list[Any]:
    """A row with its numbers moved; 0, which a cursor begins with, is no row's number."""
    out = list(row)
    for column, of in table.numbers.items():
        place = table.columns.index(column)
        if out[place]:
            out[place] += sign * base.get(of, 0)
    return out
