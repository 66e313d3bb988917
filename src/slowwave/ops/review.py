"""Reviewing an operation: what somebody leaves out of a night before it is written, or takes back of it afterwards."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from slowwave.errors import InputError
from slowwave.records import Change, Rejected
from slowwave.store.base import Entry, View

_ID = re.compile(r"\b[0-9A-HJKMNP-TV-Z]{26}\b")
_UNDOES = re.compile(r"undoes (\w+) of ")  # see `undo.reverse`
MOST = 10_000  # undone operations that are looked through


def names_of(name: str, given: Any) -> frozenset[str]:
    """A list of keys or ids, checked."""
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise InputError(f"{name} is a {type(given).__name__}; give a list of texts")
    found = list(given)
    if not all(isinstance(one, str) for one in found):
        raise InputError(f"{name} holds something that is no text; give the keys or ids as they were shown")
    return frozenset(found)


def keyed(changes: Sequence[Change]) -> list[Change]:
    """Changes of a proposal, each with a key that it gets again when it is proposed again: 16 hex digits.

    A record to be added has another id each time; its kind and text name it, for the changes about it as well.
    """
    added = {change.id: f"{change.engram.kind} {change.engram.text}" for change in changes if change.engram is not None}
    seen: Counter[str] = Counter()
    out = []
    for change in changes:
        words = f"{change.verb} {added.get(change.id, change.id)} {'' if change.engram else _ID.sub('', change.reason)}"
        seen[words] += 1
        name = f"{words} {seen[words]}".encode("utf-8", "surrogatepass")
        out.append(replace(change, key=hashlib.blake2b(name, digest_size=8).hexdigest()))
    return out


def without(changes: Sequence[Change], leave: frozenset[str]) -> tuple[list[Change], list[Change]]:
    """Changes of a night -> (those to write, those that are left out).

    leave  keys of changes; what stands on a record that is then not added is left out as well
    """
    gone = {change.id for change in changes if change.key in leave and change.engram is not None}
    out = [change for change in changes if change.key in leave]
    kept = [change for change in changes if change.key not in leave]
    while True:
        stays: list[Change] = []
        for change in kept:
            ends = {end for link in (*change.links, *change.unlinks) for end in (link.source, link.target)}
            if gone & {change.id, *change.sources, *ends, *(change.engram.sources if change.engram else ())}:
                out.append(change)
                if change.engram is not None:
                    gone.add(change.id)
            else:
                stays.append(change)
        if len(stays) == len(kept):
            return kept, out
        kept = stays


def set_aside(left: Sequence[Change], model: str) -> tuple[Rejected, ...]:
    """What was left out, as the journal keeps it."""
    return tuple(
        Rejected(
            "review",
            "left out by whoever reviewed the night",
            change.engram.text if change.engram else change.reason,
            change.sources or (() if change.engram else (change.id,)),
            model,
            "",
        )
        for change in left
    )


def chosen(entries: Sequence[Entry], only: frozenset[str]) -> list[Entry]:
    """The journal lines of an operation that are named, with those that stand and fall with them.

    only  ids of records, or VERB:ID for one line of several about a record

    A record that goes takes along the lines that name it: what it superseded holds again, what was made of it goes too.
    """
    lines = dict.fromkeys(range(len(entries)), False)
    names = {name for entry in entries for name in (entry.engram, named(entry))}
    if missing := sorted(only - names):
        raise InputError(f"only names {missing[0]!r:.60}, which this operation did not change; see: slowwave log OP")
    fresh = [n for n, entry in enumerate(entries) if only & {entry.engram, named(entry)}]
    while fresh:
        lines |= dict.fromkeys(fresh, True)
        gone = {entries[n].engram for n, taken in lines.items() if taken and _came(entries[n])}
        fresh = [n for n, taken in lines.items() if not taken and gone & _about(entries[n])]
    return [entries[n] for n, taken in lines.items() if taken]


def named(entry: Entry) -> str:
    """VERB:ID"""
    return f"{entry.verb}:{entry.engram}"


def _came(entry: Entry) -> bool:
    """Whether a line brought its record into view: as a new one, or back."""
    back = entry.before.get("retired") is not None and entry.after.get("retired", "") is None
    return bool(entry.after.get("added")) or back


def _about(entry: Entry) -> set[str]:
    """The records that a line's own rests on or is tied to, and itself where it was there before."""
    ends = {end for link in (*entry.links, *entry.unlinks) for end in (link.source, link.target)}
    return {*entry.sources, *ends, *(() if _came(entry) else (entry.engram,))}


def taken_back(view: View, op: str) -> dict[str, str]:
    """What undos of a part of an operation have taken back of it, as VERB:ID, and which undo it was."""
    return {
        f"{verb[1]}:{entry.engram}": row["op"]
        for row in view.operations(MOST, verb="undo")
        if row["params"].get("op") == op and row["params"].get("part") and row["undone_by"] is None
        for entry in view.journal(op=row["op"], limit=1_000_000)
        if (verb := _UNDOES.match(entry.reason))
    }
