"""A PostgreSQL database, opened as slowwave needs it: a pool of connections, each with its tenant; errors in our words.

Who writes to a user's records waits for whoever else does, by an advisory lock that ends with the transaction; users
do not wait for each other. What names no user waits for all. So the row numbers of one user come in the order of their
commits.
"""

from __future__ import annotations

import hashlib
import threading
import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, NoReturn
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

import psycopg
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg_pool import ConnectionPool, PoolTimeout

from slowwave.errors import (
    InputError,
    SchemaError,
    StoreBusyError,
    StoreCorruptError,
    StoreError,
    StoreFullError,
    StoreReadOnlyError,
)
from slowwave.records import Scope
from slowwave.store import forks
from slowwave.store.postgres_dialect import PostgresDialect
from slowwave.store.postgres_schema import ROLE, SCHEMA, STEPS, VERSION, fold, step, walls
from slowwave.store.sql import Connections

OLDEST = 150000
_KINDS: tuple[tuple[tuple[type[psycopg.Error], ...], type[Exception], str], ...] = (
    (
        (errors.DiskFull, errors.OutOfMemory, errors.ConfigurationLimitExceeded),
        StoreFullError,
        "nothing was written; give the server room and try again",
    ),
    (
        (errors.ReadOnlySqlTransaction, errors.InsufficientPrivilege),
        StoreReadOnlyError,
        "connect as a role that may write there (docs/postgres.md has the grants)",
    ),
    (
        (errors.LockNotAvailable, errors.DeadlockDetected, errors.QueryCanceled, errors.TooManyConnections),
        StoreBusyError,
        "others held the records for too long; try again, or raise timeout_seconds",
    ),
    ((errors.DataCorrupted, errors.IndexCorrupted), StoreCorruptError, "restore a backup, or REINDEX the database"),
    ((errors.DataError,), InputError, "give valid text and numbers"),
)


def parts_of(url: str) -> tuple[str, str, str]:
    """A URL with the tenant that it names -> what libpq takes, the tenant, and the URL as it may be shown."""
    split = urlsplit(url)
    query = parse_qsl(split.query, keep_blank_values=True)
    tenant = next((value for name, value in query if name == "tenant"), "default")
    rest = [(name, value) for name, value in query if name != "tenant"]
    plain = urlunsplit(split._replace(query=urlencode(rest, quote_via=quote)))
    shown = [pair for pair in query if pair[0] != "password"]
    host = split.netloc.rpartition("@")
    user = host[0].split(":")[0]
    netloc = f"{user}@{host[2]}" if user else host[2]
    return plain, tenant, urlunsplit(split._replace(netloc=netloc, query=urlencode(shown, quote_via=quote)))


def refuse(error: Exception, path: str) -> NoReturn:
    """PostgreSQL's error -> ours, with what the server said and what to do."""
    if isinstance(error, PoolTimeout):
        raise StoreBusyError(f"{path}: {error}; raise timeout_seconds, or the pool's size") from error
    text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    for kinds, ours, advice in _KINDS:
        if isinstance(error, kinds):
            raise ours(f"{path}: {text}; {advice}") from error
    if isinstance(error, errors.OperationalError):
        raise StoreError(f"{path}: {text}; check that the server runs, the address and the password") from error
    raise StoreError(f"{path}: {text}; check the server's log") from error


@lru_cache(maxsize=2048)
def spelled(sql: str) -> str:
    """A statement with `?` for values as psycopg wants it."""
    return sql.replace("%", "%%").replace("?", "%s")


