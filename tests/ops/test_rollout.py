"""Batches are tried slice by slice, in order; what fails is taken out again, what passed is not asked about twice."""

from __future__ import annotations

from datetime import timedelta

import pytest

from slowwave.ops.governance import batches_of, parted
from slowwave.ops.ledger import state_hash, state_of
from slowwave.ops.regression import Check
from slowwave.ops.rollout import Rollout
from slowwave.ops.screen import without
from slowwave.records import Item, Scope
from slowwave.store.base import Want
from slowwave.text import resolve_system
from slowwave.text.base import Cue, Night, no_progress

ANA = {"user_id": "ana"}
CHECKS = [
    Check("Where does Ana live?", ("Rome",), (), "Ana", "home"),
    Check("Where does Ana work?", ("Acme",), (), "Ana", "employer"),
]


@pytest.fixture
def trial(memory):
    """A function: sessions of lines -> (rollout over what was there before, batches, index)."""
    memory.add(
        [Item("I live in Rome.", speaker="Ana", session="old"), Item("I work at Acme.", speaker="Ana", session="old")],
        **ANA,
    )
    memory.sleep(**ANA)
    asked = []

    def make(stages=(0.5, 1.0), **sessions):
        memory.clock.pass_(days=3)
        for name, lines in sessions.items():
            memory.add([Item(line, speaker="Ana", session=name) for line in lines], **ANA)
        view, now = memory.store.view(Scope(**ANA)), memory.clock() + timedelta(hours=1)
        news = [engram for engram in view.select(Want()) if engram.session in sessions]
        dream = resolve_system("default").sleep(Night(view, view.cursor("default"), now, memory.embedder, no_progress))

        def ask(seen, check, k):
            asked.append(check.name)
            return memory.system.search(seen, Cue(check.question, now, Want(), k, 0.0), memory.embedder)

        before = without(view, [engram.id for engram in news])
        rollout = Rollout(before, view, memory.system, memory.embedder, now, ask, 10, stages, 1.0, 0.2)
        return rollout, parted(dream.changes, dict(batches_of(news))), dream.index, asked

    return make


def test_good_batches_pass_all_stages(trial):
    rollout, parts, index, _ = trial(one=["The lake froze."], two=["I read a book on bees."])
    assert rollout.first_bad(CHECKS, parts, index) is None
    assert [(d.batch, d.verdict, d.stage) for d in rollout.passed.values()] == [
        ("one", "admitted", 1.0),
        ("two", "admitted", 1.0),
    ]


def test_the_first_bad_batch_is_named_and_those_before_it_have_passed(trial):
    rollout, parts, index, _ = trial(
        one=["The lake froze."], two=["I now live in Lima.", "I now work at Hooli."], three=["It rained."]
    )
    bad = rollout.first_bad(CHECKS, parts, index)
    assert (bad.batch, bad.verdict, bad.stage) == ("two", "turned down", 0.5)
    assert list(rollout.passed) == ["one"]


def test_what_has_passed_is_not_asked_about_again(trial):
    rollout, parts, index, asked = trial(one=["The lake froze."])
    assert rollout.first_bad(CHECKS, parts, index) is None
    asked.clear()
    assert rollout.first_bad(CHECKS, parts, index) is None
    slices = [check.name for check in CHECKS]
    assert set(asked) <= set(slices)  # to cut the slices, and no more
    assert len(asked) == 1 + 2


def test_trials_leave_the_memory_as_it_is(memory, trial):
    rollout, parts, index, _ = trial(two=["I now live in Lima."])
    view = memory.store.view(Scope(**ANA))
    before = state_hash(state_of(view))
    assert rollout.first_bad(CHECKS, parts, index) is not None
    assert state_hash(state_of(view)) == before


def test_a_slice_holds_what_bears_on_its_checks_and_what_the_batches_touch(trial):
    rollout, parts, _, _ = trial(one=["I now live in Lima."])
    with rollout.slice(CHECKS[:1], parts) as copy:
        held = [engram.text for engram in copy.view.select(Want())]
        assert "I live in Rome." in held
        assert "I now live in Lima." not in held
        assert copy.add(parts[-1].records) is not None
        assert "I now live in Lima." in [engram.text for engram in copy.view.select(Want())]
