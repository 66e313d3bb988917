"""What every store must hold when it is written: guards, all or nothing, the journal, ties, sources, cursors."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone

from slowwave.checks.bench import ANA, DAY, EVERYTHING, RUN, START, Bench, expect, raises
from slowwave.errors import ConflictError, InputError
from slowwave.records import Change, Link, Scope
from slowwave.store.base import Cursor, Operation
from slowwave.store.ids import new_id


def a_guard_sets_aside_what_was_changed_meanwhile(bench: Bench) -> None:
    store = bench.open()
    (a,) = bench.add(store, "a")
    seen = {"until": None, "retired": None}
    first = Change("supersede", a.id, "ended", fields={"until": START + DAY}, guard=seen)
    expect(len(bench.do(store, [first]).changes) == 1, "a guard that holds refused")
    done = bench.do(store, [Change("supersede", a.id, "again", fields={"until": START + 2 * DAY}, guard=seen)])
    expect(len(done.refused) == 1 and not done.changes and done.op is None, "a guard that does not hold let through")
    other = Change("update", a.id, "", fields={"attrs": {"x": 1}}, guard={"until": None})
    expect(len(bench.do(store, [other]).refused) == 1, "a guard on a field that is not set is not looked at")
    lost = Change("update", new_id(), "", fields={"until": START})
    expect(bench.do(store, [lost]).refused, "a change of a record that is not there took effect")
    raises(InputError, lambda: bench.do(store, [Change("x", a.id, "", fields={"text": "b"})]), "changing a text")


def a_use_outweighs_a_step_of_fading(bench: Bench) -> None:
    store = bench.open()
    (a,) = bench.add(store, "a")
    fade = Change("weaken", a.id, "", fields={"strength": 0.5}, guard={"strength": 1.0})
    bench.do(store, [fade])
    store.touch({a.id: (START, 45.0, START + 45 * DAY)})
    back = Change("undo", a.id, "", fields={"strength": 0.25}, guard={"strength": 0.5})
    done = bench.do(store, [back], strict=True)
    expect(not done.refused and not done.changes, "undoing a fading step fails, or wins, over a use")
    read = store.view(ANA).get([a.id])[a.id]
    state = (read.strength, read.used, read.half_life_days, read.due)
    expect(state == (1.0, START, 45.0, START + 45 * DAY), f"after a use: {state}")


def a_strict_operation_is_all_or_nothing(bench: Bench) -> None:
    store = bench.open()
    (a,) = bench.add(store, "a")
    good = Change("update", a.id, "", fields={"attrs": {"x": 1}})
    bad = Change("update", a.id, "", fields={"until": START}, guard={"until": START + DAY})
    raises(ConflictError, lambda: bench.do(store, [good, bad], strict=True), "a refused change of a strict operation")
    expect(not store.view(ANA).get([a.id])[a.id].attrs, "the first change of a refused operation stayed")
    expect(len(store.view(ANA).operations()) == 1, "a refused operation is in the journal")
    new = bench.engram("new")
    operation = Operation(new_id(), "add", ANA, bench.now)
    raises(InputError, lambda: store.apply(operation, [Change("add", new.id, "", engram=new)], {}), "no index entry")
    expect(store.view(ANA).count(EVERYTHING) == 1, "a failed operation left a record")


def the_journal_says_what_was_before_and_after(bench: Bench) -> None:
    store = bench.open()
    (a,) = bench.add(store, "a")
    end = datetime(2024, 6, 1, tzinfo=timezone(timedelta(hours=2)))
    fields = {"until": end, "attrs": {"x": [1]}, "strength": 0.5}
    done = bench.do(store, [Change("supersede", a.id, "why", fields=fields, sources=(a.id,))], "sleep", model="m")
    (line, first) = store.view(ANA).journal([a.id])
    expect((first.verb, dict(first.after)) == ("add", {"added": True}), f"the first line is {first}")
    expect((line.verb, line.reason, line.sources) == ("supersede", "why", (a.id,)), f"the line is {line}")
    expect(dict(line.before) == {"until": None, "attrs": {}, "strength": 1.0}, f"before is {dict(line.before)}")
    expect(dict(line.after) == fields, f"after is {dict(line.after)}")
    expect((line.op, line.operation, line.model, line.recorded) == (done.op, "sleep", "m", bench.now), "its operation")
    expect(store.view(ANA).journal(op=done.op) == [line], "by operation")
    expect(len(store.view(ANA).journal(limit=1)) == 1, "limit")
    rows = store.view(ANA).operations()
    expect([row["verb"] for row in rows] == ["sleep", "add"] and rows[0]["changes"] == 1, f"operations: {rows}")
    expect([r["op"] for r in store.view(ANA).operations(verb="sleep")] == [done.op], "operations by verb")
    expect([r["verb"] for r in store.view(ANA).operations(op=done.op)] == ["sleep"], "operations by id")
    again = bench.do(store, [Change("supersede", a.id, "", fields=fields)])
    expect(again.op is None and not again.changes, "setting what is set already is an operation")


def an_undone_operation_is_marked_and_unmarked(bench: Bench) -> None:
    store = bench.open()
    view = store.view(ANA)
    (a,) = bench.add(store, "a")
    op = bench.do(store, [Change("update", a.id, "", fields={"attrs": {"x": 1}})]).op
    undo = bench.do(store, [Change("undo", a.id, "", fields={"attrs": {}})], "undo", undoes=op).op
    expect(view.operations(op=op)[0]["undone_by"] == undo, "what was undone is not marked")
    bench.do(store, [Change("undo", a.id, "", fields={"attrs": {"x": 1}})], "undo", undoes=undo)
    expect(view.operations(op=op)[0]["undone_by"] is None, "what was done again is still marked as undone")


def ties_are_kept_once_and_taken_away(bench: Bench) -> None:
    store = bench.open()
    a, b = bench.add(store, "a", "b")
    view, tie = store.view(ANA), Link(a.id, "causes", b.id, 0.5)
    expect(len(bench.do(store, [Change("link", a.id, "", links=(tie,))]).changes) == 1, "a tie was not made")
    expect(bench.do(store, [Change("link", a.id, "", links=(tie,))]).op is None, "tying again is a change")
    expect(view.links([a.id]) == view.links([b.id]) == [tie], f"links gives {view.links([a.id])}")
    expect(view.links([a.id], ("next",)) == [], "links by relation")
    lost = Change("link", a.id, "", links=(Link(a.id, "next", new_id()),))
    expect(bench.do(store, [lost]).refused, "a tie to nothing was made")
    bench.do(store, [Change("undo", a.id, "", unlinks=(tie,))])
    expect(view.links([a.id]) == [] and view.journal(limit=1)[0].unlinks == (tie,), "the tie was not taken away")


def what_is_derived_names_its_sources(bench: Bench) -> None:
    store = bench.open()
    a, b = bench.add(store, "a", "b")
    fact = bench.engram("ab", kind="fact", sources=(b.id, a.id))
    bench.do(store, [Change("add", fact.id, "", engram=fact)])
    expect(store.view(ANA).get([fact.id])[fact.id].sources == (b.id, a.id), "the order of the sources is lost")
    expect(store.view(ANA).derived([a.id, fact.id]) == {a.id: (fact.id,)}, "derived")
    loose = bench.engram("from nothing", kind="fact", sources=(new_id(),))
    done = bench.do(store, [Change("add", loose.id, "", engram=loose)])
    expect(done.refused and store.view(ANA).count(EVERYTHING) == 3, "a record without its source was kept")


def what_was_there_already_takes_the_place_of_its_twin(bench: Bench) -> None:
    store = bench.open()
    view = store.view(ANA)
    a, held = bench.add(store, "a", "twin")
    twin = bench.engram("twin")
    ties = (Link(twin.id, "next", a.id), Link(twin.id, "next", held.id))
    changes = [
        Change("add", twin.id, "", engram=twin),
        Change("update", twin.id, "", fields={"attrs": {"x": 1}}, sources=(twin.id,)),
        *(Change("link", twin.id, "", links=(tie,)) for tie in ties),
    ]
    done = bench.do(store, changes, cursor=Cursor(1, {"open": [twin.id]}))
    expect([c.id for c in done.changes] == [held.id] * 2, f"the changes name {[c.id for c in done.changes]}")
    expect([why for _, why in done.refused] == ["it would be tied to itself"], f"refused: {done.refused}")
    lines = view.journal(op=done.op)
    expect(lines[0].links == (Link(held.id, "next", a.id),) and lines[1].sources == (held.id,), f"the journal: {lines}")
    expect(view.cursor("default").state == {"open": [held.id]}, "the cursor keeps an id that is not there")


def each_scope_and_system_has_its_cursor(bench: Bench) -> None:
    store = bench.open()
    tricky = Scope(user_id="ana run_id=r1")
    expect(store.view(ANA).cursor("default") == Cursor(), "the first cursor is not 0")
    for last, scope in enumerate((ANA, RUN, tricky), 1):
        bench.do(store, [], "sleep", scope, cursor=Cursor(last, {"open": [str(scope)]}))
    bench.do(store, [], "sleep", ANA, cursor=Cursor(9), system="other")
    read = [store.view(scope).cursor("default") for scope in (ANA, RUN, tricky)]
    expect([c.last for c in read] == [1, 2, 3], f"the cursors are {read}")
    expect(read[0].state == {"open": [str(ANA)]}, f"the state is {read[0].state}")


WRITING: tuple[Callable[[Bench], None], ...] = (
    a_guard_sets_aside_what_was_changed_meanwhile,
    a_use_outweighs_a_step_of_fading,
    a_strict_operation_is_all_or_nothing,
    the_journal_says_what_was_before_and_after,
    an_undone_operation_is_marked_and_unmarked,
    ties_are_kept_once_and_taken_away,
    what_is_derived_names_its_sources,
    what_was_there_already_takes_the_place_of_its_twin,
    each_scope_and_system_has_its_cursor,
)