class Running:
    """A connection within a transaction, as `sql.Session` has it."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self.connection = connection

    def execute(self, sql: str, values: Sequence[Any] = (), /) -> psycopg.Cursor[Any]:
        """Run a statement."""
        return self.connection.execute(spelled(sql), list(values), binary=True)

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]], /) -> None:
        """Run a statement once a row, without waiting for each."""
        given = [list(row) for row in rows]
        if given:
            with self.connection.cursor() as cursor:
                cursor.executemany(spelled(sql), given)


class PostgresConnections(Connections):
    """Connections to the rows of one tenant of a database.

    url              postgresql://user:password@host:5432/database?tenant=name; without a name it is "default"
    timeout_seconds  how long a writer waits for another, or anyone for a connection, before StoreBusyError
    durable          wait for the disk at each commit
    pool             connections at most
    """

    dialect = PostgresDialect()

    def __init__(self, url: str, readonly: bool, timeout_seconds: float, durable: bool, pool: int) -> None:
        self.conninfo, self.tenant, self.path = parts_of(url)
        self.readonly = readonly
        self.timeout_seconds = timeout_seconds
        self.durable = durable
        self.most = pool
        self._local = threading.local()
        self._opening = forks.guard(threading.Lock())
        self._pool: ConnectionPool[Any] | None = None
        self._closed = False
        self.number = 0
        self._role = False
        with self.translated():
            conninfo_to_dict(self.conninfo)
            self._prepare()
        _EVERY.add(self)

    @contextmanager
    def translated(self) -> Iterator[None]:
        """PostgreSQL's errors become ours."""
        try:
            yield
        except (psycopg.Error, PoolTimeout) as error:
            refuse(error, self.path)
        except (UnicodeEncodeError, OverflowError) as error:
            raise InputError(f"a value cannot be kept or looked for: {error}; give valid text and numbers") from error

    def fetch(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        with self.translated():
            try:
                with self._connection() as connection:
                    return Running(connection).execute(sql, values).fetchall()
            except psycopg.OperationalError:
                if not connection.closed or self.inside:
                    raise
            with self._connection(fresh=True) as connection:  # the server was started anew, or closed what was idle
                return Running(connection).execute(sql, values).fetchall()

    def stamp(self) -> object:
        return self.fetch("SELECT pg_current_snapshot()::text")[0][0]

    @contextmanager
    def write(self, scope: Scope | None = None) -> Iterator[Running]:
        with self._transaction(self.durable) as running:
            user = scope.user_id if scope is not None else None
            if user is None:
                running.execute("SELECT pg_advisory_xact_lock(?)", (self.key("users"),))
            else:
                running.execute(
                    "SELECT pg_advisory_xact_lock_shared(?), pg_advisory_xact_lock(?)",
                    (self.key("users"), self.key("user", user)),
                )
            yield running

    @contextmanager
    def note(self) -> Iterator[Running]:
        with self._transaction(False) as running:
            running.execute("SELECT pg_advisory_xact_lock(?)", (self.key("notes"),))
            yield running

    @contextmanager
    def jotting(self) -> Iterator[Running]:
        """A transaction of one small change that waits for nobody but the row, and not for the disk."""
        with self._transaction(False) as running:
            yield running

    @contextmanager
    def alone(self, *names: str) -> Iterator[bool]:
        """Whether this process is the only one that is at something; it stays so within."""
        with self.maintenance() as connection:
            row = connection.execute("SELECT pg_try_advisory_lock(%s)", (self.key(*names),)).fetchone()
            yield bool(row and row[0])

    @contextmanager
    def snapshot(self, scope: Scope) -> Iterator[None]:
        horizon = self.horizon(scope)
        with self.translated(), self._connection() as connection:
            connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            self._local.pinned, self._local.horizon = connection, horizon
            try:
                yield
            finally:
                self._local.pinned = self._local.horizon = None
                if not connection.closed:
                    connection.execute("ROLLBACK")

    def now(self) -> int:
        return int(self.fetch("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint")[0][0])

    def horizon(self, scope: Scope) -> int | None:
        """One user's rows come in the order of their commits; for a reader of many, those in flight are awaited."""
        if scope.user_id is not None:
            return None
        if self.inside:
            return getattr(self._local, "horizon", None)
        with self._transaction(False, "READ ONLY") as running:
            running.execute("SELECT pg_advisory_xact_lock(?)", (self.key("users"),))
            return int(running.execute("SELECT last_value FROM engrams_n_seq").fetchall()[0][0])

    @contextmanager
    def maintenance(self) -> Iterator[psycopg.Connection[Any]]:
        """A connection of its own, as the role that logged in, for what cannot stand in a transaction."""
        with self.translated(), self._connect() as connection:
            yield connection

    def close(self) -> None:
        self._closed = True
        with self._opening:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()

    def key(self, *names: str) -> int:
        """The number of an advisory lock."""
        name = "\0".join((SCHEMA, str(self.number), *names)).encode()
        return int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "big", signed=True)

    @contextmanager
    def _transaction(self, durable: bool, mode: str = "") -> Iterator[Running]:
        if self.readonly and not mode:
            raise StoreReadOnlyError(f"{self.path} was opened with readonly=True; open it without to write")
        if self.inside:
            raise StoreError("a transaction was begun within another of the same thread; end that first")
        self.fetch("SELECT 1")  # so that none is begun on a connection that the server has ended
        with self.translated(), self._connection() as connection:
            connection.execute(f"BEGIN {mode}")
            self._local.pinned = connection
            try:
                if not durable:
                    connection.execute("SET LOCAL synchronous_commit = off")
                yield Running(connection)
                connection.execute("COMMIT")
            except BaseException:
                if not connection.closed:
                    connection.execute("ROLLBACK")
                raise
            finally:
                self._local.pinned = None
                self._local.writes = self.writes + 1

    @property
    def writes(self) -> int:
        """How many transactions this thread has ended."""
        return int(getattr(self._local, "writes", 0))

    @property
    def inside(self) -> bool:
        """Whether this thread is in a transaction."""
        return getattr(self._local, "pinned", None) is not None

    @contextmanager
    def _connection(self, fresh: bool = False) -> Iterator[psycopg.Connection[Any]]:
        """This thread's connection while it is in a transaction, else one of the pool.

        fresh  one that surely works
        """
        pinned = getattr(self._local, "pinned", None)
        if pinned is not None:
            yield pinned
            return
        pool = self._open_pool()
        if fresh:
            pool.check()
        connection = pool.getconn(self.timeout_seconds)
        try:
            yield connection
        finally:
            pool.putconn(connection)

    def _open_pool(self) -> ConnectionPool[Any]:
        pool = self._pool
        if pool is not None and not self._closed:
            return pool
        with self._opening:
            if self._closed:
                raise StoreError(f"{self.path} was closed; make a new Memory")
            if self._pool is None:
                self._pool = ConnectionPool(
                    make_conninfo(self.conninfo, application_name="slowwave"),
                    min_size=1,
                    max_size=self.most,
                    kwargs={"autocommit": True},
                    configure=self._configure,
                    open=True,
                    name="slowwave",
                )
            return self._pool

    def _configure(self, connection: psycopg.Connection[Any]) -> None:
        """The tenant, where the tables are, how long to wait; a role that row-level security holds for."""
        connection.execute(
            "SELECT set_config('search_path', %s, false), set_config('slowwave.tenant', %s, false), "
            "set_config('lock_timeout', %s, false), set_config('default_transaction_read_only', %s, false), "
            "set_config('jit', 'off', false), set_config('hnsw.ef_search', '400', false)",
            (f"{SCHEMA}, public", str(self.number), f"{max(1, int(1000 * self.timeout_seconds))}ms",
             "on" if self.readonly else "off"),
        )  # fmt: skip
        if self._role:
            connection.execute(f"SET ROLE {ROLE}")

    def _connect(self) -> psycopg.Connection[Any]:
        connection = psycopg.connect(make_conninfo(self.conninfo, application_name="slowwave"), autocommit=True)
        connection.execute(f"SET search_path = {SCHEMA}, public")
        return connection

    def _prepare(self) -> None:
        """The schema, brought up to date under a lock; the tenant's number."""
        with self._connect() as connection:
            if connection.info.server_version < OLDEST:
                found = connection.info.server_version // 10000
                raise StoreError(f"{self.path} is PostgreSQL {found}; slowwave needs 15 or later")
            high = connection.execute("SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user")
            self._role = bool((high.fetchone() or [False])[0])
            found = self._version(connection)
            if found > VERSION:
                raise SchemaError(
                    f"{self.path} has schema {found}, this slowwave knows {VERSION}; run: pip install -U slowwave"
                )
            if found < VERSION and self.readonly:
                if not found:
                    raise StoreError(f"{self.path} holds no slowwave memory; open it without readonly=True to make one")
                raise SchemaError(
                    f"{self.path} has schema {found}, this slowwave reads {VERSION}; open it once without readonly=True"
                )
            if found < VERSION:
                self._migrate(connection)
            elif self._role and not self.readonly and not self._granted(connection):
                self.grant(connection)  # the database came from a dump, and roles are of the cluster
            row = connection.execute("SELECT sw_tenant(%s, %s)", (self.tenant, not self.readonly)).fetchone()
            if row is None or row[0] is None:
                raise StoreError(f"{self.path} has no tenant {self.tenant!r}; open it without readonly=True to make it")
            self.number = int(row[0])

    def _version(self, connection: psycopg.Connection[Any]) -> int:
        if connection.execute("SELECT to_regclass(%s)", (f"{SCHEMA}.steps",)).fetchone() == (None,):
            return 0
        row = connection.execute(f"SELECT coalesce(max(n), 0) FROM {SCHEMA}.steps").fetchone()
        return int(row[0]) if row else 0

    def _migrate(self, connection: psycopg.Connection[Any]) -> None:
        with connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (self.key("schema"),))
            found = self._version(connection)  # another process may have been first
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
            connection.execute("CREATE TABLE IF NOT EXISTS steps (n INTEGER PRIMARY KEY, made TIMESTAMPTZ NOT NULL)")
            for number in range(found + 1, len(STEPS) + 1):
                connection.execute(step(number))
                connection.execute("INSERT INTO steps VALUES (%s, now())", (number,))
            if not found:
                connection.execute(fold())
                connection.execute(TENANTS)
            bare = connection.execute(
                "SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant' "
                "WHERE c.relnamespace = %s::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relrowsecurity "
                "AND NOT c.relispartition",
                (SCHEMA,),
            ).fetchall()
            connection.execute(walls([name for (name,) in bare]))
            self.grant(connection)

    def _granted(self, connection: psycopg.Connection[Any]) -> bool:
        row = connection.execute(
            "SELECT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = %s AND has_schema_privilege(oid, %s, 'USAGE'))",
            (ROLE, SCHEMA),
        ).fetchone()
        return bool(row and row[0])

    def grant(self, connection: psycopg.Connection[Any]) -> None:
        """The role that may read and write, behind row-level security, where this one may make roles."""
        row = connection.execute(
            "SELECT rolsuper OR rolcreaterole, EXISTS (SELECT 1 FROM pg_roles WHERE rolname = %s) FROM pg_roles "
            "WHERE rolname = current_user",
            (ROLE,),
        ).fetchone()
        can, there = row or (False, False)
        if can and not there:
            connection.execute("SELECT pg_advisory_xact_lock(0, hashtext(%s))", (ROLE,))
            connection.execute(
                f"DO $$ BEGIN CREATE ROLE {ROLE} NOLOGIN; "
                "EXCEPTION WHEN duplicate_object OR unique_violation THEN END $$"
            )
        if can or there:
            connection.execute(
                f"GRANT USAGE, CREATE ON SCHEMA {SCHEMA} TO {ROLE}; "
                f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {SCHEMA} TO {ROLE}; "
                f"GRANT USAGE, SELECT, UPDATE ON ALL SEQUENCES IN SCHEMA {SCHEMA} TO {ROLE}; "
                f"REVOKE INSERT, UPDATE, DELETE ON tenants, steps FROM {ROLE}"
            )


TENANTS = """
CREATE FUNCTION sw_tenant(given TEXT, make BOOLEAN) RETURNS INTEGER LANGUAGE plpgsql SECURITY DEFINER
SET search_path = slowwave AS $$
DECLARE found INTEGER;
BEGIN
    SELECT n INTO found FROM tenants WHERE name = given;
    IF found IS NULL AND make THEN
        INSERT INTO tenants (name) VALUES (given) ON CONFLICT DO NOTHING;
        SELECT n INTO found FROM tenants WHERE name = given;
    END IF;
    RETURN found;
END $$;
ALTER TABLE tenants ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON tenants USING (n = nullif(current_setting('slowwave.tenant', true), '')::int)
"""

_EVERY: weakref.WeakSet[PostgresConnections] = weakref.WeakSet()
_ABANDONED: list[Any] = []  # a child must not end connections that its parent goes on with


def _leave_inherited() -> None:
    """In a forked child: the sockets are the parent's, so that the child opens its own."""
    for one in list(_EVERY):
        if one._pool is not None:
            _ABANDONED.append(one._pool)
        _ABANDONED.append(one._local)
        one._pool, one._local = None, threading.local()


forks.at_fork(list, _leave_inherited)
