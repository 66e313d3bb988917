"""The nodes of MemGAS: one session at each granularity, found again and remade when the session goes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from slowwave.ops.digest import MOST_TURNS
from slowwave.ops.extraction import ids_of
from slowwave.ops.granularity import GRANULARITIES, digest, full_text
from slowwave.ops.keyphrases import vocabulary
from slowwave.ops.made import Made
from slowwave.ops.nearness import Vector
from slowwave.records import Engram, Link, Scope
from slowwave.store.base import View
from slowwave.store.ids import new_id
from slowwave.text.base import Night

KINDS = {"session": "note", "turns": "note", "summary": "summary", "keywords": "note"}


@dataclass(slots=True)
class New:
    """What this night has made so far; `sessions` counts those of earlier nights as well."""

    sessions: int
    vectors: dict[str, Vector] = field(default_factory=dict)


def granularity_of(engram: Engram) -> str:
    """Of a node; "" for what is none of ours."""
    found = engram.attrs.get("granularity")
    return found if isinstance(found, str) and (engram.origin or "").startswith("memgas:") else ""


def session_of(node: Engram) -> str:
    """All nodes of a session name the same turns, so the first of them names the session."""
    return node.sources[0]


def nodes_of(stretch: Sequence[Engram], granularities: Sequence[str], night: Night, made: Made) -> list[Engram]:
    """A session's nodes: one call of the model for summary and keywords, or none; what has no text has no node."""
    numbers = night.view.numbers(ids_of(stretch))
    stored = night.view.vectors(list(numbers.values()))
    rows = [stored[numbers[e.id]] for e in stretch if numbers.get(e.id) in stored]
    records, frequency = night.view.document_frequency(vocabulary([engram.text for engram in stretch]))
    table = np.stack(rows) if len(rows) == len(stretch) else None
    short = digest(stretch, night.llm, made, table, frequency, records)
    said = full_text(stretch)
    texts = {"session": said, "turns": said, "summary": short.summary, "keywords": "; ".join(short.keywords)}
    return [_node(name, texts[name], stretch, night) for name in granularities if texts[name]]


def _node(granularity: str, text: str, stretch: Sequence[Engram], night: Night) -> Engram:
    session = stretch[0].session
    attrs = {"granularity": granularity, "by": "memgas", **({"session": session} if session is not None else {})}
    return Engram(
        id=new_id(),
        kind=KINDS[granularity],
        text=text,
        scope=Scope.common(engram.scope for engram in stretch),
        at=stretch[0].at,
        recorded=night.now,
        sources=ids_of(stretch),
        attrs=attrs,
        origin=_origin(granularity, stretch[0]),
        half_life_days=float(night.params.get("half_life_days", 30.0)),
    )


def _origin(granularity: str, first: Engram) -> str:
    """The name under which a session's nodes are found again when it goes on; without a session it does not go on."""
    return f"memgas:{granularity}:{first.id if first.session is None else first.session}"


def open_nodes(view: View, group: Sequence[Engram]) -> dict[str, Engram]:
    """The nodes of the session that these turns go on with, by granularity; none where it is new, or long enough."""
    if group[0].session is None:
        return {}
    held = view.find_origin([_origin(name, group[0]) for name in GRANULARITIES])
    mine = [node for nodes in held.values() for node in nodes if node.scope == group[0].scope and node.sources]
    if not mine:
        return {}
    newest = max(mine, key=lambda node: node.id)
    if len(newest.sources) + len(group) > MOST_TURNS:
        return {}
    return {granularity_of(node): node for node in mine if session_of(node) == session_of(newest)}


def inherited(view: View, old: Engram, new: Engram) -> list[Link]:
    """The ties of a version that goes, as ties of the one that comes."""
    ends = [
        (link.target if link.source == old.id else link.source, link.weight)
        for link in view.links([old.id], ("similar",))
    ]
    return [Link(new.id, "supersedes", old.id), *(Link(new.id, "similar", end, weight) for end, weight in ends)]
