"""memory.jsonl of the MCP reference server: a knowledge graph, one entity or relation a line.

    {"type": "entity", "name": "Ana", "entityType": "person", "observations": ["Speaks Portuguese"]}
    {"type": "relation", "from": "Ana", "to": "Porto", "relationType": "lives_in"}

Each entity, each observation and each relation is a fact; observations and relations are linked to the facts that say
what their entities are. What the server's `read_graph` returns ({"entities": [...], "relations": [...]}) is read too.
The file holds no times. Source: modelcontextprotocol/servers, `src/memory/index.ts`.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import tzinfo
from pathlib import Path
from typing import Any

from slowwave.formats.base import Junk, Reader, clean, digest, unreadable
from slowwave.formats.bundle import Skipped, parts
from slowwave.formats.decode import json_records
from slowwave.formats.peek import first_records, is_json
from slowwave.records import Item


class McpMemory(Reader):
    """Reader of the reference server's graph, streaming; only the names of the entities stay in memory."""

    name = "mcp-memory"
    what = "the MCP reference server's memory.jsonl (entities and relations)"

    def _looks(self, path: Path) -> bool:
        return path.is_file() and any(
            _kind(row) is not None for value in first_records(path) for row, _ in _rows("", value)
        )

    def _read(self, path: Path, zone: tzinfo) -> Iterator[Item | Junk]:
        entities: set[str] = set()
        for part in parts(path, is_json):
            if isinstance(part, Skipped):
                yield unreadable(part.name, "", part.reason)
                continue
            for where, value in json_records(part):
                for row, place in _rows(where, value):
                    if isinstance(row, Junk):
                        yield row
                    elif _kind(row) == "entity":
                        yield from _entity(place, row, entities)
                    elif _kind(row) == "relation":
                        yield _relation(row, entities)
                    else:
                        yield unreadable(place, row, "no entity and no relation")


def _rows(where: str, value: Any) -> Iterator[tuple[Any, str]]:
    if isinstance(value, dict) and isinstance(value.get("entities"), list) and "type" not in value:
        for name, kind in (("entities", "entity"), ("relations", "relation")):
            for index, row in enumerate(value.get(name) or []):
                yield ({**row, "type": kind} if isinstance(row, dict) else row), f"{where}.{name}[{index}]"
    else:
        yield value, where


def _kind(row: Any) -> str | None:
    if not isinstance(row, dict):
        return None
    fields = {"entity": ("name", "entityType"), "relation": ("from", "to", "relationType")}.get(str(row.get("type")))
    return row["type"] if fields and all(isinstance(row.get(name), str) and row[name] for name in fields) else None


def _anchor(name: str) -> str:
    return f"mcp-memory:entity:{name}"


def _entity(where: str, row: dict[str, Any], entities: set[str]) -> Iterator[Item | Junk]:
    name, kind = clean(row["name"]), clean(row["entityType"])
    attrs = {"entity": name, "entity_type": kind}
    if name in entities:
        yield Junk(where, name, "an entity named twice; its observations are read")
    else:
        entities.add(name)
        yield Item(f"{name} is of type {kind}", "fact", origin=_anchor(name), attrs=attrs)
    observations = row.get("observations")
    if not isinstance(observations, list):
        yield unreadable(where, row, "an entity without a list of observations")
        return
    for index, observation in enumerate(observations):
        if not isinstance(observation, str):
            yield unreadable(f"{where}.observations[{index}]", observation, "an observation that is no text")
        elif not observation.strip():
            yield Junk(f"{where}.observations[{index}]", observation, "an empty observation")
        else:
            said = clean(observation.strip())
            text = said if said.casefold().startswith(name.casefold()) else f"{name}: {said}"
            origin = f"mcp-memory:{name}:{digest(said)}"
            links = (("about", _anchor(name)),)
            yield Item(text, "fact", origin=origin, attrs=attrs | {"observation": said}, links=links)


def _relation(row: dict[str, Any], entities: set[str]) -> Item:
    source, target, relation = clean(row["from"]), clean(row["to"]), clean(row["relationType"])
    return Item(
        text=f"{source} {relation.replace('_', ' ')} {target}",
        kind="fact",
        origin=f"mcp-memory:relation:{digest(source, relation, target)}",
        attrs={"entity": source, "relation": relation, "target": target},
        links=tuple(("about", _anchor(name)) for name in dict.fromkeys((source, target)) if name in entities),
    )
