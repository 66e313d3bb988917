"""A parsed filter as SQL over `engrams e` and `scopes s`; a property test holds it against `filters.matches`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from slowwave.records import SCOPE_FIELDS
from slowwave.store.filters import All, Any_, Filter, Not, Test

Compiled = tuple[str, list[Any]]
SQL_ORDER = {"eq": "=", "gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
TEXT_TYPES, NUMBER_TYPES = "('text')", "('integer', 'real')"


def compile_filter(tree: Filter, until: str = "e.until") -> tuple[str, list[Any]]:
    """A filter -> (SQL condition that is never NULL, its parameters).

    until  the expression of `until`: a reader as of an earlier moment does not know a later end
    """
    match tree:
        case All(parts) | Any_(parts):
            done = [compile_filter(part, until) for part in parts]
            return _joined(done, " AND ", "1") if isinstance(tree, All) else _joined(done, " OR ", "0")
        case Not(part):
            sql, values = compile_filter(part, until)
            return f"NOT {sql}", values
        case Test(name, is_attr, operator, value):
            return _test(name, is_attr, operator, value, until)


def _joined(parts: Sequence[Compiled], word: str, empty: str) -> Compiled:
    """Halves within halves: SQLite takes an expression of a thousand levels, and counts a chain as levels."""
    if len(parts) > 2:
        middle = len(parts) // 2
        parts = [_joined(parts[:middle], word, empty), _joined(parts[middle:], word, empty)]
    if not parts:
        return empty, []
    return "(" + word.join(sql for sql, _ in parts) + ")", [value for _, values in parts for value in values]


def _test(name: str, is_attr: bool, operator: str, value: Any, until: str) -> Compiled:
    if operator in ("ne", "nin"):
        sql, values = _test(name, is_attr, "eq" if operator == "ne" else "in", value, until)
        return f"NOT {sql}", values
    if operator == "in":
        return _joined([_test(name, is_attr, "eq", item, until) for item in value], " OR ", "0")
    return _attr(name, operator, value) if is_attr else _column(_expression(name, until), operator, value)


def _expression(name: str, until: str) -> str:
    if name == "until":
        return until
    if name in SCOPE_FIELDS:
        return f"nullif(s.{name}, '')"
    if name == "session":
        return "(SELECT nullif(t.name, '') FROM sessions t WHERE t.n = e.session)"
    return f"e.{name}"


def _column(expression: str, operator: str, value: Any) -> tuple[str, list[Any]]:
    if operator == "present":
        return f"({expression} IS NOT NULL)", []
    if value is None:
        return (f"({expression} IS NULL)" if operator == "eq" else "0"), []
    if isinstance(value, bool):
        return "0", []
    if operator in ("contains", "icontains"):
        call = "sw_contains" if operator == "contains" else "sw_icontains"
        return f"(ifnull({call}({expression}, ?), 0))", [value]
    wanted = TEXT_TYPES if isinstance(value, str) else NUMBER_TYPES
    return f"(typeof({expression}) IN {wanted} AND {expression} {SQL_ORDER[operator]} ?)", [value]


def _attr(name: str, operator: str, value: Any) -> tuple[str, list[Any]]:
    path = f'$."{name}"'
    kind, found = "ifnull(json_type(e.attrs, ?), 'null')", "json_extract(e.attrs, ?)"
    if operator == "present":
        return f"({kind} <> 'null')", [path]
    if value is None:
        return (f"({kind} = 'null')" if operator == "eq" else "0"), [path] if operator == "eq" else []
    if isinstance(value, bool):
        return (f"({kind} = ?)", [path, "true" if value else "false"]) if operator == "eq" else ("0", [])
    if operator in ("contains", "icontains"):
        call = "sw_contains" if operator == "contains" else "sw_icontains"
        return f"(ifnull({call}(json_extract(e.attrs, ?), ?, {kind}), 0))", [path, value, path]
    wanted = TEXT_TYPES if isinstance(value, str) else NUMBER_TYPES
    return f"({kind} IN {wanted} AND {found} {SQL_ORDER[operator]} ?)", [path, path, value]


def sw_contains(found: Any, value: str, kind: str = "text", fold: Any = str) -> bool:
    """SQL function: `value` is a part of the text found, or a member of the JSON list found."""
    if kind == "array":
        return any(isinstance(item, str) and fold(item) == fold(value) for item in json.loads(found))
    return kind == "text" and isinstance(found, str) and fold(value) in fold(found)


def sw_icontains(found: Any, value: str, kind: str = "text") -> bool:
    """As `sw_contains`, whatever the case."""
    return sw_contains(found, value, kind, str.casefold)
