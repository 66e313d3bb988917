"""MemOS's plaintext tier: memory nodes with a life cycle, found by three routes at once, set in order by a scheduler.

A cube here is a scope. It holds this tier; the paper's activation tier (a key/value cache) and parametric tier (an
adapter) come with promotion, from text to state and from text to weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slowwave.errors import InputError
from slowwave.models.base import Embedder
from slowwave.ops import scheduling
from slowwave.ops.calibration import THRESHOLD, Evidence, cover, hit_scores, names_known, probability, support
from slowwave.ops.dates import find_times
from slowwave.ops.fusion import peak_scaled, standardised, unite
from slowwave.ops.nodes import keys_asked, origin_of, tags, tags_of
from slowwave.ops.query import QueryAnalysis, analyse, choose_terms
from slowwave.ops.succession import newest_first
from slowwave.records import Hit, Hits
from slowwave.store.base import Row, View, Want
from slowwave.text.base import Cue, Dream, Night
from slowwave.text.memos_night import GATHERED, Work, segments
from slowwave.text.plain import PlainMemory, stopped, unread

Floats = NDArray[np.float64]
Vector = NDArray[np.float32]
ROUTES = ("graph", "vector", "lexical")
OPENED = 3  # topics whose members join the candidates


@dataclass(frozen=True)
class _Pool:
    """The candidates of one search, a place each in the arrays; `share` and `keyed` are the graph route's."""

    rows: Sequence[Row]
    dense: Floats
    lexical: Floats
    share: Floats
    keyed: Set[int]
    mean: float
    std: float
    vector: Vector | None
    records: int
    frequency: Mapping[str, int]
    degraded: Sequence[str]
    offered: Mapping[str, int]


