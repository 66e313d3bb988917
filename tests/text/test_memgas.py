"""MemGAS: four nodes a session, links from the sixth on, a router and a walk; sessions that go on are remade."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from replying import Replying
from slowwave import Memory
from slowwave.models import FakeEmbedder
from slowwave.models.fakes import NAMES, TROUBLEMAKERS
from slowwave.models.llm import LLM
from slowwave.ops.granularity import GRANULARITIES, mean_vector
from slowwave.ops.mixture import stand_out
from slowwave.records import Engram
from slowwave.text.memgas import MemGAS
from slowwave.text.memgas_nodes import granularity_of

ANA: Any = {"user_id": "ana"}
Open = Callable[..., Memory]
SESSIONS = {
    "rowing": ["The rowing club meets at the lake.", "We rowed across the lake twice.", "The boat is old but fast."],
    "music": ["Clara plays the cello in church.", "The concert was sold out.", "She practised all winter."],
    "garden": ["The tomatoes are ripe.", "The hedge needs cutting.", "Snails ate the lettuce."],
    "travel": ["The train to Porto was late.", "We saw the river at night.", "The hotel had no lift."],
    "work": ["The new office is loud.", "My boss moved to Berlin.", "The printer broke again."],
    "food": ["I baked bread with rye.", "The soup was too salty.", "Green tea keeps me awake."],
    "race": ["The rowing race on the lake was won by our boat.", "The rowing club got a cup.", "We rowed for hours."],
}


@pytest.fixture
def open_(open_memory: Open) -> Open:
    def opened(**options: Any) -> Memory:
        wide = FakeEmbedder(2048)
        return open_memory(":memory:", embedder=wide, system=MemGAS(**options.pop("system", {})), **options)

    return opened


def lived(memory: Memory, *names: str, night: bool = True) -> Memory:
    for day, name in enumerate(names or SESSIONS, 1):
        memory.add(SESSIONS[name], session=name, speaker="Ana", at=f"2024-01-{day:02}", **ANA)
        if night:
            memory.sleep(**ANA)
    return memory


def nodes(memory: Memory, retired: bool = False) -> dict[tuple[str, str], Engram]:
    """(session, granularity) -> the node."""
    found = memory.list(limit=None, kinds=["note", "summary"], retired=retired, **ANA)
    return {(e.session or "", granularity_of(e)): e for e in found if granularity_of(e)}


def ties(memory: Memory, *ids: str) -> set[frozenset[str]]:
    view = memory.store.view(memory.get(ids[0], **ANA).scope)
    return {frozenset((link.source, link.target)) for link in view.links(list(ids), ("similar",))}


def test_every_session_gets_a_node_of_each_granularity(open_: Open) -> None:
    made = nodes(lived(open_(), "rowing", "music"))
    assert {(s, g) for s in ("rowing", "music") for g in GRANULARITIES} == set(made)
    said = "\n".join(f"Ana: {text}" for text in SESSIONS["rowing"])
    assert made["rowing", "session"].text == made["rowing", "turns"].text == said
    assert "rowing club" in made["rowing", "keywords"].text
    assert len(made["rowing", "summary"].sources) == 3


def test_a_rebuilt_index_is_the_index(open_: Open) -> None:
    """The mean of the turns follows from the node's own text, so nothing goes stale or changes its meaning."""
    memory = lived(open_(), "rowing")
    node = nodes(memory)["rowing", "turns"]
    view = memory.store.view(node.scope)
    n = view.numbers([node.id])[node.id]
    due = mean_vector([f"Ana: {text}" for text in SESSIONS["rowing"]], memory.embedder)
    assert view.vectors([n])[n] @ due > 0.999
    memory.rebuild()
    assert view.vectors([n])[n] @ due > 0.999


