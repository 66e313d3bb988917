"""The journal replays to what the store holds, at any date; equal states have equal hashes however they came about."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slowwave import Memory
from slowwave.ops.ledger import Ledger, State, state_hash, state_of, touched
from slowwave.records import Change, Link, Scope
from ticking import Clock

ANA = {"user_id": "ana"}
SAID = (
    "I live in Rome.", "I moved to Oslo.", "My favourite colour is green.", "I live in Oslo now.", "The lake froze.",
    "My favourite colour is now blue.", "I work at Acme.", "I now work at Globex.", "I live in Rome.",
)  # fmt: skip


@pytest.fixture
def view(memory):
    return memory.store.view(Scope(**ANA))


def live(memory, steps):
    """Takes steps, and notes (moment, state hash) after each."""
    view, marks = memory.store.view(Scope(**ANA)), []
    for place, step in enumerate(steps):
        memory.clock.pass_(hours=6)
        do(memory, step, SAID[place % len(SAID)])
        marks.append((memory.clock.now, state_hash(state_of(view))))
    return marks


def do(memory, step, text):
    records = memory.list(limit=None, **ANA)
    if step == "add":
        memory.add(text, speaker="Ana", **ANA)
    elif step == "sleep":
        memory.sleep(**ANA)
    elif step == "undo" and any(row["undone_by"] is None and row["verb"] != "undo" for row in memory.log(**ANA)):
        memory.undo(**ANA)
    elif records and step == "forget":
        memory.forget(records[0].id, **ANA)
    elif records and step == "update" and records[-1].until is None:
        memory.update(records[-1].id, attrs={"mood": text}, **ANA)
    elif len(records) > 1 and step == "link":
        memory.link(records[0].id, "causes", records[-1].id, **ANA)


STEPS = (
    "add",
    "add",
    "sleep",
    "add",
    "sleep",
    "undo",
    "sleep",
    "link",
    "update",
    "forget",
    "undo",
    "add",
    "add",
    "sleep",
)


@pytest.mark.parametrize("system", ["default", "memos"])
def test_the_state_at_every_date_is_replayed_as_it_was_then(open_memory, system):
    memory = open_memory(system=system)
    marks = live(memory, STEPS)
    ledger = Ledger.read(memory.store.view(Scope(**ANA)))
    assert [state_hash(ledger.at(moment)) for moment, _ in marks] == [then for _, then in marks]
    assert ledger.faults() == []
    assert len({then for _, then in marks}) > len(marks) // 2


@given(st.lists(st.sampled_from(["add", "sleep", "undo", "forget", "update", "link"]), max_size=10))
def test_whatever_is_done_replays(steps):
    with Memory(":memory:", embedder="fake", clock=Clock(), durable=False) as memory:
        marks = live(memory, ["add", *steps])
        ledger = Ledger.read(memory.store.view(Scope(**ANA)))
        assert [state_hash(ledger.at(moment)) for moment, _ in marks] == [then for _, then in marks]
        assert ledger.faults() == []


def test_an_undo_has_the_hash_of_before_and_its_undo_the_hash_of_after(memory, view):
    live(memory, ("add", "add", "add"))
    before = state_hash(state_of(view))
    night = memory.sleep(**ANA)
    after = state_hash(state_of(view))
    assert after != before
    memory.undo(night.op, **ANA)
    assert state_hash(state_of(view)) == before
    memory.undo(memory.log(**ANA)[0]["op"], **ANA)
    assert state_hash(state_of(view)) == after


def test_hashes_of_the_latest_operations_come_in_one_replay(memory, view):
    marks = live(memory, ("add", "add", "sleep", "add", "sleep"))
    ledger = Ledger.read(view)
    hashes = ledger.hashes(most=3)
    assert len(hashes) == 3
    assert list(hashes.values())[-1] == marks[-1][1] == state_hash(ledger.now)


def test_a_use_changes_no_hash(memory, view):
    live(memory, ("add", "add"))
    before = state_hash(state_of(view))
    memory.search("Where do I live?", threshold=0, **ANA)
    memory.clock.pass_(days=1)
    memory.add("One more thing.", **ANA)
    memory._uses.flush()  # writes the noted uses
    assert any(e.used for e in memory.list(**ANA))
    memory.undo(**ANA)
    assert state_hash(state_of(view)) == before


def test_anything_else_that_differs_changes_the_hash(memory, view):
    live(memory, ("add", "add", "sleep"))
    state = state_of(view)
    first = next(iter(state.records.values()))
    for other in (
        first.with_(text="other"), first.with_(until=first.at), first.with_(attrs={"a": 1}),
        first.with_(sources=("x",)),
        first.with_(retired=first.at, retired_why="merged"), first.with_(scope=Scope(user_id="ben")),
    ):  # fmt: skip
        assert state_hash(replace(state, records={**state.records, first.id: other})) != state_hash(state)
    ids = list(state.records)
    assert state_hash(replace(state, ties=state.ties ^ {(ids[0], "causes", ids[1])})) != state_hash(state)
    assert state_hash(State({}, frozenset())) != state_hash(state)


def test_a_change_that_bypassed_the_journal_is_a_fault(memory, view):
    live(memory, ("add", "add", "sleep"))
    ledger = Ledger.read(view)
    id_, engram = next(iter(ledger.now.records.items()))
    tampered = replace(ledger, now=State({**ledger.now.records, id_: engram.with_(until=engram.at)}, ledger.now.ties))
    assert len(tampered.faults()) == 2
    assert id_ in tampered.faults()[0]


def test_what_was_erased_is_in_no_replay(memory, view):
    marks = live(memory, ("add", "add", "sleep"))
    gone = memory.list(kinds=["episode"], **ANA)[0]
    memory.erase(gone.id, **ANA)
    ledger = Ledger.read(view)
    assert ledger.faults() == []
    assert all(gone.text not in line for moment, _ in marks for line in ledger.at(moment).lines())


def test_an_import_replays_with_its_history(memory, view, open_memory, tmp_path):
    marks = live(memory, ("add", "add", "sleep", "update"))
    memory.export(tmp_path / "all.jsonl", **ANA)
    other = open_memory(tmp_path / "other.db")
    other.import_(tmp_path / "all.jsonl", **ANA)
    ledger = Ledger.read(other.store.view(Scope(**ANA)))
    assert ledger.faults() == []
    assert [state_hash(ledger.at(moment)) for moment, _ in marks] == [then for _, then in marks]


def test_touched_names_everything_that_changes_are_about():
    change = Change(
        "link", "a", "", links=(Link("a", "about", "b"),), unlinks=(Link("c", "about", "d"),), sources=("e",)
    )
    assert touched([change]) == {"a", "b", "c", "d", "e"}
