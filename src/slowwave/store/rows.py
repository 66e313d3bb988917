"""Engrams to rows of a database and back."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any

from slowwave.records import SCOPE_FIELDS, Engram, Link, Scope
from slowwave.store.base import Want
from slowwave.store.clock import from_micros, to_micros, zone_name
from slowwave.store.filters import matches
from slowwave.store.sql import Dialect
from slowwave.store.sql_filters import compile_filter

COLUMNS = (
    "e.n, e.id, e.kind, e.text, s.user_id, s.agent_id, s.run_id, s.app_id, e.at, e.at_zone, e.until, e.until_zone, "
    "e.recorded, e.closed, e.retired, e.retired_why, e.strength, e.used, e.origin, e.attrs, "
    "e.half_life_days, e.due"
)
TABLES = "engrams e JOIN scopes s ON s.n = e.scope"
TIME_FIELDS = ("until", "closed", "retired", "used", "due")


def scope_sql(scope: Scope) -> tuple[str, list[Any]]:
    """The condition that a row's scope is one this reader may see, over `scopes s`."""
    named = scope.to_dict()
    return " AND ".join(f"s.{name} = ?" for name in named), list(named.values())


def want_sql(
    want: Want, dialect: Dialect, changed: Collection[int] = (), holding: Sequence[int] = ()
) -> tuple[str, list[Any]]:
    """The condition of a Want over `engrams e` and `scopes s`.

    changed  row numbers that were changed after `want.as_of`: their columns say nothing about that moment
    holding  those of them that were wanted as they were then
    """
    sql, values = _want_sql(want, dialect)
    if not changed:
        return sql, values
    among = dialect.among("e.n")
    return f"({among} OR (NOT {among} AND {sql}))", [dialect.listed(holding), dialect.listed(changed), *values]


def wanted(engram: Engram, want: Want) -> bool:
    """Whether an engram, as it was at `want.as_of`, is what a Want is about."""
    return (
        (want.as_of is None or engram.recorded <= want.as_of)
        and (want.retired or engram.retired is None)
        and (want.at is None or (engram.at <= want.at and (engram.until is None or engram.until > want.at)))
        and (want.kinds is None or engram.kind in want.kinds)
        and matches(want.where, engram)
    )


def _want_sql(want: Want, dialect: Dialect) -> tuple[str, list[Any]]:
    parts: list[str] = []
    values: list[Any] = []
    until = "e.until"
    if want.as_of is not None:
        moment = to_micros(want.as_of)
        parts.append("e.recorded <= ?")
        values.append(moment)
        if not want.retired:
            parts.append("(e.retired IS NULL OR e.retired > ?)")
            values.append(moment)
        until = f"(CASE WHEN e.closed > {moment} THEN NULL ELSE e.until END)"
    elif not want.retired:
        parts.append("e.retired IS NULL")
    if want.at is not None:
        moment = to_micros(want.at)
        parts.append(f"e.at <= ? AND ({until} IS NULL OR {until} > ?)")
        values += [moment, moment]
    if want.kinds is not None:
        parts.append(f"e.kind IN ({', '.join('?' * len(want.kinds))})" if want.kinds else "FALSE")
        values += want.kinds
    if want.where is not None:
        sql, more = compile_filter(want.where, dialect, until)
        parts.append(sql)
        values += more
    return " AND ".join(parts) or "TRUE", values


def scope_of(values: Sequence[str]) -> Scope:
    """Four columns, "" for what is not named -> a Scope."""
    return Scope(**{name: value for name, value in zip(SCOPE_FIELDS, values, strict=True) if value})


def scope_number(run: Callable[[str, Sequence[Any]], Any], scope: Scope) -> int:
    """The row number of a scope, which is entered if it is new; `run` executes a statement within a transaction."""
    values = [getattr(scope, name) or "" for name in SCOPE_FIELDS]
    run("INSERT INTO scopes (user_id, agent_id, run_id, app_id) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", values)
    found = run("SELECT n FROM scopes WHERE user_id = ? AND agent_id = ? AND run_id = ? AND app_id = ?", values)
    return int(found.fetchone()[0])


def decode(
    row: tuple[Any, ...],
    sources: Sequence[str],
    as_of: datetime | None = None,
    earlier: Mapping[str, Any] = MappingProxyType({}),
) -> Engram:
    """A row of COLUMNS -> an Engram; with `as_of`, as it was known then.

    earlier  fields that were changed since, as they were then
    """
    until, closed, retired, why = row[10], row[13], row[14], row[15]
    if as_of is not None:
        moment = to_micros(as_of)
        if closed is not None and closed > moment:
            until = closed = None
        if retired is not None and retired > moment:
            retired = why = None
    engram = Engram(
        id=row[1],
        kind=row[2],
        text=row[3],
        scope=scope_of(row[4:8]),
        at=from_micros(row[8], row[9]),
        until=None if until is None else from_micros(until, row[11] or "UTC"),
        recorded=from_micros(row[12]),
        closed=None if closed is None else from_micros(closed),
        retired=None if retired is None else from_micros(retired),
        retired_why=why,
        strength=row[16],
        used=None if row[17] is None else from_micros(row[17]),
        origin=row[18],
        attrs=MappingProxyType(json.loads(row[19])),
        half_life_days=row[20],
        due=None if row[21] is None else from_micros(row[21]),
        sources=tuple(sources),
    )
    return engram.with_(**earlier) if earlier else engram


def pack(values: Any) -> str:
    """A JSON value as the store keeps it: not escaped, so that bytes can be searched for."""
    return json.dumps(values, ensure_ascii=False, separators=(",", ":"))


def pack_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a Change -> JSON values: times as [microseconds, zone]; `until` alone keeps a zone of its own."""
    packed: dict[str, Any] = {}
    for name, value in fields.items():
        if isinstance(value, datetime):
            packed[name] = [to_micros(value), zone_name(value) if name == "until" else "UTC"]
        else:
            packed[name] = json.loads(pack(dict(value))) if isinstance(value, Mapping) else value
    return packed


def unpack_fields(packed: Mapping[str, Any]) -> dict[str, Any]:
    """The reverse of `pack_fields`."""
    return {
        name: from_micros(value[0], value[1]) if name in TIME_FIELDS and isinstance(value, list) else value
        for name, value in packed.items()
    }


def pack_links(links: Sequence[Link]) -> str:
    """Ties as JSON."""
    return pack([[link.source, link.relation, link.target, link.weight] for link in links])


def unpack_links(text: str) -> tuple[Link, ...]:
    """The reverse of `pack_links`."""
    return tuple(Link(*values) for values in json.loads(text))


def fetch_sources(
    read: Callable[[str, Sequence[Any]], list[Any]],
    dialect: Dialect,
    ns: Sequence[int],
    table: str = "sources",
    of: str = "engram",
) -> dict[int, list[str]]:
    """Row number -> ids of its sources, in their order.

    table, of  where they are kept, and the column of the row number
    """
    out: dict[int, list[str]] = {}
    if not ns:
        return out
    for n, source in read(
        f"SELECT t.{of}, x.id FROM {table} t JOIN engrams x ON x.n = t.source "
        f"WHERE {dialect.among(f't.{of}')} ORDER BY t.{of}, t.place",
        [dialect.listed(ns)],
    ):
        out.setdefault(n, []).append(source)
    return out
