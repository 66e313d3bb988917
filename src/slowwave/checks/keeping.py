"""What every store must hold over its whole file: models, rebuilding, erasing, export, sharing, closing."""

from __future__ import annotations

from collections.abc import Callable

from slowwave.checks.bench import ANA, BEN, EVERYTHING, RUN, Bench, expect, raises, texts
from slowwave.errors import ModelMismatchError, StoreError, StoreReadOnlyError
from slowwave.models.base import FakeEmbedder
from slowwave.records import Change, Link
from slowwave.store.base import Cursor, Restored, Want
from slowwave.store.ids import new_id


def another_model_is_a_mismatch(bench: Bench) -> None:
    store = bench.open()
    bench.add(store, "a")
    raises(ModelMismatchError, lambda: store.set_model("another", 32), "another model")
    raises(ModelMismatchError, lambda: store.set_model(bench.embedder.name, 16), "another width")
    store.set_model(bench.embedder.name, bench.embedder.dim)


def reembedding_resumes_and_swaps_at_once(bench: Bench) -> None:
    store, late = bench.open(), bench.open()
    kept = bench.add(store, *[f"text number {n}" for n in range(10)])
    other = FakeEmbedder(48)
    steps = store.reembed("other", 48, lambda engrams: other.embed([e.text for e in engrams]), 3)
    next(steps)
    done, total = next(steps)
    steps.close()  # type: ignore[attr-defined]  # it is a generator: stopped as by a kill between two batches
    expect((done, total) == (3, 10), f"after one batch of three: {(done, total)}")
    expect(len(store.view(ANA).dense(bench.vector("text"), 20, Want()).ids) == 10, "the old model serves no more")
    bench.add(store, "added meanwhile")
    seen = list(store.reembed("other", 48, lambda engrams: other.embed([e.text for e in engrams]), 3))
    expect(seen[0] == (3, 11) and seen[-1] == (11, 11), f"it did not resume: {seen}")
    found = store.view(ANA).dense(other.embed(["added meanwhile"])[0], 20, Want())
    expect(len(found.ids) == 11, "vectors are missing after the swap")
    raises(ModelMismatchError, lambda: late.view(ANA).dense(bench.vector("text"), 3, Want()), "an old model's query")
    raises(ModelMismatchError, lambda: bench.add(late, "late"), "an old model's vector")
    expect(store.view(ANA).count(EVERYTHING) == len(kept) + 1 and not store.check(), f"check: {store.check()}")


def rebuilding_resumes_and_changes_nothing(bench: Bench) -> None:
    store = bench.open()
    view = store.view(ANA)
    bench.add(store, *[f"wine number {n}" for n in range(10)])
    query = bench.vector("wine number 3")
    before = (view.lexical(["wine"], 20, Want()), view.dense(query, 20, Want()).ids.tolist(), view.select(Want()))
    steps = store.rebuild(lambda engrams: [bench.index(e) for e in engrams], 3)
    next(steps), next(steps)
    steps.close()  # type: ignore[attr-defined]  # as above
    seen = list(store.rebuild(lambda engrams: [bench.index(e) for e in engrams], 3))
    expect(seen[0][0] > 0, f"it began anew: {seen}")
    after = (view.lexical(["wine"], 20, Want()), view.dense(query, 20, Want()).ids.tolist(), view.select(Want()))
    expect(after == before and not store.check(), f"a rebuild changed what is found: {store.check()}")


def erasing_takes_what_is_derived_and_its_bytes(bench: Bench) -> None:
    store = bench.open()
    view = store.view(ANA)
    a, b, c = bench.add(store, "secretish alpha", "shared beta", "remains gamma")
    fact = bench.engram("secretish and shared", kind="fact", sources=(a.id, b.id))
    wide = bench.engram("secretish summary", kind="summary", sources=(fact.id,))
    last = view.after(0, 9, EVERYTHING)[-1][0]
    changes = [Change("add", e.id, f"from {a.id}", engram=e, sources=e.sources) for e in (fact, wide)]
    bench.do(store, [*changes, Change("link", c.id, "", links=(Link(c.id, "about", a.id),))], "sleep",
             cursor=Cursor(last, {"open": [a.id, c.id], a.id: 1}))  # fmt: skip
    erased = store.erase(ANA, [a.id])
    expect(texts(erased.gone) == [a.text, fact.text, wide.text] and not erased.open, f"erased {erased}")
    expect((erased.counts["asked"], erased.counts["derived"]) == (1, 2), f"counts {erased.counts}")
    expect(texts(view.select(EVERYTHING)) == [b.text, c.text], "what is left")
    expect(not view.links([c.id]) and not view.derived([b.id]), "ties to what was erased are left")
    cursor = view.cursor("default")
    expect(cursor.last < view.numbers([b.id])[b.id], "the sources that are left are not handed to the next sleep")
    expect(cursor.state == {"open": [c.id]}, f"the cursor still knows it: {cursor.state}")
    expect(len(view.dense(bench.vector("secretish"), 9, Want()).ids) == 2, "dense still finds it")
    expect(view.lexical(["secretish"], 9, Want()) == [], "lexical still finds it")
    needles = [b"secretish", a.id.encode(), b"remains gamma", b"beta"]
    found = store.scan(needles)
    expect(set(found) == {"remains gamma", "beta"}, f"in the files: {found}")
    expect(store.holds("Remains GAMMA") and not store.holds("secretish"), "holds")
    expect(not store.check(), f"check: {store.check()}")


