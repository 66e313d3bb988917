"""Walks on the link graph: PageRank against the solved linear system, expansion by rings, reading around seeds."""

from __future__ import annotations

import numpy as np
import pytest

from slowwave.errors import InputError
from slowwave.ops.graph import Graph, around, expand, graph_of, neighbours, pagerank
from slowwave.records import Link
from slowwave.store.base import View

CHAIN = [Link("a", "similar", "b"), Link("b", "similar", "c"), Link("c", "similar", "d")]


def solved(graph: Graph, seeds: dict[str, float], damping: float) -> dict[str, float]:
    """The same by solving (I - damping P') rank = (1 - damping) start, stuck walkers sent to the seeds."""
    size = len(graph.nodes)
    start = np.array([seeds.get(node, 0.0) for node in graph.nodes])
    start /= start.sum()
    step = np.zeros((size, size))
    for tail, head, weight in zip(graph.tails, graph.heads, graph.weights, strict=True):
        step[tail, head] += weight
    for row in step:
        total = row.sum()
        row[:] = row / total if total else start
    rank = np.linalg.solve(np.eye(size) - damping * step.T, (1 - damping) * start)
    return dict(zip(graph.nodes, rank.tolist(), strict=True))


@pytest.mark.parametrize("damping", [0.1, 0.5, 0.85])
@pytest.mark.parametrize("directed", [True, False])
def test_power_iteration_gives_what_the_linear_system_gives(damping: float, directed: bool) -> None:
    rng = np.random.default_rng(7)
    names = [f"n{i}" for i in range(30)]
    links = [
        Link(names[a], "similar", names[b], float(w))
        for a, b, w in zip(rng.integers(0, 24, 60), rng.integers(0, 24, 60), rng.uniform(0.1, 1, 60), strict=True)
    ]
    graph = graph_of(links, names, directed=directed)
    seeds = {"n1": 2.0, "n5": 1.0, "n29": 1.0}  # n29 has no edge
    found, right = pagerank(graph, seeds, damping), solved(graph, seeds, damping)
    assert sum(found.values()) == pytest.approx(1)
    assert [found[node] for node in names] == pytest.approx([right[node] for node in names], abs=1e-9)


def test_without_damping_the_seeds_are_all_there_is() -> None:
    assert pagerank(graph_of(CHAIN), {"a": 3, "b": 1}, damping=0) == {"a": 0.75, "b": 0.25, "c": 0.0, "d": 0.0}


def test_what_is_nearer_to_the_seed_ranks_higher() -> None:
    rank = pagerank(graph_of(CHAIN), {"a": 1}, damping=0.5)
    assert rank["a"] > rank["b"] > rank["c"] > rank["d"] > 0


def test_no_seed_in_the_graph_gives_nobody_anything() -> None:
    assert set(pagerank(graph_of(CHAIN), {"z": 1}).values()) == {0.0}
    assert pagerank(graph_of([]), {"z": 1}) == {}


@pytest.mark.parametrize("damping", [-0.1, 1.0, 2.0])
def test_damping_outside_its_range_is_an_error(damping: float) -> None:
    with pytest.raises(InputError, match="damping is"):
        pagerank(graph_of(CHAIN), {"a": 1}, damping)


def test_of_two_links_the_strongest_counts_once_and_a_loop_does_not() -> None:
    links = [Link("a", "similar", "b", 0.4), Link("b", "about", "a", 0.9), Link("a", "similar", "a")]
    graph = graph_of(links)
    assert neighbours(graph, "a") == [("b", 0.9)]
    assert neighbours(graph, "b") == [("a", 0.9)]
    assert len(graph.tails) == 2


def test_a_directed_graph_is_followed_one_way() -> None:
    graph = graph_of(CHAIN, directed=True)
    assert neighbours(graph, "b") == [("c", 1.0)]
    assert expand(graph, ["c"], 5) == {"c": 0, "d": 1}


def test_relations_are_chosen_and_weighed() -> None:
    links = [Link("a", "similar", "b"), Link("a", "about", "c"), Link("a", "next", "d")]
    graph = graph_of(links, relations={"similar": 1.0, "about": 0.5})
    assert neighbours(graph, "a") == [("b", 1.0), ("c", 0.5)]
    assert "d" not in graph.nodes
    assert neighbours(graph_of(links[:2], weighted=False, relations={"about": 0.5}), "a", 1) == [("c", 0.5)]


def test_expansion_counts_the_fewest_steps() -> None:
    graph = graph_of([*CHAIN, Link("a", "similar", "d")], ["lone"])
    assert expand(graph, ["a", "lone", "stranger"], 1) == {"lone": 0, "a": 0, "b": 1, "d": 1}
    assert expand(graph, ["a"], 9) == {"a": 0, "b": 1, "d": 1, "c": 2}
    assert expand(graph, ["a"], 0) == {"a": 0}


class Links(View):
    """A view that knows links alone, and counts what it is asked for."""

    def __init__(self, links: list[Link]) -> None:
        self.known = links
        self.asked: list[str] = []

    def links(self, ids, relations=None):
        self.asked += ids
        return [k for k in self.known if {k.source, k.target} & set(ids) and relations in (None, (k.relation,))]


Links.__abstractmethods__ = frozenset()


def test_reading_around_seeds_stops_after_the_hops() -> None:
    view = Links(CHAIN)
    assert around(view, ["a"], hops=1) == CHAIN[:1]
    assert around(view, ["a"], ("similar",), hops=2) == CHAIN[:2]
    assert around(view, ["a"], ("about",), hops=2) == []
    view.asked.clear()
    assert set(around(view, ["a"], hops=9)) == set(CHAIN)
    assert sorted(view.asked) == ["a", "b", "c", "d"]  # each opened once


def test_a_hub_cannot_pull_in_the_whole_scope() -> None:
    hub = [Link("hub", "about", f"x{i}", 0.5) for i in range(100)] + [Link("hub", "about", "near", 1.0)]
    far = [Link(f"x{i}", "similar", f"y{i}") for i in range(100)] + [Link("near", "similar", "found")]
    view = Links(hub + far)
    links = around(view, ["hub"], hops=2, most=2)
    assert view.asked == ["hub", "near"]
    assert Link("near", "similar", "found") in links
    assert not any(link.target.startswith("y") for link in links)


def test_links_of_a_memory_are_read_through_its_view(memory) -> None:
    first, second, third = memory.add(["one", "two", "three"], user_id="ana").ids
    memory.link(first, "similar", second, user_id="ana")
    memory.link(second, "similar", third, user_id="ana")
    scope = memory.get(first, user_id="ana").scope
    graph = graph_of(around(memory.store.view(scope), [first], hops=2))
    assert expand(graph, [first], 2) == {first: 0, second: 1, third: 2}
