"""The folder of key/value blocks beside a memory: whose they are, and how they go. Needs no torch.

A block is a safetensors file named after the record it was made from, or `joint-...` where it was made from several;
its header lists them. It holds nothing that cannot be made again, so it may always be deleted.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from slowwave.errors import FormatError

SUFFIX = ".kv"
JOINT = "joint"
HEADER = "slowwave"
LONGEST_HEADER = 100_000_000  # bytes; more is no safetensors file


def folder_of(database: str) -> Path | None:
    """Where the blocks of a memory's file lie; None for a memory in RAM or on a server."""
    return None if database == ":memory:" or "://" in database else Path(f"{database}{SUFFIX}")


def header(path: Path) -> dict[str, Any]:
    """What a block says of itself.

    raises  FormatError where it is no block
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 0 < length < LONGEST_HEADER:
                raise ValueError("no safetensors header")
            found = json.loads(json.loads(file.read(length))["__metadata__"][HEADER])
        if not isinstance(found["engrams"], list):
            raise ValueError("no list of records")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FormatError(f"{path} is no key/value block: {error}; delete it, it is made again when needed") from error
    return dict(found)


def blocks(folder: Path) -> Iterator[Path]:
    """Every block in the folder."""
    if folder.is_dir():
        yield from sorted(path for path in folder.iterdir() if path.suffix == SUFFIX)


def sources(path: Path) -> list[str]:
    """The records that a block was made from; none where the file is damaged."""
    first = path.name.partition("-")[0]
    if first != JOINT:
        return [first]
    try:
        return [str(id) for id in header(path)["engrams"]]
    except FormatError:
        return []


def drop(folder: Path | None, engrams: Collection[str]) -> int:
    """Delete every block that was made from one of these records, alone or with others; how many there were.

    A damaged joint block goes too: nobody can say what is in it.
    """
    gone = 0
    for path in blocks(folder) if folder is not None and engrams else ():
        found = sources(path)
        if not found or not set(engrams).isdisjoint(found):
            path.unlink(missing_ok=True)
            gone += 1
    return gone
