"""The graph of a story: names and triples as records of their own, tied to what mentions them; and walks over it.

A name's node is a note whose links "about" lead to the records that mention it, and whose links "similar" lead to other
spellings; a triple is a fact tied to the names at its ends. Neither is evidence: they lead to it. Names that speak make
no node, since what leads everywhere leads nowhere.

Source: HippoRAG 2 (Gutierrez et al. 2025), as ComoRAG (Wang et al. 2025) uses it: PageRank from the names of triples
near a probe, over names, triples and records.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from slowwave.models.base import Embedder
from slowwave.models.llm import LLM
from slowwave.ops.graph import around, graph_of, pagerank
from slowwave.ops.made import Made
from slowwave.ops.names import names
from slowwave.ops.nearness import nearest
from slowwave.ops.triples import triples
from slowwave.records import Change, Engram, Link, Scope
from slowwave.store.base import View, Want
from slowwave.store.ids import new_id

NAMES, TRIPLES = "names", "triples"  # attrs["layer"] of a node and of a triple
LONGEST = 4  # words of a model's phrase that makes a node
HOPS, OPENED = 3, 500  # links from the seeds that a walk knows (name, record, name, record), and nodes that it opens
FROM = 50  # seeds that a walk's links are read around
REACHED = 100  # records that a walk brings


def origin_of(name: str) -> str:
    """The name under which a name's node is found again."""
    return f"name:{' '.join(name.casefold().split())}"


class Nodes:
    """The names and triples of the records that a night reads.

    system  what the nodes are marked with, `attrs["by"]`
    off     names in lower case that make no node
    llm     draws the triples; None draws them by rule
    """

    def __init__(self, view: View, system: str, off: Set[str], llm: LLM | None, now: datetime) -> None:
        self.view, self.system, self.off, self.llm, self.now = view, system, off, llm, now
        self._found: dict[tuple[Scope, str], tuple[str, dict[str, Engram]]] = {}
        self._facts: list[tuple[Engram, list[str]]] = []

    def read(self, chunk: Sequence[Engram], made: Made) -> None:
        """Note the names and the triples of a chunk."""
        said = {engram.id: engram for engram in chunk}
        for engram in chunk:
            for name in names(engram.text):
                self._note(name, engram)
        for triple in triples(chunk, self.llm, made):
            source = said[triple.source]
            ends = [name for end in (triple.subject, triple.object) for name in names(end) or self._phrase(end)]
            kept = [name for name in dict.fromkeys(ends) if name.casefold() not in self.off]
            if kept:  # a triple between no names leads nowhere
                for name in kept:
                    self._note(name, source)
                stated = f"{triple.subject} {triple.relation} {triple.object}"
                fact = self._engram("fact", stated, [source], TRIPLES, "triple")
                self._facts.append((fact, kept))

    def tie(self, synonym: float, embedder: Embedder | None, made: Made) -> None:
        """Propose what is new: nodes, their ties to what mentions them and to synonyms, and the triples between them.

        synonym  cosine from which two names are tied as one
        """
        held = self.view.find_origin(sorted({origin for _, origin in self._found}))
        ids, new = dict[tuple[Scope, str], str](), list[Engram]()
        for (scope, origin), (name, mentions) in self._found.items():
            old = next((node for node in held.get(origin, []) if node.scope == scope), None)
            if old is None:
                node = self._engram("note", name, list(mentions.values()), NAMES, origin)
                links = [Link(node.id, "about", id_) for id_ in mentions]
                made.add(node, "note", f"{len(mentions)} records mention it", links)
                new.append(node)
            else:
                links = [Link(old.id, "about", id_) for id_ in mentions]
                sources = (old.id, *mentions)
                made.changes.append(Change("link", old.id, "mentioned again", links=tuple(links), sources=sources))
            ids[scope, origin] = node.id if old is None else old.id
        for fact, ends in self._facts:
            links = [Link(fact.id, "about", ids[fact.scope, origin_of(name)]) for name in ends]
            made.add(fact, "add", "stated", [*links, Link(fact.id, "about", fact.sources[0])])
        if embedder is not None and new:
            self._tie_synonyms(new, synonym, embedder, made)

    def _note(self, name: str, engram: Engram) -> None:
        if name.casefold() not in self.off:
            self._found.setdefault((engram.scope, origin_of(name)), (name, {}))[1][engram.id] = engram

    def _phrase(self, end: str) -> list[str]:
        """The end of a model's triple as a node, where it is short; by rule only names are nodes."""
        return [end] if self.llm is not None and 0 < len(end.split()) <= LONGEST else []

    def _engram(self, kind: str, said: str, sources: Sequence[Engram], layer: str, origin: str) -> Engram:
        return Engram(
            id=new_id(),
            kind=kind,
            text=said,
            scope=sources[0].scope,
            at=min(source.at for source in sources),
            recorded=self.now,
            sources=tuple(source.id for source in sources),
            attrs={"by": self.system, "layer": layer},
            origin=origin,
        )

    def _tie_synonyms(self, new: Sequence[Engram], least: float, embedder: Embedder, made: Made) -> None:
        vectors = embedder.embed([node.text for node in new])
        close = vectors @ vectors.T
        for place, node in enumerate(new):
            near = nearest(self.view, vectors[place], 5, Want(kinds=("note",)))
            known = self.view.engrams([n for n, cosine in near.items() if cosine >= least])
            others = [(e, near[n]) for n, e in known.items() if e.attrs.get("layer") == NAMES]
            others += [(new[p], float(close[place, p])) for p in range(place) if close[place, p] >= least]
            links = tuple(
                Link(node.id, "similar", other.id, round(min(1.0, cosine), 3))
                for other, cosine in others
                if other.scope == node.scope and other.id != node.id
            )
            if links:
                sources = (node.id, *(link.target for link in links))
                reason = "another spelling of it, by its vector"
                made.changes.append(Change("link", node.id, reason, links=links, sources=sources))


