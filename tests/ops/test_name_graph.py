"""Names become records tied to what mentions them, once and scope by scope; a walk leads from them to evidence."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from slowwave.ops.made import Made
from slowwave.ops.name_graph import Nodes, mentioning, origin_of, walk
from slowwave.records import Scope
from slowwave.store.base import Index, Operation, Want
from slowwave.store.ids import new_id

NOW = datetime(2024, 1, 1, tzinfo=UTC)
STORY = [
    "The red boat belongs to Mara.", "A brother of Mara is Tom.", "At Kestrel works Tom.", "It rained all afternoon.",
]  # fmt: skip
USER = Scope(user_id="u")


@pytest.fixture
def told(memory):
    memory.add(STORY, user_id="u")
    return memory


def night(memory, off=(), scope=USER, synonym=2.0, skip=0):
    """Read what is there, but the first few, and write the nodes down."""
    view, made = memory.store.view(scope), Made()
    nodes = Nodes(view, "test", set(off), None, NOW)
    nodes.read(view.select(Want(kinds=("episode",)))[skip:], made)
    nodes.tie(synonym, memory.embedder, made)
    vectors = memory.embedder.embed([e.text for e in made.engrams])
    index = {e.id: Index(made.contents[e.id], e.text, vectors[n]) for n, e in enumerate(made.engrams)}
    memory.store.apply(Operation(new_id(), "sleep", scope, NOW), made.changes, index)
    return made


def texts(memory, ids):
    return {memory.get(id_, user_id="u").text for id_ in ids}


def test_a_name_leads_to_all_that_mentions_it(told):
    night(told)
    view = told.store.view(USER)
    assert texts(told, mentioning(view, "Mara")) == {STORY[0], STORY[1]}
    assert texts(told, mentioning(view, " tom ")) == {STORY[1], STORY[2]}
    assert mentioning(view, "Nobody") == []
    node = view.find_origin([origin_of("Mara")])[origin_of("Mara")][0]
    assert set(node.sources) == {e.id for e in view.select(Want(kinds=("episode",))) if "Mara" in e.text}


def test_a_name_that_comes_again_is_tied_to_the_node_there_is(told):
    night(told)
    told.add("Every Sunday Leo visits Mara.", user_id="u")
    made = night(told, skip=4)
    assert [e.text for e in made.engrams if e.kind == "note"] == ["Leo"]
    view = told.store.view(USER)
    assert len(mentioning(view, "Mara")) == 3
    assert len(view.find_origin([origin_of("Mara")])[origin_of("Mara")]) == 1


def test_names_that_are_left_out_make_no_node(told):
    made = night(told, off=["mara"])
    assert "Mara" not in {e.text for e in made.engrams}


def test_each_scope_has_its_own_nodes(told):
    told.add("In another run Mara sleeps.", user_id="u", run_id="r")
    made = night(told)
    nodes = [e for e in made.engrams if e.text == "Mara"]
    assert {str(e.scope) for e in nodes} == {"user_id=u", "user_id=u run_id=r"}


def test_spellings_that_are_alike_are_tied_and_lead_to_each_others_records(told):
    told.add("Then came Maras, whom they call so too.", user_id="u")
    night(told, synonym=0.0)
    assert "Then came Maras, whom they call so too." in texts(told, mentioning(told.store.view(USER), "Mara"))


def test_a_walk_from_a_name_reaches_what_is_tied_to_it_and_beyond(told):
    night(told)
    view = told.store.view(USER)
    ids = {e.text: e.id for e in view.select(Want(kinds=("episode",)))}
    probe = "What belongs to Mara?"
    vector = told.embedder.embed([probe])[0]
    ranks = walk(view, probe, vector, dict.fromkeys(ids.values(), 0.1), facts=1)
    assert ranks[ids[STORY[0]]] > ranks[ids[STORY[2]]] > ranks.get(ids[STORY[3]], 0.0)


def test_a_walk_from_nowhere_leads_nowhere(told):
    view = told.store.view(USER)
    vector = told.embedder.embed(["Mara"])[0]
    assert walk(view, "Who is Mara?", vector, {"x": 1.0}) == {}
