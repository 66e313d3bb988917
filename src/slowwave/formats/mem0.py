"""Dumps of mem0: what `get_all()` returns, a list of such rows, rows as JSONL, or points of its vector store.

    {"results": [{"id": ..., "memory": "Lives in Porto", "user_id": "ana", "created_at": ..., "metadata": {...}}]}
    {"id": ..., "payload": {"data": "Lives in Porto", "user_id": "ana", ...}}

mem0 rewrites a memory in place, so its text holds since `updated_at` where there is one; `created_at` is kept beside
it. The scope fields of each row are kept. Source: `mem0/memory/main.py`, versions 0.1 to 2.0.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import tzinfo
from pathlib import Path
from typing import Any

from slowwave.errors import ScopeError
from slowwave.formats.base import Junk, Reader, clean, clean_values, digest, scope_of, unreadable
from slowwave.formats.bundle import Skipped, parts
from slowwave.formats.decode import json_records
from slowwave.formats.peek import first_records, is_json
from slowwave.formats.times import instant
from slowwave.records import SCOPE_FIELDS, Item

USED = {"id", "memory", "data", "metadata", "score", "vector", "event", "actor_id", "updated_at", *SCOPE_FIELDS}


class Mem0(Reader):
    """Reader of mem0 dumps; JSONL and lists are streamed, a `{"results": ...}` object is loaded whole."""

    name = "mem0"
    what = "a mem0 dump (get_all() as JSON, or rows with id and memory)"

    def _looks(self, path: Path) -> bool:
        return path.is_file() and any(_row(row) is not None for value in first_records(path) for row in _rows(value))

    def _read(self, path: Path, zone: tzinfo) -> Iterator[Item | Junk]:
        for part in parts(path, is_json):
            if isinstance(part, Skipped):
                yield unreadable(part.name, "", part.reason)
                continue
            for where, value in json_records(part):
                rows = list(_rows(value))
                for index, found in enumerate(rows):
                    yield _item(where if len(rows) == 1 else f"{where}.results[{index}]", found, zone)
                if isinstance(value, dict) and isinstance(value.get("relations"), list):
                    for index, relation in enumerate(value["relations"]):
                        yield _relation(f"{where}.relations[{index}]", relation, value)


def _rows(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for name in ("results", "memories", "points"):
            if isinstance(value.get(name), list):
                yield from value[name]
                return
    yield value


def _row(value: Any) -> dict[str, Any] | None:
    """The row, with the payload of a vector store's point laid out as get_all() does; None if it is no row."""
    if not isinstance(value, dict):
        return None
    if isinstance(value.get("payload"), dict):
        value = {**value["payload"], "id": value.get("id"), "memory": value["payload"].get("data")}
    return value if isinstance(value.get("memory"), str) and ("id" in value or "hash" in value) else None


def _item(where: str, found: Any, zone: tzinfo) -> Item | Junk:
    if isinstance(found, Junk):
        return found
    row = _row(found)
    if row is None:
        return unreadable(where, found, "no row with id and memory")
    text = clean(row["memory"].strip())
    if not text:
        return Junk(where, "", "an empty memory")
    attrs = {key: value for key, value in row.items() if key not in USED and value is not None}
    if isinstance(row.get("metadata"), dict):
        attrs.update(row["metadata"])
    at = instant(row.get("valid_at") or row.get("updated_at") or row.get("created_at"), zone)
    until = instant(row.get("invalid_at") or row.get("expiration_date"), zone)
    if row.get("updated_at") not in (None, row.get("created_at")):
        attrs["updated_at"] = row["updated_at"]
    identity = row.get("id") or row.get("hash") or digest(text)
    try:
        scope = scope_of(row)
    except ScopeError as error:
        return unreadable(where, found, f"a scope that is not well formed ({error})")
    speaker = row.get("actor_id")
    return Item(
        text=text,
        kind="fact",
        speaker=clean(speaker) if isinstance(speaker, str) and speaker else None,
        at=at,
        until=until,
        origin=f"mem0:{clean(str(identity))}",
        attrs=clean_values(attrs),
        scope=scope,
    )


def _relation(where: str, relation: Any, owner: dict[str, Any]) -> Item | Junk:
    """A tie of the graph store that older versions return beside the results."""
    if not isinstance(relation, dict):
        return unreadable(where, relation, "no relation")
    source, verb = relation.get("source"), relation.get("relationship") or relation.get("relation")
    target = relation.get("target") or relation.get("destination")
    if not all(isinstance(name, str) and name for name in (source, verb, target)):
        return unreadable(where, relation, "no relation with source, relationship and target")
    text = clean(f"{source} {str(verb).replace('_', ' ')} {target}")
    attrs = clean_values({"entity": source, "relation": verb, "target": target})
    return Item(text, "fact", origin=f"mem0:relation:{digest(source, verb, target)}", attrs=attrs)
