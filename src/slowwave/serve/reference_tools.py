"""The tools of the MCP reference memory server over slowwave records: its names, its shapes, its file's meaning.

An entity, an observation and a relation are facts, as an import of its `memory.jsonl` makes them
(`formats.mcp_memory`), so what was imported is here under the old tools at once. Deleting takes out of view and can be
undone.

Source: modelcontextprotocol/servers, src/memory. Differs: nothing is lost when two processes write; `read_graph` and
`search_nodes` give at most 1,000 entities; `search_nodes` finds by meaning as well as by words.
"""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import ConfigDict, Field

from slowwave.errors import NotFoundError
from slowwave.formats.base import digest
from slowwave.ops.marking import as_data
from slowwave.records import Engram, Item, Scope
from slowwave.serve.access import Access, named
from slowwave.serve.service import Service
from slowwave.serve.shapes import Request
from slowwave.serve.tools import Made, Tool

MOST = 1000
Name = Annotated[str, Field(min_length=1, max_length=1000)]
Said = Annotated[str, Field(min_length=1, max_length=100_000)]


class _Request(Request):
    model_config = ConfigDict(extra="ignore", allow_inf_nan=False, populate_by_name=True)


class Entity(_Request):
    name: Name
    entityType: Name
    observations: Annotated[list[Said], Field(max_length=MOST)]


class Relation(_Request):
    from_: Annotated[Name, Field(alias="from")]
    to: Name
    relationType: Name


class Observation(_Request):
    entityName: Name
    contents: Annotated[list[Said], Field(max_length=MOST)]


class Deletion(_Request):
    entityName: Name
    observations: Annotated[list[Said], Field(max_length=MOST)]


class CreateEntities(_Request):
    entities: Annotated[list[Entity], Field(max_length=MOST)]


class CreateRelations(_Request):
    relations: Annotated[list[Relation], Field(max_length=MOST)]


class AddObservations(_Request):
    observations: Annotated[list[Observation], Field(max_length=MOST)]


class DeleteEntities(_Request):
    entityNames: Annotated[list[Name], Field(max_length=MOST)]


class DeleteObservations(_Request):
    deletions: Annotated[list[Deletion], Field(max_length=MOST)]


class DeleteRelations(_Request):
    relations: Annotated[list[Relation], Field(max_length=MOST)]


class ReadGraph(_Request):
    pass


class SearchNodes(_Request):
    query: Said


class OpenNodes(_Request):
    names: Annotated[list[Name], Field(max_length=MOST)]


def entity_item(name: str, kind: str) -> Item:
    """The fact that an entity is there."""
    attrs = {"entity": name, "entity_type": kind}
    return Item(f"{name} is of type {kind}", "fact", origin=f"mcp-memory:entity:{name}", attrs=attrs)


def observation_item(name: str, kind: str, said: str) -> Item:
    """An observation about it."""
    text = said if said.casefold().startswith(name.casefold()) else f"{name}: {said}"
    attrs = {"entity": name, "entity_type": kind, "observation": said}
    return Item(text, "fact", origin=f"mcp-memory:{name}:{digest(said)}", attrs=attrs)


def relation_item(relation: dict[str, Any]) -> Item:
    """A relation between two."""
    source, kind, target = relation["from_"], relation["relationType"], relation["to"]
    attrs = {"entity": source, "relation": kind, "target": target}
    origin = f"mcp-memory:relation:{digest(source, kind, target)}"
    return Item(f"{source} {kind.replace('_', ' ')} {target}", "fact", origin=origin, attrs=attrs)


class Graph:
    """The graph of one scope, read from its facts."""

    def __init__(self, service: Service, access: Access, scope: Scope) -> None:
        self.service, self.access, self.scope = service, access, scope
        self.memory = service.memory

    def facts(self, where: dict[str, Any] | None = None) -> list[Engram]:
        """Facts of the graph."""
        filters = {"entity": {"ne": ""}} if where is None else where
        found = self.memory.list(kinds=["fact"], filters=filters, limit=100_000, **named(self.scope))
        return [fact for fact in found if isinstance(fact.attrs.get("entity"), str)]

    def types(self, names: list[str]) -> dict[str, str]:
        """The type of each of these entities that is there."""
        found = self.facts({"entity": {"in": names}}) if names else []
        return {fact.attrs["entity"]: str(fact.attrs["entity_type"]) for fact in found if "entity_type" in fact.attrs}

    def add(self, items: list[Item]) -> list[str]:
        """What became of each, as events."""
        if not items:
            return []
        self.service.admit_records(self.access, len(items))
        return [one.event for one in self.memory.add(items, trusted=False, **named(self.scope))]

    def forget(self, ids: list[str], reason: str) -> None:
        """Take out of view."""
        if ids:
            self.memory.forget(ids, reason=reason, **named(self.scope))

    def shown(self, facts: list[Engram]) -> dict[str, Any]:
        """The reference server's shape: entities with their observations, and the relations among them."""
        entities: dict[str, dict[str, Any]] = {}
        relations = []
        for fact in facts:
            name = fact.attrs["entity"]
            if "relation" in fact.attrs:
                relation = {"from": name, "to": fact.attrs.get("target"), "relationType": fact.attrs["relation"]}
                relations.append(relation)
                continue
            new = {"name": name, "entityType": fact.attrs.get("entity_type", ""), "observations": []}
            entity = entities.setdefault(name, new)
            if "observation" in fact.attrs:
                entity["observations"].append(fact.attrs["observation"])
        kept = dict(list(entities.items())[:MOST])
        return {
            "entities": list(kept.values()),
            "relations": [r for r in relations if {r["from"], r["to"]} <= set(kept)],
        }

    def among(self, names: list[str]) -> dict[str, Any]:
        """These entities and the relations between them."""
        if not names:
            return {"entities": [], "relations": []}
        return self.shown(self.facts({"entity": {"in": names}}))


