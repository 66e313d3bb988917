"""MemGAS: every session at four granularities, linked by likeness, weighed for each question by an entropy router."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

import numpy as np

from slowwave.models.base import Embedder, Vectors
from slowwave.models.llm import LLM
from slowwave.ops.choosing import choose, chosen_first
from slowwave.ops.digest import sittings
from slowwave.ops.granularity import (
    GRANULARITIES,
    Router,
    long_vector,
    mean_vector,
    route,
)
from slowwave.ops.graph import around, graph_of, pagerank
from slowwave.ops.made import Made
from slowwave.ops.mixture import stand_out
from slowwave.ops.nearness import Vector, nearest
from slowwave.ops.unfold import Pointed
from slowwave.records import Engram, Hits, Link
from slowwave.store.base import Index, View, Want
from slowwave.text.base import Cue, Dream, Night
from slowwave.text.default import embedding_text
from slowwave.text.memgas_nodes import New, granularity_of, inherited, nodes_of, open_nodes, session_of
from slowwave.text.plain import stopped, unread
from slowwave.text.turns import TurnMemory, asks_for_units, best_first, cosines, rewritten, untold

DERIVED = Want(kinds=("note", "summary"))
CONSIDERED = 100  # sessions, the nearest, that the router and the graph look at
OPENED = 40  # sessions, the best of those, whose turns are looked at one by one
FILTERED = 60  # turns that a model is shown to choose from


class MemGAS(TurnMemory):
    """Four nodes a session (full text, mean of its turns, summary, keywords), a graph among them, a routed search.

    num_seednodes  nodes from which the walk starts
    mem_threshold  nearest older nodes that are told apart into akin and not
    damping        how often the walk follows a link rather than start again
    temp           of the softmax whose entropy the router reads: 0.2 in the paper, 0.1 in its code
    router         "normalised" divides the entropy by ln n, which is what the paper argues for; "raw" is its formula as
                   printed and coded, which favours the most diffuse granularity; "uniform" routes nothing
    granularities  those that take part
    walk           False ranks sessions by their routed similarity alone
    blend          what a session's score (as a share of the best one's) adds to the cosine of each of its turns; None
                   takes the turns of the best `top_sessions` first, as the paper hands those three to its filter
    top_sessions   sessions at a time, without `blend`
    first_linked   sessions that a scope holds before new nodes are linked
    """

    name = "memgas"
    paper = (
        "Towards Multi-Granularity Memory Association and Selection for Long-Term Conversational Agents "
        "(Xu, Wang, Gao et al., 2025)"
    )
    operations = ("consolidation", "indexing", "retrieval", "compression")
    asks = ("sleep", "reading")
    claim = "Best recall and nDCG of sessions, and best answers, on four benchmarks of long conversations."
    differs = (
        "Sessions are digested at night instead of as they end; a session that goes on gets new nodes that take the "
        "place of the old. Hits are turns: a session's score adds to their own cosine (see `blend`), since whole "
        "sessions recall less evidence in the same tokens; a model filters where reading may ask one. Text longer "
        "than the encoder reads is encoded in stretches and averaged; mean vectors have unit length."
    )
    proof = "proofs/memgas.py"

    def __init__(
        self,
        num_seednodes: int = 15,
        mem_threshold: int = 30,
        damping: float = 0.1,
        temp: float = 0.2,
        router: Router = "normalised",
        granularities: Sequence[str] = GRANULARITIES,
        walk: bool = True,
        blend: float | None = 0.1,
        top_sessions: int = 3,
        first_linked: int = 5,
        candidates: int = 200,
    ) -> None:
        super().__init__(candidates)
        self.num_seednodes = num_seednodes
        self.mem_threshold = mem_threshold
        self.damping = damping
        self.temp = temp
        self.router = router
        self.granularities = tuple(granularities)
        self.walk = walk
        self.blend = blend
        self.top_sessions = top_sessions
        self.first_linked = first_linked

    # -- write

    def index(
        self, engrams: Sequence[Engram], contents: Sequence[bytes], embedder: Embedder | None
    ) -> dict[str, Index]:
        entries = super().index(engrams, contents, embedder)
        for engram in engrams:
            if granularity_of(engram):  # every turn stands in the index itself, with its words and its times
                words = "" if granularity_of(engram) in ("session", "turns") else entries[engram.id].words
                entries[engram.id] = replace(entries[engram.id], words=words, times=())
        return entries

    def embed(self, engrams: Sequence[Engram], embedder: Embedder) -> Vectors:
        """A node's vector follows from its text alone, so that a rebuilt index is the index."""
        out = np.empty((len(engrams), embedder.dim), dtype=np.float32)
        plain = [place for place, engram in enumerate(engrams) if granularity_of(engram) not in ("session", "turns")]
        out[plain] = embedder.embed([embedding_text(engrams[place]) for place in plain])
        for place, engram in enumerate(engrams):
            if granularity_of(engram) == "session":
                out[place] = long_vector(engram.text, embedder)
            elif granularity_of(engram) == "turns":
                out[place] = mean_vector(engram.text.split("\n"), embedder)
        return out

    def shown_alone(self, engram: Engram) -> bool:
        return not granularity_of(engram)

    # -- read

    def search(self, view: View, cue: Cue, embedder: Embedder | None) -> Hits:
        near = self.near(view, cue, embedder)
        found = self.point(view, cue, near.scores)
        if near.vector is None or asks_for_units(cue):
            return self.hits(view, cue, best_first(found, near.scores), near, "a node")
        sessions = self.sessions(view, near.vector, cue.want.as_of)[:OPENED]
        said = view.numbers(list(dict.fromkeys(id_ for node, _ in sessions for id_ in node.sources)))
        own = {**near.scores, **cosines(view, near.vector, [n for n in said.values() if n not in near.scores])}
        shown = view.rows([*said.values(), *found], cue.want)
        rank, share = self._standing(sessions, said)
        # What no night has seen belongs to no session yet, and must not wait behind those that do.
        usual = sum(share.values()) / len(share) if share else 0.0
        if self.blend is None:
            score = {n: own.get(n, 0.0) for n in shown}
            order = sorted(shown, key=lambda n: (rank.get(n, 0) // self.top_sessions, -score[n], n))
        else:
            score = {n: (own.get(n, 0.0) + self.blend * share.get(n, usual)) / (1 + self.blend) for n in shown}
            order = sorted(shown, key=lambda n: (-score[n], n))
        if cue.llm is not None:
            order = self._filtered(view, cue, order, cue.llm)
        return self.hits(view, cue, [Pointed(n, score[n], n) for n in order], near, "a node")

    def sessions(self, view: View, vector: Vector, as_of: datetime | None = None) -> list[tuple[Engram, float]]:
        """The sessions that bear on a question, best first: one node of each, and its score."""
        want = Want(kinds=DERIVED.kinds, as_of=as_of)
        similar = nearest(view, vector, len(GRANULARITIES) * CONSIDERED, want)
        nodes = {n: node for n, node in view.engrams(list(similar), as_of).items() if granularity_of(node)}
        by_kind: dict[str, dict[str, float]] = {name: {} for name in self.granularities}
        for n, node in nodes.items():
            if granularity_of(node) in by_kind:
                by_kind[granularity_of(node)][node.id] = similar[n]
        by_kind = {name: found for name, found in by_kind.items() if found}
        if not by_kind:
            return []
        weights = self.weights({name: list(found.values()) for name, found in by_kind.items()})
        score = {id_: max(0.0, weights[name] * s) for name, found in by_kind.items() for id_, s in found.items()}
        if self.walk:
            score = self._walked(view, score)
        total: dict[str, float] = {}
        shown: dict[str, Engram] = {}
        for node in nodes.values():
            if node.id in score:
                total[session_of(node)] = total.get(session_of(node), 0.0) + score[node.id]
                shown.setdefault(session_of(node), node)
        return [(shown[key], total[key]) for key in sorted(total, key=lambda key: (-total[key], shown[key].at, key))]

    def weights(self, similarities: Mapping[str, Sequence[float]]) -> dict[str, float]:
        """What each granularity counts for in one question."""
        return route(similarities, self.temp, self.router)

    def _walked(self, view: View, score: Mapping[str, float]) -> dict[str, float]:
        """Personalised PageRank from the best seeds, over the links around them."""
        seeds = sorted(score, key=lambda id_: (-score[id_], id_))[: self.num_seednodes]
        links = [link for link in around(view, seeds, ("similar",), hops=2) if {link.source, link.target} <= set(score)]
        return pagerank(graph_of(links, seeds, weighted=False), {id_: score[id_] for id_ in seeds}, self.damping)

    def _standing(
        self, sessions: Sequence[tuple[Engram, float]], said: Mapping[str, int]
    ) -> tuple[dict[int, int], dict[int, float]]:
        """Turn -> the rank of its session; turn -> its session's score as a share of the best one's."""
        most = max((score for _, score in sessions), default=0.0) or 1.0
        rank: dict[int, int] = {}
        share: dict[int, float] = {}
        for place, (node, score) in enumerate(sessions):
            for n in (said[id_] for id_ in node.sources if id_ in said):
                rank.setdefault(n, place)
                share.setdefault(n, score / most)
        return rank, share

    def _filtered(self, view: View, cue: Cue, order: Sequence[int], llm: LLM) -> list[int]:
        """What the model finds telling among the first turns, then the rest."""
        offered = view.engrams(order[:FILTERED], cue.want.as_of)
        first = [n for n in order[:FILTERED] if n in offered]
        named = choose(cue.text, [offered[n] for n in first], llm, FILTERED, "filter")
        return chosen_first(order, [first[place] for place in named])

    # -- sleep

    def sleep(self, night: Night) -> Dream:
        made = Made()
        read = unread(night)
        rows = {engram.id: n for n, engram in read.items()}
        new = New(int(night.since.state.get("sessions", 0)))
        fresh = untold(night.view, read, lambda unit: bool(granularity_of(unit)))
        groups = sorted(sittings(list(fresh.values())), key=lambda group: min(rows[turn.id] for turn in group))
        left: list[int] = []
        for done, group in enumerate(groups):
            if night.llm is not None and night.llm.exhausted:
                left = [rows[engram.id] for rest in groups[done:] for engram in rest]
                break
            self._digest(night, group, new, made)
            night.progress("digest", done + 1, len(groups))
        return self.dreamt(night, made, new.vectors, stopped(night, read, left, sessions=new.sessions))

    def _digest(self, night: Night, group: Sequence[Engram], new: New, made: Made) -> None:
        """The four nodes of a session, with their links; where it goes on, they take the place of its old ones."""
        old = open_nodes(night.view, group)
        before = night.view.get(next(iter(old.values())).sources) if old else {}
        held = [engram for engram in before.values() if engram.retired is None]
        stretch = sorted([*held, *group], key=lambda engram: (engram.at, engram.id))
        nodes = nodes_of(stretch, self.granularities, night, made)
        vectors = (
            {}
            if night.embedder is None
            else dict(zip((node.id for node in nodes), self.embed(nodes, night.embedder), strict=True))
        )
        gone = {engram.id for engram in old.values()}
        for node in nodes:
            reason = f"{len(stretch)} turns, {stretch[0].at:%Y-%m-%d}: {granularity_of(node)}"
            linked = new.sessions >= self.first_linked and node.id in vectors
            links = self._links(night.view, node, vectors[node.id], gone, new) if linked else ()
            earlier = old.get(granularity_of(node))
            if earlier is None:
                made.add(node, "summarise", reason, links)
                continue
            made.add(node, "summarise", f"{reason}, now longer", [*links, *inherited(night.view, earlier, node)])
            made.changes.append(rewritten(earlier, node.id, "the session went on", night.now))
        new.sessions += not old
        new.vectors |= vectors

    def _links(self, view: View, node: Engram, vector: Vector, gone: set[str], new: New) -> tuple[Link, ...]:
        """Ties to those of the nearest older nodes that stand out from the rest of them."""
        near = nearest(view, vector, self.mem_threshold + 2 * len(GRANULARITIES), DERIVED)
        older = {engram.id: near[n] for n, engram in view.engrams(list(near)).items() if granularity_of(engram)}
        older |= {id_: float(row @ vector) for id_, row in new.vectors.items()}
        best = sorted((id_ for id_ in older if id_ not in gone), key=lambda id_: -older[id_])[: self.mem_threshold]
        chosen = stand_out([older[id_] for id_ in best])
        weights = [min(1.0, max(0.0, older[id_])) for id_ in best]
        return tuple(
            Link(node.id, "similar", id_, round(weight, 3))
            for id_, weight, akin in zip(best, weights, chosen, strict=True)
            if akin
        )
