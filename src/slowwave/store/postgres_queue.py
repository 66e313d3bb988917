"""Long work in PostgreSQL: a row for each job, and procrastinate's queue on the same database for whose turn it is.

A job's row and its place in the line are written in one transaction. One user's jobs have one lock, so that no two of
them run at once; what runs under a process that gave no sign of life for a while is handed to another.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from slowwave.records import Scope
from slowwave.store.clock import from_micros
from slowwave.store.ids import new_id
from slowwave.store.rows import pack

if TYPE_CHECKING:
    from procrastinate import App

    from slowwave.store.postgres import PostgresStore

TASK = "slowwave.work"
COLUMNS = (
    "id, verb, scope, arguments, actor, state, stage, done, total, attempts, result, error, created, started, ended, "
    "cancelled, place"
)
OPEN = ("waiting", "running")


class JobRow(NamedTuple):
    """One job, as the database has it. `place` is its number in the queue, `actor` who started it."""

    id: str
    verb: str
    scope: Scope | None
    arguments: Mapping[str, Any]
    actor: str
    state: str
    stage: str
    done: int
    total: int
    attempts: int
    result: Mapping[str, Any] | None
    error: Mapping[str, Any] | None
    created: datetime
    started: datetime | None
    ended: datetime | None
    cancelled: bool
    place: int


class Queue:
    """The jobs of one tenant.

    Example (needs a server):
        Queue(memory.store).put("sleep", Scope(user_id="ana"), {}, "nightly")
    """

    def __init__(self, store: PostgresStore) -> None:
        self.store = store
        self.name = f"slowwave-{store.connections.number}"  # a worker is one tenant's
        self._ready = False

    def put(self, verb: str, scope: Scope | None, arguments: Mapping[str, Any], actor: str) -> JobRow:
        """A job stands in line; where the same waits or runs already, that one is given back."""
        self.prepare()
        named, given = pack(scope.to_dict() if scope else {}), pack(dict(arguments))
        with self.store.connections.note() as session:
            same = session.execute(
                "SELECT id FROM jobs WHERE verb = ? AND scope = ? AND arguments = ? AND state = ANY(?) "
                "AND cancelled = 0 LIMIT 1",
                (verb, named, given, list(OPEN)),
            ).fetchone()
            id_ = same[0] if same else new_id()
            if not same:
                place = (
                    self.app()
                    .configure_task(TASK, queue=self.name, lock=self._lock(verb, scope), connection=session.connection)
                    .defer(tenant=self.store.connections.tenant, id=id_)
                )
                session.execute(
                    "INSERT INTO jobs (id, verb, scope, arguments, actor, state, created, place) "
                    "VALUES (?, ?, ?, ?, ?, 'waiting', ?, ?)",
                    (id_, verb, named, given, actor, _now(session), place),
                )
        found = self.get(id_)
        assert found is not None
        return found

    def get(self, id: str) -> JobRow | None:
        """One job."""
        return next(iter(self._select("WHERE id = ?", [id])), None)

    def newest(self, limit: int = 100) -> list[JobRow]:
        """Jobs, newest first."""
        return self._select("ORDER BY created DESC, id DESC LIMIT ?", [limit])

    def cancel(self, id: str) -> JobRow | None:
        """End it: at once if it waits, at its next step if it runs. None if there is no such job, or it has ended."""
        with self.store.connections.note() as session:
            row = session.execute(
                "UPDATE jobs SET cancelled = 1 WHERE id = ? AND state = ANY(?) RETURNING state, place", (id, list(OPEN))
            ).fetchone()
            if row is None:
                return None
            if row[0] == "waiting":
                self.app().job_manager.cancel_job_by_id(int(row[1]), connection=session.connection)
                session.execute(
                    "UPDATE jobs SET state = 'cancelled', ended = ? WHERE id = ? AND state = 'waiting'",
                    (_now(session), id),
                )
        return self.get(id)

    def begin(self, id: str) -> JobRow | None:
        """Whoever does it says so; None if it was cancelled or has ended meanwhile."""
        with self.store.connections.note() as session:
            session.execute(
                "UPDATE jobs SET state = 'running', started = ?, attempts = attempts + 1, stage = '', done = 0, "
                "total = 0 WHERE id = ? AND state = ANY(?) AND cancelled = 0",
                (_now(session), id, list(OPEN)),
            )
        row = self.get(id)
        return row if row is not None and row.state == "running" and not row.cancelled else None

    def step(self, id: str, stage: str, done: int, total: int) -> bool:
        """How far it is; False if it was cancelled."""
        with self.store.connections.jotting() as session:
            row = session.execute(
                "UPDATE jobs SET stage = ?, done = ?, total = ? WHERE id = ? RETURNING cancelled",
                (stage, done, total, id),
            ).fetchone()
        return row is not None and not row[0]

    def end(self, id: str, state: str, result: Mapping[str, Any] | None, error: Mapping[str, Any] | None) -> None:
        """It is done, has failed, was cancelled, or waits for another try."""
        with self.store.connections.write() as session:
            session.execute(
                "UPDATE jobs SET state = ?, result = ?, error = ?, ended = ? WHERE id = ?",
                (state, pack(dict(result)) if result else None, pack(dict(error)) if error else None,
                 None if state in OPEN else _now(session), id),
            )  # fmt: skip

    def app(self) -> App:
        """procrastinate, on the store's database, for standing in line."""
        from procrastinate import App, SyncPsycopgConnector

        return App(connector=SyncPsycopgConnector())

    def prepare(self) -> None:
        """Make the queue's tables, which a database has from its first job on."""
        if self._ready:
            return
        from procrastinate.schema import SchemaManager

        connections = self.store.connections
        with connections.maintenance() as connection, connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (connections.key("queue"),))
            if connection.execute("SELECT to_regclass('procrastinate_jobs')").fetchall()[0][0] is None:
                connection.execute(SchemaManager.get_schema())
                connections.grant(connection)
        self._ready = True

    def _lock(self, verb: str, scope: Scope | None) -> str:
        """One a user, as the store's own; without a name in it, which an erasure would have to find."""
        who = scope.user_id if scope is not None and scope.user_id is not None else ""
        if verb != "sleep":
            who = f"\0{verb}"
        text = f"{self.store.connections.number}\0{who}"
        return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()

    def _select(self, tail: str, values: Sequence[Any]) -> list[JobRow]:
        return [
            JobRow(
                id_, verb, Scope(**json.loads(scope)) if scope != "{}" else None, json.loads(arguments), actor, state,
                stage, done, total, attempts, json.loads(result) if result else None,
                json.loads(error) if error else None, from_micros(created), _moment(started), _moment(ended),
                bool(cancelled), place,
            )
            for id_, verb, scope, arguments, actor, state, stage, done, total, attempts, result, error, created,
            started, ended, cancelled, place in self.store.read(f"SELECT {COLUMNS} FROM jobs {tail}", values)
        ]  # fmt: skip


def _now(session: Any) -> int:
    return int(session.execute("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint").fetchone()[0])


def _moment(micros: int | None) -> datetime | None:
    return None if micros is None else from_micros(micros)


__all__ = ["TASK", "JobRow", "Queue"]
