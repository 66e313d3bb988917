"""A filter means the same in SQL as in Python, for any records and any filter; nonsense is told what is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slowwave.errors import FilterError
from slowwave.records import Change, Engram, Scope
from slowwave.store import open_store
from slowwave.store.base import Index, Operation, Want
from slowwave.store.filters import ALIASES, COLUMNS, MAX_VALUES, OPERATORS, TIMES, matches, parse
from slowwave.store.ids import new_id
from slowwave.store.sql_store import SqlStore

OWNER = Scope(user_id="u")
NOW = datetime(2024, 5, 1, tzinfo=UTC)
WORDS = ["", "a", "A", "ab", "ß", "SS", "İ", "é", "e\u0301", "x' OR 1=1 --", '"', "%", "_", "*", "wine", "Wine", "🙂"]
NUMBERS = [0, -0.0, 1, 1.0, -1, 2**53, 2**53 + 1, 2**62, 0.1, 0.30000000000000004, 1e-320, 1.7976931348623157e308]
texts = st.sampled_from(WORDS) | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6)
numbers = (
    st.sampled_from(NUMBERS) | st.integers(-(2**63) + 1, 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
)
values = texts | numbers | st.booleans() | st.none()
names = st.sampled_from(["n", "tags", "x.y", "é", "place", "select"])
moments = st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 28), timezones=st.just(UTC))
near = st.sampled_from([NOW + timedelta(days=n, microseconds=n) for n in range(-2, 3)]) | moments
attrs = st.dictionaries(
    names, values | st.lists(values, max_size=3) | st.dictionaries(texts, values, max_size=2), max_size=4
)


@st.composite
def engrams(draw: st.DrawFn) -> Engram:
    at = draw(near)
    own = draw(attrs)
    if (speaker := draw(st.none() | texts)) is not None:
        own["speaker"] = speaker
    if (session := draw(st.none() | texts)) is not None:
        own["session"] = session
    return Engram(
        id=new_id(),
        kind=draw(st.sampled_from(["episode", "fact", "note"])),
        text=draw(texts) or "-",
        scope=Scope(user_id="u", run_id=draw(st.sampled_from([None, "r", "R"]))),
        at=at,
        recorded=draw(near),
        until=draw(st.none() | st.just(at + timedelta(days=1))),
        closed=draw(st.none() | st.just(NOW)),
        retired=draw(st.none() | st.just(NOW)),
        strength=draw(st.sampled_from([1.0, 0.5, 0.25])),
        attrs=MappingProxyType(own),
        origin=draw(st.none() | texts),
    )


fields = st.sampled_from([*COLUMNS, *ALIASES, "n", "tags", "metadata.place", "attrs.é", "select", "absent"])
operators = st.sampled_from(OPERATORS)


@st.composite
def leaves(draw: st.DrawFn) -> dict[str, Any]:
    name = draw(fields)
    value: Any = near if ALIASES.get(name, name) in TIMES else values
    if draw(st.integers(0, 5)) == 0:
        return {name: "*"}
    out: dict[str, Any] = {}
    for operator in draw(st.lists(operators, min_size=1, max_size=2)):
        if operator in ("in", "nin"):
            out[operator] = draw(st.lists(value, max_size=3))
        elif operator in ("contains", "icontains"):
            out[operator] = draw(texts) if ALIASES.get(name, name) not in TIMES else draw(near).isoformat()
        else:
            out[operator] = draw(value)
    return {name: out}


trees = st.recursive(
    leaves(),
    lambda inner: st.builds(
        lambda word, parts: {word: parts}, st.sampled_from(["AND", "OR", "NOT"]), st.lists(inner, max_size=3)
    ),
    max_leaves=6,
)


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def store(kind: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqlStore]:
    postgres = kind == "postgres"
    where = request.getfixturevalue("server").tenant() if postgres else tmp_path_factory.mktemp("filters") / "a.db"
    made = open_store(where, durable=False)
    assert isinstance(made, SqlStore)
    yield made
    made.close()


def fill(store: SqlStore, many: list[Engram]) -> None:
    with store.connections.write() as connection:  # quicker than an erasure, which rewrites the file
        for table in ("journal", "operations", "words", "speakers", "engrams", "sessions"):
            connection.execute(f"DELETE FROM {table}")
    changes = [Change("add", engram.id, "", engram=engram) for engram in many]
    index = {engram.id: Index(engram.id[-16:].encode(), engram.text) for engram in many}
    store.apply(Operation(new_id(), "add", OWNER, NOW), changes, index)


def test_sql_chooses_what_matches_says(store: SqlStore, kind: str) -> None:
    @settings(max_examples=150 if kind == "sqlite" else 40)
    @given(many=st.lists(engrams(), min_size=1, max_size=6), given_filters=st.lists(trees, min_size=1, max_size=6))
    def holds(many: list[Engram], given_filters: list[dict[str, Any]]) -> None:
        chosen_alike(store, many, given_filters)

    holds()


def chosen_alike(store: SqlStore, many: list[Engram], given_filters: list[dict[str, Any]]) -> None:
    fill(store, many)
    view = store.view(OWNER)
    for given_filter in given_filters:
        tree = parse(given_filter)
        want = Want(where=tree, retired=True)
        chosen = {engram.id for engram in view.select(want)}
        assert chosen == {engram.id for engram in many if matches(tree, engram)}, given_filter
        assert view.count(want) == len(chosen)
        narrow = store.view(Scope(user_id="u", run_id="r")).select(want)
        assert all(engram.scope.run_id == "r" for engram in narrow)
        assert store.view(Scope(user_id="v")).count(want) == 0


def test_what_was_read_back_matches_as_what_was_written(store: SqlStore) -> None:
    given_attrs = {"tags": ["Wine", {"a": [1, None]}], "n": 0.1, "é": "x' OR 1=1", "yes": True}
    one = Engram(new_id(), "note", "t", OWNER, NOW, NOW, attrs=MappingProxyType(given_attrs))
    fill(store, [one])
    for given_filter, due in [
        ({"tags": {"contains": "Wine"}}, 1), ({"tags": {"contains": "wine"}}, 0), ({"tags": {"icontains": "wine"}}, 1),
        ({"n": 0.1}, 1), ({"n": "0.1"}, 0), ({"yes": True}, 1), ({"yes": 1}, 0), ({"é": {"contains": "' OR"}}, 1),
        ({"absent": None}, 1), ({"absent": {"ne": 1}}, 1), ({"absent": {"gt": 0}}, 0), ({"at": "2024-05-01"}, 1),
        ({"user_id": "v"}, 0), ({"NOT": {"user_id": "v"}}, 1), ({}, 1), ({"AND": []}, 1), ({"OR": []}, 0),
    ]:  # fmt: skip
        assert store.view(OWNER).count(Want(where=parse(given_filter))) == due, given_filter


def test_a_wide_filter_is_taken(store: SqlStore) -> None:
    fill(store, [Engram(new_id(), "note", "t", OWNER, NOW, NOW, attrs=MappingProxyType({"n": 7}))])
    view = store.view(OWNER)
    assert view.count(Want(where=parse({"n": {"in": list(range(MAX_VALUES))}}))) == 1
    assert view.count(Want(where=parse({"OR": [{"n": n} for n in range(MAX_VALUES)]}))) == 1
    assert view.count(Want(where=parse({"AND": [{"n": {"ne": -n - 1}} for n in range(MAX_VALUES)]}))) == 1
    assert view.count(Want(where=parse({"text": {"nin": ["x"] * MAX_VALUES}}))) == 1


deep: dict[str, Any] = {"n": 1}
lists: list[Any] = []
for _ in range(5000):
    deep, lists = {"NOT": deep}, [lists]


@pytest.mark.parametrize(
    ("nonsense", "said"),
    [
        ("speaker", "must be a dictionary"), ([], "must be a dictionary"), ({1: 2}, "must be a text"),
        ({"n": {}}, "names no operator"), ({"n": {"like": 1}}, "'like'"), ({"n": {"in": 1}}, "takes a list"),
        ({"n": {"eq": [1]}}, "takes one value"), ({"n": {"contains": 1}}, "takes a text"), ({"OR": 5}, "dictionary"),
        ({"OR": ["x"]}, "dictionary"), ({"n": float("nan")}, "nan"), ({"n": float("inf")}, "inf"),
        ({"n": 2**70}, str(2**70)), ({"n": object()}, "object"), ({"n": b"x"}, "b'x'"), ({'a"b': 1}, "not a name"),
        ({"a\\b": 1}, "not a name"), ({"a\0b": 1}, "not a name"), ({"\ud800": 1}, "not a name"),
        ({"": 1}, "not a name"), ({"OR": lists}, "dictionary"), ({"n": {"eq": lists}}, "takes one value"),
        ({"metadata.": 1}, "not a name"), ({"n": "\ud800"}, "not valid Unicode"), ({"at": "yesterday"}, "ISO 8601"),
        ({"at": "0000-01-01"}, "ISO 8601"), ({"at": True}, "True"), ({"at": 1e30}, "outside the years"),
        (deep, "nested deeper"), ({"n": {"in": list(range(MAX_VALUES + 1))}}, "more than"),
        ({"OR": [{"n": 1}] * (MAX_VALUES + 1)}, "more than"),
    ],
)  # fmt: skip
def test_nonsense_is_told_what_is_wrong(nonsense: Any, said: str) -> None:
    with pytest.raises(FilterError, match=r"(?s).*") as caught:
        parse(nonsense)
    assert said in str(caught.value)
    assert len(str(caught.value)) < 300