def mentioning(view: View, name: str) -> list[str]:
    """Ids of what mentions a name or a synonym of it, as far as nights have read."""
    nodes = [node.id for node in view.find_origin([origin_of(name)]).get(origin_of(name), [])]
    if not nodes:
        return []
    ties = view.links(nodes, ("similar",))
    nodes = list(dict.fromkeys([*nodes, *(end for tie in ties for end in (tie.source, tie.target))]))
    return list(dict.fromkeys(tie.target for tie in view.links(nodes, ("about",)) if tie.source in nodes))


def walk(
    view: View,
    probe: str,
    vector: NDArray[np.float32],
    records: Mapping[str, float],
    facts: int = 5,
    damping: float = 0.5,
    record_weight: float = 0.05,
) -> dict[str, float]:
    """Id -> PageRank of a walk from the names in a probe and at the ends of the triples nearest to it; {} if none is.

    vector         of the probe
    records        id -> cosine with the probe, of the records like it: they are starting points too, a little
    facts          triples whose names are starting points
    record_weight  what the likest record starts with; a name in the probe starts with 1
    """
    seeds = {node.id: 1.0 for nodes in view.find_origin(list(map(origin_of, names(probe)))).values() for node in nodes}
    near = nearest(view, vector, facts, Want(kinds=("fact",)))
    stated = {e.id: near[n] for n, e in view.engrams(list(near)).items() if e.attrs.get("layer") == TRIPLES}
    ties = [tie for tie in view.links(list(stated), ("about",)) if tie.source in stated] if stated else []
    for node in view.get([tie.target for tie in ties]).values():
        if node.attrs.get("layer") == NAMES:
            worth = max(stated[tie.source] for tie in ties if tie.target == node.id)
            seeds[node.id] = max(seeds.get(node.id, 0.0), worth)
    if not seeds:
        return {}
    links = around(view, list(seeds)[:FROM], ("about", "similar"), HOPS, OPENED)
    low, high = min(records.values(), default=0.0), max(records.values(), default=0.0)
    for id_, cosine in records.items():
        seeds.setdefault(id_, record_weight * (cosine - low) / max(high - low, 1e-9))
    ranks = pagerank(graph_of(links, seeds), seeds, damping)
    best = sorted((id_ for id_ in ranks if ranks[id_] > 0), key=lambda id_: (-ranks[id_], id_))
    return {id_: ranks[id_] for id_ in best[:REACHED]}
