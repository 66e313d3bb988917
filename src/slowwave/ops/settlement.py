"""What a new memory node does to the nodes it meets: repeats, completes, replaces or disputes them; none is deleted.

    restates                    the node there gains a support, no new one is made; a dispute it was in is decided
    refines                     the new node takes its place and names it as a source; the old one is archived
    supersedes                  the newer value stands; the older one ends where it began and is archived
    contradicts, unsure         both stay, tied, and are "resolving" until something decides

An episode goes with the nodes that were drawn from it: it ends when all of them have ended and it tells no more.

Source: MemOS (2025, arXiv 2507.03724): the five nearest at cosine 0.8 are contradictory, redundant or independent, then
fused or the newer wins. Differs: nothing is deleted, a late arrival does not win over what is newer, and nodes of one
slot meet however their cosine is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from slowwave.models.llm import LLM
from slowwave.ops.compare import Comparison
from slowwave.ops.lifecycle import move, moved, status_of
from slowwave.ops.made import Made
from slowwave.ops.nodes import says_more
from slowwave.ops.outcomes import judge
from slowwave.records import Change, Engram, Link
from slowwave.store.base import View


@dataclass
class Table:
    """What one night works on: records as its changes leave them, over what the view holds.

    system  nodes of this system alone are settled
    held    id -> the record as changed by this night
    fresh   ids of the nodes that it makes, in order
    nodes   episode -> nodes that this night drew from it or that it supports; `voices` the other way round
    """

    view: View
    made: Made
    now: datetime
    system: str
    llm: LLM | None = None
    held: dict[str, Engram] = field(default_factory=dict)
    fresh: list[str] = field(default_factory=list)
    nodes: dict[str, list[str]] = field(default_factory=dict)
    voices: dict[str, list[str]] = field(default_factory=dict)

    def know(self, engrams: Iterable[Engram]) -> None:
        """Take records as they stand; what this night has changed stays changed."""
        for engram in engrams:
            self.held.setdefault(engram.id, engram)

    def get(self, ids: Iterable[str]) -> list[Engram]:
        """Records as this night leaves them."""
        wanted = list(dict.fromkeys(ids))
        self.know(self.view.get([id_ for id_ in wanted if id_ not in self.held]).values())
        return [self.held[id_] for id_ in wanted if id_ in self.held]

    def change(self, change: Change) -> None:
        """Propose a change of a record that is known, and see it so from now on."""
        self.made.changes.append(change)
        self.held[change.id] = moved(self.held[change.id], change)

    def tie(self, said: Iterable[str], node: str) -> None:
        """Note that these episodes say what a node says."""
        for id_ in said:
            self.nodes.setdefault(id_, []).append(node)
            self.voices.setdefault(node, []).append(id_)

    def archive(self, engram: Engram, reason: str, successor: str = "", until: datetime | None = None) -> None:
        """Propose to archive a record, in favour of a successor if there is one."""
        ties = [Link(successor, "supersedes", engram.id)] if successor else []
        sources = [successor] if successor else []
        self.change(move(engram, "archived", self.now, reason, sources=sources, links=ties, until=until))

    def is_live(self, engram: Engram) -> bool:
        """Whether a node is in view and holds."""
        return engram.retired is None and engram.until is None


def settle(node: Engram, met: Sequence[tuple[Engram, float]], table: Table) -> Engram | None:
    """Settle a new node with those that it meets, and propose it; None where it only says again what is there.

    met  (node in view, plain cosine), best first
    """
    replaced: list[tuple[Engram, str]] = []
    disputed: list[tuple[Engram, str]] = []
    completed: list[tuple[Engram, str]] = []
    until: datetime | None = None
    later = ""
    for old, cosine in met:
        verdict = outcome(old, node, cosine, table)
        if verdict.outcome == "restates":
            _support(old, node, verdict.reason, table)
            return None
        if verdict.outcome == "supersedes" and node.at >= old.at:
            replaced.append((old, verdict.reason))
        elif verdict.outcome == "supersedes":
            until = old.at if until is None else min(until, old.at)
            later = old.id
        elif verdict.outcome == "refines":
            completed.append((old, verdict.reason))
        elif verdict.outcome in ("contradicts", "unsure"):
            disputed.append((old, verdict.reason))
    if until is not None:
        node = node.with_(until=until, closed=table.now)
    sources = tuple(dict.fromkeys([*node.sources, *(old.id for old, _ in completed)]))
    node = node.with_(sources=sources, attrs={**node.attrs, "status": "resolving" if disputed else "activated"})
    ties = [Link(later, "supersedes", node.id)] if later else []
    table.made.add(node, "add", f"{node.attrs.get('background', 'it was said')}", ties)
    table.held[node.id] = node
    table.fresh.append(node.id)
    table.tie(node.sources, node.id)
    for old, reason in completed:
        table.archive(old, f"{reason} (says {node.id})", node.id)
    for old, reason in replaced:
        table.archive(old, f"{reason} (says {node.id})", node.id, node.at)
        end_episodes(old, node.id, node.at, table)
    for old, reason in disputed:
        tie = Link(node.id, "contradicts", old.id)
        table.made.changes.append(Change("contradict", node.id, reason, links=(tie,), sources=(node.id, old.id)))
        if status_of(old) == "activated":
            table.change(move(old, "resolving", table.now, reason, sources=[node.id]))
    if until is not None:
        end_episodes(node, later, until, table)
    return node


def outcome(old: Engram, new: Engram, cosine: float, table: Table) -> Comparison:
    """What the new node does to the old one: see `judge`; where that is open, a slot of one value takes the newer."""
    verdict = judge(old, new, cosine, table.llm, table.made)
    single = bool(old.attrs.get("single") or new.attrs.get("single"))
    if verdict.outcome in ("new", "unsure") and single and old.origin is not None and old.origin == new.origin:
        was, now = str(old.attrs["value"]), str(new.attrs["value"])
        reason = f"{new.attrs['attribute']} of {new.attrs['subject']} was {was}, is {now}"
        return Comparison("supersedes", ((was, now),), reason)
    return verdict


def end_episodes(node: Engram, successor: str, end: datetime, table: Table) -> None:
    """End what was said of a node that has ended, where it says nothing else that still holds."""
    supporters = [t.source for t in table.view.links([node.id], ("supports",)) if t.target == node.id]
    for said in table.get([*node.sources, *supporters, *table.voices.get(node.id, ())]):
        if said.kind != "episode" or not table.is_live(said) or successor == said.id:
            continue
        nodes = nodes_of(said, table)
        if any(table.is_live(other) for other in nodes) or says_more(said, [*nodes, node]):
            continue
        table.change(
            Change(
                "supersede",
                said.id,
                f"all that it says has ended with {node.id}",
                fields={"until": max(end, said.at), "closed": table.now},
                guard={"until": None, "retired": None},
                links=(Link(successor, "supersedes", said.id),),
                sources=(node.id, said.id),
            )
        )


def nodes_of(said: Engram, table: Table) -> list[Engram]:
    """The nodes drawn from an episode, and those that it supports, as this night leaves them."""
    drawn = table.view.derived([said.id]).get(said.id, ())
    ties = [t.target for t in table.view.links([said.id], ("supports",)) if t.source == said.id]
    nodes = table.get([*drawn, *ties, *table.nodes.get(said.id, ())])
    return [engram for engram in nodes if engram.kind == "fact" and engram.attrs.get("by") == table.system]


def _support(old: Engram, node: Engram, reason: str, table: Table) -> None:
    """Count a repetition for the node there; where that was in dispute, it wins."""
    ties = tuple(Link(source, "supports", old.id) for source in node.sources if source not in old.sources)
    if ties:
        change = Change("support", old.id, reason, links=ties, sources=(*node.sources, old.id))
        table.made.changes.append(change)
        table.tie([tie.source for tie in ties], old.id)
    if status_of(old) != "resolving":
        return
    table.change(move(old, "activated", table.now, "said again, which decides the dispute", sources=node.sources))
    ends = {end for t in table.view.links([old.id], ("contradicts",)) for end in (t.source, t.target)} - {old.id}
    for other in table.get(sorted(ends)):
        if status_of(other) == "resolving":
            table.archive(other, f"the dispute with {old.id} went against it")
