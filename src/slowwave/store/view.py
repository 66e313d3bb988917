"""Reading from a database: every statement carries the reader's scope."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Callable, Hashable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from slowwave.records import SCOPE_FIELDS, Call, Engram, Link, Rejected, Scope
from slowwave.store import outgoing, serving
from slowwave.store.base import Asked, Bookmark, Cursor, Entry, Held, Kept, Past, Pulse, Row, SetAside, View, Want
from slowwave.store.clock import from_micros, to_micros
from slowwave.store.rows import (
    COLUMNS,
    TABLES,
    decode,
    fetch_sources,
    scope_sql,
    unpack_fields,
    unpack_links,
    want_sql,
    wanted,
)
from slowwave.store.vectors import Found

if TYPE_CHECKING:
    from slowwave.store.sql_store import SqlStore

Values = Sequence[Any]
T = TypeVar("T")
EVERYTHING = Want(retired=True)
MERGED = 64  # scopes whose records are read one scope at a time, and merged
MERGED_VALUES = 20_000  # SQLite takes 32,766 at least
ALL = 1 << 62  # a limit that is none
SPARE = 64  # rows fetched beyond k, since some of the best may be retired
MOST_SEEN = 5_000  # light rows kept from one read to the next
LIGHT = (  # the fields of a Row
    "e.n, e.kind, e.text, e.at, e.until, e.recorded, e.retired, e.strength, e.session, e.turn, e.speaker, e.scope"
)


class SqlView(View):
    """What one scope may see of a SqlStore; the full text apart, which each database has in its own form."""

    def __init__(self, store: SqlStore, scope: Scope) -> None:
        self.store = store
        self.dialect = store.connections.dialect
        self.scope = scope
        self._scope, self._scope_values = scope_sql(scope)

    # -- records

    def get(self, ids: Sequence[str]) -> dict[str, Engram]:
        return {engram.id: engram for engram in self.engrams(list(self.numbers(ids).values())).values()}

    def engrams(self, ns: Sequence[int], as_of: datetime | None = None) -> dict[int, Engram]:
        return self._engrams(self.dialect.among("e.n"), [self.dialect.listed(map(int, ns))], as_of) if len(ns) else {}

    def select(self, want: Want, limit: int | None = None, offset: int = 0, newest_first: bool = False) -> list[Engram]:
        sql, values = self._wanted(want)
        order = "DESC" if newest_first else "ASC"
        if limit is None:
            tail = f"ORDER BY e.at {order}, e.n {order}"
            return list(self._engrams(sql, values, want.as_of, tail).values())[offset:]
        ns = self._first(sql, values, f"e.at {order}, e.n {order}", limit + offset)[offset:]
        found = self.engrams(ns, want.as_of)
        return [found[n] for n in ns if n in found]

    def after(self, n: int, limit: int, want: Want) -> list[tuple[int, Engram]]:
        sql, values = self._wanted(want)
        horizon = self.store.connections.horizon(self.scope)
        if horizon is not None:
            sql, values = f"e.n <= ? AND {sql}", [horizon, *values]
        ns = self._first(f"e.n > ? AND {sql}", [n, *values], "e.n", limit)
        found = self.engrams(ns, want.as_of)
        return [(n, found[n]) for n in ns if n in found]

    def _first(self, sql: str, values: Values, order: str, limit: int) -> list[int]:
        """The row numbers that come first in an order.

        Each scope's first are read from its own index, and the first of those are chosen: in one statement over many
        scopes SQLite would read and sort all their records.
        """
        places = [n for (n,) in self._rows(f"SELECT s.n FROM scopes s WHERE {self._scope}", [])]
        columns = "e.n AS n, e.at AS at"
        part = f"SELECT {columns} FROM {TABLES} WHERE {self._scope}{{}} AND {sql} ORDER BY {order} LIMIT ?"
        if not 0 < len(places) <= MERGED or len(places) * len(values) > MERGED_VALUES:
            return [row[0] for row in self._rows(part.format(""), [*values, limit])]
        one = f"SELECT * FROM ({part.format(' AND e.scope = ?')}) merged"
        rows = self.store.read(
            f"SELECT n FROM ({' UNION ALL '.join([one] * len(places))}) merged "
            f"ORDER BY {order.replace('e.', 'merged.')} LIMIT ?",
            [*(v for place in places for v in (*self._scope_values, place, *values, limit)), limit],
        )
        return [n for (n,) in rows]

    def count(self, want: Want) -> int:
        sql, values = self._wanted(want)
        return int(self._rows(f"SELECT count(*) FROM {TABLES} WHERE {self._scope} AND {sql}", values)[0][0])

    def find_content(self, scope: Scope, contents: Sequence[bytes]) -> dict[bytes, Engram]:
        if not self.scope.covers(scope):
            return {}
        exact = [getattr(scope, name) or "" for name in SCOPE_FIELDS]
        place = self._rows(
            f"SELECT s.n FROM scopes s WHERE {self._scope} "
            "AND s.user_id = ? AND s.agent_id = ? AND s.run_id = ? AND s.app_id = ?",
            exact,
        )
        out: dict[bytes, Engram] = {}
        if not place:
            return out
        for start in range(0, len(contents), 500):
            part = list(contents[start : start + 500])
            pairs = self._rows(
                f"SELECT e.content, e.n FROM {TABLES} WHERE {self._scope} AND e.scope = ? "
                f"AND e.content IN ({', '.join('?' * len(part))})",
                [place[0][0], *part],
            )
            engrams = self.engrams([n for _, n in pairs])
            out.update({content: engrams[n] for content, n in pairs})
        return out

    def find_origin(self, origins: Sequence[str]) -> dict[str, list[Engram]]:
        out: dict[str, list[Engram]] = {}
        for place in self._rows(f"SELECT s.n FROM scopes s WHERE {self._scope}", []):
            found = self._engrams(
                f"e.retired IS NULL AND e.scope = ? AND {self.dialect.among('e.origin')}",
                [place[0], self.dialect.listed(origins)],
                None,
                "ORDER BY e.n",
                index="engrams_origin",
            )
            for engram in found.values():
                out.setdefault(engram.origin or "", []).append(engram)
        return out

    def nearest_older(self, ns: Sequence[int], k: int) -> dict[int, list[tuple[int, float]]]:
        return self.store.nearest_older(self.scope, ns, k)

    def numbers(self, ids: Sequence[str]) -> dict[str, int]:
        if not ids:
            return {}
        return dict(
            self._rows(
                f"SELECT e.id, e.n FROM {self.dialect.each_text} {self.dialect.ordered} engrams e ON e.id = j.value "
                f"JOIN scopes s ON s.n = e.scope WHERE {self._scope}",
                [],
                first=[self.dialect.listed(dict.fromkeys(ids))],
            )
        )

    # -- channels

    def dense(self, query: NDArray[np.float32], k: int, want: Want) -> Found:
        if not want.is_plain or want.retired:
            sql, values = self._wanted(want)
            rows = self._rows(f"SELECT e.n FROM {TABLES} WHERE {self._scope} AND {sql}", values)
            allowed = np.fromiter((row[0] for row in rows), dtype=np.int64, count=len(rows))
            return self.store.nearest(self.scope, query, k, allowed)
        fetch = k + SPARE
        while True:
            found = self.store.nearest(self.scope, query, fetch, None)
            live = self._live(found.ids)
            keep = np.fromiter((n in live for n in found.ids.tolist()), dtype=bool, count=len(found.ids))
            if keep.sum() >= k or len(found.ids) < fetch:
                return Found(found.ids[keep][:k], found.scores[keep][:k], found.mean, found.std, found.note)
            fetch *= 4

    def cosines(self, query: NDArray[np.float32], ns: Sequence[int]) -> dict[int, float]:
        return self.store.cosines(self.scope, query, ns)

    def speakers(self, limit: int = 2000) -> list[str]:
        sql = f"SELECT DISTINCT p.name FROM scopes s JOIN speakers p ON p.scope = s.n WHERE {self._scope} LIMIT ?"
        rows = self._recent(("speakers", self.scope, limit), lambda: self._rows(sql, [limit]))
        return [name for (name,) in rows]

    @abstractmethod
    def lexical(self, terms: Sequence[str], k: int, want: Want) -> list[tuple[int, float]]: ...

    @abstractmethod
    def document_frequency(self, words: Sequence[str]) -> tuple[int, dict[str, int]]: ...

    def during(self, start: int, stop: int, k: int, want: Want) -> list[int]:
        sql, values = self._wanted(want)
        happened = self._rows(
            f"SELECT e.n FROM {TABLES} WHERE {self._scope} AND e.at >= ? AND e.at < ? AND {sql} ORDER BY e.at LIMIT ?",
            [start, stop, *values, k],
        )
        spoken = self._rows(
            f"SELECT DISTINCT e.n FROM {TABLES} JOIN times t ON t.scope = e.scope AND t.engram = e.n "
            f"WHERE {self._scope} AND t.start < ? AND t.start >= ? AND t.stop > ? AND t.stop - t.start <= ? "
            f"AND {sql} LIMIT ?",
            [stop, start - 2 * (stop - start), start, 2 * (stop - start), *values, k],
        )
        return list(dict.fromkeys(n for (n,) in [*spoken, *happened]))[:k]

    # -- what the ranking reads

    def rows(self, ns: Sequence[int], want: Want) -> dict[int, Row]:
        if want.is_plain:
            return {n: row for n, row in self._light(ns).items() if want.retired or row.retired is None}
        sql, values = self._wanted(want)
        found = self._rows(
            f"SELECT {LIGHT} FROM {TABLES} WHERE {self._scope} AND {self.dialect.among('e.n')} AND {sql}",
            [self.dialect.listed(map(int, ns)), *values],
        )
        return {row[0]: Row._make(row) for row in found}

    def _light(self, ns: Sequence[int] | NDArray[np.int64]) -> dict[int, Row]:
        """Light rows of those of these numbers that the scope may see, retired ones too."""
        seen = self._seen()
        wanted = [int(n) for n in ns]
        missing = [n for n in wanted if n not in seen]
        if missing:
            found = self._rows(
                f"SELECT {LIGHT} FROM {self.dialect.each_number} {self.dialect.ordered} engrams e ON e.n = j.value "
                f"JOIN scopes s ON s.n = e.scope WHERE {self._scope}",
                [],
                first=[self.dialect.listed(missing)],
            )
            seen.update((row[0], Row._make(row)) for row in found)
        return {n: seen[n] for n in wanted if n in seen}

    def _seen(self) -> dict[int, Row]:
        """Light rows that were read since anything was last written: one search asks for the same ones repeatedly."""
        seen: dict[int, Row] = self._recent(("rows", self.scope), dict)
        if len(seen) > MOST_SEEN:
            seen.clear()
        return seen

    def times(self, ns: Sequence[int]) -> dict[int, list[tuple[int, int]]]:
        found = self._rows(
            f"SELECT t.engram, t.start, t.stop FROM {TABLES} JOIN times t ON t.engram = e.n "
            f"WHERE {self._scope} AND {self.dialect.among('e.n')} ORDER BY t.start, t.stop",
            [self.dialect.listed(map(int, ns))],
        )
        out: dict[int, list[tuple[int, int]]] = {}
        for n, start, stop in found:
            out.setdefault(n, []).append((start, stop))
        return out

    def neighbours(self, rows: Sequence[Row], radius: int) -> dict[tuple[int, int], int]:
        own = self._light([row.n for row in rows])
        out = {(row.session, row.turn): row.n for row in own.values() if row.turn and row.retired is None}
        steps = range(-radius, radius + 1)
        wanted = {(row.session, row.turn + step) for row in rows if row.turn for step in steps} - out.keys()
        # A pair is packed into one number, since SQLite takes longer to read two out of a JSON list than to find a row.
        found = self._rows(
            f"SELECT {LIGHT} FROM {self.dialect.each_number} {self.dialect.ordered} engrams e "
            "ON e.session = (j.value >> 32) AND e.turn = (j.value & 4294967295) JOIN scopes s ON s.n = e.scope "
            f"WHERE e.retired IS NULL AND {self._scope}",
            [],
            first=[self.dialect.listed(session << 32 | turn for session, turn in wanted if turn > 0)],
        )
        around = [Row._make(row) for row in found]
        self._seen().update((row.n, row) for row in around)
        return out | {(row.session, row.turn): row.n for row in around}

    def vectors(self, ns: Sequence[int]) -> dict[int, NDArray[np.float32]]:
        model = self.store.model()
        if model is None:
            return {}
        # In this order, whatever SQLite thinks: it would rather read through all vectors of the model.
        found = self._rows(
            f"SELECT v.engram, v.vector FROM {self.dialect.each_number} {self.dialect.ordered} engrams e "
            "ON e.n = j.value JOIN scopes s ON s.n = e.scope CROSS JOIN vectors v "
            f"WHERE v.model = ? AND v.scope = e.scope AND v.engram = e.n AND {self._scope}",
            [],
            first=[self.dialect.listed(map(int, ns)), model.n],
        )
        decoded = self.store.decode([blob for _, blob in found], model)
        return {n: decoded[place] for place, (n, _) in enumerate(found)}

    # -- ties, journal, counts

    def links(self, ids: Sequence[str], relations: Sequence[str] | None = None) -> list[Link]:
        own = self.numbers(ids)
        chosen = self.dialect.listed(own.values())
        end, other = self._scope.replace("s.", "sa."), self._scope.replace("s.", "sb.")
        rows = self.store.read(
            "SELECT a.id, l.relation, b.id, l.weight FROM "
            f"(SELECT source, relation, target, weight FROM links WHERE {self.dialect.among('source')} "
            f"UNION SELECT source, relation, target, weight FROM links WHERE {self.dialect.among('target')}) l "
            "JOIN engrams a ON a.n = l.source JOIN engrams b ON b.n = l.target "
            "JOIN scopes sa ON sa.n = a.scope JOIN scopes sb ON sb.n = b.scope "
            f"WHERE {end} AND {other} ORDER BY l.weight DESC, a.id, b.id",
            [chosen, chosen, *self._scope_values, *self._scope_values],
        )
        return [Link(*row) for row in rows if relations is None or row[1] in relations]

    def derived(self, ids: Sequence[str]) -> dict[str, tuple[str, ...]]:
        rows = self._rows(
            f"SELECT x.id, e.id FROM {TABLES} JOIN sources t ON t.engram = e.n JOIN engrams x ON x.n = t.source "
            f"WHERE {self._scope} AND {self.dialect.among('x.id')} ORDER BY e.n",
            [self.dialect.listed(ids)],
        )
        out: dict[str, tuple[str, ...]] = {}
        for source, made in rows:
            out[source] = (*out.get(source, ()), made)
        return out

    def due(self, moment: datetime, limit: int) -> list[Engram]:
        sql = "e.due <= ? AND e.retired IS NULL"
        most = limit if limit >= 0 else ALL
        return list(self._engrams(sql, [to_micros(moment)], None, "ORDER BY e.due LIMIT ?", [most]).values())

    def journal(self, ids: Sequence[str] | None = None, op: str | None = None, limit: int = 1000) -> list[Entry]:
        sql, values = "TRUE", list[Any]()
        if ids is not None:
            sql += f" AND {self.dialect.among('e.id')}"
            values.append(self.dialect.listed(ids))
        if op is not None:
            sql += " AND o.id = ?"
            values.append(op)
        rows = self._rows(
            "SELECT o.id, j.verb, e.id, j.reason, j.sources, j.before, j.after, j.links, j.unlinks, o.recorded, "
            f"o.verb, o.system, o.model FROM {TABLES} JOIN journal j ON j.engram = e.n JOIN operations o ON o.n = j.op "
            f"WHERE {self._scope} AND {sql} ORDER BY j.n DESC LIMIT ?",
            [*values, limit],
        )
        return [
            Entry(
                op=row[0], verb=row[1], engram=row[2], reason=row[3], sources=tuple(json.loads(row[4])),
                before=unpack_fields(json.loads(row[5])), after=unpack_fields(json.loads(row[6])),
                links=unpack_links(row[7]), unlinks=unpack_links(row[8]), recorded=from_micros(row[9]),
                operation=row[10], system=row[11], model=row[12],
            )
            for row in rows
        ]  # fmt: skip

    def operations(self, limit: int = 100, verb: str | None = None, op: str | None = None) -> list[dict[str, Any]]:
        only, chosen = _only(verb=verb, id=op)
        rows = self._rows(
            "SELECT o.id, o.verb, o.system, o.model, o.params, o.recorded, o.undone_by, "
            "(SELECT count(*) FROM journal j WHERE j.op = o.n), (SELECT count(*) FROM calls c WHERE c.op = o.n), "
            "(SELECT count(*) FROM rejected r WHERE r.op = o.n) FROM operations o JOIN scopes s ON s.n = o.scope "
            f"WHERE {self._scope} AND o.n IN (SELECT o.n FROM operations o JOIN scopes s ON s.n = o.scope "
            f"WHERE {self._scope}{only} ORDER BY o.n DESC LIMIT ?) "
            "ORDER BY o.n DESC",
            [*self._scope_values, *chosen, limit],
        )
        return [
            {
                "op": row[0], "verb": row[1], "system": row[2], "model": row[3], "params": json.loads(row[4]),
                "recorded": from_micros(row[5]).isoformat(), "undone_by": row[6], "changes": row[7],
                "calls": row[8], "rejected": row[9],
            }
            for row in rows
        ]  # fmt: skip

    def calls(self, limit: int = 1000, op: str | None = None) -> list[Asked]:
        only, chosen = _only(id=op)
        rows = self._rows(
            "SELECT o.id, o.recorded, c.operation, c.model, c.prompt, c.tokens_in, c.tokens_out, c.seconds, "
            "c.cached, c.problem FROM operations o JOIN scopes s ON s.n = o.scope JOIN calls c ON c.op = o.n "
            f"WHERE {self._scope}{only} ORDER BY o.n DESC, c.place LIMIT ?",
            [*chosen, limit],
        )
        return [
            Asked(op, from_micros(recorded), Call(what, model, prompt, given, got, seconds, bool(cached), problem))
            for op, recorded, what, model, prompt, given, got, seconds, cached, problem in rows
        ]

    def rejected(self, limit: int = 1000, op: str | None = None) -> list[SetAside]:
        only, chosen = _only(id=op)
        rows = self._rows(
            "SELECT r.n, o.id, o.recorded, r.operation, r.reason, r.text, r.model, r.prompt "
            "FROM operations o JOIN scopes s ON s.n = o.scope JOIN rejected r ON r.op = o.n "
            f"WHERE {self._scope}{only} ORDER BY o.n DESC, r.n LIMIT ?",
            [*chosen, limit],
        )
        sources = fetch_sources(self.store.read, self.dialect, [row[0] for row in rows], "rejected_sources", "rejected")
        return [
            SetAside(op, from_micros(recorded), Rejected(what, why, text, tuple(sources.get(n, ())), model, prompt))
            for n, op, recorded, what, why, text, model, prompt in rows
        ]

    def held(self, limit: int = 100, ids: Sequence[str] | None = None, decided: bool = False) -> list[Held]:
        return serving.held(self.store.read, self.dialect, self.scope, limit, ids, decided)

    def cursor(self, system: str) -> Cursor:
        rows = self.store.read(
            "SELECT c.last, c.state FROM cursors c JOIN scopes s ON s.n = c.scope "
            "WHERE s.user_id = ? AND s.agent_id = ? AND s.run_id = ? AND s.app_id = ? AND c.system = ?",
            [*(getattr(self.scope, name) or "" for name in SCOPE_FIELDS), system],
        )
        return Cursor(int(rows[0][0]), json.loads(rows[0][1])) if rows else Cursor()

    def pulse(self, system: str, most: int) -> Pulse:
        moments = self._rows(
            "SELECT max((SELECT o.recorded FROM operations o WHERE o.scope = s.n AND o.verb <> 'sleep' "
            "ORDER BY o.n DESC LIMIT 1)), max((SELECT e.recorded FROM engrams e WHERE e.scope = s.n "
            f"ORDER BY e.n DESC LIMIT 1)) FROM scopes s WHERE {self._scope}",
            [],
        )[0]
        fresh = self._rows(
            f"SELECT count(*) FROM (SELECT 1 FROM scopes s CROSS JOIN engrams e WHERE {self._scope} AND e.scope = s.n "
            "AND e.n > ? AND e.retired IS NULL AND NOT EXISTS "
            "(SELECT 1 FROM sources t WHERE t.engram = e.n) LIMIT ?) merged",
            [self.cursor(system).last, most],
        )[0][0]
        written = max((moment for moment in moments if moment is not None), default=None)
        return Pulse(None if written is None else from_micros(written), fresh)

    def snapshot(self) -> AbstractContextManager[None]:
        return self.store.snapshot(self.scope)

    def kept(self, n: int, limit: int) -> list[tuple[int, Kept]]:
        return outgoing.kept(self, n, limit)

    def past(self, n: int, limit: int) -> list[tuple[int, Past]]:
        return outgoing.past(self, n, limit)

    def bookmarks(self) -> list[Bookmark]:
        return outgoing.bookmarks(self)

    def stats(self) -> dict[str, Any]:
        kinds = self._rows(
            f"SELECT e.kind, count(*), count(*) FILTER (WHERE e.retired IS NULL), "
            "count(*) FILTER (WHERE e.until IS NOT NULL AND e.retired IS NULL), "
            f"count(*) FILTER (WHERE e.strength < 1) FROM {TABLES} WHERE {self._scope} GROUP BY e.kind ORDER BY e.kind",
            [],
        )
        bounds = self._rows(
            f"SELECT min(e.at), max(e.at), count(DISTINCT e.session), count(DISTINCT e.speaker) FROM {TABLES} "
            f"WHERE {self._scope} AND e.retired IS NULL",
            [],
        )[0]
        ties = self._rows(
            f"SELECT l.relation, count(*) FROM {TABLES} JOIN links l ON l.source = e.n WHERE {self._scope} GROUP BY 1",
            [],
        )
        return {
            "records": sum(row[1] for row in kinds),
            "in_view": sum(row[2] for row in kinds),
            "superseded": sum(row[3] for row in kinds),
            "faded": sum(row[4] for row in kinds),
            "kinds": {row[0]: row[2] for row in kinds},
            "links": dict(ties),
            "sessions": bounds[2],
            "speakers": bounds[3],
            "first": None if bounds[0] is None else from_micros(bounds[0]).isoformat(),
            "last": None if bounds[1] is None else from_micros(bounds[1]).isoformat(),
        }

    # -- the statements themselves

    def _recent(self, key: Hashable, read: Callable[[], T]) -> T:
        """What was read before, if nothing was written since."""
        return self.store.unless_written(key, read)

    def _rows(self, sql: str, values: Values, first: Values = ()) -> list[Any]:
        """Run a statement whose scope condition stands before `values` and after `first`."""
        head, mark, _ = sql.partition(self._scope)
        assert mark, "a view's statement carries its scope"
        before = head.count("?")
        given = [*first, *values]
        return self.store.read(sql, [*given[:before], *self._scope_values, *given[before:]])

    def _engrams(
        self,
        sql: str,
        values: Values,
        as_of: datetime | None = None,
        tail: str = "",
        bounds: Values = (),
        index: str = "",
    ) -> dict[int, Engram]:
        tables = TABLES.replace("engrams e", f"engrams e {self.dialect.using(index)}") if index else TABLES
        rows = self._rows(f"SELECT {COLUMNS} FROM {tables} WHERE {self._scope} AND {sql} {tail}", [*values, *bounds])
        sources = self.store.sources([row[0] for row in rows])
        earlier = {} if as_of is None else self._earlier(as_of)
        return {row[0]: decode(row, sources.get(row[0], ()), as_of, earlier.get(row[0], {})) for row in rows}

    def _wanted(self, want: Want) -> tuple[str, list[Any]]:
        """The condition of a Want; what the journal changed since `as_of` is turned back and looked at one by one."""
        earlier = {} if want.as_of is None else self._earlier(want.as_of)
        if not earlier:
            return want_sql(want, self.dialect)
        then = self.engrams(list(earlier), want.as_of)
        return want_sql(want, self.dialect, earlier, [n for n, engram in then.items() if wanted(engram, want)])

    def _earlier(self, as_of: datetime) -> dict[int, dict[str, Any]]:
        """Row number -> the fields that were changed after a moment, as they were then."""
        rows = self._rows(
            "SELECT j.engram, j.before FROM operations o CROSS JOIN journal j CROSS JOIN engrams e "
            "JOIN scopes s ON s.n = e.scope "
            f"WHERE {self._scope} AND e.n = j.engram AND j.op = o.n AND j.before <> '{{}}' AND o.recorded > ? "
            "ORDER BY j.n DESC",
            [to_micros(as_of)],
        )
        out: dict[int, dict[str, Any]] = {}
        for n, before in rows:
            out.setdefault(n, {}).update(unpack_fields(json.loads(before)))
        return out

    def _live(self, ns: Sequence[int] | NDArray[np.int64]) -> set[int]:
        """Those of these row numbers that the scope may see and that are not retired."""
        return {n for n, row in self._light(ns).items() if row.retired is None}


def _only(**wanted: str | None) -> tuple[str, list[str]]:
    """Conditions on an operation, of those that are asked for."""
    chosen = {name: value for name, value in wanted.items() if value is not None}
    return "".join(f" AND o.{name} = ?" for name in chosen), list(chosen.values())
