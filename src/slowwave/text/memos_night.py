"""A night of MemOS, step by step: take in segments, let go what is crowded out, make topics, muse, set the working set.

Each step reads through the sleeper's view, cost what is new, and adds Changes; nothing is written here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from slowwave.ops import scheduling
from slowwave.ops.consolidate import compare_with_older
from slowwave.ops.extraction import extract
from slowwave.ops.made import Made
from slowwave.ops.nearness import nearest
from slowwave.ops.nodes import as_node, tags
from slowwave.ops.settlement import Table, settle
from slowwave.ops.topics import groups, muse, name_topics
from slowwave.records import Engram
from slowwave.store.base import Want
from slowwave.text.base import Night

if TYPE_CHECKING:
    from slowwave.text.memos import MemOS

Vector = NDArray[np.float32]
MOST_TURNS = 30  # of a segment that a model reads at once, and of what counts as said last
MOST_WAITING = 500  # nodes that wait for a topic
MOTIVES, MOST_IN_MOTIVE = 3, 30
GATHERED = ("summary", "note")


@dataclass
class Work:
    """One night's work on a cube.

    vectors  id -> vector of the nodes that it makes
    """

    system: MemOS
    night: Night
    made: Made = field(default_factory=Made)
    vectors: dict[str, Vector] = field(default_factory=dict)

    @cached_property
    def table(self) -> Table:
        """What it works on."""
        return Table(self.night.view, self.made, self.night.now, self.system.name, self.night.llm)

    def take_in(self, segment: Mapping[int, Engram]) -> None:
        """What a segment's turns do to older turns, and the nodes drawn from them, settled with older nodes."""
        night, table = self.night, self.table
        table.know(segment.values())
        older = night.view.nearest_older(list(segment), self.system.top_k)
        numbers = sorted({m for pairs in older.values() for m, _ in pairs})
        stored, records = night.view.vectors([*segment, *numbers]), night.view.engrams(numbers)
        table.know(records.values())
        for n, engram in segment.items():
            near = [(table.held[records[m].id], _cosine(stored, n, m)) for m, _ in older.get(n, []) if m in records]
            met = [(old, cosine) for old, cosine in near if cosine >= self.system.similarity and table.is_live(old)]
            for change in compare_with_older(table.held[engram.id], met, night.now):
                table.change(change)
        turns = [
            turn for e in segment.values() if (turn := table.held[e.id]).retired is None and turn.kind == "episode"
        ]
        half_life = float(night.params.get("half_life_days", 30.0))
        drafts = extract(turns, night.llm, self.made, sentences=False)
        nodes = [as_node(draft, turns, night.now, half_life, self.system.name) for draft in drafts]
        rows = self.system.embed(nodes, night.embedder) if night.embedder is not None and nodes else None
        slots = night.view.find_origin(sorted({node.origin for node in nodes if node.origin}))
        for engrams in slots.values():
            table.know(engrams)
        for place, node in enumerate(nodes):
            row = None if rows is None else rows[place]
            kept = settle(node, self._met(node, row, slots), table)
            if kept is not None and row is not None:
                self.vectors[kept.id] = row

    def _met(
        self, node: Engram, row: Vector | None, slots: Mapping[str, Sequence[Engram]]
    ) -> list[tuple[Engram, float]]:
        """The live nodes that a new one is compared with: the nearest of enough likeness, and those of its slot."""
        view, table, near = self.night.view, self.table, dict[str, float]()
        if row is not None:
            by_number = nearest(view, row, 4 * self.system.top_k, Want())
            found = view.engrams(list(by_number))
            table.know(found.values())
            near = {found[n].id: cosine for n, cosine in by_number.items() if n in found}
            near |= {id_: float(self.vectors[id_] @ row) for id_ in table.fresh if id_ in self.vectors}
        order = sorted(near.items(), key=lambda pair: -pair[1])
        alike = [(table.held[id_], cosine) for id_, cosine in order if cosine >= self.system.similarity]
        met = [pair for pair in alike if self._is_node(pair[0])][: self.system.top_k]
        slot = [e.id for e in slots.get(node.origin or "", [])]
        slot += [id_ for id_ in table.fresh if node.origin and table.held[id_].origin == node.origin]
        known = {old.id for old, _ in met}
        met += [(table.held[id_], near.get(id_, 0.0)) for id_ in slot if id_ not in known]
        return [pair for pair in met if self._is_node(pair[0])]

    def _is_node(self, engram: Engram) -> bool:
        return engram.kind == "fact" and engram.attrs.get("by") == self.system.name and self.table.is_live(engram)

    def crowd_out(self) -> None:
        """Archive what a tier has no room for. Only a night that made nodes looks."""
        view, table, facts = self.night.view, self.table, Want(kinds=("fact",))
        sizes = {"user": self.system.user_size, "long-term": self.system.long_term_size}
        if not table.fresh or view.count(facts) + len(table.fresh) <= min(sizes.values()):
            return
        table.know(view.select(facts))
        nodes = [engram for engram in table.held.values() if self._is_node(engram)]
        for tier, size in sizes.items():
            own = [engram for engram in nodes if engram.attrs.get("tier") == tier]
            for engram in scheduling.crowded_out(own, size, self.night.now):
                table.archive(engram, f"the {tier} tier holds {size}, and this was used least")

    def waiting(self, read: Mapping[int, Engram]) -> list[tuple[Engram, Vector]]:
        """Nodes of no topic yet, oldest first: tonight's, turns that gave none, and what earlier nights left."""
        view, table = self.night.view, self.table
        earlier = view.engrams(list(view.numbers(list(self.night.since.state.get("waiting", ()))).values()))
        table.know(earlier.values())
        drawn = {source for id_ in table.fresh for source in table.held[id_].sources}
        bare = {n: engram for n, engram in read.items() if engram.id not in drawn}
        stored = view.vectors([*earlier, *bare])
        known = {engram.id: stored[n] for n, engram in {**earlier, **bare}.items() if n in stored} | self.vectors
        live = [table.held[id_] for id_ in known if table.is_live(table.held[id_])]
        return [(e, known[e.id]) for e in sorted(live, key=lambda e: (e.at, e.id))][-MOST_WAITING:]

    def organise(self, waiting: Sequence[tuple[Engram, Vector]]) -> dict[str, Any]:
        """Topics over what waits, where that is due; the state that the next night needs."""
        s, said = self.system, self.night.since.state.get("organised")
        last = datetime.fromisoformat(said) if said else None
        if not scheduling.reorganise_due(len(waiting), last, self.night.now, s.least_nodes, s.every_seconds):
            return {"waiting": [engram.id for engram, _ in waiting]}
        rows = np.stack([row for _, row in waiting])
        found, left = groups(rows, s.most_in_cluster, s.keep)
        for done, group in enumerate(found):
            members = [waiting[place][0] for place in group]
            attrs = {"by": s.name, "confidence": s.topic_confidence}
            name_topics(members, rows[group], self.made, self.night.now, self.night.llm, s.least_in_topic, attrs)
            self.night.progress("topics", done + 1, len(found))
        return {"waiting": [waiting[place][0].id for place in left], "organised": self.night.now.isoformat()}

    def muse(self, waiting: Sequence[tuple[Engram, Vector]]) -> dict[str, Any]:
        """At most one insight of each of the three largest motives, once enough new nodes are there."""
        llm, view, table = self.night.llm, self.night.view, self.table
        if not self.system.insights_from or llm is None:
            return {}
        new = list(dict.fromkeys([*self.night.since.state.get("unmused", ()), *table.fresh]))
        if len(new) < self.system.insights_from or llm.exhausted:
            return {"unmused": new}
        rows = {engram.id: row for engram, row in waiting}
        numbers = view.numbers([id_ for id_ in new if id_ not in rows])
        stored = view.vectors(list(numbers.values()))
        rows |= {id_: stored[n] for id_, n in numbers.items() if n in stored}
        nodes = [engram for engram in table.get(id_ for id_ in new if id_ in rows) if table.is_live(engram)]
        found = groups(np.stack([rows[e.id] for e in nodes]), MOST_IN_MOTIVE, 1)[0] if nodes else []
        for group in sorted(found, key=len, reverse=True)[:MOTIVES]:
            attrs = {"by": self.system.name, "confidence": self.system.topic_confidence}
            muse([nodes[place] for place in group], self.made, self.night.now, llm, attrs)
        return {"unmused": []}

    def working(self, read: Mapping[int, Engram], waiting: Sequence[tuple[Engram, Vector]]) -> list[str]:
        """The nodes that bear most on what was said last: what the next searches look at as well."""
        view, table, last = self.night.view, self.table, dict(list(read.items())[-MOST_TURNS:])
        recent = view.vectors(list(last))
        if not recent:
            return [engram.id for engram in last.values()][-self.system.working_size :]
        middle = np.mean(list(recent.values()), axis=0)
        middle = np.asarray(middle / max(float(np.linalg.norm(middle)), 1e-9), dtype=np.float32)
        near = nearest(view, middle, self.system.candidates, Want())
        found = view.engrams(list(near))
        table.know(found.values())
        cosines = {found[n].id: cosine for n, cosine in near.items() if n in found}
        cosines |= {engram.id: float(row @ middle) for engram, row in waiting}
        nodes = [table.held[id_] for id_ in cosines]
        nodes = [engram for engram in nodes if table.is_live(engram) and engram.kind not in GATHERED]
        wanted = {tag for engram in last.values() for tag in tags(engram.text)}
        scores = scheduling.rank(
            [max(0.0, cosines[engram.id]) for engram in nodes],
            [scheduling.share(tags(engram.text), wanted) for engram in nodes],
            [scheduling.use(engram, self.night.now) for engram in nodes],
            self.system.weights,
        )
        return scheduling.working_set([engram.id for engram in nodes], scores, self.system.working_size)


def segments(news: Mapping[int, Engram]) -> list[dict[int, Engram]]:
    """Consecutive records of one session, at most so many as a model reads at once."""
    out: list[dict[int, Engram]] = []
    for _, run in groupby(news.items(), key=lambda pair: (pair[1].scope, pair[1].session)):
        items = list(run)
        out += [dict(items[start : start + MOST_TURNS]) for start in range(0, len(items), MOST_TURNS)]
    return out


def _cosine(stored: Mapping[int, Vector], a: int, b: int) -> float:
    return float(stored[a] @ stored[b]) if a in stored and b in stored else 0.0
