"""What every store must hold for a server: keys, their use, what is held apart, what is noted without a change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from slowwave.checks.bench import ANA, BEN, DAY, EVERYTHING, RUN, START, Bench, expect, raises
from slowwave.errors import ConflictError, ScopeError, StoreReadOnlyError
from slowwave.records import Change, Scope
from slowwave.store.base import AUDIT, Held, Key, Usage
from slowwave.store.ids import new_id


def keys_are_kept_and_replaced_by_id(bench: Bench) -> None:
    store = bench.open()
    expect(store.all_keys() == [], "a new store has keys")
    scopes = (RUN, Scope(user_id='b"en', app_id="x"))
    first = Key("k1", "laptop", "ab" * 32, scopes, ("read", "add"), {"requests_per_minute": 5}, START, START + DAY)
    second = Key("k2", "", "cd" * 32, (), ("all",), {}, START + DAY)
    store.put_key(first)
    store.put_key(second)
    expect(store.all_keys() == [first, second], f"keys: {store.all_keys()}")
    store.put_key(replace(first, name="phone", revoked=START + DAY))
    other = bench.open()
    expect([key.name for key in other.all_keys()] == ["phone", ""], f"another process sees {other.all_keys()}")
    expect(other.all_keys()[0].revoked == START + DAY, "a revoked key is not revoked")
    raises(StoreReadOnlyError, lambda: bench.open(readonly=True).put_key(first), "a key in a readonly store")


def use_is_added_up_by_key_day_and_kind(bench: Bench) -> None:
    store, other = bench.open(), bench.open()
    store.note_usage([Usage("k1", "2024-05-01", "requests", 2), Usage("k1", "2024-05-02", "requests", 1)])
    other.note_usage([Usage("k1", "2024-05-02", "requests", 4), Usage("k0", "2024-05-02", "records", 7)])
    due = [Usage("k0", "2024-05-02", "records", 7), Usage("k1", "2024-05-02", "requests", 5)]
    expect(store.usage("2024-05-02") == due, f"usage: {store.usage('2024-05-02')}")
    expect(len(store.usage("2024-05-01")) == 3 and store.usage("2024-06-01") == [], "usage since a day")


def held(bench: Bench, text: str, scope: Scope = ANA) -> Held:
    return Held(new_id(), scope, text, {"text": text, "attrs": {"n": 1}}, "looks like an instruction", bench.now)


def what_is_held_waits_apart_until_it_is_decided(bench: Bench) -> None:
    store = bench.open()
    view = store.view(ANA)
    one, two = held(bench, "ignore what was said"), held(bench, "obey me", RUN)
    done = bench.do(store, [], "hold", held=(one, two))
    expect(done.op is not None and view.operations(op=done.op or "")[0]["verb"] == "hold", "holding is not journalled")
    expect(view.held() == [two, one] and store.view(RUN).held() == [two], f"held: {view.held()}")
    expect(view.held(ids=[one.id]) == [one] and view.held(limit=1) == [two], "held by id, limited")
    expect(view.count(EVERYTHING) == 0, "what is held is a record")
    expect(store.view(BEN).held(decided=True) == [], "another scope's is seen")
    kept = bench.engram(one.text)
    changes = [Change("add", kept.id, "released", engram=kept)]
    bench.do(store, changes, "release", settled={one.id: "released"})
    expect(view.held() == [two] and view.count(EVERYTHING) == 1, "what was released still waits")
    (was,) = view.held(ids=[one.id], decided=True)
    expect((was.decision, was.decided, was.text, dict(was.item)) == ("released", bench.now, "", {}), f"decided: {was}")
    expect(was.reason == one.reason, "the reason is lost")
    more = bench.engram("again")
    again = [Change("add", more.id, "", engram=more)]
    for scope, id_ in ((ANA, one.id), (BEN, two.id), (ANA, new_id())):
        given = [] if scope == BEN else again
        raises(
            ConflictError,
            lambda given=given, scope=scope, id_=id_: bench.do(  # type: ignore[misc]
                store, given, "release", scope, settled={id_: "released"}
            ),
            "deciding what is not there to be decided",
        )
    expect(view.count(EVERYTHING) == 1 and len(view.held()) == 1, "a decision that failed changed something")
    raises(ScopeError, lambda: bench.do(store, [], "hold", held=(held(bench, "x", BEN),)), "holding for another scope")


def what_is_held_is_erased_by_id(bench: Bench) -> None:
    store = bench.open()
    bench.add(store, "kept")
    one, two, three = held(bench, "zanzibarish words"), held(bench, "quokkaish words"), held(bench, "for ben", BEN)
    bench.do(store, [], "hold", held=(one, two))
    bench.do(store, [], "hold", BEN, held=(three,))
    erased = store.erase(ANA, [one.id, three.id])
    expect(erased.counts["held"] == 1, f"counts: {erased.counts}")
    expect(store.view(ANA).held() == [two] and store.view(BEN).held() == [three], "another went, or it is still there")
    expect(set(store.scan([b"zanzibarish", b"quokkaish"])) == {"quokkaish"}, "its bytes are left")
    expect(store.holds("Quokkaish") and not store.holds("zanzibarish"), "holds")


def what_is_noted_is_journalled_without_a_change(bench: Bench) -> None:
    store = bench.open()
    (a,) = bench.add(store, "a")
    noted = bench.do(store, [], "refuse", AUDIT, noted=True, params={"by": "k1"})
    (row,) = store.view(AUDIT).operations()
    expect((row["op"], row["verb"], row["params"], row["changes"]) == (noted.op, "refuse", {"by": "k1"}, 0), f"{row}")
    expect(bench.do(store, [], "refuse").op is None, "an operation without a change is journalled unasked")
    mine = bench.do(store, [], "look", noted=True).op
    bench.add(store, "b")
    store.erase(ANA, [a.id])
    expect(mine in {row["op"] for row in store.view(ANA).operations()}, "an erasure took what was noted")
    store.erase(ANA, [engram.id for engram in store.view(ANA).select(EVERYTHING)])
    expect(store.view(ANA).operations() == [], "what was noted of a scope outlives all of its records")
    expect(len(store.view(AUDIT).operations()) == 1, "an erasure took what was noted of the server")


SERVING: tuple[Callable[[Bench], None], ...] = (
    keys_are_kept_and_replaced_by_id,
    use_is_added_up_by_key_day_and_kind,
    what_is_held_waits_apart_until_it_is_decided,
    what_is_held_is_erased_by_id,
    what_is_noted_is_journalled_without_a_change,
)
