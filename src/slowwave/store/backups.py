"""A copy of a SQLite memory while others write to it: of one moment, whole, checked before it counts."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from slowwave.errors import InputError, StoreCorruptError, StoreError
from slowwave.store.connection import MEMORY, explain

PAGES = 4096  # copied at a time; writers go on between two steps


def backup(source: str, target: Path, progress: Callable[[str, int, int], None]) -> int:
    """Copy the memory at `source` to a new file; returns its bytes.

    The copy is put together beside its place and takes it only when it is whole and checked, so that a kill leaves no
    half of one. What was committed before the call is in it.

    raises  InputError if there is a file already, StoreError if it cannot be read or written
    """
    if source == MEMORY or source.startswith(("postgres://", "postgresql://")):
        raise InputError(f"{source.split('://')[0]} is no file; a database is backed up with its own tools (pg_dump)")
    if target.exists():
        raise InputError(f"{target} is there already; name a new file, or move that one away")
    part = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        address = f"{Path(source).absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(address, uri=True)) as there, closing(sqlite3.connect(part)) as here:
            there.backup(here, pages=PAGES, progress=lambda _, left, all_: progress("backup", all_ - left, all_))
            here.execute("PRAGMA journal_mode = DELETE")
            found = here.execute("PRAGMA integrity_check(1)").fetchone()[0]
            if found != "ok":
                raise StoreCorruptError(f"the copy of {source} is damaged ({found}); see: slowwave check")
        with part.open("rb") as handle:
            os.fsync(handle.fileno())
        os.link(part, target)  # fails if somebody was first, where a rename would put itself in its place
    except sqlite3.Error as error:
        raise explain(error, source) from error
    except FileExistsError as error:
        raise InputError(f"{target} was made by somebody else meanwhile; name a new file") from error
    except OSError as error:
        raise StoreError(f"{target} cannot be written ({error}); give another path") from error
    finally:
        part.unlink(missing_ok=True)
    return target.stat().st_size
