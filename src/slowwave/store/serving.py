"""Keys, their use, and what is held apart."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from slowwave.errors import ConflictError
from slowwave.records import Scope
from slowwave.store.base import Held, Key, Operation, Usage
from slowwave.store.clock import from_micros, to_micros
from slowwave.store.rows import pack, scope_of, scope_sql
from slowwave.store.sql import Connections, Dialect, Session

HELD = "h.id, h.text, h.item, h.reason, h.recorded, h.decided, h.decision, s.user_id, s.agent_id, s.run_id, s.app_id"


def put_key(connections: Connections, key: Key) -> None:
    """See `Store.put_key`."""
    scopes = pack([scope.to_dict() for scope in key.scopes])
    with connections.write() as connection:
        connection.execute(
            "INSERT INTO keys (id, name, hash, scopes, verbs, limits, created, expires, revoked) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) "
            f"ON CONFLICT ({connections.dialect.own}id) DO UPDATE SET name = excluded.name, "
            "hash = excluded.hash, scopes = excluded.scopes, verbs = excluded.verbs, limits = excluded.limits, "
            "created = excluded.created, expires = excluded.expires, revoked = excluded.revoked",
            (key.id, key.name, key.hash, scopes, pack(key.verbs), pack(dict(key.limits)), to_micros(key.created),
             _micros(key.expires), _micros(key.revoked)),
        )  # fmt: skip


def keys(connections: Connections) -> list[Key]:
    """See `Store.keys`."""
    rows = connections.fetch(
        "SELECT id, name, hash, scopes, verbs, limits, created, expires, revoked FROM keys ORDER BY created, n"
    )
    return [
        Key(id_, name, hash_, tuple(Scope(**scope) for scope in json.loads(scopes)), tuple(json.loads(verbs)),
            json.loads(limits), from_micros(created), _moment(expires), _moment(revoked))
        for id_, name, hash_, scopes, verbs, limits, created, expires, revoked in rows
    ]  # fmt: skip


def note_usage(connections: Connections, used: Sequence[Usage]) -> None:
    """See `Store.note_usage`."""
    with connections.note() as connection:
        connection.executemany(
            "INSERT INTO usage (key, day, what, amount) VALUES (?, ?, ?, ?) "
            f"ON CONFLICT ({connections.dialect.own}key, day, what) "
            "DO UPDATE SET amount = usage.amount + excluded.amount",
            [tuple(one) for one in used],
        )


def usage(connections: Connections, since: str) -> list[Usage]:
    """See `Store.usage`."""
    rows = connections.fetch("SELECT key, day, what, amount FROM usage WHERE day >= ? ORDER BY key, day, what", [since])
    return [Usage(*row) for row in rows]


def held(
    read: Callable[[str, Sequence[Any]], list[Any]],
    dialect: Dialect,
    scope: Scope,
    limit: int,
    ids: Sequence[str] | None,
    decided: bool,
) -> list[Held]:
    """See `View.held`."""
    seen, values = scope_sql(scope)
    if not decided:
        seen += " AND h.decided IS NULL"
    if ids is not None:
        seen, values = f"{seen} AND {dialect.among('h.id')}", [*values, dialect.listed(ids)]
    rows = read(
        f"SELECT {HELD} FROM held h JOIN scopes s ON s.n = h.scope WHERE {seen} ORDER BY h.n DESC LIMIT ?",
        [*values, limit],
    )
    return [
        Held(id_, scope_of(fields), text, json.loads(item), reason, from_micros(recorded), _moment(when), decision)
        for id_, text, item, reason, recorded, when, decision, *fields in rows
    ]


def hold(connection: Session, one: Held, scope: int) -> None:
    """Keep one thing apart, within a transaction. One with its id stays as it is."""
    connection.execute(
        "INSERT INTO held (id, scope, text, item, reason, recorded, decided, decision) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (one.id, scope, one.text, pack(dict(one.item)), one.reason, to_micros(one.recorded), _micros(one.decided),
         one.decision),
    )  # fmt: skip


def settle(connection: Session, operation: Operation) -> None:
    """Write down what was decided, within a transaction. ConflictError for what cannot be decided (any more)."""
    seen, values = scope_sql(operation.scope)
    for id_, decision in operation.settled.items():
        done = connection.execute(
            "UPDATE held SET decided = ?, decision = ?, text = '', item = '{}' WHERE id = ? AND decided IS NULL "
            f"AND scope IN (SELECT s.n FROM scopes s WHERE {seen})",
            (to_micros(operation.recorded), decision, id_, *values),
        )
        if not done.rowcount:
            raise ConflictError(f"{id_:.60} is not held in {operation.scope}, or was decided already; nothing was done")


def erase_held(connection: Session, dialect: Dialect, scope: Scope, ids: Sequence[str]) -> int:
    """Remove what is held under these ids, within a transaction; how many."""
    seen, values = scope_sql(scope)
    return connection.execute(
        f"DELETE FROM held WHERE {dialect.among('id')} AND scope IN (SELECT s.n FROM scopes s WHERE {seen})",
        (dialect.listed(ids), *values),
    ).rowcount


def _micros(moment: datetime | None) -> int | None:
    return None if moment is None else to_micros(moment)


def _moment(micros: int | None) -> datetime | None:
    return None if micros is None else from_micros(micros)
