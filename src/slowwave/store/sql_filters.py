"""A parsed filter as SQL over `engrams e` and `scopes s`; a property test holds it against `filters.matches`."""

from __future__ import annotations

from typing import Any

from slowwave.records import SCOPE_FIELDS
from slowwave.store.filters import All, Any_, Filter, Not, Test

SQL_ORDER = {"eq": "=", "gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
TEXT_TYPES, NUMBER_TYPES = "('text')", "('integer', 'real')"


def compile_filter(tree: Filter) -> tuple[str, list[Any]]:
    """A filter -> (SQL condition that is never NULL, its parameters)."""
    match tree:
        case All(parts) | Any_(parts):
            if not parts:
                return ("1" if isinstance(tree, All) else "0"), []
            done = [compile_filter(part) for part in parts]
            word = " AND " if isinstance(tree, All) else " OR "
            return "(" + word.join(sql for sql, _ in done) + ")", [value for _, values in done for value in values]
        case Not(part):
            sql, values = compile_filter(part)
            return f"NOT {sql}", values
        case Test(name, is_attr, operator, value):
            return _test(name, is_attr, operator, value)


def _test(name: str, is_attr: bool, operator: str, value: Any) -> tuple[str, list[Any]]:
    if operator in ("ne", "nin"):
        sql, values = _test(name, is_attr, "eq" if operator == "ne" else "in", value)
        return f"NOT {sql}", values
    if operator == "in":
        done = [_test(name, is_attr, "eq", item) for item in value]
        if not done:
            return "0", []
        return "(" + " OR ".join(sql for sql, _ in done) + ")", [item for _, values in done for item in values]
    return _attr(name, operator, value) if is_attr else _column(_expression(name), operator, value)


def _expression(name: str) -> str:
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
    import json

    if kind == "array":
        return any(isinstance(item, str) and fold(item) == fold(value) for item in json.loads(found))
    return kind == "text" and isinstance(found, str) and fold(value) in fold(found)


def sw_icontains(found: Any, value: str, kind: str = "text") -> bool:
    """As `sw_contains`, whatever the case."""
    return sw_contains(found, value, kind, str.casefold)
