"""One SQLite file, opened as slowwave needs it: a connection a thread, one writer at a time, errors in our words."""

from __future__ import annotations

import os
import random
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from slowwave.errors import (
    SchemaError,
    StoreBusyError,
    StoreCorruptError,
    StoreError,
    StoreFullError,
    StoreReadOnlyError,
)
from slowwave.store.migrations import APPLICATION_ID, STEPS, VERSION
from slowwave.store.sql_filters import sw_contains, sw_icontains

MEMORY = ":memory:"
_CODES = {
    sqlite3.SQLITE_FULL: StoreFullError,
    sqlite3.SQLITE_IOERR: StoreFullError,
    sqlite3.SQLITE_READONLY: StoreReadOnlyError,
    sqlite3.SQLITE_BUSY: StoreBusyError,
    sqlite3.SQLITE_LOCKED: StoreBusyError,
    sqlite3.SQLITE_CORRUPT: StoreCorruptError,
    sqlite3.SQLITE_NOTADB: StoreCorruptError,
    sqlite3.SQLITE_CANTOPEN: StoreError,
}
_NEXT = {
    StoreFullError: "nothing was written; free room on the disk and try again",
    StoreReadOnlyError: "make the file and its folder writable, or open it with readonly=True to search only",
    StoreBusyError: "another process held the file for too long; raise timeout_seconds or end that process",
    StoreCorruptError: "restore a backup, or recover with: sqlite3 FILE .recover",
    StoreError: "check the path and its rights",
}


def explain(error: sqlite3.Error, path: str) -> StoreError:
    """A SQLite error -> ours, with the file, what SQLite found, and what to do."""
    code = getattr(error, "sqlite_errorcode", 0) or 0
    kind = _CODES.get(code & 0xFF, StoreError)
    if "file is not a database" in str(error) or "malformed" in str(error):
        kind = StoreCorruptError
    return kind(f"{path}: {error}; {_NEXT[kind]}")


class Connections:
    """Connections to one database file, one a thread and process; `:memory:` has one in all.

    timeout_seconds  how long a writer waits for another before StoreBusyError
    durable          wait for the disk at each commit (survives a power cut, not only a kill)
    """

    def __init__(self, path: str | Path, readonly: bool, timeout_seconds: float, durable: bool) -> None:
        self.path = str(path)
        self.readonly = readonly
        self.timeout_seconds = timeout_seconds
        self.durable = durable
        self._write_lock = threading.RLock()
        self._open: list[tuple[int, sqlite3.Connection]] = []
        self._local = threading.local()
        self._shared: sqlite3.Connection | None = None
        self._closed = False
        if self.path != MEMORY and not readonly:
            try:
                Path(self.path).parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StoreError(f"cannot make the folder of {self.path}: {error}; give another path") from error
        with self.translated():
            self._migrate()

    @contextmanager
    def translated(self) -> Iterator[None]:
        """SQLite's errors become ours."""
        try:
            yield
        except sqlite3.Error as error:
            raise explain(error, self.path) from error

    def get(self) -> sqlite3.Connection:
        """This thread's connection."""
        if self._closed:
            raise StoreError(f"{self.path} was closed; make a new Memory")
        if self.path == MEMORY:
            if self._shared is None:
                self._shared = self._connect()
            return self._shared
        held: tuple[int, sqlite3.Connection] | None = getattr(self._local, "held", None)
        if held is None or held[0] != os.getpid():  # a forked child must not use its parent's connection
            held = (os.getpid(), self._connect())
            self._local.held = held
            with self._write_lock:
                self._open.append(held)
        return held[1]

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A transaction that holds the write lock from its start: committed whole, or rolled back whole."""
        if self.readonly:
            raise StoreReadOnlyError(f"{self.path} was opened with readonly=True; open it without to write")
        with self._write_lock, self.translated():
            connection = self.get()
            self._begin(connection)
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def _begin(self, connection: sqlite3.Connection) -> None:
        """BEGIN IMMEDIATE, asked again with a random pause: SQLite's own wait is not fair among many processes."""
        limit = time.monotonic() + self.timeout_seconds
        while True:
            try:
                connection.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as error:
                if (error.sqlite_errorcode or 0) & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > limit:
                    raise
                time.sleep(random.uniform(0.001, 0.02))

    def close(self) -> None:
        """Close every connection of this process."""
        with self._write_lock:
            self._closed = True
            for pid, connection in self._open:
                if pid == os.getpid():
                    connection.close()
            self._open.clear()
            if self._shared is not None:
                self._shared.close()
                self._shared = None

    def _connect(self) -> sqlite3.Connection:
        if self.path == MEMORY:
            connection = sqlite3.connect(MEMORY, isolation_level=None, check_same_thread=False)
        else:
            mode = "ro" if self.readonly else "rwc"
            uri = f"{Path(self.path).absolute().as_uri()}?mode={mode}"
            connection = sqlite3.connect(
                uri, uri=True, isolation_level=None, check_same_thread=False, timeout=min(self.timeout_seconds, 5.0)
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
        connection.execute("PRAGMA mmap_size = 1073741824")
        connection.create_function("sw_contains", -1, sw_contains, deterministic=True)
        connection.create_function("sw_icontains", -1, sw_icontains, deterministic=True)
        if not self.readonly and self.path != MEMORY:
            self._retry(connection, "PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA synchronous = {'FULL' if self.durable else 'NORMAL'}")

    def _retry(self, connection: sqlite3.Connection, statement: str) -> None:
        """Changing the journal mode does not wait for a lock by itself."""
        limit = time.monotonic() + self.timeout_seconds
        while True:
            try:
                connection.execute(statement).fetchall()
                return
            except sqlite3.OperationalError as error:
                if (error.sqlite_errorcode or 0) & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > limit:
                    raise
                time.sleep(random.uniform(0.005, 0.05))

    def _migrate(self) -> None:
        connection = self.get()
        version = self._version(connection)
        if version == VERSION or (self.readonly and version > 0):
            return
        if self.readonly:
            raise StoreError(f"{self.path} holds no slowwave memory and was opened with readonly=True")
        with self.write():
            version = self._version(connection)  # another process may have been first
            for number, step in enumerate(STEPS[version:], start=version + 1):
                for statement in _statements(step):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {number}")
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")

    def _version(self, connection: sqlite3.Connection) -> int:
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        application = int(connection.execute("PRAGMA application_id").fetchone()[0])
        tables = int(connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0])
        if tables and application != APPLICATION_ID:
            raise StoreError(f"{self.path} is a SQLite database of another program; give another path")
        if version > VERSION:
            raise SchemaError(
                f"{self.path} has schema {version}, this slowwave knows {VERSION}; run: pip install -U slowwave"
            )
        return version


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
