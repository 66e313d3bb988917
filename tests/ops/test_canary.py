"""A slice is copied with its sources and ties, changes are tried on it as on the store and taken out without trace."""

from __future__ import annotations

import pytest

from slowwave.ops.canary import Canary, around
from slowwave.ops.ledger import state_hash, state_of
from slowwave.records import Change, Link, Scope
from slowwave.store.base import Cursor, Want
from slowwave.text import resolve_system
from slowwave.text.base import Cue, Night, no_progress

ANA = {"user_id": "ana"}
SAID = (
    "I live in Rome.",
    "I moved to Oslo.",
    "My sister Clara plays the cello.",
    "Clara gave a concert.",
    "The lake froze.",
)


@pytest.fixture
def lived(memory):
    for line in SAID:
        memory.clock.pass_(days=3)
        memory.add(line, speaker="Ana", session=line, **ANA)
    memory.sleep(**ANA)
    return memory


def canary(memory, ids):
    return Canary(memory.store.view(Scope(**ANA)), ids, memory.system, memory.embedder, memory.clock())


def all_ids(memory):
    return [e.id for e in memory.list(limit=None, retired=True, **ANA)]


def test_a_copy_of_everything_is_the_same_state_and_answers_the_same(lived):
    view = lived.store.view(Scope(**ANA))
    with canary(lived, all_ids(lived)) as copy:
        assert copy.hash() == state_hash(state_of(view))
        assert len(copy) == len(all_ids(lived))
        cue = Cue("Where does Ana live?", lived.clock.now, threshold=0.0)
        own, copied = (lived.system.search(v, cue, lived.embedder) for v in (view, copy.view))
        assert [(h.id, round(h.score, 3)) for h in own] == [(h.id, round(h.score, 3)) for h in copied]


def test_a_slice_brings_the_sources_of_what_is_in_it_and_ties_within_it(lived):
    fact = lived.list(kinds=["fact"], **ANA)[0]
    with canary(lived, [fact.id]) as copy:
        held = copy.view.get(all_ids(lived))
        assert set(held) == {fact.id, *fact.sources}
        assert held[fact.id] == fact
        assert all({tie.source, tie.target} <= set(held) for tie in copy.view.links(list(held)))


def test_a_night_is_tried_and_taken_back_to_the_same_hash(lived):
    view = lived.store.view(Scope(**ANA))
    before_new = all_ids(lived)
    state = state_hash(state_of(view))
    lived.add("I moved to Lima.", speaker="Ana", session="new", **ANA)
    new = [id_ for id_ in all_ids(lived) if id_ not in before_new]
    system = resolve_system("default")
    dream = system.sleep(Night(view, view.cursor("default"), lived.clock(), lived.embedder, no_progress))
    assert dream.changes
    with canary(lived, before_new) as copy:
        assert copy.hash() == state
        came = copy.add(new)
        with_news = copy.hash()
        done = copy.apply(dream.changes, dream.index)
        assert copy.hash() not in (state, with_news)
        assert any("Lima" in e.text and e.kind == "fact" for e in copy.view.select(Want()))
        copy.take_back(done)
        assert copy.hash() == with_news
        copy.take_back(came)
        assert copy.hash() == state
        again = copy.add(new)
        assert again is not None
        assert copy.hash() == with_news
    lived.sleep(**ANA)


def test_trying_changes_nothing_in_the_memory(lived):
    view = lived.store.view(Scope(**ANA))
    before = state_hash(state_of(view))
    with canary(lived, all_ids(lived)) as copy:
        first = all_ids(lived)[0]
        change = Change("forget", first, "a try", fields={"retired": lived.clock.now, "retired_why": "forgotten"})
        assert copy.apply([change], {}) is not None
        assert copy.apply([], {}) is None
        copy.take_back(None)
    assert state_hash(state_of(view)) == before
    assert view.cursor("default") != Cursor()


def test_around_reaches_ties_and_what_was_made(lived):
    view = lived.store.view(Scope(**ANA))
    fact = lived.list(kinds=["fact"], **ANA)[0]
    near = around(view, [fact.sources[0]])
    assert fact.id in near
    assert around(view, []) == set()
    other = next(id_ for id_ in all_ids(lived) if id_ not in near)
    lived.link(other, "causes", fact.id, **ANA)
    assert other in around(view, [fact.id])
    assert Link(other, "causes", fact.id) in view.links([other])
