"""Taking an operation back: the changes that reverse what the journal says it did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from slowwave.errors import NotFoundError
from slowwave.records import Change
from slowwave.store.base import Entry, View


def reverse(entries: Sequence[Entry], dependents: Sequence[str], now: datetime) -> list[Change]:
    """Journal lines of one operation, newest first -> changes that restore what was before.

    dependents  engrams that rest on nothing but what the operation added; they leave the view with it

    What was added leaves the view (its record and history stay), fields get their old values, ties are turned back.
    Each change carries as its guard what the operation left, so that a later edit is noticed and never run over.
    """
    out = [_retire(id_, "rests on what is undone", now) for id_ in dependents]
    for entry in entries:
        reason = f"undoes {entry.verb} of {entry.op}"
        if entry.after.get("added"):
            out.append(_retire(entry.engram, reason, now, entry))
            continue
        fields: Mapping[str, Any] = {name: entry.before.get(name) for name in entry.after}
        out.append(
            Change(
                "undo",
                entry.engram,
                reason,
                fields=fields,
                guard=dict(entry.after),
                links=entry.unlinks,
                unlinks=entry.links,
                sources=(entry.engram,),
            )
        )
    return out


def _retire(id_: str, reason: str, now: datetime, entry: Entry | None = None) -> Change:
    return Change(
        "undo",
        id_,
        reason,
        fields={"retired": now, "retired_why": "undone"},
        guard={"retired": None},
        links=entry.unlinks if entry else (),
        unlinks=entry.links if entry else (),
        sources=(id_,),
    )


def last_done(view: View) -> Mapping[str, Any]:
    """The newest operation that changed something, was not undone and is no undo."""
    limit = 50
    while True:
        rows = view.operations(limit)
        done = (row for row in rows if row["undone_by"] is None and row["verb"] != "undo" and row["changes"])
        row = next(done, None)
        if row is not None:
            return row
        if len(rows) < limit:
            raise NotFoundError(f"there is nothing to undo in {view.scope}")
        limit *= 8
