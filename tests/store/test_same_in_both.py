"""SQLite and PostgreSQL give the same: any records, filters and queries; scores of words and vectors alike."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from postgres_server import Server
from slowwave.models.base import FakeEmbedder
from slowwave.records import Change, Engram, Scope
from slowwave.store.base import Index, Operation, Store, Want
from slowwave.store.filters import parse
from slowwave.store.ids import new_id
from slowwave.store.sqlite import SqliteStore

NOW = datetime(2024, 5, 1, tzinfo=UTC)
SCOPES = [
    Scope(user_id="ana"), Scope(user_id="ana", run_id="r"), Scope(user_id="ben", agent_id="bot"), Scope(agent_id="bot"),
]  # fmt: skip
TEXT = """wine Wines café cafe naïve running runs ran don't state-of-the-art Porto Lisboa Straße 🙂 42 3.14 x1 the of
and Ελλάδα мир 東京 e\u0301t\u00e9 l'hôtel O'Brien C++ foo_bar générale happily happiness"""
WORDS = TEXT.split()
PHRASES = ["red wine", "the wine", "state of the art", '"', "", "ran the", "café running", "zebra"]
TERMS = [*WORDS, *PHRASES]
FILTERS: list[dict[str, Any]] = [
    {"speaker": "Ana"}, {"speaker": {"icontains": "STRASSE"}}, {"n": {"gte": 3}}, {"n": {"lt": 2.5}}, {"n": 2**53 + 1},
    {"tags": {"contains": "wine"}}, {"tags": {"icontains": "CAFÉ"}}, {"text": {"icontains": "straSSe"}}, {"yes": True},
    {"NOT": {"speaker": "Ana"}}, {"OR": [{"n": 1}, {"tags": "*"}]}, {"at": {"gte": "2024-04-20", "lt": "2024-05-10"}},
    {"absent": None}, {"n": {"nin": [1, 2, 3]}}, {"text": {"gt": "m"}}, {"session": "s1"}, {"run_id": {"ne": "r"}},
    {"strength": {"lt": 1}}, {"n": {"in": [0.1, 1e23, "x", None]}}, {"n": {"gt": 2**53}},
]  # fmt: skip
NUMBERS = [0, 1, 2, 3, 0.1, 2.5, 2**53, 2**53 + 1, float(2**53), 1e23, 2**62, -1, 1e-320]


@pytest.fixture(scope="module", params=[0, 1, 2])
def stores(
    request: pytest.FixtureRequest, server: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Store, Store, random.Random]]:
    from slowwave.store.postgres import PostgresStore

    rng = random.Random(request.param)
    folder: Path = tmp_path_factory.mktemp("both")
    both: tuple[Store, Store] = (
        SqliteStore(folder / "a.db", durable=False), PostgresStore(server.tenant(), durable=False)
    )  # fmt: skip
    embedder = FakeEmbedder(64)
    for batch in range(5):
        for scope in SCOPES:
            engrams = [engram(rng, scope) for _ in range(rng.randint(1, 40))]
            vectors = embedder.embed([one.text for one in engrams])
            start = batch * 10**12
            index = {
                one.id: Index(rng.randbytes(16), one.text, vectors[n], ((start, start + rng.randint(1, 10**12)),))
                for n, one in enumerate(engrams)
            }
            changes = [Change("add", one.id, "", engram=one) for one in engrams]
            faded = [Change("weaken", one.id, "", fields={"strength": 0.5}) for one in engrams[:2]]
            for store in both:
                store.set_model(embedder.name, embedder.dim)
                store.apply(
                    Operation(new_id(), "add", scope, NOW + batch * timedelta(days=1)), [*changes, *faded], index
                )
    yield (*both, rng)
    for store in both:
        store.close()


def engram(rng: random.Random, scope: Scope) -> Engram:
    attrs: dict[str, Any] = {}
    if rng.random() < 0.6:
        attrs["n"] = rng.choice(NUMBERS)
    if rng.random() < 0.4:
        attrs["tags"] = rng.sample([*WORDS, 1, None], rng.randint(0, 3))
    if rng.random() < 0.3:
        attrs["yes"] = rng.choice([True, False, 1, "true"])
    if rng.random() < 0.7:
        attrs["speaker"] = rng.choice(["Ana", "Ben", "Frau Straße"])
    if rng.random() < 0.5:
        attrs["session"] = rng.choice(["s1", "s2"])
    at = NOW + timedelta(days=rng.randint(-30, 30))
    return Engram(
        new_id(), rng.choice(["episode", "fact"]), " ".join(rng.choices(WORDS, k=rng.randint(1, 25))), scope, at, NOW,
        until=at + timedelta(days=5) if rng.random() < 0.3 else None, attrs=MappingProxyType(attrs),
        retired=NOW if rng.random() < 0.1 else None, retired_why="forgotten" if rng.random() < 0.1 else None,
    )  # fmt: skip


def wants(rng: random.Random) -> list[Want]:
    made = [Want(), Want(retired=True), Want(kinds=("fact",)), Want(at=NOW), Want(as_of=NOW + timedelta(days=2))]
    made += [Want(where=parse(one), retired=rng.random() < 0.5) for one in FILTERS]
    return made + [Want(where=parse({"AND": rng.sample(FILTERS, 2)}), at=NOW) for _ in range(10)]


def names(store: Store, scope: Scope) -> dict[int, str]:
    view = store.view(scope)
    return {n: one.id for n, one in view.after(0, 100_000, Want(retired=True))}


def test_the_same_records_pass_any_filter(stores: tuple[Store, Store, random.Random]) -> None:
    one, other, rng = stores
    for scope in SCOPES:
        for want in wants(rng):
            left, right = (store.view(scope).select(want) for store in (one, other))
            assert left == right, want
            assert one.view(scope).count(want) == other.view(scope).count(want) == len(left)


def test_words_score_alike(stores: tuple[Store, Store, random.Random]) -> None:
    one, other, rng = stores
    for scope in SCOPES:
        left_names, right_names = names(one, scope), names(other, scope)
        left_count, right_count = (store.view(scope).document_frequency(TERMS) for store in (one, other))
        assert left_count == right_count
        for _ in range(40):
            terms, want = rng.sample(TERMS, rng.randint(1, 5)), rng.choice(wants(rng))
            left = {left_names[n]: s for n, s in one.view(scope).lexical(terms, 10_000, want)}
            right = {right_names[n]: s for n, s in other.view(scope).lexical(terms, 10_000, want)}
            assert left.keys() == right.keys(), terms
            assert np.allclose(list(left.values()), [right[name] for name in left], rtol=1e-6, atol=1e-12), terms
            best = [right_names[n] for n, _ in other.view(scope).lexical(terms, 5, want)]
            assert best == [left_names[n] for n, _ in one.view(scope).lexical(terms, 5, want)] or len(
                {round(s, 9) for s in left.values()}
            ) < len(left), terms


def test_vectors_score_alike(stores: tuple[Store, Store, random.Random]) -> None:
    one, other, rng = stores
    embedder = FakeEmbedder(64)
    for scope in SCOPES:
        left_names, right_names = names(one, scope), names(other, scope)
        for _ in range(15):
            query = embedder.embed([" ".join(rng.sample(WORDS, 3))])[0]
            want = rng.choice(wants(rng))
            left, right = (store.view(scope).dense(query, 10_000, want) for store in (one, other))
            assert {left_names[n] for n in left.ids.tolist()} == {right_names[n] for n in right.ids.tolist()}
            assert np.allclose(left.scores, right.scores, atol=1e-6)
            assert np.isclose(left.mean, right.mean, atol=1e-6)
            assert np.isclose(left.std, right.std, atol=1e-6)


def test_times_neighbours_and_counts_are_alike(stores: tuple[Store, Store, random.Random]) -> None:
    one, other, _ = stores
    for scope in SCOPES:
        left_names, right_names = names(one, scope), names(other, scope)
        for start in range(0, 6 * 10**12, 10**12):
            left = {left_names[n] for n in one.view(scope).during(start, start + 10**12, 1000, Want())}
            right = {right_names[n] for n in other.view(scope).during(start, start + 10**12, 1000, Want())}
            assert left == right
        rows = [
            store.view(scope).rows(list(of)[:20], Want()) for store, of in ((one, left_names), (other, right_names))
        ]
        around = [
            {of[n] for n in store.view(scope).neighbours(list(some.values()), 2).values()}
            for store, some, of in zip((one, other), rows, (left_names, right_names), strict=True)
        ]
        assert around[0] == around[1]
        assert one.view(scope).stats() == other.view(scope).stats()
        assert one.view(scope).speakers() == other.view(scope).speakers()
