"""The only place with SQL: `base` is the contract, `sqlite` the embedded default, `postgres` the server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from slowwave.errors import ExtraMissingError
from slowwave.store.base import Store


def is_url(path: str | Path) -> bool:
    """Whether a memory's place is a PostgreSQL server's, and no file."""
    return str(path).startswith(("postgresql://", "postgres://"))


def open_store(path: str | Path, **options: Any) -> Store:
    """The store of a path: postgresql://... is a server's, anything else is a SQLite file."""
    if is_url(path):
        try:
            import psycopg_pool  # noqa: F401
        except ImportError as error:
            raise ExtraMissingError("a memory in PostgreSQL", "postgres") from error
        from slowwave.store.postgres import PostgresStore

        return PostgresStore(str(path), **options)
    from slowwave.store.sqlite import SqliteStore

    return SqliteStore(path, **options)


__all__ = ["Store", "is_url", "open_store"]
