"""The filter algebra: `{"speaker": "Mina", "at": {"gte": "1893-08-01"}, "OR": [...]}`, the same on every store.

    field: value                    equal
    field: "*"                      present
    field: {operator: value, ...}   eq ne in nin gt gte lt lte contains icontains; several must all hold
    AND: [filter, ...]   OR: [filter, ...]   NOT: filter or [filter, ...] (none of them)

Fields are kind, text, speaker, session, origin, strength, id, at, until, recorded (aliases: memory, valid_at,
invalid_at, created_at), the scope's fields (which narrow and never widen), and any key of `attrs`, also as
"metadata.key". Numbers compare with numbers and texts with texts; on another type or an absent field every operator
is false but `ne` and `nin`, which are true. `contains` means a part of a text or a member of a list.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, tzinfo
from typing import Any

from slowwave.errors import FilterError, InputError
from slowwave.records import SCOPE_FIELDS, Engram
from slowwave.store.clock import parse_moment, to_micros

OPERATORS = ("eq", "ne", "in", "nin", "gt", "gte", "lt", "lte", "contains", "icontains")
ALIASES = {"memory": "text", "valid_at": "at", "invalid_at": "until", "created_at": "recorded", "data": "text"}
TIMES = ("at", "until", "recorded")
COLUMNS = ("id", "kind", "text", "speaker", "session", "origin", "strength", *TIMES, *SCOPE_FIELDS)
_short = reprlib.Repr()
_short.maxstring = _short.maxother = 60
MAX_DEPTH = 32
MAX_VALUES = 5_000  # in one filter, its lists included


@dataclass(frozen=True, slots=True)
class Test:
    """One field, one operator, one value (times as microseconds)."""

    field: str
    is_attr: bool
    operator: str
    value: Any


@dataclass(frozen=True, slots=True)
class All:
    """Every part holds; an empty one is true."""

    parts: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Any_:
    """At least one part holds; an empty one is false."""

    parts: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The part does not hold."""

    part: Filter


Filter = Test | All | Any_ | Not


def parse(given: Mapping[str, Any] | None, zone: tzinfo = UTC) -> Filter | None:
    """A filter as the user writes it -> a checked tree; None or {} -> None. FilterError names the wrong part."""
    if given is None or (isinstance(given, Mapping) and not given):
        return None
    return _parse(given, zone, 0)


def _parse(given: Any, zone: tzinfo, depth: int) -> Filter:
    if depth > MAX_DEPTH:
        raise FilterError(f"the filter is nested deeper than {MAX_DEPTH}; make it flatter")
    if not isinstance(given, Mapping):
        raise FilterError(f"a filter is {_shown(given)}; it must be a dictionary such as {{'speaker': 'Mina'}}")
    parts: list[Filter] = []
    if depth == 0 and _size(given) > MAX_VALUES:
        raise FilterError(f"the filter holds more than {MAX_VALUES:,} values; choose by fewer, in several calls")
    for key, value in given.items():
        if not isinstance(key, str):
            raise FilterError(f"a filter's key is {_shown(key)}; it must be a text")
        if key in ("AND", "OR", "NOT"):
            items = value if isinstance(value, (list, tuple)) else [value]
            inner = tuple(_parse(item, zone, depth + 1) for item in items)
            parts.append(All(inner) if key == "AND" else Any_(inner) if key == "OR" else Not(Any_(inner)))
        else:
            parts.extend(_tests(key, value, zone))
    return parts[0] if len(parts) == 1 else All(tuple(parts))


def _size(given: Any, depth: int = 0) -> int:
    """How many values a filter holds, at any depth that may be read."""
    items = given.values() if isinstance(given, Mapping) else given if isinstance(given, (list, tuple)) else ()
    if depth > 2 * MAX_DEPTH or not items:
        return 1
    return sum(_size(item, depth + 1) for item in items)


def _shown(value: Any) -> str:
    """A value for a message: short, whatever its size and depth."""
    return _short.repr(value)


def _tests(key: str, value: Any, zone: tzinfo) -> list[Filter]:
    name = ALIASES.get(key, key)
    is_attr = name not in COLUMNS
    if is_attr:
        name = name.removeprefix("metadata.").removeprefix("attrs.")
        if not name or any(ord(c) < 32 or c in '"\\' or 0xD800 <= ord(c) <= 0xDFFF for c in name):
            raise FilterError(f"the filter's field {_shown(key)} is not a name")
    if isinstance(value, str) and value == "*":
        return [Test(name, is_attr, "present", None)]
    if not isinstance(value, Mapping):
        value = {"in": value} if isinstance(value, (list, tuple)) else {"eq": value}
    if not value:
        raise FilterError(f"the filter on {key!r} names no operator; there are {', '.join(OPERATORS)}")
    return [_test(name, is_attr, str(operator), operand, zone) for operator, operand in value.items()]


