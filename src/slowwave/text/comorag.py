"""ComoRAG: three layers of a long story, searched in a loop that probes again where the first search does not do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from slowwave.models.base import Embedder
from slowwave.ops.abridge import abridge
from slowwave.ops.clusters import tree
from slowwave.ops.granularity import unit
from slowwave.ops.made import Made
from slowwave.ops.name_graph import Nodes, mentioning, walk
from slowwave.ops.nearness import alike, nearest
from slowwave.ops.packing import estimate_tokens
from slowwave.ops.probing import Piece, Pool, by_model, by_rule
from slowwave.ops.windows import chunked, window_size, windows
from slowwave.records import Engram, Hit, Hits
from slowwave.store.base import View
from slowwave.text.base import Cue, Dream, Night
from slowwave.text.plain import PlainMemory, stopped, unread

LAYERS = ("veridical", "semantic", "episodic")
THRESHOLD = 0.2  # least worth of a hit, where the reader names none
OFFERED = 100  # records that a search offers to the loop
Vector = NDArray[np.float32]


class ComoRAG(PlainMemory):
    """Memory for long stories, in three layers: veridical (the records, with the names and triples in them), semantic
    (summaries of clusters) and episodic (summaries of stretches of time). A search probes for what it did not find.

    cycles          tries of the full loop, with a reader's model (paper: 5)
    cycles_by_rule  cycles of the loop that probes with names, without a model; 0 searches once
    probes          new probes a cycle
    per_probe       new pieces of evidence that one probe may bring
    chunk_tokens    tokens of a chunk, the unit of windows and clusters
    window          chunks that an episodic summary covers; None takes the paper's sizes, which grow with the story
    levels          of clusters at most; `dims`, `most_clusters`, `threshold` and `largest` as in `ops/clusters.py`
    facts           triples whose names a walk starts from; `damping` is PageRank's, `passage_weight` what the likest
                    record starts with; `graph` what the walk counts for beside likeness
    synonym         cosine from which two names are tied as one
    layers          those that are made and searched
    budgets         tokens of evidence that one try may read, by layer; hits are mixed in these proportions

    >>> from slowwave import Memory
    >>> memory = Memory(":memory:", embedder="fake", system=ComoRAG())
    >>> story = ["The red boat belongs to Mara.", "A brother of Mara is called Tom.", "The work of Tom is baking."]
    >>> _ = memory.add(story, user_id="reader")
    >>> hits = memory.search("What is the work of the brother of the owner of the red boat?", user_id="reader")
    >>> sorted(hits.trace["probes"])
    ['Mara', 'Tom']
    """

    name = "comorag"
    paper = (
        "ComoRAG: A Cognitive-Inspired Memory-Organized RAG for Stateful Long Narrative Reasoning (Wang et al. 2025)"
    )
    operations = ("indexing", "retrieval", "consolidation")
    asks = ("sleep", "reading")
    claim = "With gpt-4o-mini: NarrativeQA F1 31.43, EN.QA 34.52, EN.MC 72.93 against 60.26 for HippoRAG2."
    differs = (
        "Records are searched as they were added; chunks of them are only the unit of summaries. Layers are built in "
        "sleep, from what is new: clusters of one night make a tree, and the tops of many nights' trees are clustered "
        "in turn. PCA in place of UMAP. Names that speak are no nodes, since they are everywhere; a walk adds to "
        "likeness instead of replacing it. Without a model names and simple clauses make the graph, summaries are "
        "extracts, and probes are names that nobody has asked about. What a probe finds ranks by what led to it and by "
        "its own likeness. That a try failed is a field, and no answer."
    )
    proof = "proofs/comorag.py"

    def __init__(
        self,
        cycles: int = 5,
        cycles_by_rule: int = 3,
        probes: int = 3,
        per_probe: int = 5,
        chunk_tokens: int = 512,
        window: int | None = None,
        levels: int = 5,
        dims: int = 10,
        most_clusters: int = 50,
        threshold: float = 0.01,
        largest: int = 12,
        facts: int = 5,
        damping: float = 0.5,
        passage_weight: float = 0.05,
        graph: float = 0.1,
        synonym: float = 0.8,
        layers: Sequence[str] = LAYERS,
        budgets: Sequence[int] = (3000, 1000, 1000),
    ) -> None:
        self.cycles = cycles
        self.cycles_by_rule = cycles_by_rule
        self.probes = probes
        self.per_probe = per_probe
        self.chunk_tokens = chunk_tokens
        self.window = window
        self.levels = levels
        self.dims = dims
        self.most_clusters = most_clusters
        self.threshold = threshold
        self.largest = largest
        self.facts = facts
        self.damping = damping
        self.passage_weight = passage_weight
        self.graph = graph
        self.synonym = synonym
        self.layers = tuple(layers)
        self.budgets = tuple(budgets)

    # -- read

    def search(self, view: View, cue: Cue, embedder: Embedder | None) -> Hits:
        least = THRESHOLD if cue.threshold is None else cue.threshold
        pool, degraded, answer = Pool(cue.text), list[str](), ""
        if embedder is None:
            near, degraded = alike(view, cue.text, None, max(OFFERED, cue.top_k), cue.want)
            pool.add(self.pieces(view, cue, near, near))
        else:
            reader = Reader(self, view, cue, embedder)
            pool.add(reader.retrieve(cue.text))
            if cue.llm is not None:
                budgets = dict(zip(LAYERS, self.budgets, strict=True))
                answer = by_model(pool, reader.retrieve, cue.llm, self.cycles, self.probes, self.per_probe, budgets)
            else:
                cycles = self.cycles_by_rule if "veridical" in self.layers else 0
                by_rule(pool, reader.mentions, cycles, self.probes, self.per_probe, view.speakers())
        hits: list[Hit] = []
        for piece in mixed(pool, dict(zip(LAYERS, self.budgets, strict=True))):
            if piece.worth >= least and len(hits) < cue.top_k:
                score = min([1.0, max(0.0, piece.worth), *(hit.score for hit in hits[-1:])])
                why = f"{piece.layer}; found by asking for {piece.probe!r}" if piece.probe else piece.layer
                hits.append(Hit(piece.engram, score, {"likeness": piece.likeness, "worth": piece.worth}, why))
        trace = {"degraded": degraded, "threshold": least, "probes": pool.probed, "cycles": pool.cycles}
        return Hits(hits, {**trace, "answer": answer} if answer else trace)

    def pieces(self, view: View, cue: Cue, worth: Mapping[int, float], likeness: Mapping[int, float]) -> list[Piece]:
        """Those of these rows that the reader wants and that are evidence: names and triples only lead to it."""
        wanted = view.rows(list(worth), cue.want)
        out = []
        for n, engram in view.engrams(list(wanted), cue.want.as_of).items():
            layer = layer_of(engram)
            if layer in self.layers:
                out.append(Piece(n, engram, layer, likeness.get(n, 0.0), worth[n]))
        return out

    # -- sleep

    def sleep(self, night: Night) -> Dream:
        made, news = Made(), unread(night)
        waiting = list(night.view.get(list(night.since.state.get("open", ()))).values())
        count = int(night.since.state.get("chunks", 0))
        rows = {engram.id: n for n, engram in news.items()}
        left, open_, tops = list[int](), list[str](), list(night.since.state.get("tops", ()))
        speakers = {speaker.casefold() for speaker in night.view.speakers()}
        graph = Nodes(night.view, self.name, speakers, night.llm, night.now)
        for scope in dict.fromkeys(engram.scope for engram in [*waiting, *news.values()]):
            chunks = chunked([e for e in waiting if e.scope == scope and e.retired is None], self.chunk_tokens)
            for chunk in chunked([e for e in news.values() if e.scope == scope], self.chunk_tokens):
                if night.llm is not None and night.llm.exhausted:
                    left += [rows[engram.id] for engram in chunk]
                    continue
                graph.read(chunk, made)
                chunks.append(chunk)
                night.progress("read", len(chunks), len(chunks))
            count += len(chunks)
            size = self.window or window_size(count)
            if len(chunks) < max(2, size // 2):  # too few for a window: they wait
                open_ += [engram.id for chunk in chunks for engram in chunk]
                count -= len(chunks)
                continue
            self._sum_up_windows(night, chunks, size, made)
            tops = self._sum_up_clusters(night, chunks, tops, made)
        graph.tie(self.synonym, night.embedder, made)
        state = {"open": open_, "tops": tops, "chunks": count}
        return self.dream(night, made, stopped(night, news, left, **state))

    def _sum_up_windows(self, night: Night, chunks: Sequence[Sequence[Engram]], size: int, made: Made) -> None:
        """The episodic layer: a summary of each window of chunks; a short rest goes to the window before it."""
        if "episodic" not in self.layers:
            return
        ranges = windows(len(chunks), size)
        if len(ranges) > 1 and len(ranges[-1]) < max(2, size // 2):
            ranges[-2:] = [range(ranges[-2].start, ranges[-1].stop)]
        for done, window in enumerate(ranges):
            self._abridge(night, [e for place in window for e in chunks[place]], "episodic", 1, made)
            night.progress("windows", done + 1, len(ranges))

    def _sum_up_clusters(
        self, night: Night, chunks: Sequence[Sequence[Engram]], tops: list[str], made: Made
    ) -> list[str]:
        """The semantic layer: a tree of this night's chunks; returns the tops that wait to be clustered in turn."""
        if "semantic" not in self.layers or night.embedder is None:
            return tops
        numbers = night.view.numbers([engram.id for chunk in chunks for engram in chunk])
        stored = night.view.vectors(list(numbers.values()))
        rows = [[stored[n] for e in chunk if (n := numbers.get(e.id)) in stored] for chunk in chunks]
        if not all(rows):
            return tops
        new = self._grow(night, chunks, np.stack([unit(np.mean(row, axis=0)) for row in rows]), 1, made)
        tops = [*tops, *(engram.id for engram in new)]
        if len(tops) < self.largest:
            return tops
        fresh = {engram.id: engram for engram in made.engrams}
        known = night.view.get([id_ for id_ in tops if id_ not in fresh])
        below = [e for id_ in tops if (e := fresh.get(id_) or known.get(id_)) is not None and e.retired is None]
        same = [e for e in below if e.scope == chunks[0][0].scope]
        others = [e.id for e in below if e.scope != chunks[0][0].scope]
        level = 1 + max((int(e.attrs["level"]) for e in same), default=0)
        vectors = self.embed(same, night.embedder)
        above = self._grow(night, [[engram] for engram in same], vectors, level, made)
        return [*others, *(e.id for e in (above or same))]

    def _grow(
        self, night: Night, groups: Sequence[Sequence[Engram]], vectors: Vector, level: int, made: Made
    ) -> list[Engram]:
        """A tree of summaries over some groups, from this level on; returns the summaries of its top level."""
        below: list[Sequence[Engram]] = list(groups)
        made_of: dict[int, list[Engram]] = {}

        def sum_up(step: int, places: Sequence[int]) -> Vector | None:
            members = made_of.get(step - 1)
            chosen = [e for p in places for e in ([members[p]] if members else below[p])]
            summary = self._abridge(night, chosen, "semantic", level + step - 1, made)
            if summary is None or night.embedder is None:
                return None
            made_of.setdefault(step, []).append(summary)
            vector: Vector = self.embed([summary], night.embedder)[0]
            return vector

        left = self.levels - level + 1
        reached = tree(vectors, sum_up, left, self.largest, self.dims, self.most_clusters, self.threshold)
        return made_of.get(reached, [])

    def _abridge(self, night: Night, members: Sequence[Engram], layer: str, level: int, made: Made) -> Engram | None:
        attrs = {"by": self.name, "layer": layer, "level": level}
        half_life_days = float(night.params.get("half_life_days", 30.0))
        return abridge(members, attrs, f"{layer}:{level}", night.llm, night.now, made, half_life_days)


