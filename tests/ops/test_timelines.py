"""Timelines: from the earliest ancestor to the latest descendant, capped, the best way and not any, dates printed."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from slowwave.ops.packing import estimate_tokens
from slowwave.ops.timelines import Timeline, fitting, outward, steps, timelines, told
from slowwave.records import Engram, Link, Scope
from slowwave.store.ids import new_id

DAY = datetime(2024, 1, 1, tzinfo=UTC)


def line(n: int) -> list[Engram]:
    """So many records, a month apart."""
    return [
        Engram(new_id(), "fact", f"fact {k}", Scope(user_id="ana"), DAY + timedelta(days=30 * k), DAY) for k in range(n)
    ]


def chain(records: list[Engram], relation: str = "supersedes") -> list[Link]:
    return [Link(b.id, relation, a.id) for a, b in pairwise(records)]


def by_id(records: list[Engram]) -> dict[str, Engram]:
    return {record.id: record for record in records}


def texts(timeline: Timeline) -> list[str]:
    return [engram.text for engram in timeline.engrams]


def test_a_seed_in_the_middle_gets_its_earliest_ancestor_and_its_latest_descendant() -> None:
    records = line(6)
    found = timelines([records[2].id], chain(records), by_id(records), {})
    assert [texts(timeline) for timeline in found] == [[f"fact {k}" for k in range(6)]]
    assert found[0].relations == ("", *["supersedes"] * 5)
    assert found[0].seed == records[2].id


def test_a_step_goes_through_time_whichever_way_the_link_points() -> None:
    a, b = line(2)
    for link in (Link(b.id, "supersedes", a.id), Link(a.id, "causes", b.id), Link(b.id, "about", a.id)):
        back, on = steps([link], by_id([a, b]))
        assert [(step.on, step.relation) for step in back[b.id]] == [(a.id, link.relation)]
        assert [(step.on, step.relation) for step in on[a.id]] == [(b.id, link.relation)]
    told_later, _ = steps([Link(b.id, "causes", a.id)], by_id([a, b]))
    assert told_later[b.id][0].relation == "because"
    assert steps([Link(b.id, "similar", a.id), Link(b.id, "causes", "stranger")], by_id([a, b])) == ({}, {})


def test_of_two_ways_the_one_that_bears_on_the_question_is_taken() -> None:
    seed, left, right = line(3)
    links = [Link(left.id, "supersedes", seed.id), Link(right.id, "supersedes", seed.id)]
    for wanted in (left, right):
        found = timelines([seed.id], links, by_id([seed, left, right]), {seed.id: 0.5, wanted.id: 0.9})
        assert texts(found[0]) == ["fact 0", wanted.text]


def test_what_a_record_changed_to_is_never_left_out_whatever_bears_more_on_the_question() -> None:
    seed, change, other = line(3)
    links = [Link(other.id, "about", seed.id), Link(change.id, "supersedes", seed.id)]
    found = timelines([seed.id], links, by_id([seed, other, change]), {seed.id: 0.9, other.id: 0.9, change.id: 0.1})
    assert texts(found[0]) == ["fact 0", "fact 1"]


def test_two_seeds_on_one_way_do_not_get_it_twice() -> None:
    records = line(4)
    found = timelines([records[1].id, records[2].id], chain(records), by_id(records), {})
    assert [texts(timeline) for timeline in found] == [["fact 0", "fact 1", "fact 2", "fact 3"]]


def test_a_record_that_is_tied_to_nothing_is_a_timeline_of_itself_and_a_stranger_is_none() -> None:
    records = line(1)
    assert [texts(t) for t in timelines([records[0].id, "stranger"], [], by_id(records), {})] == [["fact 0"]]


def test_what_may_not_be_shown_is_not_walked_through() -> None:
    records = line(4)
    shown = by_id([records[0], records[1], records[3]])
    assert texts(timelines([records[0].id], chain(records), shown, {})[0]) == ["fact 0", "fact 1"]


@pytest.mark.parametrize("length", [1, 3])
def test_a_walk_is_no_longer_than_it_may_be(length: int) -> None:
    records = line(20)
    found = timelines([records[10].id], chain(records), by_id(records), {}, length=length)
    assert len(found[0].engrams) == 2 * length + 1


def test_a_dense_graph_takes_no_time() -> None:
    """Of 40 records that are all tied to one another there are 2**38 ways between the first and the last."""
    records = line(40)
    links = [Link(b.id, "about", a.id) for k, a in enumerate(records) for b in records[k + 1 :]]
    start = time.process_time()
    found = timelines([records[20].id], links, by_id(records), {record.id: 0.5 for record in records}, width=8)
    assert time.process_time() - start < 2
    assert found[0].engrams[0].text == "fact 0"
    assert found[0].engrams[-1].text == "fact 39"


def told_of(n: int) -> Timeline:
    records = line(n)
    ended = [record.with_(until=later.at) for record, later in pairwise(records)]
    every = [*ended, records[-1]]
    return timelines([every[0].id], chain(every), by_id(every), {})[0]


def test_every_line_prints_its_dates_so_that_no_stale_value_reads_as_current() -> None:
    timeline = told_of(3)
    ids = timeline.ids
    assert told(timeline).splitlines() == [
        f"[2024-01-01 to 2024-01-31] (fact) fact 0 ({ids[0]})",
        f"  changed to: [2024-01-31 to 2024-03-01] (fact) fact 1 ({ids[1]})",
        f"  changed to: [2024-03-01] (fact) fact 2 ({ids[2]})",
    ]


def test_a_timeline_that_is_too_long_loses_its_oldest_records_and_never_its_latest() -> None:
    timeline = told_of(6)
    whole, first = fitting(timeline, 10_000, estimate_tokens)
    assert (first, whole) == (0, told(timeline))
    part, first = fitting(timeline, 60, estimate_tokens)
    assert 0 < first < 6
    assert part.endswith(f"fact 5 ({timeline.ids[-1]})")
    assert part.startswith("["), "what is told first follows from nothing that is told"
    assert estimate_tokens(part) < 60
    assert fitting(timeline, 3, estimate_tokens) == ("", 0)


def test_an_answer_gets_what_the_seed_changed_to_before_the_seed() -> None:
    records = line(5)
    links = [
        Link(records[1].id, "about", records[0].id),
        *chain(records[1:4]),
        Link(records[4].id, "about", records[3].id),
    ]
    timeline = timelines([records[1].id], links, by_id(records), {})[0]
    assert [engram.text for engram in outward(timeline)] == ["fact 3", "fact 2", "fact 1", "fact 0", "fact 4"]


def test_what_another_timeline_has_told_is_not_told_twice() -> None:
    timeline = told_of(3)
    rows = told(timeline, above={timeline.ids[1]}).splitlines()
    assert rows[1] == f"  changed to: [2024-01-31 to 2024-03-01] (fact) as above ({timeline.ids[1]})"
    assert [row for n, row in enumerate(rows) if n != 1] == [
        row for n, row in enumerate(told(timeline).splitlines()) if n != 1
    ]
