"""A view without some records gives none of them, whatever is read, and is as long and as good as the rest allows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from slowwave.ops.screen import without
from slowwave.records import Item, Scope
from slowwave.store.base import Cursor, View, Want

ANA = {"user_id": "ana"}
START = datetime(2024, 1, 1, tzinfo=UTC)
TEXTS = [f"The lake is number {n} of the lakes." for n in range(12)]


@pytest.fixture
def view(memory):
    items = [Item(text, at=START + timedelta(days=n), session="s", speaker=f"v{n}") for n, text in enumerate(TEXTS)]
    memory.add(items, **ANA)
    return memory.store.view(Scope(**ANA))


@pytest.fixture
def ids(view):
    return [engram.id for engram in view.select(Want())]


def test_nothing_to_leave_out_is_the_view_itself(view):
    assert without(view, []) is view
    assert without(view, ["nobody"]) is view


def test_no_reading_gives_a_record_that_is_held_back(memory, view, ids):
    memory.link(ids[0], "similar", ids[5], **ANA)
    memory.link(ids[0], "similar", ids[1], **ANA)
    hidden = {ids[n] for n in (2, 3, 5, 11)}
    seen = without(view, hidden)
    numbers = view.numbers(ids)
    out = {numbers[id_] for id_ in hidden}
    vector = memory.embedder.embed(["lake number"])[0]
    assert set(seen.get(ids)) == set(ids) - hidden
    assert set(seen.numbers(ids)) == set(ids) - hidden
    assert [e.id for e in seen.select(Want())] == [id_ for id_ in ids if id_ not in hidden]
    assert seen.count(Want()) == 8
    for found in (
        seen.engrams(list(numbers.values())), seen.vectors(list(numbers.values())), seen.times(list(numbers.values())),
        seen.rows(list(numbers.values()), Want()), seen.cosines(vector, list(numbers.values())),
        seen.dense(vector, 12, Want()).ids.tolist(), [n for n, _ in seen.lexical(["lake"], 12, Want())],
        seen.during(0, 2**52, 12, Want()), [n for n, _ in seen.after(0, 12, Want())],
        seen.neighbours(list(view.rows(list(numbers.values()), Want()).values()), 1).values(),
        [m for pairs in seen.nearest_older(list(numbers.values()), 5).values() for m, _ in pairs],
    ):  # fmt: skip
        assert out.isdisjoint(found)
    ties = seen.links(ids)
    assert [(tie.source, tie.target) for tie in ties] == [(ids[0], ids[1])]


def test_what_is_asked_for_is_filled_with_the_next_best(memory, view, ids):
    vector = memory.embedder.embed(["lake number"])[0]
    best = view.dense(vector, 8, Want()).ids.tolist()
    named = {n: id_ for id_, n in view.numbers(ids).items()}
    seen = without(view, [named[n] for n in best[:4]])
    assert seen.dense(vector, 4, Want()).ids.tolist() == best[4:]
    assert len(seen.lexical(["lake"], 4, Want())) == 4
    assert [e.id for e in without(view, ids[:3]).select(Want(), 2, 1)] == ids[4:6]
    assert [e.id for e in without(view, ids[-3:]).select(Want(), 2, 0, True)] == ids[8:6:-1]


def test_a_page_that_is_held_back_whole_does_not_end_the_reading(view, ids):
    seen = without(view, ids[:10])
    assert [e.id for _, e in seen.after(0, 2, Want())] == ids[10:]


def test_what_is_derived_from_something_held_back_and_what_has_its_origin_are_not_there(memory, view, ids):
    memory.sleep(**ANA)
    made = memory.update(ids[0], "Another lake.", **ANA).ids[0]
    assert without(view, [made]).derived([ids[0]]) == {}
    assert without(view, [ids[0]]).derived([ids[0]]) == {}
    assert view.derived([ids[0]])[ids[0]]


def test_a_cursor_can_be_another(view):
    seen = without(view, [], {"default": Cursor(7, {"a": 1})})
    assert seen.cursor("default") == Cursor(7, {"a": 1})
    assert seen.cursor("other") == view.cursor("other")


def test_what_is_about_the_whole_is_passed_on(view, ids):
    seen = without(view, ids[:1])
    assert isinstance(seen, View)
    assert seen.scope == view.scope
    assert seen.speakers() == view.speakers()
    assert seen.stats() == view.stats()
    assert len(seen.journal()) == len(view.journal())
