"""Records on their way out of a store, whole: what `View.kept`, `past` and `bookmarks` read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from slowwave.store.base import Bookmark, Entry, Kept, Operation, Past, Want
from slowwave.store.clock import from_micros
from slowwave.store.rows import TABLES, scope_of, scope_sql, unpack_fields, unpack_links

if TYPE_CHECKING:
    from slowwave.store.view import SqlView

EVERY = 1_000_000  # calls of one operation at most


def kept(view: SqlView, n: int, limit: int) -> list[tuple[int, Kept]]:
    """See `View.kept`."""
    found = view.after(n, limit, Want(retired=True))
    contents = dict(
        view.store.read(
            f"SELECT n, content FROM engrams WHERE {view.dialect.among('n')}",
            [view.dialect.listed(number for number, _ in found)],
        )
    )
    return [(number, Kept(engram, contents[number])) for number, engram in found]


def past(view: SqlView, n: int, limit: int) -> list[tuple[int, Past]]:
    """See `View.past`."""
    seen, values = scope_sql(view.scope)
    rows = view.store.read(
        "SELECT o.n, o.id, o.verb, o.system, o.model, o.params, o.recorded, o.undone_by, "
        "s.user_id, s.agent_id, s.run_id, s.app_id, EXISTS (SELECT 1 FROM calls c WHERE c.op = o.n), "
        "EXISTS (SELECT 1 FROM rejected r WHERE r.op = o.n) FROM operations o JOIN scopes s ON s.n = o.scope "
        f"WHERE o.n > ? AND ({seen} OR EXISTS (SELECT 1 FROM journal j JOIN engrams e ON e.n = j.engram "
        f"JOIN scopes s ON s.n = e.scope WHERE j.op = o.n AND {seen})) ORDER BY o.n LIMIT ?",
        [n, *values, *values, limit],
    )
    lines: dict[int, list[Entry]] = {}
    chosen = {row[0]: row for row in rows}
    for op, *line in view.store.read(
        f"SELECT j.op, j.verb, e.id, j.reason, j.sources, j.before, j.after, j.links, j.unlinks FROM {TABLES} "
        f"JOIN journal j ON j.engram = e.n WHERE {seen} AND {view.dialect.among('j.op')} ORDER BY j.n",
        [*values, view.dialect.listed(chosen)],
    ):
        lines.setdefault(op, []).append(_entry(chosen[op], line))
    return [(row[0], _past(view, row, lines.get(row[0], []))) for row in rows]


def _entry(op: Sequence[Any], line: Sequence[Any]) -> Entry:
    verb, engram, reason, sources, before, after, links, unlinks = line
    return Entry(
        op=op[1], verb=verb, engram=engram, reason=reason, sources=tuple(json.loads(sources)),
        before=unpack_fields(json.loads(before)), after=unpack_fields(json.loads(after)),
        links=unpack_links(links), unlinks=unpack_links(unlinks), recorded=from_micros(op[6]),
        operation=op[2], system=op[3], model=op[4],
    )  # fmt: skip


def _past(view: SqlView, row: Sequence[Any], entries: Sequence[Entry]) -> Past:
    scope, params = scope_of(row[8:12]), json.loads(row[5])
    if not view.scope.covers(scope):  # what was said to an operation on more than this scope is not this scope's
        scope, params = view.scope, {name: params[name] for name in ("op",) if name in params}
    operation = Operation(
        row[1], row[2], scope, from_micros(row[6]), row[3], row[4], params,
        calls=tuple(asked.call for asked in view.calls(EVERY, row[1])) if row[12] else (),
        rejected=tuple(aside.rejected for aside in view.rejected(EVERY, row[1])) if row[13] else (),
    )  # fmt: skip
    return Past(operation, row[7], tuple(entries))


def bookmarks(view: SqlView) -> list[Bookmark]:
    """See `View.bookmarks`."""
    seen, values = scope_sql(view.scope)
    out = []
    for row in view.store.read(
        "SELECT c.system, c.last, c.state, s.user_id, s.agent_id, s.run_id, s.app_id FROM cursors c "
        f"JOIN scopes s ON s.n = c.scope WHERE {seen} ORDER BY 4, 5, 6, 7, c.system",
        values,
    ):
        own = scope_of(row[3:7])
        part, part_values = scope_sql(own)
        bounds = [*part_values, row[1]]
        count = view.store.read(f"SELECT count(*) FROM {TABLES} WHERE {part} AND e.n <= ?", bounds)[0][0]
        last = view.store.read(f"SELECT e.id FROM {TABLES} WHERE {part} AND e.n <= ? ORDER BY e.n DESC LIMIT 1", bounds)
        if last:
            out.append(Bookmark(own, row[0], last[0][0], count, json.loads(row[2])))
    return out
