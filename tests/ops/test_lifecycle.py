"""Statuses change by legal moves alone, each is journalled, and what is archived is hidden, kept and restorable."""

from __future__ import annotations

from datetime import timedelta

import pytest

from slowwave.errors import ConflictError, InputError
from slowwave.ops.lifecycle import MOVES, move, moved, status_of
from slowwave.records import Engram, Scope
from slowwave.store.base import Operation
from slowwave.store.ids import new_id

ANA = {"user_id": "ana"}
STATUSES = ("activated", "resolving", "archived")


@pytest.fixture
def fact(memory):
    memory.add("Ana's home is Rome", kind="fact", at="2024-01-05", attrs={"subject": "Ana"}, **ANA)
    return memory.list(**ANA)[0]


def brought_to(engram: Engram, status: str, now) -> Engram:
    return engram if status == "activated" else moved(engram, move(engram, status, now, "a test"))


def apply(memory, *changes):
    operation = Operation(new_id(), "sleep", Scope(**ANA), memory.clock())
    applied = memory.store.apply(operation, list(changes), {})
    assert not applied.refused
    return applied.op


@pytest.mark.parametrize("start", STATUSES)
@pytest.mark.parametrize("end", STATUSES)
def test_only_legal_moves_are_made(fact, clock, start, end):
    engram = brought_to(fact, start, clock.now)
    assert status_of(engram) == start
    if (start, end) in MOVES:
        assert status_of(moved(engram, move(engram, end, clock.now, "a test"))) == end
    else:
        with pytest.raises(ConflictError, match=f"is {start} and cannot become {end}"):
            move(engram, end, clock.now, "a test")


def test_there_is_no_move_that_deletes():
    assert {end for _, end in MOVES} == set(STATUSES)
    assert {start for start, _ in MOVES} == set(STATUSES)


def test_what_is_archived_is_never_found_and_comes_back_when_it_is_restored(memory, fact):
    apply(memory, move(fact, "archived", memory.clock(), "crowded out"))
    assert len(memory.search("Where is Ana's home?", threshold=0, **ANA)) == 0
    kept = memory.get(fact.id, **ANA)
    assert (kept.text, status_of(kept), kept.attrs["subject"]) == (fact.text, "archived", "Ana")
    apply(memory, move(kept, "activated", memory.clock(), "asked for"))
    assert [hit.id for hit in memory.search("Where is Ana's home?", threshold=0, **ANA)] == [fact.id]
    assert [entry.verb for entry in memory.history(fact.id, **ANA)] == ["add", "retire", "restore"]


def test_restoring_takes_away_the_end_that_archiving_set_and_no_other(memory, fact):
    end = fact.at + timedelta(days=30)
    apply(memory, move(fact, "archived", memory.clock(), "replaced", until=end))
    kept = memory.get(fact.id, **ANA)
    assert kept.until == end
    back = moved(kept, move(kept, "activated", memory.clock(), "it holds after all"))
    assert back.until is None
    assert back.closed is None
    ended_before = fact.with_(until=end, closed=memory.clock())
    archived = moved(ended_before, move(ended_before, "archived", memory.clock(), "crowded out"))
    assert moved(archived, move(archived, "activated", memory.clock(), "back")).until == end


def test_undo_of_a_move_brings_back_the_record_as_it_was(memory, fact):
    before = memory.get(fact.id, **ANA)
    op = apply(memory, move(fact, "archived", memory.clock(), "replaced", until=memory.clock()))
    memory.undo(op, **ANA)
    assert memory.get(fact.id, **ANA) == before


def test_what_was_said_is_never_marked(memory, clock):
    memory.add("I live in Rome", **ANA)
    said = memory.list(**ANA)[0]
    with pytest.raises(InputError, match="is an episode"):
        move(said, "resolving", clock.now, "disputed")
    assert "attrs" not in move(said, "archived", clock.now, "crowded out").fields


def test_what_left_the_view_otherwise_has_no_status(memory, fact, clock):
    memory.forget(fact.id, **ANA)
    gone = memory.get(fact.id, **ANA)
    assert status_of(gone) is None
    with pytest.raises(ConflictError, match=r"left the view \(forgotten\)"):
        move(gone, "archived", clock.now, "a test")
