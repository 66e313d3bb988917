"""From units back to turns: each turn once, at its best score, and nothing that is not in view."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from slowwave import Memory
from slowwave.ops.made import Made
from slowwave.ops.unfold import said_by, unfold
from slowwave.records import Engram, Scope
from slowwave.store.base import Operation, Want
from slowwave.store.ids import new_id

ANA: Any = {"user_id": "ana"}
SCOPE = Scope(**ANA)


@pytest.fixture
def said(memory: Memory) -> list[str]:
    return memory.add(["one", "two", "three"], **ANA).ids


def derive(memory: Memory, text: str, *sources: str, kind: str = "note") -> str:
    """Put a derived record into the store, as a night would."""
    known = memory.get(sources[0], **ANA)
    unit = Engram(new_id(), kind, text, SCOPE, known.at, known.recorded, sources=sources, origin="test")
    made = Made()
    made.add(unit, "note", "")
    index = memory.system.index([unit], [made.contents[unit.id]], memory.embedder)
    memory.store.apply(Operation(new_id(), "sleep", SCOPE, known.recorded), made.changes, index)
    return unit.id


def rows(memory: Memory, *ids: str) -> list[int]:
    numbers = memory.store.view(SCOPE).numbers(ids)
    return [numbers[id_] for id_ in ids]


def test_a_turn_is_found_once_at_the_best_score_that_points_to_it(memory: Memory, said: list[str]) -> None:
    low, high = derive(memory, "low", said[0], said[1]), derive(memory, "high", said[1])
    one, two, three, n_low, n_high = rows(memory, *said, low, high)
    found = unfold(memory.store.view(SCOPE), {n_low: 0.4, n_high: 0.9, one: 0.3, three: 0.1}, Want())
    assert {n: (p.score, p.via) for n, p in found.items()} == {
        one: (0.4, n_low),
        two: (0.9, n_high),
        three: (0.1, three),
    }


def test_of_equal_scores_the_turn_s_own_counts(memory: Memory, said: list[str]) -> None:
    unit = derive(memory, "unit", said[0])
    one, n = rows(memory, said[0], unit)
    assert unfold(memory.store.view(SCOPE), {n: 0.5, one: 0.5}, Want())[one].via == one


def test_what_was_derived_from_what_was_derived_leads_to_the_turns(memory: Memory, said: list[str]) -> None:
    fact = derive(memory, "fact", said[0], kind="fact")
    summary = derive(memory, "summary", fact, said[2], kind="summary")
    one, three, n = rows(memory, said[0], said[2], summary)
    assert said_by(memory.store.view(SCOPE), [n], Want()) == {n: (one, three)}


def test_what_is_not_in_view_is_not_pointed_to(memory: Memory, said: list[str]) -> None:
    both = derive(memory, "both", said[0], said[1])
    memory.forget(said[0], **ANA)
    two, n = rows(memory, said[1], both)
    assert said_by(memory.store.view(SCOPE), [n], Want()) == {n: (two,)}
    assert said_by(memory.store.view(SCOPE), [n], Want(kinds=("fact",))) == {n: ()}


def test_a_unit_without_a_source_in_view_is_shown_only_if_it_may_be(memory: Memory, said: list[str]) -> None:
    new = memory.update(said[0], "one, rather", **ANA).ids[0]  # the correction of a turn rests on the retired turn
    (n,) = rows(memory, new)
    view = memory.store.view(SCOPE)
    assert said_by(view, [n], Want()) == {n: (n,)}
    assert said_by(view, [n], Want(), shown_alone=lambda engram: False) == {n: ()}


def test_a_system_may_say_whom_a_unit_stands_for(memory: Memory, said: list[str]) -> None:
    unit = derive(memory, "unit", said[0], said[1])
    one, n = rows(memory, said[0], unit)
    found = said_by(memory.store.view(SCOPE), [n], Want(), lambda engram: engram.sources[:1])
    assert found == {n: (one,)}
    assert said_by(memory.store.view(SCOPE), [n], Want(), lambda engram: ()) == {n: (n,)}


def test_a_filter_holds_for_what_is_pointed_to(memory: Memory, said: list[str]) -> None:
    unit = derive(memory, "unit", *said)
    (n,) = rows(memory, unit)
    at = memory.get(said[0], **ANA).at
    nothing = replace(Want(), at=at.replace(year=at.year - 1))
    assert said_by(memory.store.view(SCOPE), [n], nothing) == {n: ()}