def _made(value: Any, recalled: bool = False) -> Made:
    text = json.dumps(value, ensure_ascii=False, indent=2)
    return as_data(text) if recalled else text, value if isinstance(value, dict) else {"results": value}


def _create_entities(service: Service, access: Access, scope: Scope, given: dict[str, Any]) -> Made:
    graph = Graph(service, access, scope)
    there = graph.types([entity["name"] for entity in given["entities"]])
    fresh = list({entity["name"]: entity for entity in reversed(given["entities"])}.values())[::-1]
    fresh = [entity for entity in fresh if entity["name"] not in there]
    items = [entity_item(entity["name"], entity["entityType"]) for entity in fresh]
    for entity in fresh:
        items += [observation_item(entity["name"], entity["entityType"], said) for said in entity["observations"]]
    graph.add(items)
    return _made(fresh)


def _create_relations(service: Service, access: Access, scope: Scope, given: dict[str, Any]) -> Made:
    graph, relations = Graph(service, access, scope), given["relations"]
    events = graph.add([relation_item(relation) for relation in relations])
    fresh = [relation for relation, event in zip(relations, events, strict=True) if event in ("ADD", "UPDATE")]
    return _made([{"from": r["from_"], "to": r["to"], "relationType": r["relationType"]} for r in fresh])


def _add_observations(service: Service, access: Access, scope: Scope, given: dict[str, Any]) -> Made:
    graph = Graph(service, access, scope)
    types = graph.types([one["entityName"] for one in given["observations"]])
    for one in given["observations"]:
        if one["entityName"] not in types:
            raise NotFoundError(f"Entity with name {one['entityName']} not found; make it with create_entities")
    out = []
    for one in given["observations"]:
        name = one["entityName"]
        events = graph.add([observation_item(name, types[name], said) for said in one["contents"]])
        added = [said for said, event in zip(one["contents"], events, strict=True) if event in ("ADD", "UPDATE")]
        out.append({"entityName": name, "addedObservations": added})
    return _made(out)


def _delete_entities(service: Service, access: Access, scope: Scope, given: dict[str, Any]) -> Made:
    graph, names = Graph(service, access, scope), given["entityNames"]
    if names:
        found = graph.facts({"OR": [{"entity": {"in": names}}, {"target": {"in": names}}]})
        graph.forget([fact.id for fact in found], "the entity was deleted")
    return _made("Entities deleted successfully")


def _delete_observations(service: Service, access: Access, scope: Scope, given: dict[str, Any]) -> Made:
    graph = Graph(service, access, scope)
    for one in given["deletions"]:
        found = graph.facts({"entity": one["entityName"]})
        ids = [fact.id for fact in found if fact.attrs.get("observation") in one["observations"]]
        graph.forget(ids, "the observation was deleted")
    return _made("Observations deleted successfully")


def _delete_relations(service: Service, access: Access, scope: Scope, given: dict[str, Any]) -> Made:
    graph = Graph(service, access, scope)
    for one in given["relations"]:
        found = graph.facts({"entity": one["from_"]})
        same = (one["relationType"], one["to"])
        ids = [fact.id for fact in found if (fact.attrs.get("relation"), fact.attrs.get("target")) == same]
        graph.forget(ids, "the relation was deleted")
    return _made("Relations deleted successfully")


def _read_graph(service: Service, access: Access, scope: Scope, given: dict[str, Any]) -> Made:
    graph = Graph(service, access, scope)
    return _made(graph.shown(graph.facts()), recalled=True)


def _search_nodes(service: Service, access: Access, scope: Scope, given: dict[str, Any]) -> Made:
    graph = Graph(service, access, scope)
    hits = graph.memory.search(given["query"], kinds=["fact"], top_k=50, **named(scope))
    names = [hit.engram.attrs.get("entity") for hit in hits]
    return _made(graph.among(list(dict.fromkeys(n for n in names if isinstance(n, str)))), recalled=True)


def _open_nodes(service: Service, access: Access, scope: Scope, given: dict[str, Any]) -> Made:
    return _made(Graph(service, access, scope).among(given["names"]), recalled=True)


def _tool(name: str, says: str, takes: type[Request], verb: str, run: Any, **more: Any) -> Tool:
    return Tool(name, says, takes, verb, run, name.replace("_", " ").capitalize(), idempotent=True, **more)


REFERENCE_TOOLS: tuple[Tool, ...] = (
    _tool("create_entities", "Create new entities in the knowledge graph, each with a type and observations. "
          "Entities that are there already stay as they are.", CreateEntities, "add", _create_entities),
    _tool("create_relations", "Create relations between entities, in active voice. Those that are there are left out.",
          CreateRelations, "add", _create_relations),
    _tool("add_observations", "Add observations to entities that are there.", AddObservations, "add",
          _add_observations),
    _tool("delete_entities", "Take entities out of view, with their observations and relations.", DeleteEntities,
          "forget", _delete_entities, destructive=True),
    _tool("delete_observations", "Take single observations out of view.", DeleteObservations, "forget",
          _delete_observations, destructive=True),
    _tool("delete_relations", "Take relations out of view.", DeleteRelations, "forget", _delete_relations,
          destructive=True),
    _tool("read_graph", "The whole knowledge graph, up to 1,000 entities.", ReadGraph, "list", _read_graph),
    _tool("search_nodes", "Entities on a query, by words and by meaning, with the relations among them.", SearchNodes,
          "search", _search_nodes),
    _tool("open_nodes", "Entities by name, with the relations among them.", OpenNodes, "list", _open_nodes),
)  # fmt: skip
