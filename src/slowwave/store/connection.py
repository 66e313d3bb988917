"""One SQLite file, opened as slowwave needs it: a connection a thread, one writer at a time, errors in our words."""

from __future__ import annotations

import os
import random
import sqlite3
import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
from slowwave.store.migrations import APPLICATION_ID, STEPS, VERSION
from slowwave.store.sql import Connections
from slowwave.store.sqlite_dialect import SqliteDialect, sw_contains, sw_icontains

MEMORY = ":memory:"
_CODES = {
    sqlite3.SQLITE_FULL: StoreFullError,
    sqlite3.SQLITE_READONLY: StoreReadOnlyError,
    sqlite3.SQLITE_BUSY: StoreBusyError,
    sqlite3.SQLITE_LOCKED: StoreBusyError,
    sqlite3.SQLITE_PROTOCOL: StoreBusyError,
    sqlite3.SQLITE_CORRUPT: StoreCorruptError,
    sqlite3.SQLITE_NOTADB: StoreCorruptError,
}
# A write that the system cut short: no room, a quota, or a limit on the size of files.
_NO_ROOM = (
    sqlite3.SQLITE_IOERR_WRITE,
    sqlite3.SQLITE_IOERR_FSYNC,
    sqlite3.SQLITE_IOERR_TRUNCATE,
    sqlite3.SQLITE_IOERR_SHMSIZE,
)
_NEXT = {
    StoreFullError: "nothing was written; free room on the disk and try again",
    StoreReadOnlyError: "make the file and its folder writable, or open it with readonly=True to search only",
    StoreBusyError: "another process held the file for too long; raise timeout_seconds or end that process",
    StoreCorruptError: "restore a backup, or recover with: sqlite3 FILE .recover",
    StoreError: "check the path, its rights and its disk",
}


def explain(error: sqlite3.Error, path: str) -> StoreError:
    """A SQLite error -> ours, with the file, what SQLite found, and what to do."""
    code = getattr(error, "sqlite_errorcode", 0) or 0
    kind = StoreFullError if code in _NO_ROOM else _CODES.get(code & 0xFF, StoreError)
    if any(sign in str(error) for sign in ("file is not a database", "malformed", "Could not decode")):
        kind = StoreCorruptError
    return kind(f"{path}: {error}; {_NEXT[kind]}")


@dataclass(slots=True, eq=False)
class _Held:
    """One thread's connection. The lock is held while a statement runs, so that no fork falls into one."""

    connection: sqlite3.Connection
    thread: threading.Thread
    lock: threading.RLock


