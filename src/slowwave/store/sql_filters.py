"""A parsed filter as SQL over `engrams e` and `scopes s`; a property test holds it against `filters.matches`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from slowwave.records import SCOPE_FIELDS
from slowwave.store.filters import TIMES, All, Any_, Filter, Not, Test
from slowwave.store.sql import SQL_ORDER, Compiled, Dialect

ALWAYS = ("id", "kind", "text", "at", "recorded", "strength")  # columns that are never NULL
NUMBERS = ("strength", *TIMES)  # the columns that hold numbers; all others hold texts


def compile_filter(tree: Filter, dialect: Dialect, until: str = "e.until") -> Compiled:
    """A filter -> (SQL condition that is never NULL, its parameters).

    until  the expression of `until`: a reader as of an earlier moment does not know a later end
    """
    match tree:
        case All(parts) | Any_(parts):
            done = [compile_filter(part, dialect, until) for part in parts]
            return _joined(done, " AND ", "TRUE") if isinstance(tree, All) else _joined(done, " OR ", "FALSE")
        case Not(part):
            sql, values = compile_filter(part, dialect, until)
            return f"(NOT {sql})", values
        case Test(name, is_attr, operator, value):
            return _test(name, is_attr, operator, value, dialect, until)


def _joined(parts: Sequence[Compiled], word: str, empty: str) -> Compiled:
    """Halves within halves: SQLite takes an expression of a thousand levels, and counts a chain as levels."""
    if len(parts) > 2:
        middle = len(parts) // 2
        parts = [_joined(parts[:middle], word, empty), _joined(parts[middle:], word, empty)]
    if not parts:
        return empty, []
    return "(" + word.join(sql for sql, _ in parts) + ")", [value for _, values in parts for value in values]


def _test(name: str, is_attr: bool, operator: str, value: Any, dialect: Dialect, until: str) -> Compiled:
    if operator in ("ne", "nin"):
        sql, values = _test(name, is_attr, "eq" if operator == "ne" else "in", value, dialect, until)
        return f"(NOT {sql})", values
    if operator == "in":
        return _joined([_test(name, is_attr, "eq", item, dialect, until) for item in value], " OR ", "FALSE")
    return _attr(name, operator, value, dialect) if is_attr else _column(name, operator, value, dialect, until)


def _expression(name: str, until: str) -> str:
    if name == "until":
        return until
    if name in SCOPE_FIELDS:
        return f"nullif(s.{name}, '')"
    if name == "session":
        return "(SELECT nullif(t.name, '') FROM sessions t WHERE t.n = e.session)"
    return f"e.{name}"


def _column(name: str, operator: str, value: Any, dialect: Dialect, until: str) -> Compiled:
    expression = _expression(name, until)
    if operator == "present":
        return f"({expression} IS NOT NULL)", []
    if value is None:
        return (f"({expression} IS NULL)" if operator == "eq" else "FALSE"), []
    if isinstance(value, bool) or isinstance(value, str) == (name in NUMBERS):
        return _NEVER
    if operator in ("contains", "icontains"):  # a number has no parts
        return _NEVER if name in NUMBERS else dialect.holds(expression, operator == "icontains", value)
    condition = f"{expression} {SQL_ORDER[operator]} ?"
    return (f"({condition})" if name in ALWAYS else f"(coalesce({condition}, FALSE))"), [value]


def _attr(name: str, operator: str, value: Any, dialect: Dialect) -> Compiled:
    if operator == "present":
        return dialect.attr_is(name, "present")
    if value is None or isinstance(value, bool):
        return dialect.attr_is(name, "absent" if value is None else str(value).lower()) if operator == "eq" else _NEVER
    if operator in ("contains", "icontains"):
        return dialect.attr_holds(name, operator == "icontains", value)
    return dialect.attr_compares(name, operator, value)


_NEVER: Compiled = ("FALSE", [])