class Reader:
    """One reading: the question's vector, what a probe finds in each layer, and what mentions a name."""

    def __init__(self, system: ComoRAG, view: View, cue: Cue, embedder: Embedder) -> None:
        self.system, self.view, self.cue, self.embedder = system, view, cue, embedder
        self.vector = embedder.embed([cue.text])[0]

    def retrieve(self, probe: str) -> list[Piece]:
        """Evidence for a probe: what is like it, what a walk over names and triples leads to, and summaries like it."""
        system, want, most = self.system, self.cue.want, max(OFFERED, self.cue.top_k)
        vector = self.vector if probe == self.cue.text else self.embedder.embed([probe])[0]
        near = nearest(self.view, vector, 2 * most, want)  # many of them are names
        if want.kinds is None or "summary" in want.kinds:
            near |= nearest(self.view, vector, most // 2, replace(want, kinds=("summary",)))
        worth = dict(near)
        if "veridical" in system.layers and system.graph:
            ids = {e.id: near[n] for n, e in self.view.engrams(list(near)).items() if layer_of(e) == "veridical"}
            ranks = walk(self.view, probe, vector, ids, system.facts, system.damping, system.passage_weight)
            rows = {n: ranks[id_] for id_, n in self.view.numbers(list(ranks)).items()}
            top = max(rows.values(), default=1.0)
            worth |= {n: float(v @ vector) for n, v in self.view.vectors([n for n in rows if n not in near]).items()}
            worth = {n: cosine + system.graph * rows.get(n, 0.0) / top for n, cosine in worth.items()}
        return system.pieces(self.view, self.cue, worth, self.likeness(list(worth)))

    def mentions(self, name: str) -> list[Piece]:
        """What mentions a name or a synonym of it; what no night has read yet is found by its words."""
        found = list(self.view.numbers(mentioning(self.view, name)).values())
        found += [n for n, _ in self.view.lexical([name.casefold()], OFFERED // 2, self.cue.want) if n not in found]
        likeness = self.likeness(found)
        return [p for p in self.system.pieces(self.view, self.cue, likeness, likeness) if p.layer == "veridical"]

    def likeness(self, ns: Sequence[int]) -> dict[int, float]:
        """Cosine of these rows with the question."""
        return {n: float(row @ self.vector) for n, row in self.view.vectors(ns).items()}


def layer_of(engram: Engram) -> str:
    """veridical, semantic or episodic; "names" or "triples" for what is only a way to it."""
    return str(engram.attrs.get("layer", "")) if engram.attrs.get("by") == ComoRAG.name else "veridical"


def mixed(pool: Pool, budgets: Mapping[str, int]) -> list[Piece]:
    """All evidence in one order: the next piece is of the layer that has used least of its share of tokens."""
    queues = {layer: pool.ranked(layer) for layer in budgets}
    used = dict.fromkeys(budgets, 0.0)
    out: list[Piece] = []
    while any(queues.values()):
        layer = min((name for name in queues if queues[name]), key=lambda name: (used[name], list(budgets).index(name)))
        piece = queues[layer].pop(0)
        used[layer] += (estimate_tokens(piece.engram.text) + 1) / max(1, budgets[layer])
        out.append(piece)
    return out
