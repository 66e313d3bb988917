"""After an erasure from SQLite: the file is rewritten without what was freed, and its bytes are looked at."""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from slowwave.errors import StoreError
from slowwave.store.connection import MEMORY, SqliteConnections
from slowwave.store.erasure import OPEN
from slowwave.store.sidecars import drop_all

IN_MEMORY = 1 << 28  # bytes of a file up to which its new form is put together in memory, not in a temporary file
KEY = 7  # bytes by which a scan recognises where a needle may begin
BLOCK = 1 << 22  # bytes scanned at once


def compact(connections: SqliteConnections) -> str:
    """Delete the approximate indexes, rewrite the file without what was freed, empty the log.

    Returns "" if that is done, else why not and what to do.
    """
    if connections.path != MEMORY:
        try:
            drop_all(connections.path)
            large = Path(connections.path).stat().st_size > IN_MEMORY
            try:
                if large:
                    connections.outside("PRAGMA temp_store = FILE")
                connections.outside("VACUUM")
            finally:
                connections.outside("PRAGMA temp_store = MEMORY")
            busy = connections.outside("PRAGMA wal_checkpoint(TRUNCATE)")[0][0]
        except StoreError as error:
            return f"the file could not be rewritten yet ({error}); it is when it is next opened for writing"
        if busy:
            return (
                f"another process is reading {connections.path}, so its old pages are still there; end that process, "
                "and open the file for writing once, which removes them"
            )
    try:
        with connections.write() as connection:
            connection.execute("DELETE FROM meta WHERE key = ?", (OPEN,))
    except StoreError as error:
        return f"it could not be noted that the files are clean ({error}); they are looked at when next opened"
    return ""


def scan(files: Sequence[Path], needles: Sequence[bytes]) -> dict[str, list[str]]:
    """Look for bytes in whole files: needle (as text) -> names of the files that hold it. One pass for all needles."""
    short = [needle for needle in needles if 0 < len(needle) < KEY]
    by_key: dict[int, list[bytes]] = {}
    for needle in needles:
        if len(needle) >= KEY:
            by_key.setdefault(int.from_bytes(needle[:KEY], "little"), []).append(needle)
    keys = np.array(sorted(by_key), dtype=np.uint64)
    found: dict[str, list[str]] = {}
    for file in files:
        if not file.stat().st_size:
            continue
        with file.open("rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as data:
            held = {needle for needle in short if data.find(needle) >= 0} | _held(data, keys, by_key)
        for needle in sorted(held):
            found.setdefault(needle.decode("utf-8", "replace"), []).append(file.name)
    return found


def _held(data: mmap.mmap, keys: np.ndarray[Any, np.dtype[np.uint64]], by_key: dict[int, list[bytes]]) -> set[bytes]:
    """Those needles that occur: every position whose next bytes hash like a key's is looked at."""
    held: set[bytes] = set()
    if not len(keys):
        return held
    odd, shift = np.uint64(0x9E3779B97F4A7C15), np.uint64(64 - 24)
    mask = np.uint64((1 << 8 * KEY) - 1)
    marked = np.zeros(1 << 24, dtype=bool)
    marked[(keys * odd) >> shift] = True
    for start in range(0, len(data), BLOCK):
        block = data[start : start + BLOCK + 16] + bytes(16)
        for offset in range(8):
            words = np.frombuffer(block, dtype="<u8", offset=offset, count=min(BLOCK, len(block) - 16) // 8 + 1) & mask
            near = np.flatnonzero(marked[(words * odd) >> shift])
            near = near[np.isin(words[near], keys)]
            for place in near.tolist():
                at = start + 8 * place + offset
                for needle in by_key[int(words[place])]:
                    if needle not in held and data[at : at + len(needle)] == needle:
                        held.add(needle)
    return held


__all__ = ["compact", "scan"]
