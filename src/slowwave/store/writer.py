"""Writing to a database: one transaction's changes, each with its line in the journal."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from slowwave.errors import ConflictError, InputError, ScopeError
from slowwave.records import Call, Change, Engram, Link, Rejected, Scope
from slowwave.store import leases, serving
from slowwave.store.base import Index, Operation
from slowwave.store.clock import to_micros, zone_name
from slowwave.store.rows import TABLES, TIME_FIELDS, pack, pack_fields, pack_links, scope_number, scope_sql
from slowwave.store.sql import Model, Session
from slowwave.store.vectors import encode

if TYPE_CHECKING:
    from slowwave.store.sql_store import SqlStore

HELD = "n, id, retired, retired_why"  # of what an item to add may already be
SETTABLE = ("until", "closed", "retired", "retired_why", "strength", "due", "attrs")
FADING = ("strength", "due")  # also set by uses, outside the journal


class Writer:
    """One transaction's work: the operation's row, then each change with its line in the journal."""

    def __init__(self, store: SqlStore, operation: Operation, index: Mapping[str, Index]) -> None:
        self.store = store
        self.operation = operation
        self.index = index
        self.added: dict[str, str] = {}
        self.done: list[Change] = []
        self.refused: list[tuple[Change, str]] = []
        self.op_id: str | None = None
        self.inserted: list[
            tuple[str, int, int]
        ] = []  # new records, with the row numbers of their scopes and their own
        self._op = 0
        self._late: dict[str, list[Sequence[Any]]] = {}  # statements that nothing waits for, with their rows
        self._words: list[tuple[Scope, int, int, str]] = []
        self._known: dict[tuple[int, bytes], Any] = {}  # what is there already, by its content
        self._model: Model | None = None
        self._blobs: dict[str, bytes] | None = None
        self._scopes: dict[Scope, int] = {}
        self._sessions: dict[tuple[int, str], list[int]] = {}
        self._numbers: dict[str, int] = {}
        self._seen, self._seen_values = scope_sql(operation.scope)

    def run(self, connection: Session, changes: Sequence[Change]) -> None:
        """Apply them in order; what is set aside is in `refused`."""
        self.session, self.sql, self._many = connection, connection.execute, connection.executemany
        self._model = self.store.current_model()  # within the transaction: another process may have changed it
        self._end_lease(connection)
        self._look_up(changes)
        for given in changes:
            change = self._renamed(given)
            reason = self._apply(change)
            if reason is None:
                self.done.append(change)
            elif reason:
                self.refused.append((change, reason))
                if self.operation.strict:
                    raise ConflictError(
                        f"{self.operation.verb} was not done: {change.id}: {reason}; undo the later change first "
                        f"(slowwave history {change.id})"
                    )
        for (_, _), (session, turns) in self._sessions.items():
            self.sql("UPDATE sessions SET turns = ? WHERE n = ?", (turns, session))
        o = self.operation
        if o.cursor is not None:
            self.sql(
                "INSERT INTO cursors (scope, system, last, state) VALUES (?, ?, ?, ?) "
                "ON CONFLICT (scope, system) DO UPDATE SET last = excluded.last, state = excluded.state",
                (self._scope_number(o.scope), o.system, o.cursor.last, self._with_kept_ids(pack(dict(o.cursor.state)))),
            )
        if o.undoes is not None:
            self._operation()
            self.sql("UPDATE operations SET undone_by = NULL WHERE undone_by = ?", (o.undoes,))
            self.sql("UPDATE operations SET undone_by = ? WHERE id = ?", (self.op_id, o.undoes))
        self._note(changes)
        self._hold(connection)
        self._flush()
        self.store.end_write(connection, self)

    def _look_up(self, changes: Sequence[Change]) -> None:
        """Which of the items to add are there already, in one statement a scope."""
        wanted: dict[int, list[bytes]] = {}
        for engram in (change.engram for change in changes):
            if engram is not None and engram.id in self.index:
                wanted.setdefault(self._scope_number(engram.scope), []).append(self.index[engram.id].content)
        for scope, contents in wanted.items():
            for at in range(0, len(contents), 500):
                part = contents[at : at + 500]
                self._known |= dict.fromkeys(((scope, content) for content in part), None)
                marks = ", ".join("?" * len(part))
                for content, *row in self.sql(
                    f"SELECT content, {HELD} FROM engrams WHERE scope = ? AND content IN ({marks})", [scope, *part]
                ).fetchall():
                    self._known[scope, bytes(content)] = row

    def _later(self, sql: str, row: Sequence[Any]) -> None:
        """A row that nothing in this transaction reads: all of one kind are written at once, at its end."""
        self._late.setdefault(sql, []).append(row)

    def _flush(self) -> None:
        for sql, rows in self._late.items():
            self._many(sql, rows)
        self.store.index_words(self.session, self._words)
        self._late, self._words = {}, []

    def _hold(self, connection: Session) -> None:
        """What is kept apart, and what was decided of it."""
        o = self.operation
        for one in o.held:
            serving.hold(connection, one, self._scope_number(one.scope))
        serving.settle(connection, o)
        if o.held or o.settled or o.noted:
            connection.execute("UPDATE operations SET noted = 1 WHERE n = ?", (self._operation(),))

    def _end_lease(self, connection: Session) -> None:
        """What was made under a lease counts only if nobody took it over meanwhile."""
        o = self.operation
        if o.lease is not None and not leases.end(connection, o.lease):
            raise ConflictError(
                f"the {o.verb} of {o.scope} lost its lease (it stood still for too long, or its records were erased), "
                "and nothing was written; begin it again"
            )

    def _note(self, changes: Sequence[Change]) -> None:
        """The calls of a model, and what was turned down, beside the operation's changes."""
        o = self.operation
        made = {change.engram.id: change.engram.sources for change in changes if change.engram is not None}
        kept = [(one, ns) for one in o.rejected if (ns := self._grounds(one.sources, made)) is not None]
        if o.calls or kept:
            self._write_calls(self._operation(), o.calls)
            for one, ns in kept:
                self._write_rejected(self._operation(), one, ns)

    def _grounds(self, ids: Sequence[str], made: Mapping[str, Sequence[str]]) -> list[int] | None:
        """Row numbers of sources, through what was proposed and not kept to its own; None if one is not there."""
        ns: dict[int, None] = {}
        left, seen = list(reversed(ids)), set[str]()
        while left:
            id_ = left.pop()
            n = self._number(self.added.get(id_, id_))
            if n is not None:
                ns[n] = None
            elif made.get(id_) and id_ not in seen:
                seen.add(id_)
                left += reversed(made[id_])
            elif id_ not in seen:
                return None
        return list(ns)

    def _write_calls(self, op: int, calls: Sequence[Call]) -> None:
        rows = [
            (
                op, place, c.operation, c.model, c.prompt, c.tokens_in, c.tokens_out, float(c.seconds), int(c.cached),
                c.problem,
            )
            for place, c in enumerate(calls)
        ]  # fmt: skip
        self._many(
            "INSERT INTO calls (op, place, operation, model, prompt, tokens_in, tokens_out, seconds, cached, problem) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            rows,
        )

    def _write_rejected(self, op: int, one: Rejected, sources: Sequence[int]) -> None:
        n = self.sql(
            "INSERT INTO rejected (op, operation, reason, text, model, prompt) VALUES (?, ?, ?, ?, ?, ?) RETURNING n",
            (op, one.operation, one.reason, one.text, one.model, one.prompt),
        ).fetchone()[0]
        rows = [(n, source, place) for place, source in enumerate(sources)]
        self._many("INSERT INTO rejected_sources (rejected, source, place) VALUES (?, ?, ?)", rows)

    def _renamed(self, change: Change) -> Change:
        """The change in terms of the ids that were kept: what an earlier one would have added may have been there."""
        names = {given: kept for given, kept in self.added.items() if given != kept}
        if not names:
            return change

        def tie(link: Link) -> Link:
            return replace(link, source=names.get(link.source, link.source), target=names.get(link.target, link.target))

        return replace(
            change,
            id=names.get(change.id, change.id),
            links=tuple(map(tie, change.links)),
            unlinks=tuple(map(tie, change.unlinks)),
            sources=tuple(names.get(source, source) for source in change.sources),
        )

    def _with_kept_ids(self, text: str) -> str:
        for given, kept in self.added.items():
            if given != kept:
                text = text.replace(given, kept)
        return text

    def _apply(self, change: Change) -> str | None:
        """None if it took effect, "" if it was there already, else why it is set aside."""
        if change.engram is not None:
            return self._add(change, change.engram)
        n = self._number(change.id)
        if n is None:
            return "the record is no longer there"
        before: dict[str, Any] = {}
        if change.fields:
            unknown = [name for name in change.fields if name not in SETTABLE]
            if unknown:
                raise InputError(f"a change sets {', '.join(unknown)}; only {', '.join(SETTABLE)} can change")
            seen = self._fields(n, [*change.fields, *(name for name in change.guard if name not in change.fields)])
            guard = pack_fields(change.guard)
            differing = {name for name, value in guard.items() if value != seen[name]}
            if differing - set(FADING):
                return "the record was changed meanwhile"
            if differing:  # it was used since, and a use outweighs a step of fading or its undoing
                fields = {name: value for name, value in change.fields.items() if name not in FADING}
                change = replace(change, fields=fields, guard={})
            before = {name: seen[name] for name in change.fields}
            if before == pack_fields(change.fields) and not change.links and not change.unlinks:
                return ""
            if before == pack_fields(change.fields):
                change, before = replace(change, fields={}), {}
        if any(link.source == link.target for link in change.links):
            return "it would be tied to itself"
        links = [self._link_numbers(link.source, link.target) for link in change.links]
        if None in links:
            return "one end of the link is no longer there"
        if not change.fields and (change.links or change.unlinks) and not self._turns(change):
            return ""
        self._set(n, change.fields)
        self._tie(change, n, before)
        return None

    def _add(self, change: Change, engram: Engram) -> str | None:
        index = self.index.get(engram.id)
        if index is None:
            raise InputError(f"engram {engram.id} comes without its index entry")
        scope = self._scope_number(engram.scope)
        held = self._known[scope, index.content]
        if held is not None:
            self.added[engram.id] = held[1]
            self._numbers[engram.id] = held[0]
            # A night must not bring back what somebody forgot; somebody who adds it again does.
            come_back = ("undone",) if self.operation.verb == "sleep" else ("undone", "forgotten")
            if held[2] is None or held[3] not in come_back:
                return ""
            before = self._fields(held[0], ["retired", "retired_why"])
            self._set(held[0], {"retired": None, "retired_why": None})
            self._known[scope, index.content] = [*held[:2], None, None]
            back = {"retired": None, "retired_why": None}
            self._tie(Change("restore", held[1], "added again", fields=back), held[0], before)
            self.done.append(Change("restore", held[1], "added again", fields=back))
            return ""
        sources = [self._number(source) for source in engram.sources]
        if None in sources:
            return "one of its sources is no longer there"
        n = self._insert(engram, scope, index.content)
        self.added[engram.id] = engram.id
        self._numbers[engram.id] = n
        for place, source in enumerate(dict.fromkeys(sources)):
            self._later("INSERT INTO sources (engram, source, place) VALUES (?, ?, ?)", (n, source, place))
        self._known[scope, index.content] = [n, engram.id, engram.retired, engram.retired_why]
        self._index(engram, index, n, scope)
        self._tie(change, n, {})
        return None

    def _insert(self, engram: Engram, scope: int, content: bytes) -> int:
        session = self._session(scope, engram.session or "")
        turn = 0
        if engram.kind == "episode":
            session[1] += 1
            turn = session[1]
        values = {
            "id": engram.id,
            "scope": scope,
            "kind": engram.kind,
            "text": engram.text,
            "at": to_micros(engram.at),
            "at_zone": zone_name(engram.at),
            "until": _micros(engram.until),
            "until_zone": None if engram.until is None else zone_name(engram.until),
            "recorded": to_micros(engram.recorded),
            "closed": _micros(engram.closed),
            "retired": _micros(engram.retired),
            "retired_why": engram.retired_why,
            "strength": engram.strength,
            "half_life_days": engram.half_life_days,
            "used": _micros(engram.used),
            "due": _micros(engram.due),
            "session": session[0],
            "turn": turn,
            "speaker": engram.speaker,
            "origin": engram.origin,
            "content": content,
            "attrs": pack(dict(engram.attrs)),
        }
        marks = ", ".join("?" * len(values))
        try:
            made = self.sql(
                f"INSERT INTO engrams ({', '.join(values)}) VALUES ({marks}) RETURNING n", list(values.values())
            )
            n = int(made.fetchone()[0])
        except self.store.connections.dialect.clashes as error:
            raise ConflictError(f"{engram.id} is the id of another record already; give this one a new id") from error
        self.inserted.append((engram.id, scope, n))
        return n

    def _index(self, engram: Engram, index: Index, n: int, scope: int) -> None:
        self._words.append((engram.scope, scope, n, index.words))
        if engram.speaker:
            self._later(
                "INSERT INTO speakers (scope, name) VALUES (?, ?) ON CONFLICT DO NOTHING", (scope, engram.speaker)
            )
        if self._model is not None and (blob := self._blob(engram.id)) is not None:
            self._later(
                "INSERT INTO vectors (model, scope, engram, vector) VALUES (?, ?, ?, ?)",
                (self._model.n, scope, n, blob),
            )
        for start, stop in index.times:
            self._later(
                "INSERT INTO times (scope, start, stop, engram) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (scope, start, stop, n),
            )

    def _blob(self, id_: str) -> bytes | None:
        """A vector as it is kept; all of the transaction's are made at once."""
        if self._blobs is None and self._model is not None:
            given = {key: index.vector for key, index in self.index.items() if index.vector is not None}
            rows = encode(np.stack(list(given.values())), self._model.dtype) if given else []
            self._blobs = dict(zip(given, rows, strict=True))
        return (self._blobs or {}).get(id_)

    def _set(self, n: int, fields: Mapping[str, Any]) -> None:
        if not fields:
            return
        columns: dict[str, Any] = {}
        for name, value in fields.items():
            if isinstance(value, datetime):
                columns[name] = to_micros(value)
                if name == "until":
                    columns["until_zone"] = zone_name(value)
            else:
                columns[name] = pack(dict(value)) if name == "attrs" else value
        assignments = ", ".join(f"{name} = ?" for name in columns)
        self.sql(f"UPDATE engrams SET {assignments} WHERE n = ?", [*columns.values(), n])

    def _tie(self, change: Change, n: int, before: Mapping[str, Any]) -> None:
        """Write the links, take away the unlinks, and put the line into the journal."""
        made = []
        for link in change.links:
            pair = self._link_numbers(link.source, link.target)
            if (
                pair is not None
                and self.sql(
                    "INSERT INTO links (source, relation, target, weight) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
                    (pair[0], link.relation, pair[1], float(link.weight)),
                ).rowcount
            ):
                made.append(link)
        unmade = []
        for link in change.unlinks:
            pair = self._link_numbers(link.source, link.target)
            if (
                pair is not None
                and self.sql(
                    "DELETE FROM links WHERE source = ? AND relation = ? AND target = ?",
                    (pair[0], link.relation, pair[1]),
                ).rowcount
            ):
                unmade.append(link)
        after = {"added": True} if change.engram is not None else pack_fields(change.fields)
        self._later(
            "INSERT INTO journal (op, engram, verb, reason, sources, before, after, links, unlinks) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                self._operation(), n, change.verb, change.reason, pack(list(change.sources)), pack(dict(before)),
                pack(after), pack_links(made), pack_links(unmade),
            ),
        )  # fmt: skip

    def _operation(self) -> int:
        if not self._op:
            o = self.operation
            cursor = self.sql(
                "INSERT INTO operations (id, scope, verb, system, model, params, recorded) "
                "VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING n",
                [
                    o.id,
                    self._scope_number(o.scope),
                    o.verb,
                    o.system,
                    o.model,
                    pack(dict(o.params)),
                    to_micros(o.recorded),
                ],
            )
            self._op, self.op_id = int(cursor.fetchone()[0]), o.id
        return self._op

    def _fields(self, n: int, names: Sequence[str]) -> dict[str, Any]:
        locked = self.store.connections.dialect.locked()
        row = self.sql(f"SELECT {', '.join(names)}, until_zone FROM engrams WHERE n = ?{locked}", (n,)).fetchone()
        out: dict[str, Any] = {}
        for name, value in zip(names, row, strict=False):
            if name == "attrs":
                value = json.loads(value)
            elif value is not None and name in TIME_FIELDS:
                value = [value, row[-1] or "UTC" if name == "until" else "UTC"]
            out[name] = value
        return out

    def _turns(self, change: Change) -> bool:
        """Whether a tie that it makes is not there, or one that it takes away is."""
        return any(not self._tied(link) for link in change.links) or any(map(self._tied, change.unlinks))

    def _tied(self, link: Link) -> bool:
        pair = self._link_numbers(link.source, link.target)
        sql = "SELECT 1 FROM links WHERE source = ? AND relation = ? AND target = ?"
        return pair is not None and self.sql(sql, (pair[0], link.relation, pair[1])).fetchone() is not None

    def _number(self, id_: str) -> int | None:
        if id_ not in self._numbers:
            row = self.sql(
                f"SELECT e.n FROM {TABLES} WHERE {self._seen} AND e.id = ?", (*self._seen_values, id_)
            ).fetchone()
            if row is None:
                return None
            self._numbers[id_] = row[0]
        return self._numbers[id_]

    def _link_numbers(self, source: str, target: str) -> tuple[int, int] | None:
        a, b = self._number(source), self._number(target)
        return None if a is None or b is None else (a, b)

    def _scope_number(self, scope: Scope) -> int:
        if scope not in self._scopes:
            if not self.operation.scope.covers(scope):
                raise ScopeError(f"an operation of {self.operation.scope} may not write to {scope}")
            self._scopes[scope] = scope_number(self.sql, scope)
        return self._scopes[scope]

    def _session(self, scope: int, name: str) -> list[int]:
        """[row number, turns so far]; the count is written back at the end of the transaction."""
        key = (scope, name)
        if key not in self._sessions:
            self.sql("INSERT INTO sessions (scope, name, turns) VALUES (?, ?, 0) ON CONFLICT DO NOTHING", key)
            row = self.sql("SELECT n, turns FROM sessions WHERE scope = ? AND name = ?", key).fetchone()
            self._sessions[key] = list(row)
        return self._sessions[key]


def _micros(moment: datetime | None) -> int | None:
    return None if moment is None else to_micros(moment)
