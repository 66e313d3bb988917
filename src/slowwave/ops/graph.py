"""The typed-link graph of a memory: reading it around some records, walking out from them, personalised PageRank.

    links = around(view, seeds, ("similar", "about"), hops=2)     # reads only what is near the seeds
    graph = graph_of(links, seeds)                                # arrays, undirected unless told otherwise
    scores = pagerank(graph, {id: 1.0 for id in seeds}, damping=0.5)
    steps = expand(graph, seeds, hops=1)                          # id -> how many links away

Nothing here reads a whole scope: what is far from the seeds gets next to nothing from a walk that often goes home.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slowwave.errors import InputError
from slowwave.records import Link
from slowwave.store.base import View

Floats = NDArray[np.float64]
Indexes = NDArray[np.int64]


@dataclass(frozen=True)
class Graph:
    """Nodes and weighted edges as arrays; an undirected edge stands in both directions.

    nodes    ids, each once, in the order of first mention
    tails    (edges,) position of the node that an edge leaves
    heads    (edges,) position of the node that it enters
    weights  (edges,) above 0
    """

    nodes: tuple[str, ...]
    tails: Indexes
    heads: Indexes
    weights: Floats

    @property
    def places(self) -> dict[str, int]:
        """Position by id."""
        return {node: place for place, node in enumerate(self.nodes)}


def graph_of(
    links: Iterable[Link],
    nodes: Iterable[str] = (),
    *,
    directed: bool = False,
    weighted: bool = True,
    relations: Mapping[str, float] | None = None,
) -> Graph:
    """The graph of some links. Of several links between two nodes the strongest counts, once; loops do not count.

    nodes      ids that are in the graph even if no link names them
    directed   an edge leads from a link's source to its target only
    weighted   False takes every link for 1
    relations  what a relation's weight is multiplied with; one that is not named is left out; None takes all at 1
    """
    places: dict[str, int] = {}
    for node in nodes:
        places.setdefault(node, len(places))
    edges: dict[tuple[int, int], float] = {}
    for link in links:
        factor = 1.0 if relations is None else relations.get(link.relation, 0.0)
        weight = factor * (link.weight if weighted else 1.0)
        if weight <= 0 or link.source == link.target:
            continue
        tail = places.setdefault(link.source, len(places))
        head = places.setdefault(link.target, len(places))
        for pair in [(tail, head)] if directed else [(tail, head), (head, tail)]:
            edges[pair] = max(weight, edges.get(pair, 0.0))
    pairs = np.array(list(edges), dtype=np.int64).reshape(-1, 2)
    return Graph(tuple(places), pairs[:, 0], pairs[:, 1], np.array(list(edges.values()), dtype=np.float64))


def pagerank(
    graph: Graph, seeds: Mapping[str, float], damping: float = 0.85, tolerance: float = 1e-10, rounds: int = 200
) -> dict[str, float]:
    """Where a walker is found who follows an edge with probability `damping`, and else starts again at a seed.

    seeds    id -> how often the walk starts there, at least 0; ids that are not in the graph are passed over
    damping  in [0, 1); the papers' "damping". At 0 the seeds are all there is
    returns  id -> score for every node of the graph; the scores add up to 1, or all are 0 where no seed counts

    A walker without an edge to follow starts again at a seed. Power iteration, O(edges) a round; it stops where a round
    moves less than `tolerance` in all. Source: Haveliwala 2002, "Topic-sensitive PageRank".
    """
    if not 0 <= damping < 1:
        raise InputError(f"damping is {damping}; it must lie in [0, 1)")
    start = np.array([max(0.0, float(seeds.get(node, 0.0))) for node in graph.nodes])
    if not start.sum() > 0:
        return dict.fromkeys(graph.nodes, 0.0)
    start /= start.sum()
    size = len(graph.nodes)
    leaving = np.bincount(graph.tails, weights=graph.weights, minlength=size)
    share = graph.weights / leaving[graph.tails]
    stuck = leaving == 0
    rank = start.copy()
    for _ in range(rounds):
        moved = np.bincount(graph.heads, weights=rank[graph.tails] * share, minlength=size)
        new = (1 - damping) * start + damping * (moved + float(rank[stuck].sum()) * start)
        change = float(np.abs(new - rank).sum())
        rank = new
        if change < tolerance:
            break
    return dict(zip(graph.nodes, rank.tolist(), strict=True))


def expand(graph: Graph, seeds: Iterable[str], hops: int = 1) -> dict[str, int]:
    """id -> the fewest edges from any seed, up to `hops`; seeds of the graph are at 0. Nearest first, then by place."""
    places = graph.places
    steps = np.full(len(graph.nodes), -1, dtype=np.int64)
    edge = np.zeros(len(graph.nodes), dtype=bool)
    edge[[places[seed] for seed in seeds if seed in places]] = True
    for step in range(hops + 1):
        steps[edge] = step
        reached = np.zeros(len(graph.nodes), dtype=bool)
        reached[graph.heads[edge[graph.tails]]] = True
        edge = reached & (steps < 0)
        if not edge.any():
            break
    order = sorted((int(step), place) for place, step in enumerate(steps) if step >= 0)
    return {graph.nodes[place]: step for step, place in order}


def neighbours(graph: Graph, node: str, k: int | None = None) -> list[tuple[str, float]]:
    """The k nodes that a node's edges enter, strongest first (ties by place), with the weights; [] for a stranger."""
    place = graph.places.get(node, -1)
    mine = np.flatnonzero(graph.tails == place)
    order = sorted(mine.tolist(), key=lambda edge: (-graph.weights[edge], graph.heads[edge]))[:k]
    return [(graph.nodes[graph.heads[edge]], float(graph.weights[edge])) for edge in order]


def around(
    view: View, seeds: Sequence[str], relations: Sequence[str] | None = None, hops: int = 1, most: int = 5000
) -> list[Link]:
    """The links within `hops` of the seeds, read from the view ring by ring; strongest first within a ring.

    relations  these only; None takes all
    most       nodes that are opened in all, so that a record which everything is tied to cannot pull in the whole
               scope; of a ring that is too wide, those tied most strongly are opened
    """
    opened: set[str] = set()
    found: dict[tuple[str, str, str], Link] = {}
    ring = list(dict.fromkeys(seeds))
    for _ in range(hops):
        ring = ring[: most - len(opened)]
        if not ring:
            break
        opened.update(ring)
        links = sorted(view.links(ring, relations), key=lambda link: (-link.weight, link.source, link.target))
        found |= {(link.source, link.relation, link.target): link for link in links}
        ends = (end for link in links for end in (link.source, link.target))
        ring = [end for end in dict.fromkeys(ends) if end not in opened]
    return list(found.values())
