"""Records under keys of one's own, for the frameworks whose stores are dictionaries: put, get, drop, and what was.

A put over a key is an `update`, so the old value stays in the history; a drop is a `forget`, which `undo` takes back.
What a sleep folds away (a repeat, a demoted note) stays under its key: a dictionary does not lose entries overnight.
"""

from __future__ import annotations

import builtins
from collections.abc import Mapping, Sequence
from typing import Any

from slowwave.errors import ConflictError, InputError
from slowwave.records import Engram, Item, scope_of
from slowwave.store.ids import new_id

GONE = ("forgotten", "corrected", "undone")  # of what left the view, what is no longer under its key
TRIES = 8  # of writers that race for one key


class Keyed:
    """A dictionary of records in one scope of a memory.

    memory  anything with Memory's verbs, an AsyncMemory included
    owner   the name of the framework, kept in `attrs["made_by"]`, so that several can share a scope
    """

    def __init__(self, memory: Any, owner: str, scope: Mapping[str, Any]) -> None:
        self.memory = plain(memory)
        self.owner = owner
        self.scope: dict[str, Any] = dict(scope_of(scope).to_dict())
        self._last: dict[str, str] = {}  # key -> the id last seen under it

    def get(self, key: str) -> Engram | None:
        """The record under a key; None if there is none."""
        if (known := self._last.get(key)) is not None:
            held = self.list({"id": known})
            if held and held[0].retired is None:
                return held[0]
        first = self._where({"origin": self._origin(key)}, retired=True)
        if not first:
            return None  # the first record of every key has its origin, which is indexed
        there = [engram for engram in first if engram.retired is None] or self.list({"key": key})
        if not there:
            return None
        self._last[key] = there[-1].id
        return there[-1]

    def list(self, filters: Mapping[str, Any] | None = None, limit: int | None = None) -> builtins.list[Engram]:
        """The records under keys that pass the filter, oldest first."""
        found = [engram for engram in self._where(filters, retired=True) if is_there(engram)]
        if any(engram.retired is not None for engram in found):
            notes = self._where({"gone": "*"}, retired=True)
            gone = {id_ for note in notes if note.retired_why != "undone" for id_ in note.attrs["gone"]}
            found = [engram for engram in found if engram.id not in gone]
        newest = {engram.attrs["key"]: engram for engram in found if "key" in engram.attrs}
        found = [engram for engram in found if newest.get(engram.attrs.get("key")) is engram]
        return found if limit is None else found[:limit]

    def put(self, key: str, text: str, attrs: Mapping[str, Any], kind: str = "note", old: Engram | None = None) -> str:
        """Set the record under a key, whatever is there; returns its id. `old` is what is known to be there."""
        for _ in range(TRIES):
            there = old or self.get(key)
            try:
                if there is None or there.retired is not None:
                    id_ = self._first(key, text, attrs, kind)
                else:
                    id_ = self.replace(there, text, attrs)
                self._last[key] = id_
                return id_
            except ConflictError:  # somebody put meanwhile: the later one comes after it
                old = None
                self._last.pop(key, None)
        raise ConflictError(f"{key:.80} is put by others all the time; it was tried {TRIES} times")

    def replace(self, there: Engram, text: str, attrs: Mapping[str, Any]) -> str:
        """Put over a record; ConflictError if it is not the one under its key any more."""
        given = {**attrs, "made_by": self.owner}
        gone = {name: None for name in there.attrs if name not in {**given, "key": 0, "session": 0, "speaker": 0}}
        report = self.memory.update(
            there.id, text, attrs={**gone, **given}, reason=f"put by {self.owner}", **self.scope
        )
        return str(report[0].id)

    def drop(self, key: str) -> Engram | None:
        """Take what is under a key out of view; what it was, or None."""
        there = self.list({"key": key})
        self._last.pop(key, None)
        if there:
            self.forget(there, f"deleted by {self.owner}")
        return there[-1] if there else None

    def forget(self, engrams: Sequence[Engram], reason: str) -> None:
        """Take records out of view, folded ones too: of these a note, itself forgotten, keeps the ids."""
        seen = [engram.id for engram in engrams if engram.retired is None]
        folded = [engram.id for engram in engrams if engram.retired is not None]
        if folded:
            note = {"made_by": self.owner, "gone": folded}
            item = Item("records that had been folded away are deleted", "note", origin=new_id(), attrs=note)
            seen += self.memory.add(item, **self.scope).ids
        if seen:
            self.memory.forget(seen, reason=reason, **self.scope)

    def _first(self, key: str, text: str, attrs: Mapping[str, Any], kind: str) -> str:
        """A record under a key that has none: its origin is the key's, or, after an earlier one, one of its own."""
        origin = self._origin(key)
        if self._where({"origin": origin}, retired=True):
            origin = f"{origin}#{new_id()}"
        given = {**attrs, "made_by": self.owner, "key": key}
        report = self.memory.add(Item(text, kind=kind, session=key, origin=origin, attrs=given), **self.scope)
        if report[0].event == "NONE":  # the same text was put at the same moment: the last attrs stay
            self.memory.update(report[0].id, attrs=given, **self.scope)
        return str(report[0].id)

    def _origin(self, key: str) -> str:
        return f"{self.owner}:{key}"

    def _where(self, filters: Mapping[str, Any] | None, retired: bool) -> builtins.list[Engram]:
        both = {"AND": [{"made_by": self.owner}, dict(filters or {})]}
        return list(self.memory.list(filters=both, limit=None, retired=retired, **self.scope))


def is_there(engram: Engram) -> bool:
    """Whether a record is still what it was put as: in view, or only folded away by a sleep."""
    return engram.retired is None or engram.retired_why not in GONE


def plain(memory: Any) -> Any:
    """The Memory under an AsyncMemory; a Memory itself."""
    inner = getattr(memory, "memory", memory)
    for verb in ("add", "update", "forget", "list", "search"):
        if not callable(getattr(inner, verb, None)):
            raise InputError(f"memory is a {type(memory).__name__}; give an open slowwave Memory or AsyncMemory")
    return inner


def data(value: Any) -> Any:
    """A value as JSON values; InputError for what JSON cannot say."""
    import json

    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise InputError(f"a value is {value!r:.80}, which JSON cannot hold: {error}") from error
