"""Leases: who may work on a scope alone, told by the one clock that all who use the store share."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from slowwave.errors import InputError
from slowwave.records import SCOPE_FIELDS, Scope
from slowwave.store.base import Lease
from slowwave.store.clock import from_micros
from slowwave.store.ids import new_id
from slowwave.store.processes import lives, machine
from slowwave.store.rows import scope_of
from slowwave.store.sql import Connections, Session

COLUMNS = f"{', '.join(SCOPE_FIELDS)}, name, holder, token, taken, expires, machine, process"
OVERLAPS = " AND ".join(f"({name} = '' OR ? = '' OR {name} = ?)" for name in SCOPE_FIELDS)
MOST_SECONDS = 7 * 86_400.0


def take(connections: Connections, scope: Scope, name: str, holder: str, seconds: float) -> Lease | None:
    """See `Store.take_lease`."""
    length = _micros(seconds)
    if held(connections, scope, name) is not None:  # whoever waits for it does not disturb the writers
        return None
    with connections.note() as connection:
        if _held(_run(connection), connections.now(), scope, name) is not None:
            return None
        moment, fields = connections.now(), _fields(scope)
        connection.execute(f"DELETE FROM leases WHERE name = ? AND {OVERLAPS}", (name, *_twice(fields)))
        row = (*fields, name, holder, new_id(), moment, moment + length, machine(), os.getpid())
        connection.execute(f"INSERT INTO leases ({COLUMNS}) VALUES ({', '.join('?' * len(row))})", row)
    return _lease(row)


def held(connections: Connections, scope: Scope, name: str) -> Lease | None:
    """See `Store.held_lease`."""
    return _held(connections.fetch, connections.now(), scope, name)


def renew(connections: Connections, lease: Lease, seconds: float) -> Lease | None:
    """See `Store.renew_lease`. One that has expired and that nobody took over is renewed all the same."""
    length = _micros(seconds)
    with connections.note() as connection:
        row = connection.execute(
            f"UPDATE leases SET expires = ? WHERE token = ? RETURNING {COLUMNS}",
            (connections.now() + length, lease.token),
        ).fetchone()
    return None if row is None else _lease(row)


def release(connections: Connections, lease: Lease) -> None:
    """See `Store.release_lease`."""
    with connections.note() as connection:
        end(connection, lease)


def end(connection: Session, lease: Lease) -> bool:
    """Give a lease back within a transaction; False if it was lost."""
    return connection.execute("DELETE FROM leases WHERE token = ?", (lease.token,)).rowcount > 0


def _held(run: Callable[[str, Sequence[Any]], list[Any]], moment: int, scope: Scope, name: str) -> Lease | None:
    rows = run(
        f"SELECT {COLUMNS} FROM leases WHERE name = ? AND expires > ? AND {OVERLAPS} ORDER BY expires DESC",
        (name, moment, *_twice(_fields(scope))),
    )
    return next((_lease(row) for row in rows if not _dead(*row[-2:])), None)


def _dead(where: str, process: int) -> bool:
    return bool(where) and where == machine() and not lives(process)


def _run(connection: Session) -> Callable[[str, Sequence[Any]], list[Any]]:
    return lambda sql, values: connection.execute(sql, values).fetchall()


def _fields(scope: Scope) -> list[str]:
    return [getattr(scope, name) or "" for name in SCOPE_FIELDS]


def _twice(fields: Sequence[str]) -> list[str]:
    return [value for value in fields for _ in range(2)]


def _micros(seconds: float) -> int:
    if not 0 <= seconds <= MOST_SECONDS:
        raise InputError(f"a lease of {seconds} seconds was asked for; it can last from 0 to {MOST_SECONDS:.0f}")
    return int(seconds * 1_000_000)


def _lease(row: Sequence[Any]) -> Lease:
    name, holder, token, taken, expires = row[4:9]
    return Lease(scope_of(row[:4]), name, holder, token, from_micros(taken), from_micros(expires))
