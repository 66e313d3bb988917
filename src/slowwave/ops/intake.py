"""What people hand to `add` (a string, a message, a list, an Item) -> checked Items -> Engrams with content keys."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, tzinfo
from types import MappingProxyType
from typing import Any

from slowwave.errors import InputError
from slowwave.records import KINDS, RELATIONS, SCOPE_FIELDS, Engram, Item, Scope
from slowwave.store.clock import parse_moment, to_micros
from slowwave.store.ids import content_key, new_id

MAX_CHARACTERS = 200_000  # about a hundred pages; longer texts are documents, which `slowwave import` splits
MAX_ATTRS = 65_536  # bytes of JSON
MESSAGE_TIMES = ("at", "timestamp", "created_at", "time", "date")


def to_items(content: Any, common: Mapping[str, Any]) -> list[Item]:
    """Anything that `add` takes -> Items; `common` fills the fields that an entry leaves open.

    A message is {"role": ..., "content": ...} with optional name, id, and a time under at, timestamp or created_at;
    its other keys are kept as attrs. InputError names the entry that cannot be used.
    """
    if isinstance(content, (str, Item, Mapping)):
        entries: Sequence[Any] = [content]
    elif isinstance(content, Sequence) and not isinstance(content, (bytes, bytearray)):
        entries = content
    else:
        raise InputError(f"cannot add a {type(content).__name__}; give a text, a message, an Item, or a list of them")
    if not entries:
        raise InputError("there is nothing to add: the list is empty")
    return [_item(entry, common, place, len(entries)) for place, entry in enumerate(entries)]


def _item(entry: Any, common: Mapping[str, Any], place: int, total: int) -> Item:
    where = "" if total == 1 else f"entry {place} of {total}: "
    if isinstance(entry, str):
        item = Item(text=entry)
    elif isinstance(entry, Item):
        item = entry
    elif isinstance(entry, Mapping):
        item = _message(entry, where)
    else:
        raise InputError(f"{where}cannot add a {type(entry).__name__}; give a text, a message or an Item")
    given = {name: value for name, value in common.items() if value is not None and name != "attrs"}
    filled = {name: value for name, value in given.items() if getattr(item, name) is None or name == "kind"}
    if isinstance(entry, Item):
        filled.pop("kind", None)
    if not isinstance(item.attrs, Mapping):
        raise InputError(f"{where}attrs is a {type(item.attrs).__name__}; it must be a dictionary")
    item = replace(item, **filled, attrs={**(common.get("attrs") or {}), **item.attrs})
    _check(item, where)
    return item


def _message(entry: Mapping[str, Any], where: str) -> Item:
    content = entry.get("content", entry.get("text", entry.get("memory")))
    if isinstance(content, Sequence) and not isinstance(content, (str, bytes)):
        parts = [part.get("text") if isinstance(part, Mapping) else part for part in content]
        content = "\n".join(part for part in parts if isinstance(part, str))
    if not isinstance(content, str):
        raise InputError(
            f'{where}a message has no text under "content"; its keys are {", ".join(map(str, entry))[:120]}'
        )
    role = entry.get("role")
    time = next((entry[name] for name in MESSAGE_TIMES if entry.get(name) is not None), None)
    known = {"content", "text", "memory", "role", "name", "speaker", "id", "origin", "session", *MESSAGE_TIMES}
    attrs = {str(key): value for key, value in entry.items() if key not in known}
    if role is not None:
        attrs["role"] = role
    speaker = entry.get("speaker") or entry.get("name") or role
    origin = entry.get("origin", entry.get("id"))
    return Item(
        text=content,
        speaker=None if speaker is None else str(speaker),
        at=time,
        origin=None if origin is None else str(origin),
        session=None if entry.get("session") is None else str(entry["session"]),
        attrs=attrs,
    )


def _check(item: Item, where: str) -> None:
    if not isinstance(item.text, str) or not item.text.strip():
        raise InputError(f"{where}the text is empty; there is nothing to remember")
    if len(item.text) > MAX_CHARACTERS:
        raise InputError(
            f"{where}the text has {len(item.text):,} characters, at most {MAX_CHARACTERS:,} fit one record; "
            "split it, or save it to a file and run: slowwave import FILE"
        )
    for name in ("text", "speaker", "session", "origin"):
        check_text(getattr(item, name), f"{where}{name}")
    if item.kind not in KINDS:
        raise InputError(f"{where}kind is {item.kind!r}; it must be one of {', '.join(KINDS)}")
    check_attrs(item.attrs, where)
    if not isinstance(item.scope, Mapping):
        raise InputError(f"{where}scope is a {type(item.scope).__name__}; it must be a dictionary")
    unknown = [str(name) for name in item.scope if name not in SCOPE_FIELDS]
    if unknown:
        raise InputError(f"{where}scope has {', '.join(unknown)}; its fields are {', '.join(SCOPE_FIELDS)}")
    pairs = item.links if isinstance(item.links, (list, tuple)) else (None,)
    if not all(isinstance(pair, (list, tuple)) and len(pair) == 2 for pair in pairs):
        raise InputError(f"{where}links is {item.links!r:.60}; it must be pairs of relation and origin")
    for relation, _ in item.links:
        if relation not in RELATIONS:
            raise InputError(f"{where}a link's relation is {relation!r:.40}; it must be one of {', '.join(RELATIONS)}")


def check_text(value: str | None, name: str) -> None:
    """A text that UTF-8 and SQLite can keep; else an InputError that names the place."""
    if value is None:
        return
    if not isinstance(value, str):
        raise InputError(f"{name} is a {type(value).__name__}; it must be a text")
    bad = value.find("\0")
    if bad >= 0:
        raise InputError(f"{name} holds a NUL character at {bad}; remove it")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(
            f"{name} is not valid Unicode at {error.start} (a lone surrogate); decode its bytes with errors='replace'"
        ) from error


def check_attrs(attrs: Mapping[str, Any], where: str = "") -> None:
    """JSON values under plain names; else an InputError."""
    if not isinstance(attrs, Mapping):
        raise InputError(f"{where}attrs is a {type(attrs).__name__}; it must be a dictionary")
    for key in attrs:
        if not isinstance(key, str) or not key or any(c in '"\\' or ord(c) < 32 for c in key):
            raise InputError(f"{where}attrs has the key {key!r:.60}; a key is a text without quotes or backslashes")
    _check_json(attrs, where)
    if len(json.dumps(dict(attrs), ensure_ascii=False)) > MAX_ATTRS:
        raise InputError(f"{where}attrs are larger than {MAX_ATTRS:,} characters of JSON; put long text into `text`")


def _check_json(value: Any, where: str, depth: int = 0) -> None:
    if depth > 32:
        raise InputError(f"{where}attrs are nested deeper than 32 levels")
    if isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                raise InputError(f"{where}attrs has the key {key!r:.60}; a key is a text")
            check_text(key, f"{where}a key in attrs")
            _check_json(item, where, depth + 1)
    elif isinstance(value, (list, tuple)):
        for item in value:
            _check_json(item, where, depth + 1)
    elif isinstance(value, str):
        check_text(value, f"{where}a value in attrs")
    elif isinstance(value, bool) or value is None:
        pass
    elif isinstance(value, int):
        if not -(2**63) <= value < 2**63:
            raise InputError(f"{where}attrs holds {value}, which does not fit 64 bits; give it as a text")
    elif not isinstance(value, float) or not math.isfinite(value):
        raise InputError(f"{where}attrs holds {value!r:.60} ({type(value).__name__}); use texts, numbers, lists, dicts")


def to_engrams(
    items: Sequence[Item], scope: Scope, zone: tzinfo, now: datetime, half_life_days: float
) -> list[tuple[Engram, bytes]]:
    """Items -> Engrams with new ids, and the content key by which a repeated item is known again.

    A time that the source did not give is `now`, and does not count for the key, so that adding again is a no-op.
    """
    seen: dict[tuple[Scope, bytes], int] = {}
    out = []
    for item in items:
        own = Scope(**{**scope.to_dict(), **item.scope}) if item.scope else scope
        at = None if item.at is None else parse_moment(item.at, zone)
        until = None if item.until is None else parse_moment(item.until, zone, "until")
        if until is not None and until < (at or now):
            raise InputError(f"until is {until.isoformat()}, before at ({(at or now).isoformat()}); swap or drop it")
        micros = None if at is None else to_micros(at)
        first = content_key(item.text, item.kind, item.speaker, item.origin, micros, 0)
        nth = seen.get((own, first), 0)
        seen[own, first] = nth + 1
        key = content_key(item.text, item.kind, item.speaker, item.origin, micros, nth) if nth else first
        attrs = dict(item.attrs)
        if item.speaker is not None:
            attrs["speaker"] = item.speaker
        if item.session is not None:
            attrs["session"] = item.session
        engram = Engram(
            id=new_id(),
            kind=item.kind,
            text=item.text,
            scope=own,
            at=at or now.astimezone(zone),
            until=until,
            recorded=now.astimezone(UTC),
            closed=None if until is None else now.astimezone(UTC),
            attrs=MappingProxyType(attrs),
            origin=item.origin,
            half_life_days=half_life_days,
            due=later(now.astimezone(UTC), half_life_days),
        )
        out.append((engram, key))
    return out


def later(moment: datetime, days: float) -> datetime | None:
    """So many days later; None beyond the year 9999."""
    try:
        return moment + timedelta(days=days)
    except OverflowError:
        return None