class SqliteConnections(Connections):
    """Connections to one database file, one a thread and process; `:memory:` has one in all.

    timeout_seconds  how long a writer waits for another before StoreBusyError
    durable          wait for the disk at each commit (survives a power cut, not only a kill)
    """

    dialect = SqliteDialect()

    def __init__(self, path: str | Path, readonly: bool, timeout_seconds: float, durable: bool) -> None:
        self.path = str(path)
        self.readonly = readonly
        self.timeout_seconds = timeout_seconds
        self._synchronous = "FULL" if durable else "NORMAL"
        self._busy_ms = int(1000 * min(timeout_seconds, 5.0))  # for readers, who wait for a recovery at most
        self._write_lock = threading.RLock()
        self._open: list[_Held] = []
        self._local = threading.local()
        self._shared: _Held | None = None
        self._closed = False
        self._file: tuple[int, int] | None = None
        if self.path != MEMORY and not readonly:
            try:
                Path(self.path).parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StoreError(f"cannot make the folder of {self.path}: {error}; give another path") from error
        _EVERY.add(self)
        try:
            with self.translated():
                self._prepare()
        except BaseException:
            self.close()
            raise

    @contextmanager
    def translated(self) -> Iterator[None]:
        """SQLite's errors become ours, and values that it cannot hold an InputError."""
        try:
            yield
        except sqlite3.Error as error:
            raise explain(error, self.path) from error
        except (UnicodeEncodeError, OverflowError) as error:
            raise InputError(f"a value cannot be kept or looked for: {error}; give valid text and numbers") from error

    def fetch(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        """All rows of a statement, on this thread's connection."""
        with self.translated():
            held = self._held()
            with held.lock:
                return held.connection.execute(sql, values).fetchall()

    def stamp(self) -> tuple[object, int, int]:
        """Equal to an earlier one of this thread if nothing was written in between, by whomever."""
        with self.translated():
            held = self._held()
            with held.lock:
                version = held.connection.execute("PRAGMA data_version").fetchone()[0]  # what others committed
                return held, held.connection.total_changes, version

    @contextmanager
    def write(self, scope: Scope | None = None) -> Iterator[sqlite3.Connection]:
        """A transaction that holds the file's write lock from its start: committed whole, or rolled back whole."""
        if self.readonly:
            raise StoreReadOnlyError(f"{self.path} was opened with readonly=True; open it without to write")
        with self._write_lock, self.translated():
            connection = self._held().connection
            self._check_file()
            # SQLite would look again every tenth of a second, and starve beside a process that writes all the time.
            connection.execute("PRAGMA busy_timeout = 0")
            try:
                self._patiently(connection, "BEGIN IMMEDIATE")
            finally:
                connection.execute(f"PRAGMA busy_timeout = {self._busy_ms}")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Until the end this process's other threads begin no transaction; this one may."""
        with self._write_lock:
            yield

    @contextmanager
    def note(self) -> Iterator[sqlite3.Connection]:
        """A transaction of what may be lost in a power cut: it survives a kill, and does not wait for the disk."""
        with self._write_lock, self.translated():
            connection = self._held().connection
            connection.execute("PRAGMA synchronous = NORMAL")
            try:
                with self.write():
                    yield connection
            finally:
                connection.execute(f"PRAGMA synchronous = {self._synchronous}")

    @contextmanager
    def snapshot(self, scope: Scope) -> Iterator[None]:
        """A transaction that only reads, on this thread's connection: what is read inside is of one moment."""
        with self._write_lock if self.path == MEMORY else nullcontext(), self.translated():
            connection = self._held().connection
            connection.execute("BEGIN")
            try:
                yield
            finally:
                connection.execute("ROLLBACK")

    def now(self) -> int:
        return time.time_ns() // 1000

    def horizon(self, scope: Scope) -> int | None:
        return None

    def outside(self, *statements: str) -> list[Any]:
        """Run statements that cannot stand in a transaction, one writer at a time; the last one's rows."""
        rows: list[Any] = []
        with self._write_lock, self.translated():
            self._check_file()
            connection = self._held().connection
            for statement in statements:
                rows = connection.execute(statement).fetchall()
        return rows

    def close(self) -> None:
        """Close every connection of this process."""
        with self._write_lock:
            self._closed = True
            for held in [*self._open, *([self._shared] if self._shared else [])]:
                held.connection.close()
            self._open.clear()
            self._shared = None

    def _held(self) -> _Held:
        """This thread's connection."""
        if self._closed:
            raise StoreError(f"{self.path} was closed; make a new Memory")
        if self.path == MEMORY:
            if self._shared is None:  # its readers wait for its writer, so that they never see half a transaction
                self._shared = _Held(self._connect(), threading.current_thread(), self._write_lock)
            return self._shared
        held: _Held | None = getattr(self._local, "held", None)
        if held is None:
            with _OPENING:
                self._drop_ended()
                held = _Held(self._connect(), threading.current_thread(), threading.RLock())
                self._local.held = held
                self._open.append(held)
        return held

    def _drop_ended(self) -> None:
        """Close the connections of threads that have ended."""
        for held in [held for held in self._open if not held.thread.is_alive()]:
            with suppress(ValueError):  # another thread was first
                self._open.remove(held)
                held.connection.close()

    def _patiently(self, connection: sqlite3.Connection, statement: str) -> None:
        """Run a statement that needs a lock, again and again with a random pause, until `timeout_seconds` are over."""
        limit = time.monotonic() + self.timeout_seconds
        while True:
            try:
                connection.execute(statement).fetchall()
                return
            except sqlite3.OperationalError as error:
                if (error.sqlite_errorcode or 0) & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > limit:
                    raise
                time.sleep(random.uniform(0.0005, 0.004))

    def _check_file(self) -> None:
        """SQLite writes on into a file that was deleted or replaced, and all of that would be lost."""
        if self._file is None:
            return
        try:
            status = os.stat(self.path)
        except OSError as error:
            raise StoreError(f"{self.path} was deleted or moved while open ({error}); make a new Memory") from error
        if (status.st_dev, status.st_ino) != self._file:
            raise StoreError(f"{self.path} was replaced by another file while open; make a new Memory")

    def _connect(self) -> sqlite3.Connection:
        if self.path == MEMORY:
            connection = sqlite3.connect(MEMORY, isolation_level=None, check_same_thread=False)
        else:
            self._check_file()
            path = Path(self.path).absolute()
            uri = f"{path.as_uri()}?mode={'ro' if self.readonly else 'rw' if self._file else 'rwc'}"
            log = Path(f"{path}-wal")
            if self.readonly and not os.access(path.parent, os.W_OK) and not (log.exists() and log.stat().st_size):
                uri += "&immutable=1"  # nobody can write there, nor could SQLite put its own files beside it
            connection = sqlite3.connect(
                uri, uri=True, isolation_level=None, check_same_thread=False, timeout=self._busy_ms / 1000
            )
        try:
            self._configure(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _configure(self, connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute("PRAGMA cache_size = -32768")
        connection.execute(f"PRAGMA synchronous = {self._synchronous}")
        connection.create_function("sw_contains", -1, sw_contains, deterministic=True)
        connection.create_function("sw_icontains", -1, sw_icontains, deterministic=True)

    def _prepare(self) -> None:
        """Look before touching: a file of another program, or of a newer slowwave, stays as it is."""
        connection = self._held().connection
        version = self._version(connection)
        if self.path != MEMORY:
            status = os.stat(self.path)
            self._file = (status.st_dev, status.st_ino)
        if self.readonly:
            if not version:
                raise StoreError(f"{self.path} holds no slowwave memory; open it without readonly=True to make one")
            if version < VERSION:
                raise SchemaError(
                    f"{self.path} has schema {version}, this slowwave reads {VERSION}; open it once without "
                    "readonly=True to bring it up to date, or a copy of it where it cannot be written"
                )
            return
        if self.path != MEMORY and pragma(connection, "journal_mode") != "wal":
            self._patiently(connection, "PRAGMA journal_mode = WAL")
        if version == VERSION:
            return
        with self.write():
            version = self._version(connection)  # another process may have been first
            for number, step in enumerate(STEPS[version:], start=version + 1):
                for statement in _statements(step):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {number}")
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")

    def _version(self, connection: sqlite3.Connection) -> int:
        """The schema's number; 0 for an empty file. One statement, since another process may be making the schema."""
        tables, version, application = connection.execute(
            "SELECT (SELECT count(*) FROM sqlite_schema), user_version, application_id "
            "FROM pragma_user_version, pragma_application_id"
        ).fetchone()
        if tables and application != APPLICATION_ID:
            raise StoreError(f"{self.path} is a SQLite database of another program; give another path")
        if version > VERSION:
            raise SchemaError(
                f"{self.path} has schema {version}, this slowwave knows {VERSION}; run: pip install -U slowwave"
            )
        return int(version)


_EVERY: weakref.WeakSet[SqliteConnections] = weakref.WeakSet()
_OPENING = threading.RLock()  # a process that forked while a connection was being opened would find SQLite locked


def _locks() -> Iterator[Any]:
    """Let every statement come to its end, and begin none, while the process forks.

    Writers first, who may be opening a connection; then the opening of any; then who reads on those that are open.
    """
    every = list(_EVERY)
    yield from [one._write_lock for one in every]
    yield _OPENING
    yield from [held.lock for one in list(_EVERY) for held in list(one._open)]


def _close_inherited() -> None:
    """In a forked child: SQLite's locks stay with the parent, but its bookkeeping of them is copied, so that a child
    which went on with an inherited connection would write to a log that the parent may delete."""
    for one in list(_EVERY):
        for held in one._open:
            with suppress(sqlite3.Error):
                held.connection.close()
        one._open.clear()
        one._local = threading.local()


forks.at_fork(_locks, _close_inherited)


def _statements(script: str) -> Iterator[str]:
    """The single statements of a script: executescript would commit the transaction that they belong to."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def pragma(connection: sqlite3.Connection, name: str) -> Any:
    """The value of a pragma."""
    return connection.execute(f"PRAGMA {name}").fetchone()[0]
