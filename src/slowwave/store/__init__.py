"""The only place with SQL: `base` is the contract, `sqlite` the embedded default."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from slowwave.store.base import Store


def open_store(path: str | Path, **options: Any) -> Store:
    """The store of a path: a file is SQLite's."""
    from slowwave.store.sqlite import SqliteStore

    return SqliteStore(path, **options)


__all__ = ["Store", "open_store"]
