"""A look at the beginning of a file, for `detect`: cheap, and silent about what is wrong with it."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from slowwave.errors import FormatError
from slowwave.formats.base import Junk
from slowwave.formats.bundle import Part, Skipped, parts
from slowwave.formats.decode import head_of, json_records

SAMPLE = 20  # records
WHOLE_BYTES = 8 * 2**20  # a file that is one JSON object is read to here
HEAD_BYTES = 2**18
JSON_NAMES = (".json", ".jsonl", ".ndjson")


def is_json(name: str) -> bool:
    """Whether a file of this name is JSON or JSONL."""
    return name.lower().endswith(JSON_NAMES)


def first_part(path: Path, wanted: Callable[[str], bool] = is_json) -> Part | None:
    """The first file at the path that is wanted, cut to its first 8 MB."""
    for part in parts(path, wanted):
        if not isinstance(part, Skipped):
            with part.open() as handle:
                return Part(part.name, partial(io.BytesIO, handle.read(WHOLE_BYTES)))
    return None


def has_key(path: Path, key: str, wanted: Callable[[str], bool]) -> bool:
    """Whether `key` is a key in the first characters of a wanted JSON file, without decoding what may be huge."""
    for part in parts(path, wanted):
        if not isinstance(part, Skipped):
            head = head_of(part, HEAD_BYTES).lstrip("\ufeff \t\r\n")
            if head[:1] in ("{", "[") and re.search(rf'(?<!\\)"{key}"\s*:', head):  # \" would be inside a text
                return True
    return False


def first_records(path: Path) -> list[Any]:
    """The first records of the first JSON file at the path; fewer, or none, where it cannot be read."""
    records: list[Any] = []
    try:
        part = first_part(path)
        if part is not None and head_of(part, 64).lstrip("\ufeff \t\r\n")[:1] in ("{", "["):
            for _, value in islice(json_records(part), SAMPLE):
                if not isinstance(value, Junk):
                    records.append(value)
    except (FormatError, OSError):
        pass  # what came before the damage is enough to guess by
    return records
