"""LangGraph's store over a memory does what LangGraph's own does, loses nothing, and keeps to its walls."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slowwave import AsyncMemory, Memory
from slowwave.errors import InputError, ScopeError

pytest.importorskip("langgraph.store.base")
from langgraph.store.base import GetOp, InvalidNamespaceError, ListNamespacesOp, MatchCondition, PutOp, SearchOp
from langgraph.store.memory import InMemoryStore

from slowwave.compat.langgraph import SlowwaveStore

DOCS = ("docs", "ana")


@pytest.fixture
def store(memory: Memory) -> SlowwaveStore:
    return SlowwaveStore(memory, app_id="agent")


def test_what_is_put_is_there_with_its_times(store: SlowwaveStore) -> None:
    value = {"text": "Ana lives in Porto", "n": 1, "deep": {"list": [1, None, True]}}
    store.put(DOCS, "home", value)
    item = store.get(DOCS, "home")
    assert item is not None
    assert (item.namespace, item.key, item.value) == (DOCS, "home", value)
    assert item.created_at.tzinfo is not None
    item.value["n"] = 2
    assert store.get(DOCS, "home").value == value, "what was handed out is the caller's own"
    assert store.get(DOCS, "other") is None
    assert store.get(("docs",), "home") is None


def test_a_put_over_a_key_is_a_successor_and_the_old_value_stays_in_the_history(
    store: SlowwaveStore, memory: Memory
) -> None:
    store.put(DOCS, "home", {"text": "Ana lives in Porto"})
    first = store.get(DOCS, "home")
    store.put(DOCS, "home", {"text": "Ana lives in Lisbon", "since": 2024})
    store.put(DOCS, "home", {"text": "Ana lives in Lisbon", "since": 2025})
    item = store.get(DOCS, "home")
    assert item.value == {"text": "Ana lives in Lisbon", "since": 2025}
    assert item.created_at == first.created_at
    assert item.updated_at > first.updated_at
    assert len(store.search(("docs",))) == 1
    held = memory.list(app_id="agent")
    told = [entry.after for entry in memory.history(held[0].id, app_id="agent")]
    assert len(told) >= 3
    assert memory.list(app_id="agent", retired=True)[0].text == "Ana lives in Porto"


def test_a_deleted_item_is_gone_and_undo_brings_it_back(store: SlowwaveStore, memory: Memory) -> None:
    store.put(DOCS, "home", {"text": "Ana lives in Porto"})
    store.delete(DOCS, "home")
    store.delete(DOCS, "never")
    assert store.get(DOCS, "home") is None
    assert store.search(DOCS) == []
    memory.undo(app_id="agent")
    assert store.get(DOCS, "home").value == {"text": "Ana lives in Porto"}
    store.delete(DOCS, "home")
    store.put(DOCS, "home", {"text": "Ana lives in Porto"})
    assert store.get(DOCS, "home").value == {"text": "Ana lives in Porto"}
    assert len(store.search(DOCS)) == 1


def test_equal_values_under_two_keys_outlive_a_night(store: SlowwaveStore, memory: Memory) -> None:
    for key in "abc":
        store.put(DOCS, key, {"text": "I live in Porto, near the river."})
    memory.sleep(app_id="agent")
    assert sorted(item.key for item in store.search(DOCS)) == ["a", "b", "c"]
    store.delete(DOCS, "b")
    store.put(DOCS, "c", {"text": "I live in Lisbon."})
    memory.sleep(app_id="agent")
    assert {item.key: item.value["text"] for item in store.search(DOCS)} == {
        "a": "I live in Porto, near the river.",
        "c": "I live in Lisbon.",
    }


def test_search_finds_by_words_with_filters_and_pages(open_memory: Any) -> None:
    store = SlowwaveStore(open_memory(embedder=None), app_id="agent")
    store.put(("m", "ana"), "1", {"text": "The cello concert was in Porto", "stars": 5})
    store.put(("m", "ana"), "2", {"text": "Bread with cheese for breakfast", "stars": 3})
    store.put(("m", "ben"), "3", {"text": "He plays the cello badly", "stars": 1})
    store.put(("m", "ben"), "4", {"text": "A cello in the attic"}, index=False)
    found = store.search(("m",), query="who plays the cello?")
    assert found[0].key in ("1", "3")
    assert found[0].score is not None
    assert "4" not in [item.key for item in found]
    assert store.get(("m", "ben"), "4") is not None
    assert [item.key for item in store.search(("m", "ana"), query="cello", limit=1)] == ["1"]
    assert [item.key for item in store.search(("m",), query="cello", filter={"stars": {"$lt": 2}})] == ["3"]
    assert [item.key for item in store.search(("m",), filter={"stars": {"$gte": 3}}, limit=1, offset=1)] == ["2"]
    with pytest.raises(ValueError, match="Unsupported operator"):
        store.search(("m",), filter={"stars": {"$near": 2}})


def test_fields_say_what_is_searched(memory: Memory) -> None:
    store = SlowwaveStore(memory, fields=["title", "parts[*].text"], app_id="agent")
    store.put(("m",), "1", {"title": "Rivers", "parts": [{"text": "Douro"}, {"text": "Tejo"}], "secret": "x9"})
    store.put(("m",), "2", {"title": "Rivers", "secret": "only this"}, index=["secret"])
    assert [e.text for e in memory.list(app_id="agent")] == ["Rivers\nDouro\nTejo", "only this"]


def test_namespaces_of_the_wrong_form_are_refused_at_every_door(store: SlowwaveStore) -> None:
    for wrong in ((), ("a.b",), ("",), ("langgraph", "x")):
        with pytest.raises(InvalidNamespaceError):
            store.put(wrong, "k", {"v": "1"})
    with pytest.raises(InvalidNamespaceError):
        store.batch([PutOp(("a.b",), "k", {"v": "1"})])
    with pytest.raises(NotImplementedError):
        store.put(("a",), "k", {"v": "1"}, ttl=5)
    with pytest.raises(InputError, match="JSON"):
        store.put(("a",), "k", {"v": object()})
    with pytest.raises(ValueError, match="Unknown operation"):
        store.batch(["get"])  # type: ignore[list-item]


def test_walls_turn_labels_into_scopes(memory: Memory) -> None:
    store = SlowwaveStore(memory, walls=("memories", "{user_id}"))
    store.put(("memories", "ana"), "home", {"text": "Porto"})
    store.put(("memories", "ben", "deep"), "home", {"text": "Oslo"})
    assert [e.text for e in memory.list(user_id="ana")] == ["Porto"]
    assert [i.value["text"] for i in store.search(("memories", "ben"))] == ["Oslo"]
    assert store.get(("memories", "ana", "deep"), "home") is None
    assert store.list_namespaces(prefix=("memories", "ben")) == [("memories", "ben", "deep")]
    for reach in (("memories",), (), ("other", "ana")):
        with pytest.raises(ScopeError):
            store.search(reach)
    with pytest.raises(ScopeError):
        store.list_namespaces()
    with pytest.raises(ScopeError):
        store.list_namespaces(prefix=("memories", "*"))
    with pytest.raises(InputError, match="user_id"):
        SlowwaveStore(memory, walls=("{user}",))


def test_two_stores_of_two_scopes_share_nothing(memory: Memory) -> None:
    ana, ben = SlowwaveStore(memory, user_id="ana"), SlowwaveStore(memory, user_id="ben")
    ana.put(("m",), "k", {"text": "Porto"})
    assert ben.get(("m",), "k") is None
    ben.put(("m",), "k", {"text": "Oslo"})
    assert ana.get(("m",), "k").value == {"text": "Porto"}
    ben.delete(("m",), "k")
    assert len(ana.search(())) == 1
    assert ben.list_namespaces() == []


def test_the_async_forms_do_the_same(memory: Memory) -> None:
    async def go() -> None:
        whole = AsyncMemory.__new__(AsyncMemory)
        whole.memory = memory
        store = SlowwaveStore(whole, app_id="agent")
        await store.aput(DOCS, "k", {"text": "Porto"})
        assert (await store.aget(DOCS, "k")).value == {"text": "Porto"}
        both = await store.abatch([GetOp(DOCS, "k"), SearchOp(("docs",), None, 10, 0, "Porto")])
        assert both[0].key == both[1][0].key == "k"
        assert await store.alist_namespaces(max_depth=1) == [("docs",)]
        await store.adelete(DOCS, "k")
        assert await store.asearch(("docs",)) == []
        await asyncio.gather(*(store.aput(DOCS, "raced", {"text": f"value {n}"}) for n in range(6)))
        assert len(await store.asearch(("docs",))) == 1

    asyncio.run(go())


LABELS = st.sampled_from(["a", "b", "c"])
SPACES = st.lists(LABELS, min_size=1, max_size=3).map(tuple)
KEYS = st.sampled_from(["k", "l", "a:b", '"'])
VALUES = st.dictionaries(st.sampled_from(["x", "y"]), st.integers(0, 3) | st.sampled_from(["s", "t"]), min_size=1)
CONDITIONS = st.tuples(
    st.sampled_from(["prefix", "suffix"]), st.lists(LABELS | st.just("*"), min_size=1, max_size=2).map(tuple)
).map(lambda given: MatchCondition(*given))
NUMBERS = st.sampled_from([None, {"x": 1}, {"x": {"$ne": 2}}, {"y": "s", "x": 2}])
OPS = st.one_of(
    st.tuples(SPACES, KEYS, VALUES | st.none()).map(lambda given: PutOp(*given)),
    st.tuples(SPACES, KEYS).map(lambda given: GetOp(*given)),
    st.tuples(st.lists(LABELS, max_size=2).map(tuple), NUMBERS, st.just(100)).map(lambda given: SearchOp(*given)),
    st.tuples(
        st.none() | st.lists(CONDITIONS, min_size=1, max_size=2).map(tuple),
        st.none() | st.integers(1, 3),
        st.integers(1, 5),
        st.integers(0, 2),
    ).map(lambda given: ListNamespacesOp(*given)),
)


def shape(result: Any) -> Any:
    if isinstance(result, list) and result and not isinstance(result[0], tuple):
        return sorted((item.namespace, item.key, sorted(item.value.items(), key=str)) for item in result)
    return (result.namespace, result.key, result.value) if hasattr(result, "key") else result


@settings(max_examples=25)
@given(st.lists(st.lists(OPS, min_size=1, max_size=4), min_size=1, max_size=12))
def test_any_script_gets_the_answers_that_langgraphs_own_store_gives(script: list[list[Any]]) -> None:
    with Memory(":memory:", embedder="fake", durable=False) as memory:
        mine, theirs = SlowwaveStore(memory, app_id="agent"), InMemoryStore()
        for ops in script:
            own, other = mine.batch(ops), theirs.batch(ops)
            for op, a, b in zip(ops, own, other, strict=True):
                if isinstance(op, ListNamespacesOp):  # theirs keeps namespaces that are empty by now, PostgreSQL's not
                    live = {item.namespace for item in theirs.search((), limit=1000)} | {
                        put.namespace for put in ops if isinstance(put, PutOp)
                    }
                    if any(ns not in live for ns in theirs.list_namespaces(limit=1000)):
                        continue
                    if any(isinstance(put, PutOp) for put in ops):
                        continue
                assert shape(a) == shape(b), op


def test_a_missing_package_names_its_command() -> None:
    script = (
        "import sys; sys.modules['langgraph.store.base'] = None\n"
        "try:\n    import slowwave.compat.langgraph\nexcept ImportError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "pip install 'slowwave[langgraph]'" in done.stdout
