"""mem0 dumps and the MCP reference server's graph become facts with their scopes and links."""

from __future__ import annotations

import json
from datetime import datetime


def test_mem0_rows_become_facts_with_their_scope(samples, reading):
    got = reading(samples / "mem0.json")
    home = got.item("Porto")
    assert (home.kind, home.scope) == ("fact", {"user_id": "ana", "agent_id": "coach"})
    assert home.origin == "mem0:892db2ae-06d9-49e5-8b3e-585ef9b85b8e"
    assert home.at == datetime.fromisoformat("2024-08-01T10:00:00-07:00")  # the text holds since it was rewritten
    assert home.attrs["created_at"].startswith("2024-07-20")
    assert home.attrs["category"] == "home"
    assert got.item("nurse").at == datetime.fromisoformat("2024-07-20T01:30:36.275141-07:00")
    assert got.item("works at").text == "ana works at hospital"
    assert got.reasons == ["an empty memory", "unreadable: no row with id and memory"]


def test_mem0_as_list_lines_and_vector_store_points_are_the_same_facts(samples, reading, tmp_path):
    rows = json.loads((samples / "mem0.json").read_text("utf-8"))["results"][:2]
    want = [(i.text, i.origin, i.at, i.scope) for i in reading(samples / "mem0.json").items[:2]]
    points = [
        {
            "id": row["id"],
            "payload": {**{k: v for k, v in row.items() if k not in ("id", "memory")}, "data": row["memory"]},
        }
        for row in rows
    ]
    shapes = {
        "list.json": json.dumps(rows),
        "lines.jsonl": "\n".join(map(json.dumps, rows)),
        "points.json": json.dumps(points),
        "scroll.json": json.dumps({"points": points}, indent=1),
    }
    for name, source in shapes.items():
        path = tmp_path / name
        path.write_text(source, "utf-8")
        assert [(i.text, i.origin, i.at, i.scope) for i in reading(path).items] == want, name


def test_a_row_whose_scope_is_not_well_formed_is_junk_and_not_put_elsewhere(reading, tmp_path):
    rows = [{"id": "1", "memory": "Kept", "user_id": "ana"}, {"id": "2", "memory": "Secret", "user_id": "a\nb"}]
    path = tmp_path / "mem0.json"
    path.write_text(json.dumps(rows), "utf-8")
    got = reading(path)
    assert got.texts == ["Kept"]
    assert "a scope that is not well formed" in got.reasons[0]


def test_mcp_observations_and_relations_are_facts_linked_to_their_entities(samples, reading):
    got = reading(samples / "memory.jsonl")
    assert got.texts == [
        "John_Smith is of type person",
        "John_Smith: Speaks fluent Spanish",
        "John_Smith graduated in 2019",
        "Anthropic is of type organization",
        "John_Smith works at Anthropic",
        "John_Smith knows Nobody",
    ]
    assert {item.kind for item in got.items} == {"fact"}
    person, firm = "mcp-memory:entity:John_Smith", "mcp-memory:entity:Anthropic"
    assert got.item("Spanish").links == (("about", person),)
    assert got.item("Spanish").attrs["entity"] == "John_Smith"
    assert got.item("works at").links == (("about", person), ("about", firm))
    assert got.item("knows").links == (("about", person),)  # no link to an entity that is not there
    assert len({item.origin for item in got.items}) == 6
    assert got.reasons == ["an empty observation", "unreadable: no entity and no relation"]


def test_mcp_read_graph_result_gives_the_same_facts(samples, reading, tmp_path):
    rows = [json.loads(line) for line in (samples / "memory.jsonl").read_text("utf-8").splitlines()][:4]
    graph = {
        "entities": [{k: v for k, v in row.items() if k != "type"} for row in rows[:2]],
        "relations": [{k: v for k, v in row.items() if k != "type"} for row in rows[2:]],
    }
    path = tmp_path / "graph.json"
    path.write_text(json.dumps(graph, indent=2), "utf-8")
    assert reading(path).items == reading(samples / "memory.jsonl").items
