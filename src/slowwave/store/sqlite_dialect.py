"""SQLite's own ways of putting things."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from typing import Any

from slowwave.store.sql import SQL_ORDER, Compiled, Dialect


class SqliteDialect(Dialect):
    """Lists are JSON; attributes are read with `json_extract`; texts are compared by Python, called from SQL."""

    each_number = each_text = "json_each(?) j"
    ordered = "CROSS JOIN"  # SQLite would rather walk through a scope than look up an id
    least = "min"
    own = ""
    clashes = (sqlite3.IntegrityError,)

    def listed(self, values: Iterable[Any]) -> Any:
        return json.dumps(list(values))

    def among(self, expression: str) -> str:
        return f"{expression} IN (SELECT value FROM json_each(?))"

    def using(self, index: str) -> str:
        return f"INDEXED BY {index}"

    def locked(self) -> str:
        return ""

    def found_in(self, whole: str, part: str) -> str:
        return f"instr({whole}, {part}) > 0"

    def names(self, text: str) -> str:
        return f"CASE WHEN instr({text}, ':') > 0 THEN substr({text}, 1, instr({text}, ':') - 1) ELSE {text} END"

    def holds(self, expression: str, whatever_case: bool, value: str) -> Compiled:
        return f"(coalesce({_call(whatever_case)}({expression}, ?), 0))", [value]

    def attr_is(self, name: str, kind: str) -> Compiled:
        found = "coalesce(json_type(e.attrs, ?), 'null')"
        if kind in ("present", "absent"):
            return f"({found} {'<>' if kind == 'present' else '='} 'null')", [_path(name)]
        return f"({found} = ?)", [_path(name), kind]

    def attr_compares(self, name: str, operator: str, value: str | int | float) -> Compiled:
        kinds = "('text')" if isinstance(value, str) else "('integer', 'real')"
        kind, found = "coalesce(json_type(e.attrs, ?), 'null')", "json_extract(e.attrs, ?)"
        return f"({kind} IN {kinds} AND {found} {SQL_ORDER[operator]} ?)", [_path(name), _path(name), value]

    def attr_holds(self, name: str, whatever_case: bool, value: str) -> Compiled:
        kind = "coalesce(json_type(e.attrs, ?), 'null')"
        call = _call(whatever_case)
        return f"(coalesce({call}(json_extract(e.attrs, ?), ?, {kind}), 0))", [_path(name), value, _path(name)]


def _path(name: str) -> str:
    return f'$."{name}"'


def _call(whatever_case: bool) -> str:
    return "sw_icontains" if whatever_case else "sw_contains"


def sw_contains(found: Any, value: str, kind: str = "text", fold: Any = str) -> bool:
    """SQL function: `value` is a part of the text found, or a member of the JSON list found."""
    if kind == "array":
        return any(isinstance(item, str) and fold(item) == fold(value) for item in json.loads(found))
    return kind == "text" and isinstance(found, str) and fold(value) in fold(found)


def sw_icontains(found: Any, value: str, kind: str = "text") -> bool:
    """As `sw_contains`, whatever the case."""
    return sw_contains(found, value, kind, str.casefold)
