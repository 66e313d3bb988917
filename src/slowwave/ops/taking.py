"""Taking in a batch: which of its items are known, which are new, and what became of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from slowwave.records import Change, Engram, Item, Link, Outcome, Scope
from slowwave.store.base import Applied, View

Part = Sequence[tuple[Engram, bytes]]  # engrams that are to be, each with its content key
Known = Mapping[tuple[Scope, bytes], Engram]
COME_BACK = ("undone", "forgotten")  # what left the view for these reasons comes back when it is added again


def known_of(view: View, part: Part) -> Known:
    """The records that are there already, by scope and content key."""
    known: dict[tuple[Scope, bytes], Engram] = {}
    for own in {engram.scope for engram, _ in part}:
        contents = [content for engram, content in part if engram.scope == own]
        known.update({(own, key): engram for key, engram in view.find_content(own, contents).items()})
    return known


def fresh_of(part: Part, known: Known) -> Part:
    """Those that have to be written: new ones, and those that come back into view."""
    return [
        (engram, content)
        for engram, content in part
        if (held := known.get((engram.scope, content))) is None or held.retired_why in COME_BACK
    ]


def outcomes_of(part: Part, known: Known, applied: Applied | None) -> list[Outcome]:
    """What became of each item, in order."""
    kept = applied.added if applied else {}
    restored = {change.id for change in applied.changes if change.verb == "restore"} if applied else set()
    out = []
    for engram, content in part:
        held = known.get((engram.scope, content))
        id_ = kept.get(engram.id) or (held.id if held else engram.id)
        if id_ == engram.id:
            out.append(Outcome(id_, "ADD", engram.text))
        elif id_ in restored:
            out.append(Outcome(id_, "UPDATE", engram.text, "in view again"))
        else:
            out.append(Outcome(id_, "NONE", engram.text, "was there already"))
    return out


def ties_of(items: Sequence[Item], outcomes: Sequence[Outcome]) -> list[Change]:
    """Ties between items of one call, which name each other by origin."""
    places = {item.origin: outcome.id for item, outcome in zip(items, outcomes, strict=True) if item.origin}
    return [
        Change("link", outcome.id, "stated by the source", links=(Link(outcome.id, relation, places[other]),))
        for item, outcome in zip(items, outcomes, strict=True)
        for relation, other in item.links
        if places.get(other, outcome.id) != outcome.id
    ]