def test_links_begin_with_the_sixth_session_and_lead_to_those_that_stand_out(open_: Open) -> None:
    memory = open_()
    five = list(SESSIONS)[:5]
    lived(memory, *five)
    assert not ties(memory, *(node.id for node in nodes(memory).values()))
    lived(memory, "race")
    made = nodes(memory)
    race, rowing = made["race", "session"], made["rowing", "session"]
    assert frozenset((race.id, rowing.id)) in ties(memory, race.id)
    others = [node for (name, _), node in made.items() if name != "race"]
    rows = memory.system.embed([race, *others], memory.embedder)
    cosines = rows[1:] @ rows[0]
    nearest = np.argsort(-cosines)[:30]
    chosen = {others[place].id for place, akin in zip(nearest, stand_out(cosines[nearest]), strict=True) if akin}
    assert {id_ for tie in ties(memory, race.id) for id_ in tie} - {race.id} == chosen
    assert 0 < len(chosen) < len(others)


def test_the_sessions_of_one_night_are_linked_as_those_of_several(open_: Open) -> None:
    def linked(memory: Memory) -> set[frozenset[tuple[str, str]]]:
        name = {node.id: key for key, node in nodes(memory).items()}
        return {frozenset(name[id_] for id_ in tie) for tie in ties(memory, *name)}

    alone = {"granularities": ("session", "turns")}  # keywords depend on what the scope holds by then
    each = linked(lived(open_(system=alone)))
    once = lived(open_(system=alone), night=False)
    once.sleep(**ANA)
    assert linked(once) == each
    assert each


def test_a_session_that_goes_on_gets_new_nodes_that_inherit_the_links(open_: Open) -> None:
    memory = lived(open_())
    before = nodes(memory)
    memory.add("The lake froze before the rowing ended.", session="race", speaker="Ana", at="2024-01-07", **ANA)
    memory.sleep(**ANA)
    after = nodes(memory)
    assert set(after) == set(before)
    new, old = after["race", "session"], memory.get(before["race", "session"].id, **ANA)
    assert new.text.endswith("before the rowing ended.")
    assert len(new.sources) == 4
    assert (old.retired_why, new.id != old.id) == ("rewritten", True)
    assert after["music", "session"].id == before["music", "session"].id
    assert frozenset((new.id, after["rowing", "session"].id)) in ties(memory, new.id)
    view = memory.store.view(new.scope)
    assert [(k.source, k.target) for k in view.links([new.id], ("supersedes",))] == [(new.id, old.id)]


def test_a_long_session_does_not_go_on_for_ever(open_: Open) -> None:
    memory = open_()
    for night in range(3):
        memory.add([f"turn {night} {n} of the talk" for n in range(40)], session="long", speaker="Ana", **ANA)
        memory.sleep(**ANA)
    units = [e for e in memory.list(limit=None, **ANA) if granularity_of(e) == "session"]
    assert sorted(len(unit.sources) for unit in units) == [40, 40, 40]


def test_the_best_session_is_found_by_every_form_of_the_router(open_: Open) -> None:
    memory = lived(open_())
    vector = memory.embedder.embed(["Who won the rowing race on the lake?"])[0]
    view = memory.store.view(memory.list(**ANA)[0].scope)
    for options in ({}, {"router": "raw"}, {"router": "uniform"}, {"walk": False}, {"granularities": ("turns",)}):
        ranked = MemGAS(**options).sessions(view, vector)
        assert ranked[0][0].session == "race", options
        assert [score for _, score in ranked] == sorted((score for _, score in ranked), reverse=True)


def test_the_walk_brings_a_linked_session_that_the_seeds_do_not_hold(open_: Open) -> None:
    memory = lived(open_())
    vector = memory.embedder.embed(["Who won the rowing race?"])[0]
    view = memory.store.view(memory.list(**ANA)[0].scope)
    few = {"num_seednodes": 1, "damping": 0.5}
    walked = {node.session: score for node, score in MemGAS(**few).sessions(view, vector)}
    alone = {node.session: score for node, score in MemGAS(num_seednodes=1, damping=0.0).sessions(view, vector)}
    assert walked["rowing"] > 0
    assert alone["rowing"] == 0


def test_without_blend_the_best_sessions_turns_come_first(open_: Open) -> None:
    memory = lived(open_())
    memory.system = MemGAS(blend=None, top_sessions=1)
    hits = memory.search("Who won the rowing race on the lake?", top_k=3, threshold=0, **ANA)
    assert {hit.engram.session for hit in hits} == {"race"}
    memory.system = MemGAS(blend=0.1)
    found = memory.search("Who won the rowing race on the lake?", top_k=50, threshold=0, **ANA)
    assert len(found) == len({hit.id for hit in found}) == 21, "every turn once, no node"
    assert {hit.engram.kind for hit in found} == {"episode"}


