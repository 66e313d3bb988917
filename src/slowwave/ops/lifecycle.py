"""The life of a memory: activated, resolving or archived; each move is a Change, and a move that is not legal an error.

    activated <-> resolving     another record disputes it; a later one settles the dispute
    activated  -> archived      replaced, or crowded out: out of view and never found, its text and history kept
    resolving  -> archived      the dispute went against it
    archived   -> activated     restored

Nothing here deletes: only `erase` does, and that is no move. The status stands in `attrs["status"]`, an archived record
is retired with `retired_why` "archived", so that no search of any system finds it and `undo` brings it back. An
episode's attrs are never written, so an episode is activated or archived, and that alone.

Source: MemOS (2025, arXiv 2507.03724), the life of a MemCube's items. Differs: there the conflict path deletes.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

from slowwave.errors import ConflictError, InputError
from slowwave.records import Change, Engram, Link

Status = Literal["activated", "resolving", "archived"]
ARCHIVED = "archived"  # as `retired_why` and as a status
MOVES: frozenset[tuple[str, str]] = frozenset(
    [
        ("activated", "resolving"),
        ("resolving", "activated"),
        ("activated", "archived"),
        ("resolving", "archived"),
        ("archived", "activated"),
    ]
)
VERBS = {"archived": "retire", "resolving": "contradict", "activated": "restore"}


def status_of(engram: Engram) -> Status | None:
    """Where a record stands; None for one that left the view otherwise (merged, forgotten, undone, corrected)."""
    if engram.retired is not None:
        return "archived" if engram.retired_why == ARCHIVED else None
    return "resolving" if engram.attrs.get("status") == "resolving" else "activated"


def move(
    engram: Engram,
    to: Status,
    now: datetime,
    reason: str,
    *,
    sources: Sequence[str] = (),
    links: Sequence[Link] = (),
    until: datetime | None = None,
    verb: str = "",
) -> Change:
    """The Change that gives a record another status.

    until    with "archived": when it stopped being true, for what was replaced by a newer value
    verb     what the journal calls it; the default is retire, contradict or restore
    raises   ConflictError for a move that is not legal, InputError for an episode that would be "resolving"

    Back to "activated" from "archived" also takes away an end that the archiving set (`until`): it holds again.
    """
    at = status_of(engram)
    if at is None:
        raise ConflictError(f"{engram.id} left the view ({engram.retired_why}) and has no status; undo that first")
    if (at, to) not in MOVES:
        legal = ", ".join(sorted(end for start, end in MOVES if start == at))
        raise ConflictError(f"{engram.id} is {at} and cannot become {to}; from there it can become {legal}")
    said = engram.kind == "episode"
    if said and to == "resolving":
        raise InputError(f"{engram.id} is an episode: what was said has no status to be set; tie it as contradicted")
    fields: dict[str, Any] = {} if said else {"attrs": {**engram.attrs, "status": to}}
    guard: dict[str, Any] = {"retired": engram.retired}
    if to == "archived":
        fields |= {"retired": now, "retired_why": ARCHIVED}
        if until is not None:
            fields |= {"until": max(until, engram.at), "closed": now}
            guard["until"] = engram.until
    elif at == "archived":
        fields |= {"retired": None, "retired_why": None}
        if engram.until is not None and engram.closed == engram.retired:
            fields |= {"until": None, "closed": None}
    if not said:
        guard["attrs"] = dict(engram.attrs)
    named = tuple(dict.fromkeys([*sources, engram.id]))
    return Change(verb or VERBS[to], engram.id, reason, fields=fields, links=tuple(links), guard=guard, sources=named)


def moved(engram: Engram, change: Change) -> Engram:
    """The record as the change leaves it, so that a second move of one night starts from the first."""
    return engram.with_(**change.fields)