def _test(name: str, is_attr: bool, operator: str, operand: Any, zone: tzinfo) -> Filter:
    if operator not in OPERATORS:
        raise FilterError(f"operator {_shown(operator)} on field {name!r}; there are {', '.join(OPERATORS)}")
    many = operator in ("in", "nin")
    if many != isinstance(operand, (list, tuple)):
        raise FilterError(f"{name} {operator} takes {'a list' if many else 'one value'}, not {_shown(operand)}")
    if operator in ("contains", "icontains") and not isinstance(operand, str):
        raise FilterError(f"{name} {operator} takes a text, not {_shown(operand)}")
    values = [_value(name, is_attr, item, zone) for item in (operand if many else [operand])]
    return Test(name, is_attr, operator, tuple(values) if many else values[0])


def _value(name: str, is_attr: bool, value: Any, zone: tzinfo) -> Any:
    if value is None and not is_attr:
        return None
    if not is_attr and name in TIMES:
        try:
            return to_micros(parse_moment(value, zone, name))
        except InputError as error:
            raise FilterError(f"in a filter: {error}") from error
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if value is None or isinstance(value, (bool, str)):
        if isinstance(value, str) and any(0xD800 <= ord(c) <= 0xDFFF for c in value):
            raise FilterError(f"the filter on {name!r} holds text that is not valid Unicode")
        return value
    if (isinstance(value, int) and abs(value) < 2**63) or (isinstance(value, float) and math.isfinite(value)):
        return value
    raise FilterError(f"the filter on {name!r} compares with {_shown(value)}; use a text, number, truth value or time")


def is_always(tree: Filter | None, value: bool) -> bool:
    """Whether a filter is true (or false) of every record, whatever it holds, such as {"AND": []}."""
    match tree:
        case None:
            return value
        case All(parts):
            return all(is_always(p, True) for p in parts) if value else any(is_always(p, False) for p in parts)
        case Any_(parts):
            return any(is_always(p, True) for p in parts) if value else all(is_always(p, False) for p in parts)
        case Not(part):
            return is_always(part, not value)
        case Test(_, _, operator, operand):
            return operator == ("nin" if value else "in") and not operand


def matches(tree: Filter | None, engram: Engram) -> bool:
    """Whether an engram passes: the meaning that every store's own form must agree with."""
    match tree:
        case None:
            return True
        case All(parts):
            return all(matches(part, engram) for part in parts)
        case Any_(parts):
            return any(matches(part, engram) for part in parts)
        case Not(part):
            return not matches(part, engram)
        case Test(name, is_attr, operator, value):
            return _holds(_read(engram, name, is_attr), operator, value)


def _read(engram: Engram, name: str, is_attr: bool) -> Any:
    if is_attr:
        return engram.attrs.get(name)
    if name in SCOPE_FIELDS:
        return getattr(engram.scope, name)
    value = getattr(engram, name)
    return to_micros(value) if isinstance(value, datetime) else value


def same_type(a: Any, b: Any) -> bool:
    """Numbers with numbers, texts with texts, truth values with truth values."""
    for kind in (bool, (int, float), str):
        if isinstance(a, kind):
            return isinstance(b, kind) and isinstance(b, bool) == isinstance(a, bool)
    return False


_ORDER: Mapping[str, Callable[[Any, Any], bool]] = {
    "eq": lambda a, b: a == b,
    "gt": lambda a, b: a > b,
    "gte": lambda a, b: a >= b,
    "lt": lambda a, b: a < b,
    "lte": lambda a, b: a <= b,
}


def _holds(found: Any, operator: str, value: Any) -> bool:
    if operator == "present":
        return found is not None
    if operator in ("ne", "nin"):
        return not _holds(found, "eq" if operator == "ne" else "in", value)
    if operator == "in":
        return any(_holds(found, "eq", item) for item in value)
    if operator in ("contains", "icontains"):
        fold = str.casefold if operator == "icontains" else str
        members = found if isinstance(found, (list, tuple)) else None
        if members is not None:
            return any(isinstance(item, str) and fold(item) == fold(value) for item in members)
        return isinstance(found, str) and fold(value) in fold(found)
    if operator == "eq" and value is None:
        return found is None
    if operator in ("gt", "gte", "lt", "lte") and isinstance(found, bool):
        return False
    return same_type(found, value) and _ORDER[operator](found, value)
