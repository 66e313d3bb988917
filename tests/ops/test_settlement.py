"""A new node and those it meets: one value of a slot holds, a late one does not win, disputes keep both."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from slowwave.ops.extraction import Draft
from slowwave.ops.lifecycle import status_of
from slowwave.ops.made import Made
from slowwave.ops.nodes import as_node
from slowwave.ops.settlement import Table, end_episodes, nodes_of, outcome, settle
from slowwave.records import Engram, Scope

ANA = {"user_id": "ana"}
NOW = datetime(2024, 6, 1, tzinfo=UTC)


@pytest.fixture
def table(memory):
    return Table(memory.store.view(Scope(**ANA)), Made(), NOW, "memos")


def said(table, text, day=0):
    at = NOW + timedelta(days=day)
    turn = Engram(f"turn {text} {day}", "episode", text, Scope(**ANA), at, at, attrs={"speaker": "Ana"})
    table.know([turn])
    return turn


def node(table, attribute, value, day=0, text="", single=True):
    turn = said(table, text or f"My {attribute} is {value}.", day)
    return as_node(
        Draft(f"Ana's {attribute} is {value}", (turn.id,), turn.at, "Ana", attribute, value, single),
        [turn],
        NOW,
        30.0,
        "memos",
    )


def meet(table, new, *old):
    kept = settle(new, [(table.held[one.id], 0.9) for one in old], table)
    return kept if kept is None else table.held[kept.id]


def test_a_node_that_meets_nobody_is_written_down_and_tied_to_its_turn(table):
    made = meet(table, node(table, "home", "Rome"))
    assert [change.verb for change in table.made.changes] == ["add"]
    (turn,) = table.get(made.sources)
    assert [e.id for e in nodes_of(turn, table)] == [made.id]


def test_the_same_value_supports_and_is_not_written_twice(table):
    first = meet(table, node(table, "home", "Rome"))
    assert meet(table, node(table, "home", "Rome", 3), first) is None
    assert [change.verb for change in table.made.changes] == ["add", "support"]


def test_a_newer_value_archives_the_older_and_ends_every_turn_that_said_it_and_no_more(table):
    first = meet(table, node(table, "home", "Rome"))
    again = node(table, "home", "Rome", 2, "As I said, my home is in Rome.")
    meet(table, again, first)
    more = node(table, "home", "Rome", 3, "My home is in Rome, where Paolo runs a bakery.")
    meet(table, more, first)
    new = meet(table, node(table, "home", "Oslo", 9), first)
    assert status_of(table.held[first.id]) == "archived"
    assert table.held[first.id].until == new.at
    ended = {e.text: e.until for e in table.held.values() if e.kind == "episode"}
    assert ended[table.held[first.sources[0]].text] == new.at
    assert ended["As I said, my home is in Rome."] == new.at
    assert ended["My home is in Rome, where Paolo runs a bakery."] is None


def test_a_turn_with_another_node_that_holds_does_not_end(table):
    turn = said(table, "My home is in Rome and my employer is Acme.")
    home, work = (
        as_node(Draft(f"Ana's {a} is {v}", (turn.id,), turn.at, "Ana", a, v, True), [turn], NOW, 30.0, "memos")
        for a, v in (("home", "Rome"), ("employer", "Acme"))
    )
    home, work = meet(table, home), meet(table, work)
    meet(table, node(table, "home", "Oslo", 5), home)
    assert table.held[turn.id].until is None
    meet(table, node(table, "employer", "Hooli", 6), work)
    assert table.held[turn.id].until == NOW + timedelta(days=6)


def test_a_late_arrival_is_written_down_as_over(table):
    new = meet(table, node(table, "home", "Oslo", 9))
    late = meet(table, node(table, "home", "Rome"), new)
    assert late.until == new.at
    assert table.is_live(table.held[new.id])
    assert status_of(table.held[new.id]) == "activated"


def test_what_cannot_change_is_disputed_and_a_third_voice_decides(table):
    one = meet(table, node(table, "birth", "Rome"))
    two = meet(table, node(table, "birth", "Oslo", 2), one)
    assert [status_of(table.held[e.id]) for e in (one, two)] == ["resolving", "resolving"]
    assert outcome(one, two, 0.9, table).outcome == "contradicts"


def test_an_attribute_of_several_values_keeps_them_all(table):
    one = meet(table, node(table, "pet", "Miso the cat", single=False))
    two = meet(table, node(table, "pet", "Rex the dog", 2, single=False), one)
    assert table.is_live(table.held[one.id])
    assert table.is_live(two)


def test_ending_nothing_changes_nothing(table):
    made = meet(table, node(table, "home", "Rome"))
    before = len(table.made.changes)
    end_episodes(made, "nobody", NOW, table)
    assert len(table.made.changes) == before