def a_readonly_store_writes_nothing(bench: Bench) -> None:
    bench.add(bench.open(), "a")
    store = bench.open(readonly=True)
    expect(texts(store.view(ANA).select(Want())) == ["a"], "it cannot be read")
    new = bench.engram("b")
    raises(StoreReadOnlyError, lambda: bench.do(store, [Change("add", new.id, "", engram=new)]), "writing")
    raises(StoreReadOnlyError, lambda: store.erase(ANA, [new.id]), "erasing")
    raises(StoreError, lambda: bench.open("absent.db", readonly=True), "a file that is not there")


def two_stores_on_one_file_see_each_other(bench: Bench) -> None:
    one, two = bench.open(), bench.open()
    (a,) = bench.add(one, "from one")
    bench.add(two, "from two")
    query = bench.vector("from")
    for store in (one, two):
        expect(len(store.view(ANA).select(Want())) == 2, "a record of the other is not seen")
        expect(len(store.view(ANA).dense(query, 9, Want()).ids) == 2, "nor found")
    two.erase(ANA, [a.id])
    expect(len(one.view(ANA).dense(query, 9, EVERYTHING).ids) == 1, "what the other erased is still found")


def the_file_can_be_looked_after(bench: Bench) -> None:
    store = bench.open()
    (a,) = bench.add(store, "a", scope=RUN)
    expect(store.owner(a.id) == RUN and store.owner(new_id()) is None, "owner")
    expect((RUN, 1) in store.scopes(), f"scopes: {store.scopes()}")
    expect(sum(store.size().values()) > 0 and not store.check(), f"size {store.size()}, check {store.check()}")
    store.close()
    raises(StoreError, lambda: store.view(ANA).count(Want()), "reading after close")
    again = bench.open()
    expect(texts(again.view(RUN).select(Want())) == ["a"], "nothing is there after a close")


def what_goes_out_comes_back_whole(bench: Bench) -> None:
    store, other = bench.open(), bench.open("other.db")
    a, b = bench.add(store, "one", "two", scope=RUN)
    fact = bench.engram("both", kind="fact", sources=(a.id, b.id))
    bench.do(store, [Change("add", fact.id, "so", engram=fact, links=(Link(a.id, "next", b.id),), sources=(a.id,))])
    change = Change("update", a.id, "", fields={"attrs": {"x": 1}})
    op = bench.do(store, [change], cursor=Cursor(3, {"open": [a.id]})).op
    bench.do(store, [Change("undo", a.id, "", fields={"attrs": {}})], "undo", undoes=op, params={"op": op})
    view, there = store.view(ANA), other.view(ANA)
    for _ in range(2):
        so_far = Restored()
        with view.snapshot():
            records = [kept for _, kept in view.kept(0, 99)]
            operations = [past for _, past in view.past(0, 99)]
            index = {kept.engram.id: bench.index(kept.engram) for kept in records}
            other.restore(ANA, records, view.links([a.id]), operations, view.bookmarks(), index, so_far)
    expect((so_far.added, so_far.known) == (0, 3), f"restoring again: {so_far}")
    expect(there.select(EVERYTHING) == view.select(EVERYTHING), "records differ")
    expect(there.links([a.id]) == view.links([a.id]), "links differ")
    expect(there.journal() == view.journal() and there.operations() == view.operations(), "the journal differs")
    expect(there.cursor("default") == view.cursor("default"), "the cursor differs")
    stray = store.view(BEN)
    expect(not stray.kept(0, 9) and not stray.past(0, 9) and not stray.bookmarks(), "another scope's goes out")


KEEPING: tuple[Callable[[Bench], None], ...] = (
    another_model_is_a_mismatch,
    reembedding_resumes_and_swaps_at_once,
    rebuilding_resumes_and_changes_nothing,
    erasing_takes_what_is_derived_and_its_bytes,
    a_readonly_store_writes_nothing,
    two_stores_on_one_file_see_each_other,
    the_file_can_be_looked_after,
    what_goes_out_comes_back_whole,
)
