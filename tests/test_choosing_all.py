"""Nothing chooses a whole scope by accident: a filter that asks for nothing is refused by forget and erase."""

from __future__ import annotations

import pytest

from slowwave import Memory
from slowwave.errors import InputError
from slowwave.store.filters import is_always, matches, parse

EVERYTHING = [
    {},
    {"AND": []},
    {"AND": [{}]},
    {"AND": [{}, {"AND": []}]},
    {"NOT": {"OR": []}},
    {"NOT": []},
    {"OR": [{"kind": "fact"}, {}]},
    {"kind": {"nin": []}},
    {"user_id": "ana"},
    {"user_id": "ana", "AND": []},
]


@pytest.fixture
def memory():
    with Memory(":memory:", embedder="fake") as memory:
        memory.add(["one", "two", "three"], user_id="ana")
        yield memory


@pytest.mark.parametrize("filters", EVERYTHING, ids=str)
@pytest.mark.parametrize("verb", ["forget", "erase"])
def test_a_filter_that_asks_for_nothing_chooses_nothing(memory, verb, filters):
    with pytest.raises(InputError, match="all=True"):
        getattr(memory, verb)(filters=filters, user_id="ana")
    assert len(memory.list(user_id="ana")) == 3
    assert getattr(memory, verb)(all=True, user_id="ana")
    assert len(memory.list(user_id="ana")) == 0


@pytest.mark.parametrize("filters", EVERYTHING[:8], ids=str)
def test_what_is_always_true_matches_and_its_opposite_never_does(memory, filters):
    engram = memory.list(user_id="ana")[0]
    tree = parse(filters)
    assert is_always(tree, True)
    assert matches(tree, engram)
    opposite = parse({"NOT": filters or {"AND": []}})
    assert is_always(opposite, False)
    assert not matches(opposite, engram)


def test_a_filter_that_asks_for_something_is_taken(memory):
    assert len(memory.forget(filters={"AND": [{}, {"text": "two"}]}, user_id="ana")) == 1
    assert [engram.text for engram in memory.list(user_id="ana")] == ["one", "three"]


def test_the_scope_may_stand_in_the_filter(memory):
    for filters in ({"user_id": "ana"}, {"user_id": {"eq": "ana"}}, {"AND": [{"user_id": "ana"}, {"text": "two"}]}):
        assert memory.list(filters=filters)
    with pytest.raises(InputError, match="must be one value"):
        memory.list(filters={"OR": [{"user_id": "ana"}, {"user_id": "ben"}]})


def test_an_argument_of_another_library_is_answered_with_ours(memory):
    with pytest.raises(InputError, match="did you mean top_k"):
        memory.search("two", user_id="ana", limit=3)
