"""Correcting a record: its attrs and its end in place, its text by a new record that takes its place."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any

from slowwave.errors import ConflictError, InputError
from slowwave.ops.intake import check_text
from slowwave.records import Change, Engram, Link
from slowwave.store.ids import content_key, new_id

BY_HAND = "corrected by hand"


def check_revisable(old: Engram, end: datetime | None) -> None:
    """ConflictError for a record that left the view, InputError for an end before its beginning."""
    if old.retired is not None:
        raise ConflictError(
            f"{old.id} left the view ({old.retired_why}); update its successor, see: slowwave history {old.id}"
        )
    if end is not None and end < old.at:
        raise InputError(f"until is {end.isoformat()}, before at ({old.at.isoformat()})")


def amended(old: Engram, attrs: Mapping[str, Any] | None, end: datetime | None, now: datetime, reason: str) -> Change:
    """The change that sets attrs (None leaves them) and the moment from which it no longer held."""
    fields: dict[str, Any] = {}
    guard: dict[str, Any] = {"retired": None}
    if attrs is not None:
        fields["attrs"] = dict(attrs)
        guard["attrs"] = old.attrs
    if end is not None:
        fields |= {"until": end, "closed": now}
    if not fields:
        raise InputError("nothing to update: give text, until or attrs")
    return Change("update", old.id, reason or BY_HAND, fields=fields, guard=guard, sources=(old.id,))


def corrected(
    old: Engram, text: str, attrs: Mapping[str, Any], end: datetime | None, now: datetime, reason: str
) -> tuple[Engram, bytes, list[Change]]:
    """The record with the new text, its content key, and the changes that put it in the old one's place.

    What was said is never rewritten, so the correction of an episode is a fact that names it as its source.
    """
    check_text(text, "text")
    if not text.strip():
        raise InputError("text is empty; to take a record out of view use forget")
    new = old.with_(
        id=new_id(),
        text=text,
        kind="fact" if old.kind == "episode" else old.kind,
        sources=(old.id,),
        recorded=now,
        attrs=MappingProxyType(dict(attrs)),
        until=end or old.until,
        closed=now if end else old.closed,
        origin=None,
    )
    tie = Link(new.id, "supersedes", old.id)
    return (
        new,
        content_key(text, new.kind, new.speaker, f"update:{new.id}", None, 0),
        [
            Change("update", new.id, reason or BY_HAND, engram=new, links=(tie,), sources=(old.id,)),
            Change(
                "retire",
                old.id,
                f"corrected by {new.id}",
                fields={"retired": now, "retired_why": "corrected"},
                guard={"retired": None},
                sources=(old.id,),
            ),
        ],
    )
