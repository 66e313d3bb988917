"""The only place with SQL: `base` is the contract, `sqlite` the embedded default, `postgres` the server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from slowwave.errors import ExtraMissingError
from slowwave.store.base import Store


def open_store(path: str | Path, **options: Any) -> Store:
    """The store of a path: postgresql://... is a server's, anything else is a SQLite file."""
    if str(path).startswith(("postgresql://", "postgres://")):
        try:
            import psycopg_pool  # noqa: F401
        except ImportError as error:
            raise ExtraMissingError("a memory in PostgreSQL", "postgres") from error
        from slowwave.store.postgres import PostgresStore

        return PostgresStore(str(path), **options)
    from slowwave.store.sqlite import SqliteStore

    return SqliteStore(path, **options)


__all__ = ["Store", "open_store"]
