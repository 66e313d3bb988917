"""PostgreSQL's own ways of putting things."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import psycopg

from slowwave.store.sql import SQL_ORDER, Compiled, Dialect


class PostgresDialect(Dialect):
    """Lists are arrays; attributes are read as `json`, numbers exactly; texts are folded by `sw_fold`."""

    each_number = "unnest(?::bigint[]) j (value)"
    each_text = "unnest(?::text[]) j (value)"
    ordered = "JOIN"
    least = "least"
    own = "tenant, "
    clashes = (psycopg.errors.UniqueViolation,)

    def listed(self, values: Iterable[Any]) -> Any:
        """Without what no column can hold: half a character, or NUL."""
        return [value for value in values if not isinstance(value, str) or _storable(value)]

    def among(self, expression: str) -> str:
        return f"{expression} = ANY(?)"

    def using(self, index: str) -> str:
        return ""

    def locked(self) -> str:
        return " FOR UPDATE"

    def found_in(self, whole: str, part: str) -> str:
        return f"strpos({whole}, {part}) > 0"

    def names(self, text: str) -> str:
        return f"split_part({text}, ':', 1)"

    def holds(self, expression: str, whatever_case: bool, value: str) -> Compiled:
        return f"(coalesce({_part(expression, whatever_case)}, FALSE))", [_folded(value, whatever_case)]

    def attr_is(self, name: str, kind: str) -> Compiled:
        found = "(e.attrs::json -> ?::text)"
        if kind in ("present", "absent"):
            return f"(coalesce(json_typeof{found}, 'null') {'<>' if kind == 'present' else '='} 'null')", [name]
        return f"(coalesce({found}::text = ?, FALSE))", [name, kind]

    def attr_compares(self, name: str, operator: str, value: str | int | float) -> Compiled:
        order, found = SQL_ORDER[operator], "(e.attrs::json -> ?::text)"
        text = "(e.attrs::json ->> ?::text)"
        if isinstance(value, str):
            return (
                f"(CASE WHEN json_typeof{found} = 'string' THEN {text} COLLATE \"C\" {order} ?::text ELSE FALSE END)"
            ), [name, name, value]
        near, order_of_near = _nearest(value, operator)
        return (
            f"(CASE WHEN coalesce(json_typeof{found}, '') <> 'number' THEN FALSE WHEN {text} ~ '[.eE]' "
            f"THEN {text}::float8 {order_of_near} ?::float8 ELSE {text}::numeric {order} ?::numeric END)"
        ), [name, name, name, near, name, _exact(value)]

    def attr_holds(self, name: str, whatever_case: bool, value: str) -> Compiled:
        found, text = "(e.attrs::json -> ?::text)", "(e.attrs::json ->> ?::text)"
        member = "sw_fold(m.value #>> '{}')" if whatever_case else "(m.value #>> '{}')"
        folded = _folded(value, whatever_case)
        return (
            f"(CASE json_typeof{found} WHEN 'string' THEN {_part(text, whatever_case)} WHEN 'array' THEN EXISTS "
            f"(SELECT 1 FROM json_array_elements{found} m (value) WHERE json_typeof(m.value) = 'string' "
            f"AND {member} = ?::text) ELSE FALSE END)"
        ), [name, name, folded, name, folded]


def _storable(text: str) -> bool:
    return "\0" not in text and not any("\ud800" <= letter <= "\udfff" for letter in text)


def _part(expression: str, whatever_case: bool) -> str:
    return f"strpos({f'sw_fold({expression})' if whatever_case else expression}, ?::text) > 0"


def _folded(value: str, whatever_case: bool) -> str:
    return value.casefold() if whatever_case else value


def _exact(value: int | float) -> str:
    """All the digits of a number."""
    if isinstance(value, int):
        return str(value)
    above, below = value.as_integer_ratio()
    if below == 1:
        return str(above)
    digits = below.bit_length() - 1  # below is a power of two, so the fraction ends after that many digits
    whole = str(abs(above) * 5**digits).rjust(digits + 1, "0")
    return f"{'-' if above < 0 else ''}{whole[:-digits]}.{whole[-digits:]}"


def _nearest(value: int | float, operator: str) -> tuple[float, str]:
    """A float and an order by which floats stand to it as they stand to the number by `operator`."""
    order = SQL_ORDER[operator]
    near = float(value)
    if near == value:
        return near, order
    if operator == "eq":
        return math.nan, "="  # no float equals it, and no number that is kept is nan
    below = near if near < value else math.nextafter(near, -math.inf)
    return (below, ">") if operator in ("gt", "gte") else (below, "<=")


__all__ = ["PostgresDialect"]
