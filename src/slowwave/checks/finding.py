"""What every store must hold when it is searched: by likeness, by words, by time, by place in a session."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from types import MappingProxyType

import numpy as np

from slowwave.checks.bench import ANA, BEN, DAY, EVERYTHING, RUN, START, Bench, expect, texts
from slowwave.records import Change
from slowwave.store.base import Operation, Row, Want
from slowwave.store.clock import to_micros
from slowwave.store.ids import new_id


def dense_search_orders_by_likeness(bench: Bench) -> None:
    store = bench.open()
    view = store.view(ANA)
    bench.add(store, "red wine from Lisbon", "a bicycle with two wheels", "white wine", *map(str, range(20)))
    query = bench.vector("red wine from Lisbon")
    found = view.dense(query, 3, Want())
    best = view.rows(found.ids.tolist(), EVERYTHING)[int(found.ids[0])]
    expect(best.text == "red wine from Lisbon", f"the same text is not first, but {best.text!r}")
    expect(len(found.ids) == 3 and list(found.scores) == sorted(found.scores, reverse=True), "the order of dense")
    again = view.cosines(query, found.ids.tolist())
    expect(np.allclose([again[n] for n in found.ids.tolist()], found.scores, atol=1e-5), "cosines and dense differ")
    vectors = view.vectors(found.ids.tolist())
    expect(vectors[int(found.ids[0])] @ query > 0.99, "the vector kept is not the one given")
    bench.add(store, "red wine from Lisbon, again")
    texts_ = {row.text for row in view.rows(view.dense(query, 2, Want()).ids.tolist(), EVERYTHING).values()}
    expect("red wine from Lisbon, again" in texts_, "what was just added is not found")
    ns = found.ids.tolist()
    older = view.nearest_older(ns, 2)
    expect(all(m < n for n, pairs in older.items() for m, _ in pairs), "nearest_older gives later rows")


def lexical_search_finds_stems_and_takes_quoted_words(bench: Bench) -> None:
    store = bench.open()
    view = store.view(ANA)
    bench.add(store, "She was running to Žilina", "runs and runs and runs", "nothing of it")
    bench.add(store, "running elsewhere", scope=BEN)
    best = view.rows([n for n, _ in view.lexical(["run"], 9, Want())], EVERYTHING)
    expect({row.text for row in best.values()} == {"She was running to Žilina", "runs and runs and runs"}, "stems")
    expect(view.lexical(["run"], 1, Want())[0][0] in best, "k")
    scores = [score for _, score in view.lexical(["run"], 9, Want())]
    expect(scores == sorted(scores, reverse=True) and scores[-1] > 0, f"BM25 scores are {scores}")
    total, counts = view.document_frequency(["run", "zilina", "absent"])
    expect((total, counts) == (3, {"run": 2, "zilina": 1, "absent": 0}), f"document_frequency: {total}, {counts}")


def during_finds_what_happened_and_what_is_spoken_of(bench: Bench) -> None:
    store = bench.open()
    view = store.view(ANA)
    may = (to_micros(datetime(2023, 5, 1, tzinfo=UTC)), to_micros(datetime(2023, 6, 1, tzinfo=UTC)))
    bench.add(store, "happened in May", at=datetime(2023, 5, 31, 23, 59, tzinfo=UTC))
    bench.add(store, "happened in June", at=datetime(2023, 6, 1, tzinfo=UTC))
    spoken = bench.engram("tells of May")
    index = {spoken.id: bench.index(spoken, (may,))}
    change = Change("add", spoken.id, "", engram=spoken)
    store.apply(Operation(new_id(), "add", ANA, bench.now), [change], index)
    found = {row.text for row in view.rows(view.during(*may, 9, Want()), EVERYTHING).values()}
    expect(found == {"happened in May", "tells of May"}, f"during May: {found}")
    n = view.numbers([spoken.id])[spoken.id]
    expect(view.times([n]) == {n: [may]}, f"times: {view.times([n])}")
    expect(not store.view(BEN).times([n]), "times of another scope's")


def turns_of_a_session_are_neighbours(bench: Bench) -> None:
    store = bench.open()
    view = store.view(ANA)
    said = bench.add(store, "one", "two", "three", attrs=MappingProxyType({"session": "s"}))
    bench.add(store, "else", attrs=MappingProxyType({"session": "t"}))
    middle = list(view.rows(list(view.numbers([said[1].id]).values()), EVERYTHING).values())
    expect(isinstance(middle[0], Row) and middle[0].turn == 2, f"the second turn is {middle[0]}")
    around = view.rows(list(view.neighbours(middle, 1).values()), EVERYTHING)
    expect({row.text for row in around.values()} == {"one", "two", "three"}, f"neighbours: {around}")
    bench.do(store, [Change("forget", said[0].id, "", fields={"retired": START, "retired_why": "forgotten"})])
    around = view.rows(list(view.neighbours(middle, 1).values()), EVERYTHING)
    expect({row.text for row in around.values()} == {"two", "three"}, "a retired turn is a neighbour")


def what_fades_next_is_known(bench: Bench) -> None:
    store = bench.open()
    bench.add(store, "soon", due=START + DAY)
    bench.add(store, "late", due=START + 9 * DAY)
    bench.add(store, "never", due=None)
    (gone,) = bench.add(store, "retired", due=START)
    bench.do(store, [Change("forget", gone.id, "", fields={"retired": START, "retired_why": "forgotten"})])
    expect(texts(store.view(ANA).due(START + 5 * DAY, 9)) == ["soon"], "due")
    expect(texts(store.view(ANA).due(START + 99 * DAY, 1)) == ["soon"], "the limit of due")


def facts_are_found_by_origin_and_content(bench: Bench) -> None:
    store = bench.open()
    view = store.view(ANA)
    one, two = bench.add(store, "one", "two", scope=RUN, origin="fact:a")
    found = view.find_origin(["fact:a", "fact:b"])
    expect({key: texts(v) for key, v in found.items()} == {"fact:a": ["one", "two"]}, f"find_origin: {found}")
    keys = [bench.index(one).content, bench.index(two).content]
    held = {key: e.text for key, e in view.find_content(RUN, keys).items()}
    expect(held == dict(zip(keys, ("one", "two"), strict=True)), f"find_content: {held}")
    expect(view.find_content(ANA, keys) == {}, "find_content is not of exactly the scope")
    stats = view.stats()
    expect((stats["records"], stats["in_view"], stats["kinds"]) == (2, 2, {"episode": 2}), f"stats: {stats}")


FINDING: tuple[Callable[[Bench], None], ...] = (
    dense_search_orders_by_likeness,
    lexical_search_finds_stems_and_takes_quoted_words,
    during_finds_what_happened_and_what_is_spoken_of,
    turns_of_a_session_are_neighbours,
    what_fades_next_is_known,
    facts_are_found_by_origin_and_content,
)