class MemOS(PlainMemory):
    """Nodes with key, tags and life cycle; graph, vector and keyword routes reranked as one; topics and a working set.

    working_size, long_term_size, user_size  nodes of each tier; what is crowded out is archived, and can be restored
    top_k, similarity  the nearest nodes, and the plain cosine, from which a new node is compared with older ones
    shared_tags      tags that a record shares with a question to be found by the graph route
    least_nodes      nodes that wait before topics are made, and `every_seconds` how long since the last time
    most_in_cluster  nodes of one topic; clusters of no more than `keep` are none
    least_in_topic   memories of a topic that a model parts a cluster into
    topic_confidence what a topic carries as its confidence
    weights          of relevance, keyword and use in the working set's order and the rerank; each counts once
    insights_from    new nodes from which a model may draw insights, at most one of each of three motives; 0 for never
    routes           those that take part: graph, vector, lexical
    candidates       records that each route offers
    tagged           what all shared tags count for beside a standard deviation of cosine
    worded           what the words count for, likewise
    gathered         what a topic or an insight loses against what was said
    """

    name = "memos"
    paper = "MemOS: A Memory OS for AI System (Li, Song, Xi et al., 2025)"
    operations = ("consolidation", "updating", "indexing", "forgetting", "retrieval")
    asks = ("sleep",)
    claim = "LoCoMo by judge 73.31, Mem0 64.57, LangMem 55.76, OpenAI's memory 52.75."
    differs = (
        "The plaintext tier alone: activation and parametric memory come with promotion. Nodes are made at night, not "
        "when something is added; until then, and where no model reads it, a turn is its own node. Nothing is deleted: "
        "what the conflict path replaces is archived and can be restored, and a late arrival does not replace what is "
        "newer. Scheduler weights count once. Topics are made from all that waits, when a night brings news, and not "
        "every 100 seconds; edges are part, supersedes, contradicts and supports, without infers and follows."
    )
    proof = "proofs/memos.py"

    def __init__(
        self,
        working_size: int = 20,
        long_term_size: int = 1500,
        user_size: int = 480,
        top_k: int = 5,
        similarity: float = 0.8,
        shared_tags: int = 2,
        least_nodes: int = 20,
        every_seconds: float = 100.0,
        most_in_cluster: int = 20,
        keep: int = 10,
        least_in_topic: int = 4,
        topic_confidence: float = 0.66,
        weights: tuple[float, float, float] = scheduling.WEIGHTS,
        insights_from: int = 0,
        routes: Sequence[str] = ROUTES,
        candidates: int = 100,
        tagged: float = 1.0,
        worded: float = 0.6,
        gathered: float = 2.0,
    ) -> None:
        if not routes or set(routes) - set(ROUTES):
            raise InputError(f"routes is {list(routes)}; give one or more of {', '.join(ROUTES)}")
        self.working_size = working_size
        self.long_term_size = long_term_size
        self.user_size = user_size
        self.top_k = top_k
        self.similarity = similarity
        self.shared_tags = shared_tags
        self.least_nodes = least_nodes
        self.every_seconds = every_seconds
        self.most_in_cluster = most_in_cluster
        self.keep = keep
        self.least_in_topic = least_in_topic
        self.topic_confidence = topic_confidence
        self.weights = weights
        self.insights_from = insights_from
        self.routes = tuple(routes)
        self.candidates = candidates
        self.tagged = tagged
        self.worded = worded
        self.gathered = gathered

    # -- read

    def search(self, view: View, cue: Cue, embedder: Embedder | None) -> Hits:
        asked = analyse(cue.text, view.speakers())
        present = not (cue.want.at or cue.want.as_of or asked.wants_past or find_times(cue.text, cue.now))
        pool = self._pool(view, cue, asked, embedder)
        bearing = self._bearing(view, pool, asked)
        raw = (
            standardised(pool.dense, pool.mean, pool.std)
            + self.worded * peak_scaled(pool.lexical, 4.0)
            + self.tagged * pool.share
            - self.gathered * np.array([row.kind in GATHERED for row in pool.rows], dtype=np.float64)
        )
        spread = float(np.ptp(raw)) if len(raw) else 0.0
        relevance = (raw - raw.min()) / spread if spread > 0 else np.ones(len(raw))
        engrams = view.engrams([row.n for row in pool.rows], cue.want.as_of)
        lately = [scheduling.use(engrams[row.n], cue.now) for row in pool.rows]
        ranked = scheduling.rank(relevance, pool.share, lately, self.weights)
        # The threshold's scale is that of the raw scores: a share of their spread would let a poor pool look rich.
        scores = hit_scores(ranked * spread / max(self.weights[0], 1e-9), bearing)
        places = {row.n: place for place, row in enumerate(pool.rows)}
        found = {n: float(scores[place]) for n, place in places.items()}
        found = newest_first(view, found, cue.want) if present else found
        least = THRESHOLD if cue.threshold is None else cue.threshold
        best = sorted((n for n in found if found[n] >= least), key=lambda n: (-found[n], places.get(n, -1), n))
        engrams |= view.engrams([n for n in best[: cue.top_k] if n not in engrams], cue.want.as_of)
        hits = []
        for n in best[: cue.top_k]:
            if n not in places:
                hits.append(Hit(engrams[n], found[n], {}, "replaces what was found"))
                continue
            place = places[n]
            channels = {"relevance": float(relevance[place]), "graph": float(pool.share[place]), "use": lately[place]}
            hits.append(Hit(engrams[n], found[n], channels, _why(pool, place)))
        trace: dict[str, Any] = {"degraded": list(pool.degraded), "threshold": least}
        return Hits(hits, trace | ({"candidates": dict(pool.offered)} if cue.explain else {}))

    def _pool(self, view: View, cue: Cue, asked: QueryAnalysis, embedder: Embedder | None) -> _Pool:
        """What each route offers, the members of the topics among it, and the working set."""
        most = max(self.candidates, cue.top_k)
        dense: dict[int, float] = {}
        mean, std, vector, degraded = 0.0, 0.0, None, list[str]()
        if embedder is None:
            degraded.append("dense: there is no embedder")
        elif "vector" in self.routes:
            vector = embedder.embed([cue.text])[0]
            near = view.dense(vector, most, cue.want)
            dense, mean, std = dict(zip(near.ids.tolist(), near.scores.tolist(), strict=True)), near.mean, near.std
            degraded += [f"dense: {near.note}"] if near.note else []
        records, frequency = view.document_frequency(asked.terms)
        terms = choose_terms(asked.terms, frequency, records)
        worded = dict(view.lexical(terms, most, cue.want)) if "lexical" in self.routes else {}
        wanted = frozenset(tags(cue.text))
        keyed, tagged = set[int](), list[int]()
        if "graph" in self.routes:
            slots = [origin_of(key) for key in keys_asked([*asked.speakers, *asked.names], asked.terms)]
            found = view.find_origin(slots) if slots else {}
            keyed = set(view.numbers([engram.id for many in found.values() for engram in many]).values())
            tagged = [n for n, _ in view.lexical(terms, 2 * most, cue.want)]
        working = view.numbers(list(view.cursor(self.name).state.get("working", ())))
        offered = view.rows(unite(list(dense), list(worded), tagged, sorted(keyed), list(working.values())), cue.want)
        opened = [row for row in list(offered.values())[:OPENED] if row.kind == "summary"]
        if "graph" in self.routes and opened:
            topics = view.engrams([row.n for row in opened])
            parts = view.links([topic.id for topic in topics.values()], ("part",))
            offered |= view.rows(list(view.numbers([tie.source for tie in parts]).values()), cue.want)
        share = (
            {n: self._share(row, wanted, n in keyed) for n, row in offered.items()} if "graph" in self.routes else {}
        )
        kept = {*dense, *worded, *working.values(), *(n for n, value in share.items() if value > 0)}
        rows = [row for n, row in offered.items() if n in kept]
        if vector is not None:
            dense |= view.cosines(vector, [row.n for row in rows if row.n not in dense])
        return _Pool(
            rows,
            np.array([dense.get(row.n, np.nan) for row in rows]),
            np.array([worded.get(row.n, 0.0) for row in rows]),
            np.array([share.get(row.n, 0.0) for row in rows]),
            keyed,
            mean, std, vector, records, frequency, degraded,
            {"vector": len(dense), "lexical": len(worded), "graph": len(tagged), "working": len(working)},
        )  # fmt: skip

    def _share(self, row: Row, wanted: frozenset[str], keyed: bool) -> float:
        """The graph route: 1 for the slot that is asked about, else the share of tags, if enough of them are shared."""
        if keyed:
            return 1.0
        held = tags_of(row.text, row.speaker)
        return scheduling.share(wanted, held) if len(wanted & held) >= min(self.shared_tags, len(wanted)) else 0.0

    def _bearing(self, view: View, pool: _Pool, asked: QueryAnalysis) -> float:
        """The probability that the memory holds something on the question; see `ops/calibration.py`."""
        known = sum(1 for name in asked.names if view.lexical([name], 1, Want()))
        query = pool.vector
        stored = view.vectors([row.n for row in pool.rows[:10]]) if query is not None else {}
        counts = [n for term, n in pool.frequency.items() if " " not in term]
        evidence = Evidence(
            nearest=max((float(row @ query) for row in stored.values() if query is not None), default=float("nan")),
            support=support(pool.dense, cover(pool.lexical, pool.frequency, pool.records)),
            names=names_known(known, len(asked.names) - known),
            unknown=sum(not n for n in counts) / len(counts) if counts else 0.0,
            records=pool.records,
        )
        return probability(evidence)

    # -- sleep

    def sleep(self, night: Night) -> Dream:
        work = Work(self, night)
        news = unread(night, lambda engram: not engram.sources and "by" not in engram.attrs)
        left: list[int] = []
        for segment in segments(news):
            if left or (night.llm is not None and night.llm.exhausted):
                left += segment
                continue
            work.take_in(segment)
            night.progress("nodes", len(work.table.fresh), len(work.table.fresh))
        read = {n: engram for n, engram in news.items() if n not in set(left)}
        state: dict[str, Any] = {}
        if read:
            work.crowd_out()
            waiting = work.waiting(read)
            state = {**work.organise(waiting), **work.muse(waiting), "working": work.working(read, waiting)}
        told = [f"{len(left)} records wait for the next night: {night.llm.exhausted}"] if left and night.llm else []
        return self.dream(night, work.made, stopped(night, news, left, **state), told)


def _why(pool: _Pool, place: int) -> str:
    keyed = pool.rows[place].n in pool.keyed
    parts = ["fills the slot that is asked about"] if keyed else []
    parts += ["shares tags with the question"] if pool.share[place] > 0 and not keyed else []
    if pool.std > 0 and (pool.dense[place] - pool.mean) / pool.std > 1.5:
        parts.append("close in meaning")
    parts += ["shares words with the question"] if pool.lexical[place] > 0 else []
    return "; ".join(parts) or "at hand in the working set"
