"""Chains of supersedes links: what holds now, and what ended right behind it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from slowwave import Memory
from slowwave.ops.succession import BEHIND, newest_first, successors
from slowwave.records import Scope
from slowwave.store.base import View, Want

ANA: Any = {"user_id": "ana"}
START = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.fixture
def kept() -> Iterator[Callable[..., tuple[View, dict[str, str], dict[str, int]]]]:
    """Makes records a, b, c, ... that end where told, and ties them."""
    with Memory(":memory:", embedder="fake") as memory:

        def make(ended: str, ties: list[tuple[str, str]], gone: str = "") -> Any:
            ids: dict[str, str] = {}
            for n, name in enumerate("abcd"):
                until = START + timedelta(days=n + 1) if name in ended else None
                item = {"content": f"value {name}", "at": (START + timedelta(days=n)).isoformat()}
                ids[name] = memory.add([item], until=until, **ANA).ids[0]
            for new, old in ties:
                memory.link(ids[new], "supersedes", ids[old], **ANA)
            if gone:
                memory.forget([ids[name] for name in gone], **ANA)
            view = memory.store.view(Scope(user_id="ana"))
            numbers = view.numbers(list(ids.values()))
            return view, ids, {name: numbers[id_] for name, id_ in ids.items()}

        yield make


def test_a_chain_is_followed_to_its_end(kept: Any) -> None:
    view, ids, _ = kept("ab", [("b", "a"), ("c", "b")])
    found = successors(view, [ids["a"], ids["b"], ids["d"]])
    assert found == {ids["a"]: ids["c"], ids["b"]: ids["c"]}


def test_a_circle_ends(kept: Any) -> None:
    view, ids, _ = kept("ab", [("b", "a"), ("a", "b")])
    assert successors(view, [ids["a"]]) == {ids["a"]: ids["b"]}


def test_what_ended_comes_right_behind_what_holds_and_brings_it_in(kept: Any) -> None:
    view, _, n = kept("ab", [("b", "a"), ("c", "b")])
    out = newest_first(view, {n["a"]: 0.9, n["b"]: 0.5, n["d"]: 0.7}, Want())
    assert out[n["c"]] == 0.9
    assert out[n["a"]] == pytest.approx(BEHIND * 0.9)
    assert out[n["b"]] == pytest.approx(BEHIND * 0.5)
    assert sorted(out, key=lambda m: -out[m])[:2] == [n["c"], n["a"]]


def test_a_filter_holds_for_what_is_brought_in(kept: Any) -> None:
    view, _, n = kept("a", [("c", "a")])
    then = Want(at=START + timedelta(hours=1))
    assert set(newest_first(view, {n["a"]: 0.9}, then)) == {n["a"]}


def test_without_a_successor_in_view_it_counts_half(kept: Any) -> None:
    view, _, n = kept("a", [("c", "a")], gone="c")
    assert newest_first(view, {n["a"]: 0.8, n["d"]: 0.3}, Want()) == {n["d"]: 0.3, n["a"]: 0.4}
