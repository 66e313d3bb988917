"""What every store must hold for nights with a language model: calls, what was turned down, kept replies, leases."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from slowwave.checks.bench import ANA, BEN, DAY, EVERYTHING, RUN, Bench, expect, raises
from slowwave.errors import ConflictError, InputError, StoreReadOnlyError
from slowwave.records import Call, Change, Rejected, Scope
from slowwave.store.base import Cursor, Pulse, Restored, Said
from slowwave.store.ids import new_id

CALLS = (
    Call("facts", "small-model", "a1" * 32, 120, 30, 0.25),
    Call("outcome", "small-model", "b2" * 32, 90, 0, 0.5, True, "not JSON: line 1"),
)
AGENT = Scope(agent_id="bot")


def turned_down(*sources: str, text: str = "Ana lives on the moon") -> Rejected:
    return Rejected("facts", "moon is in none of its sources", text, sources, "small-model", "a1" * 32)


# -- calls and rejections


def calls_and_rejections_stand_beside_the_changes(bench: Bench) -> None:
    store = bench.open()
    view = store.view(ANA)
    a, b = bench.add(store, "a", "b")
    aside = (turned_down(b.id, a.id), turned_down(text="from nothing"))
    change = Change("update", a.id, "", fields={"attrs": {"x": 1}})
    op = bench.do(store, [change], "sleep", calls=CALLS, rejected=aside).op
    expect([(one.op, one.call) for one in view.calls()] == [(op, call) for call in CALLS], f"calls: {view.calls()}")
    expect([one.rejected for one in view.rejected()] == list(aside), f"rejected: {view.rejected()}")
    moments = {*(one.recorded for one in view.calls()), *(one.recorded for one in view.rejected())}
    expect(moments == {bench.now}, f"they were recorded at {moments}")
    row = view.operations(op=op)[0]
    expect((row["changes"], row["calls"], row["rejected"]) == (1, 2, 2), f"the operation is counted as {row}")
    expect(view.operations(verb="add")[0]["calls"] == 0, "an operation without calls is said to have some")


def they_are_kept_where_nothing_changed(bench: Bench) -> None:
    store = bench.open()
    view = store.view(ANA)
    (a,) = bench.add(store, "a")
    nothing = Change("update", a.id, "", fields={"attrs": {}})
    done = bench.do(store, [nothing], "sleep", rejected=(turned_down(a.id),))
    again = bench.do(store, [], "sleep", calls=CALLS[:1])
    expect(done.op and again.op and not done.changes, "no operation was written for a rejection, or for a call")
    expect([row["changes"] for row in view.operations(verb="sleep")] == [0, 0], "an operation that changed nothing")
    expect([one.op for one in view.rejected(op=done.op)] == [done.op], "rejections by operation")
    expect(not view.rejected(op=again.op) and not view.calls(op=done.op), "those of another operation are read")
    expect([one.call for one in view.calls(1)] == [CALLS[0]] and not view.calls(0), "the limit of calls")
    newest = bench.do(store, [], "sleep", calls=CALLS, rejected=(turned_down(a.id), turned_down(a.id, text="2")))
    expect([one.op for one in view.calls()] == [newest.op, newest.op, again.op], "calls are not newest first")
    said = [one.rejected.text for one in view.rejected(2)]
    expect(said == ["Ana lives on the moon", "2"], f"the newest rejections are {said}")
    expect(not store.check(), f"check: {store.check()}")


def they_are_seen_by_their_scope_alone(bench: Bench) -> None:
    store = bench.open()
    (a,) = bench.add(store, "a", scope=RUN)
    bench.do(store, [], "sleep", RUN, calls=CALLS, rejected=(turned_down(a.id),))
    for scope, due in ((RUN, 1), (ANA, 1), (BEN, 0), (Scope(user_id="ana", run_id="r2"), 0)):
        view = store.view(scope)
        seen = (len(view.calls()) // 2, len(view.rejected()))
        expect(seen == (due, due), f"{scope} sees {seen} of {due}")
    op = store.view(ANA).calls()[0].op
    expect(not store.view(BEN).calls(op=op) and not store.view(BEN).rejected(op=op), "by the operation's id")


def a_rejection_goes_with_its_sources(bench: Bench) -> None:
    store = bench.open()
    view = store.view(ANA)
    a, b = bench.add(store, "a", "b")
    gone, new, lost = new_id(), bench.engram("c", kind="fact", sources=(a.id,)), bench.engram("d", kind="fact")
    lost = lost.with_(sources=(b.id, gone))
    changes = [Change("add", e.id, "", engram=e, sources=e.sources) for e in (new, lost)]
    aside = (turned_down(a.id, gone), turned_down(new.id), turned_down(lost.id), turned_down(b.id))
    done = bench.do(store, changes, "sleep", rejected=aside)
    expect(len(done.refused) == 1, f"refused: {done.refused}")
    kept = [one.rejected.sources for one in view.rejected()]
    expect(kept == [(new.id,), (b.id,)], f"rejections of what is not there were kept, or others lost: {kept}")
    proposed = bench.engram("e", kind="fact", sources=(new_id(),))
    half = bench.engram("f", kind="fact", sources=(b.id,))
    twin = bench.engram("f", kind="fact", sources=(b.id,))
    changes = [Change("add", e.id, "", engram=e, sources=e.sources) for e in (proposed, half, twin)]
    bench.do(store, changes, "sleep", rejected=(turned_down(twin.id, text="of a twin"), turned_down(proposed.id)))
    expect([one.rejected.sources for one in view.rejected(1)] == [(half.id,)], "what took the place of a source")
    store.erase(ANA, [a.id])
    expect({one.rejected.sources for one in view.rejected()} == {(b.id,), (half.id,)}, "what rested on the erased")


def erasing_takes_what_models_said(bench: Bench) -> None:
    store = bench.open()
    a, b = bench.add(store, "alphaish", "betaish")
    (other,) = bench.add(store, "gammaish", scope=BEN)
    aside = (
        turned_down(a.id, text="lunarcanary"),
        turned_down(b.id, text="stayingcanary"),
        turned_down(text="loosecanary"),
    )
    calls = (CALLS[0], Call("facts", "small-model", "c3" * 32, problem="failed: problemcanary"))
    op = bench.do(store, [], "sleep", calls=calls, rejected=aside).op
    bench.do(store, [], "sleep", BEN, calls=calls[:1], rejected=(turned_down(other.id, text="othercanary"),))
    for scope, key, sources in (
        (ANA, "ofA", [a.id, b.id]), (ANA, "ofB", [b.id]), (ANA, "none", []), (ANA, "early", [b.id, new_id()]),
        (BEN, "bens", []),
    ):  # fmt: skip
        store.replies(scope).put(key, "small-model", Said(f"{key}canary", 1, 2), sources)
    late = store.replies(ANA)
    erased = store.erase(ANA, [a.id])
    expect((erased.counts["rejected"], erased.counts["replies"]) == (2, 3), f"counts {dict(erased.counts)}")
    late.put("late", "small-model", Said("latecanary", 1, 2), [a.id, b.id])
    late.put("still", "small-model", Said("stillcanary", 1, 2), [b.id])
    view = store.view(ANA)
    expect([one.rejected.text for one in view.rejected()] == ["stayingcanary"], f"left: {view.rejected()}")
    left = [(one.call.operation, one.call.prompt, one.call.problem, one.call.tokens_in) for one in view.calls(op=op)]
    expect(left == [("facts", "", "", 120), ("facts", "", "failed", 0)], f"the calls are {left}")
    expect(store.view(BEN).calls()[0].call == CALLS[0], "another scope's calls were touched")
    words = ("lunar", "loose", "problem", "ofA", "none", "early", "late")
    needles = [f"{word}canary".encode() for word in (*words, "staying", "other", "ofB", "bens", "still")]
    found = {needle.removesuffix("canary") for needle in store.scan(needles)}
    expect(found == {"staying", "other", "ofB", "bens", "still"}, f"in the files: {found}")
    expect(store.holds("stayingcanary") and store.holds("ofBcanary") and not store.holds("lunarcanary"), "holds")
    store.erase(ANA, [b.id])
    expect(not view.calls() and not view.rejected() and not view.operations(), "something is left of an empty scope")
    expect(set(store.scan(needles)) == {"othercanary", "benscanary"}, "bytes are left of an empty scope")
    expect(not store.check(), f"check: {store.check()}")


def calls_and_rejections_come_home(bench: Bench) -> None:
    store, other = bench.open(), bench.open("other.db")
    a, b = bench.add(store, "one", "two", scope=RUN)
    bench.do(store, [], "sleep", ANA, calls=CALLS, rejected=(turned_down(b.id, a.id), turned_down()))
    view = store.view(ANA)
    for _ in range(2):
        records = [kept for _, kept in view.kept(0, 99)]
        index = {kept.engram.id: bench.index(kept.engram) for kept in records}
        other.restore(ANA, records, (), [past for _, past in view.past(0, 99)], (), index, Restored())
    there = other.view(ANA)
    expect(there.calls() == view.calls() and there.rejected() == view.rejected(), "they differ where they came back")
    expect(there.operations() == view.operations(), "the operations differ")
    narrow = [past.operation for _, past in store.view(RUN).past(0, 99)]
    expect(not any(o.calls or o.rejected for o in narrow), "a narrow export tells what was said of a wide scope")


# -- replies


def a_reply_is_kept_for_its_scope_and_replaced_by_a_newer_one(bench: Bench) -> None:
    store, other = bench.open(), bench.open()
    (a,) = bench.add(store, "a")
    said = Said('{"items": ["naïve 🙂"]}', 12, 34, "length", (("naïve", -0.25, (("naïve", -0.25), ("a", -1.5))),))
    store.replies(ANA).put("key", "m", Said("first", 1, 2), [a.id])
    store.replies(ANA).put("key", "m", said, [a.id])
    expect(other.replies(ANA).get("key") == said, f"the reply reads {other.replies(ANA).get('key')}")
    for scope in (RUN, BEN, AGENT):
        expect(store.replies(scope).get("key") is None, f"{scope} reads a reply of {ANA}")
    expect(store.replies(ANA).get("other") is None, "another key")
    late = bench.open(readonly=True)
    late.replies(ANA).put("more", "m", said, [a.id])
    expect(late.replies(ANA).get("key") == said and store.replies(ANA).get("more") is None, "a store that only reads")
    expect(not store.check() and store.view(ANA).count(EVERYTHING) == 1, f"check: {store.check()}")


# -- what is new, and leases


def the_pulse_tells_what_is_new_and_when_it_was_written(bench: Bench) -> None:
    store = bench.open()
    view = store.view(ANA)
    expect(view.pulse("default", 9) == Pulse(None, 0), f"of an empty scope: {view.pulse('default', 9)}")
    a, _ = bench.add(store, "a", "b", scope=RUN)
    late = bench.now
    bench.add(store, "another's", scope=BEN)
    for scope, due in ((ANA, 2), (RUN, 2), (Scope(user_id="ana", run_id="r2"), 0)):
        expect(store.view(scope).pulse("default", 9).fresh == due, f"{scope}: {store.view(scope).pulse('default', 9)}")
    expect(view.pulse("default", 9).written == late and view.pulse("default", 1).fresh == 1, "written, and the limit")
    fact = bench.engram("from a", kind="fact", sources=(a.id,), recorded=late)
    last = view.after(0, 9, EVERYTHING)[-1][0]
    bench.do(store, [Change("add", fact.id, "", engram=fact, sources=(a.id,))], "sleep", cursor=Cursor(last))
    expect(view.pulse("default", 9) == Pulse(late, 0), f"a sleep is news: {view.pulse('default', 9)}")
    expect(store.view(RUN).pulse("default", 9).fresh == 2, "the cursor of a wider scope counts for a narrow one")
    expect(view.pulse("other", 9).fresh == 2, "the cursor of another system counts")
    (c,) = bench.add(store, "c", scope=RUN)
    forget = Change("forget", c.id, "", fields={"retired": bench.now, "retired_why": "forgotten"})
    bench.do(store, [forget], "forget", RUN)
    expect(view.pulse("default", 9) == Pulse(bench.now, 0), f"after forgetting: {view.pulse('default', 9)}")


def one_sleeper_a_scope(bench: Bench) -> None:
    one, two = bench.open(), bench.open()
    lease = one.take_lease(ANA, "sleep", "the first", 60)
    expect(lease is not None and (lease.scope, lease.name, lease.holder) == (ANA, "sleep", "the first"), f"{lease}")
    assert lease is not None
    expect(lease.taken < lease.expires, "it has expired when it begins")
    for scope in (ANA, RUN, AGENT, Scope(run_id="r1")):  # a record can be in this scope and in Ana's
        expect(two.take_lease(scope, "sleep", "the second", 60) is None, f"{scope} overlaps {ANA} and was given away")
        held = two.held_lease(scope, "sleep")
        expect(held == lease, f"who holds {scope}: {held}")
    expect(one.take_lease(ANA, "sleep", "the first", 60) is None, "its holder takes it a second time")
    for scope, name in ((BEN, "sleep"), (ANA, "train"), (Scope(user_id="ben", run_id="r1"), "dream")):
        other = two.take_lease(scope, name, "the second", 60)
        expect(other is not None, f"{name} on {scope} does not touch the other")
    one.release_lease(lease)
    one.release_lease(lease)
    expect(two.held_lease(ANA, "sleep") is None, "it is held after its release")
    narrow = two.take_lease(RUN, "sleep", "the second", 60)
    expect(narrow is not None and one.take_lease(ANA, "sleep", "the first", 60) is None, "a narrow one does not hold")
    beside = Scope(user_id="ana", run_id="r2")
    expect(one.take_lease(beside, "sleep", "the first", 60) is not None, "another run was not given")


def a_lease_that_was_not_renewed_is_taken_over(bench: Bench) -> None:
    store = bench.open()
    first = store.take_lease(ANA, "sleep", "the first", 0)
    expect(first is not None and store.held_lease(ANA, "sleep") is None, "a lease of no seconds holds")
    assert first is not None
    renewed = store.renew_lease(first, 60)
    expect(renewed is not None and store.held_lease(ANA, "sleep") == renewed, "nobody was there, but it is lost")
    store.renew_lease(first, 0)
    second = store.take_lease(RUN, "sleep", "the second", 60)
    expect(second is not None, "what has expired is not taken over")
    expect(store.renew_lease(first, 60) is None, "what was taken over is renewed")
    store.release_lease(first)
    expect(store.held_lease(ANA, "sleep") == second, "who has lost it gave it away")
    for seconds in (-1, float("nan"), float("inf")):
        raises(InputError, partial(store.take_lease, BEN, "sleep", "x", seconds), f"{seconds} seconds")
    late = bench.open(readonly=True)
    raises(StoreReadOnlyError, lambda: late.take_lease(BEN, "sleep", "x", 60), "a store that only reads")


def what_is_made_under_a_lost_lease_is_not_written(bench: Bench) -> None:
    store = bench.open()
    (a,) = bench.add(store, "a")
    change = Change("update", a.id, "", fields={"attrs": {"x": 1}})
    held = store.take_lease(ANA, "sleep", "the first", 60)
    done = bench.do(store, [change], "sleep", lease=held)
    expect(len(done.changes) == 1 and store.held_lease(ANA, "sleep") is None, "it does not end with the operation")
    lost = store.take_lease(ANA, "sleep", "the first", 0)
    now = store.take_lease(ANA, "sleep", "the second", 60)
    more = Change("update", a.id, "", fields={"attrs": {"x": 2}})
    raises(ConflictError, lambda: bench.do(store, [more], "sleep", lease=lost, calls=CALLS), "a lost lease")
    expect(store.view(ANA).get([a.id])[a.id].attrs == {"x": 1} and not store.view(ANA).calls(), "it was written")
    expect(store.held_lease(ANA, "sleep") == now, "who took it over has lost it")
    bad = Change("update", a.id, "", fields={"until": bench.now}, guard={"until": bench.now + DAY})
    raises(ConflictError, lambda: bench.do(store, [bad], "sleep", lease=now, strict=True), "a strict operation")
    expect(store.held_lease(ANA, "sleep") == now, "an operation that failed ended its lease")
    store.erase(ANA, [a.id])
    expect(store.held_lease(ANA, "sleep") is None and not store.scan([b"the second"]), "it outlives its scope")


NIGHTS: tuple[Callable[[Bench], None], ...] = (
    calls_and_rejections_stand_beside_the_changes,
    they_are_kept_where_nothing_changed,
    they_are_seen_by_their_scope_alone,
    a_rejection_goes_with_its_sources,
    erasing_takes_what_models_said,
    calls_and_rejections_come_home,
    a_reply_is_kept_for_its_scope_and_replaced_by_a_newer_one,
    the_pulse_tells_what_is_new_and_when_it_was_written,
    one_sleeper_a_scope,
    a_lease_that_was_not_renewed_is_taken_over,
    what_is_made_under_a_lost_lease_is_not_written,
)
