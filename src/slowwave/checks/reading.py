"""What every store must hold when it is read: records as they were, scopes apart, and one meaning of a Want."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from types import MappingProxyType
from typing import Any

from slowwave.checks.bench import ANA, BEN, DAY, EVERYTHING, RUN, START, Bench, expect, raises, texts
from slowwave.errors import ScopeError
from slowwave.records import Change, Link, Scope
from slowwave.store.base import Cursor, Want
from slowwave.store.clock import to_micros
from slowwave.store.filters import parse

# -- records


def a_record_reads_back_as_it_was_written(bench: Bench) -> None:
    store = bench.open()
    zone = timezone(timedelta(hours=-3, minutes=-30))
    given = bench.engram(
        "Ana said: “naïve” — 🙂 שלום\tand a tab",
        RUN,
        kind="fact",
        at=datetime(1, 1, 2, 3, 4, 5, 678901, tzinfo=zone),
        until=datetime(9999, 12, 30, tzinfo=zone),
        closed=START,
        strength=0.5,
        used=START,
        due=START + DAY,
        half_life_days=7.5,
        origin="item/1",
        attrs=MappingProxyType({"speaker": "Ana", "tags": ["a", {"b": None}], "n": 1, "x": 0.1, "yes": True}),
    )
    bench.do(store, [Change("add", given.id, "", engram=given)])
    read = store.view(ANA).get([given.id])[given.id]
    for name, value in given.to_dict().items():
        expect(read.to_dict()[name] == value, f"{name} was {value!r} and reads {read.to_dict()[name]!r}")
    expect(read.at.utcoffset() == given.at.utcoffset(), "the zone of `at` is lost")


def the_same_content_is_kept_once(bench: Bench) -> None:
    store = bench.open()
    (first,) = bench.add(store, "once")
    again = bench.engram("once")
    done = bench.do(store, [Change("add", again.id, "", engram=again)])
    expect(done.added == {again.id: first.id}, f"the second add gave {dict(done.added)}, not the first one's id")
    expect(not done.changes and done.op is None, "nothing changed, but there is an operation")
    bench.add(store, "once", scope=BEN)
    expect(store.view(ANA).count(EVERYTHING) == 1, "two records where one was due")


def what_was_forgotten_comes_back_when_added_again(bench: Bench) -> None:
    store = bench.open()
    (kept,) = bench.add(store, "again")
    fields = {"retired": bench.now, "retired_why": "forgotten"}
    bench.do(store, [Change("forget", kept.id, "", fields=fields)], "forget")
    again = bench.engram("again")
    done = bench.do(store, [Change("add", again.id, "", engram=again)])
    expect([c.verb for c in done.changes] == ["restore"], f"the changes are {[c.verb for c in done.changes]}")
    expect(texts(store.view(ANA).select(Want())) == ["again"], "the record is not in view again")


def records_come_in_order_and_in_pages(bench: Bench) -> None:
    store = bench.open()
    view = store.view(ANA)
    for day in (3, 1, 2):
        bench.add(store, f"day {day}", at=START + day * DAY)
    expect(texts(view.select(Want())) == ["day 1", "day 2", "day 3"], "select is not in the order of `at`")
    expect(texts(view.select(Want(), 1, 1)) == ["day 2"], "limit and offset")
    expect(texts(view.select(Want(), 1, newest_first=True)) == ["day 3"], "newest_first")
    first = view.after(0, 2, Want())
    expect([e.text for _, e in first] == ["day 3", "day 1"], "after is not in the order of recording")
    rest = view.after(first[-1][0], 9, Want())
    expect([e.text for _, e in rest] == ["day 2"], "after does not go on where it was")
    numbers = view.numbers([e.id for _, e in first])
    expect([numbers[e.id] for _, e in first] == [n for n, _ in first], "numbers and after differ")
    expect(texts(list(view.engrams([n for n, _ in rest]).values())) == ["day 2"], "engrams by row number")


# -- scope


def a_scope_sees_nothing_of_another(bench: Bench) -> None:
    store = bench.open()
    a, b = bench.add(store, "wine in Lisbon", "more wine", origin="o", attrs=MappingProxyType({"speaker": "Ana"}))
    fact = bench.engram("Ana likes wine", kind="fact", sources=(a.id,))
    tie = Link(a.id, "next", b.id)
    bench.do(store, [Change("add", fact.id, "", engram=fact), Change("link", a.id, "", links=(tie,))], cursor=Cursor(9))
    ns = list(store.view(ANA).numbers([a.id, b.id]).values())
    other = store.view(BEN)
    query, span = bench.vector("wine"), (to_micros(START - DAY), to_micros(START + DAY))
    light = list(store.view(ANA).rows(ns, EVERYTHING).values())
    key = bench.index(a).content
    seen: dict[str, Any] = {
        "get": other.get([a.id]), "engrams": other.engrams(ns), "select": other.select(EVERYTHING),
        "after": other.after(0, 9, EVERYTHING), "count": other.count(EVERYTHING), "numbers": other.numbers([a.id]),
        "find_content": other.find_content(ANA, [key]), "find_origin": other.find_origin(["o"]),
        "dense": other.dense(query, 9, Want()).ids.tolist(), "cosines": other.cosines(query, ns),
        "nearest_older": other.nearest_older(ns, 9), "vectors": other.vectors(ns), "rows": other.rows(ns, EVERYTHING),
        "lexical": other.lexical(["wine"], 9, Want()), "during": other.during(*span, 9, Want()),
        "neighbours": other.neighbours(light, 3), "speakers": other.speakers(), "links": other.links([a.id, b.id]),
        "derived": other.derived([a.id]), "due": other.due(START + 999 * DAY, 9), "journal": other.journal(),
        "journal of": other.journal([a.id]), "operations": other.operations(), "cursor": other.cursor("default").last,
        "stats": other.stats()["records"],
    }  # fmt: skip
    for name, value in seen.items():
        expect(not value, f"{name} shows {value!r} to another scope")
    expect(store.view(Scope(user_id="ana", agent_id="x")).count(EVERYTHING) == 0, "a narrower scope sees a wider one's")
    wide = Want(where=parse({"OR": [{"user_id": "ana"}, {"user_id": "*"}, {"NOT": {"user_id": "ben"}}]}), retired=True)
    expect(other.select(wide) == [], "a filter widens the scope")


def a_wider_scope_sees_what_is_nested_in_it(bench: Bench) -> None:
    store = bench.open()
    bench.add(store, "in the run", scope=RUN)
    bench.add(store, "of the user")
    expect(texts(store.view(ANA).select(Want())) == ["in the run", "of the user"], "the user does not see the run's")
    expect(texts(store.view(RUN).select(Want())) == ["in the run"], "the run sees what is the user's")
    expect(texts(store.view(Scope(run_id="r1")).select(Want())) == ["in the run"], "by the run alone")
    found = store.view(ANA).dense(bench.vector("in the run"), 5, Want())
    expect(len(found.ids) == 2, "dense does not search the nested scopes")
    expect(len(store.view(ANA).lexical(["run", "user"], 5, Want())) == 2, "nor does lexical")


def nothing_is_written_outside_the_scope(bench: Bench) -> None:
    store = bench.open()
    (a,) = bench.add(store, "Ana's")
    stray = bench.engram("stray", BEN)
    raises(ScopeError, lambda: bench.do(store, [Change("add", stray.id, "", engram=stray)]), "adding to another scope")
    done = bench.do(store, [Change("forget", a.id, "", fields={"retired": START})], "forget", BEN)
    expect(done.refused and not done.changes, "another scope's record was changed")
    theirs = bench.engram("from another's", BEN, kind="fact", sources=(a.id,))
    done = bench.do(store, [Change("add", theirs.id, "", engram=theirs)], scope=BEN)
    expect(done.refused, "another scope's record serves as a source")
    counts = store.erase(BEN, [a.id]).counts
    expect(counts["records"] == 0, "another scope's record was erased")
    expect(texts(store.view(ANA).select(Want())) == ["Ana's"], "another scope's record was touched")
    expect(store.view(BEN).count(EVERYTHING) == 0, "something was left behind")


# -- Want


def a_want_means_the_same_in_every_read(bench: Bench) -> None:
    store = bench.open()
    view = store.view(ANA)
    bench.add(store, "wine one", at=START - 9 * DAY, until=START - 5 * DAY, closed=START)
    bench.add(store, "wine two", kind="fact", attrs=MappingProxyType({"n": 2}))
    (gone,) = bench.add(store, "wine three")
    before = bench.now
    bench.now += DAY
    bench.do(store, [Change("forget", gone.id, "", fields={"retired": bench.now, "retired_why": "forgotten"})])
    cases: list[tuple[str, Want, set[str]]] = [
        ("nothing named", Want(), {"wine one", "wine two"}),
        ("kinds", Want(kinds=("fact",)), {"wine two"}),
        ("no kinds", Want(kinds=()), set()),
        ("where", Want(where=parse({"n": {"gte": 2}})), {"wine two"}),
        ("at", Want(at=START - 6 * DAY), {"wine one"}),
        ("at the moment of until", Want(at=START - 5 * DAY), set()),
        ("as_of", Want(as_of=before), {"wine one", "wine two", "wine three"}),
        ("as_of too early", Want(as_of=START - DAY), set()),
        ("retired", EVERYTHING, {"wine one", "wine two", "wine three"}),
        ("all at once", Want(("fact",), parse({"n": 2}), bench.now, bench.now, True), {"wine two"}),
    ]
    query = bench.vector("wine")
    span = (to_micros(START - 99 * DAY), to_micros(START + 99 * DAY))
    for name, want, due in cases:
        reads: dict[str, Sequence[int]] = {
            "after": [n for n, _ in view.after(0, 9, want)],
            "dense": view.dense(query, 9, want).ids.tolist(),
            "lexical": [n for n, _ in view.lexical(["wine"], 9, want)],
            "during": view.during(*span, 9, want),
        }
        expect(set(texts(view.select(want))) == due, f"{name}: select gives {texts(view.select(want))}, due is {due}")
        expect(view.count(want) == len(due), f"{name}: count is {view.count(want)}, due is {len(due)}")
        for read, ns in reads.items():
            got = {row.text for row in view.rows(ns, EVERYTHING).values()}
            expect(got == due, f"{name}: {read} gives {got}, due is {due}")


def as_of_turns_every_change_back(bench: Bench) -> None:
    store = bench.open()
    view = store.view(ANA)
    (a,) = bench.add(store, "a thing")
    moments = [bench.now]
    steps: list[Mapping[str, Any]] = [
        {"attrs": {"colour": "red"}}, {"until": START + 9 * DAY, "closed": START}, {"attrs": {"colour": "blue"}},
        {"retired": START, "retired_why": "forgotten"}, {"retired": None, "retired_why": None},
        {"until": None, "closed": None}, {"attrs": {}},
    ]  # fmt: skip
    states = [view.select(Want())]
    for fields in steps:
        bench.do(store, [Change("update", a.id, "", fields=fields)])
        moments.append(bench.now)
        states.append(view.select(Want()))
    for place, (moment, state) in enumerate(zip(moments, states, strict=True)):
        then = view.select(Want(as_of=moment))
        expect(then == state, f"after step {place} as_of gives {then}, but the list was {state}")
    red = Want(where=parse({"colour": "red"}), as_of=moments[1])
    expect(view.count(red) == 1, "a filter looks at the attrs of today, not at those of then")
    ended = Want(where=parse({"until": "*"}), as_of=moments[2])
    expect(view.count(ended) == 1, "a filter on until looks at today")


READING: tuple[Callable[[Bench], None], ...] = (
    a_record_reads_back_as_it_was_written,
    the_same_content_is_kept_once,
    what_was_forgotten_comes_back_when_added_again,
    records_come_in_order_and_in_pages,
    a_scope_sees_nothing_of_another,
    a_wider_scope_sees_what_is_nested_in_it,
    nothing_is_written_outside_the_scope,
    a_want_means_the_same_in_every_read,
    as_of_turns_every_change_back,
)