def test_what_no_night_has_seen_does_not_wait_behind_what_one_has(open_: Open) -> None:
    for blend in (None, 0.1):
        memory = lived(open_(system={"blend": blend}))
        memory.add("The rowing cup stands on my desk.", session="new", speaker="Ana", **ANA)
        hits = memory.search("Where on my desk stands the cup?", threshold=0, **ANA)
        assert hits[0].text == "The rowing cup stands on my desk."


def test_a_forgotten_turn_is_not_shown_and_leaves_the_next_version(open_: Open) -> None:
    memory = lived(open_(), "music")
    cello = memory.list(**ANA)[0]
    memory.forget(cello.id, **ANA)
    assert all("cello" not in hit.text for hit in memory.search("Who plays the cello?", threshold=0, **ANA))
    memory.add("The choir sang.", session="music", speaker="Ana", at="2024-01-01", **ANA)
    memory.sleep(**ANA)
    assert all("cello" not in node.text for node in nodes(memory).values())


def test_undo_brings_the_old_nodes_back(open_: Open) -> None:
    memory = lived(open_())
    before = {key: node.id for key, node in nodes(memory).items()}
    links = ties(memory, *before.values())
    memory.add("The lake froze.", session="race", speaker="Ana", at="2024-01-07", **ANA)
    memory.undo(memory.sleep(**ANA).op, **ANA)
    assert {key: node.id for key, node in nodes(memory).items()} == before
    assert ties(memory, *before.values()) == links


def test_looking_again_makes_no_second_nodes(open_: Open) -> None:
    memory = lived(open_())
    before = {node.id for node in nodes(memory, retired=True).values()}
    memory.sleep(since="2000-01-01", **ANA)
    assert {node.id for node in nodes(memory, retired=True).values()} == before


def answering(operation: str, inputs: dict[str, Any]) -> Any:
    if operation == "digest":
        return {"summary": " ".join(turn["said"] for turn in inputs["turns"][:1]), "keywords": ["lake"]}
    if operation == "filter":
        return {"ids": [turn["id"] for turn in inputs["turns"] if "boat" in turn["said"]]}
    return None


def test_a_model_digests_by_night_and_filters_where_it_may(open_: Open) -> None:
    model = Replying(answering)
    memory = lived(open_(llm=model.llm()), "rowing")
    assert [operation for operation, _ in model.asked] == ["digest"]
    assert nodes(memory)["rowing", "summary"].text == SESSIONS["rowing"][0]
    assert nodes(memory)["rowing", "keywords"].text == "lake"
    asked = "What did we do at the rowing club?"
    assert memory.search(asked, threshold=0, **ANA)[0].text == SESSIONS["rowing"][0]
    hits = memory.search(asked, threshold=0, ask=True, **ANA)
    assert hits[0].text == SESSIONS["rowing"][2]
    assert len(hits) == 3, "what the filter leaves out comes behind"


def test_where_the_model_is_exhausted_the_next_night_goes_on(open_: Open) -> None:
    memory = open_(llm=Replying(answering).llm(max_calls=2))
    lived(memory, "rowing", "music", "garden", night=False)
    memory.sleep(**ANA)
    assert len({session for session, _ in nodes(memory)}) == 2
    memory.llm = None
    memory.sleep(**ANA)
    assert len(nodes(memory)) == 12
    assert len(nodes(memory, retired=True)) == 12


@pytest.mark.parametrize("trouble", TROUBLEMAKERS)
def test_no_model_s_trouble_loses_or_invents_anything(open_: Open, trouble: str) -> None:
    memory = lived(open_(llm=LLM(TROUBLEMAKERS[trouble](), retries=0, wait=lambda seconds: None)), "rowing", "music")
    assert memory.search("Who plays the cello?", threshold=0, **ANA)[0].text == SESSIONS["music"][0]
    assert memory.search("Who plays the cello?", threshold=0, ask=True, **ANA)
    for node in nodes(memory).values():
        assert node.sources
        assert not any(name in node.text for name in NAMES)
