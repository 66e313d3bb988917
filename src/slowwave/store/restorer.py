"""Records on their way into a store from an export: nothing is lost, and doing it again changes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from slowwave.errors import ConflictError
from slowwave.records import Engram, Link, Scope
from slowwave.store.base import Bookmark, Entry, Index, Kept, Operation, Past, Restored
from slowwave.store.clock import EPOCH, to_micros
from slowwave.store.rows import TABLES, pack, pack_fields, pack_links, scope_sql
from slowwave.store.sql import Session
from slowwave.store.writer import FADING, SETTABLE, Writer

if TYPE_CHECKING:
    from slowwave.store.sql_store import SqlStore

# by which one sees whether a record has changed since it was exported; uses and fading are each file's own
STATE = tuple(name for name in SETTABLE if name not in FADING)


class Restorer(Writer):
    """One transaction's part of a restore. See `Store.restore`."""

    def __init__(self, store: SqlStore, scope: Scope, index: Mapping[str, Index], so_far: Restored) -> None:
        super().__init__(store, Operation("", "restore", scope, EPOCH), index)
        self.so_far = so_far

    def restore(
        self,
        connection: Session,
        records: Sequence[Kept],
        links: Sequence[Link],
        operations: Sequence[Past],
        marks: Sequence[Bookmark],
    ) -> None:
        """Write them; what is there already stays."""
        self.session, self.sql, self._many = connection, connection.execute, connection.executemany
        self._model = self.store.current_model()
        for record in records:
            self._keep(record.engram, record.content)
        for session, turns in self._sessions.values():
            self.sql("UPDATE sessions SET turns = ? WHERE n = ?", (turns, session))
        for link in links:
            self._make(link)
        for one in operations:
            self._remember(one)
        for mark in marks:
            self._mark(mark)
        self._flush()
        self.store.end_write(connection, self)

    def _keep(self, engram: Engram, content: bytes) -> None:
        scope = self._scope_number(engram.scope)
        held = self.sql("SELECT n, scope FROM engrams WHERE id = ?", (engram.id,)).fetchone()
        if held is not None:
            if held[1] != scope:
                raise ConflictError(
                    f"{engram.id} is in this file already, in another scope than {engram.scope}; import it into a "
                    "file of its own (--db)"
                )
            self.so_far.known += 1
            final = pack_fields({name: getattr(engram, name) for name in STATE})
            if final != self._fields(held[0], STATE):
                self.so_far.behind.add(engram.id)
            return
        twin = self.sql("SELECT id FROM engrams WHERE scope = ? AND content = ?", (scope, content)).fetchone()
        if twin is not None:
            self.so_far.known += 1
            self.so_far.names[engram.id] = twin[0]
            return
        sources = [self._number(source) for source in engram.sources]
        n = self._insert(engram, scope, content)
        self._numbers[engram.id] = n
        for place, source in enumerate(dict.fromkeys(sources)):
            if source is None:
                self.so_far.missing += 1
            else:
                self.sql(
                    "INSERT INTO sources (engram, source, place) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                    (n, source, place),
                )
        self._index(engram, self.index[engram.id], n, scope)
        self.so_far.added += 1

    def _make(self, link: Link) -> None:
        pair = self._link_numbers(link.source, link.target)
        if pair is not None:
            values = (pair[0], link.relation, pair[1], float(link.weight))
            self.sql(
                "INSERT INTO links (source, relation, target, weight) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
                values,
            )

    def _unmake(self, link: Link) -> None:
        pair = self._link_numbers(link.source, link.target)
        if pair is not None:
            values = (pair[0], link.relation, pair[1])
            self.sql("DELETE FROM links WHERE source = ? AND relation = ? AND target = ?", values)

    def _remember(self, one: Past) -> None:
        o = one.operation
        held = self.sql("SELECT n FROM operations WHERE id = ?", (o.id,)).fetchone()
        if held is None:
            n = int(
                self.sql(
                    "INSERT INTO operations (id, scope, verb, system, model, params, recorded, undone_by) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING n",
                    (o.id, self._scope_number(o.scope), o.verb, o.system, o.model, pack(dict(o.params)),
                     to_micros(o.recorded), one.undone_by),
                ).fetchone()[0]
            )  # fmt: skip
            self.so_far.operations += 1
            self._write_calls(n, o.calls)
            for rejected in o.rejected:
                if (ns := self._grounds(rejected.sources, {})) is not None:
                    self._write_rejected(n, rejected, ns)
                else:
                    self.so_far.missing += 1
            if o.verb == "undo" and isinstance(undone := o.params.get("op"), str):
                self.sql("UPDATE operations SET undone_by = NULL WHERE undone_by = ?", (undone,))
                self.sql("UPDATE operations SET undone_by = ? WHERE id = ?", (o.id, undone))
        else:
            n = held[0]
        told = {row[0] for row in self.sql("SELECT engram FROM journal WHERE op = ?", (n,))} if held else set()
        for entry in one.entries:
            self._line(n, entry, told)

    def _line(self, op: int, entry: Entry, told: set[int]) -> None:
        """A line of the journal. About a record that was here and has not seen it yet, it is also done."""
        if entry.engram in self.so_far.names:  # the record here is another one with a history of its own
            return
        n = self._number(entry.engram)
        if n is None or n in told:
            return
        if entry.engram in self.so_far.behind and not entry.after.get("added") and not self._follow(n, entry):
            self.so_far.conflicts.append(entry.engram)
            return
        for link in entry.links:
            self._make(link)
        for link in entry.unlinks:
            self._unmake(link)
        self.sql(
            "INSERT INTO journal (op, engram, verb, reason, sources, before, after, links, unlinks) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (op, n, entry.verb, entry.reason, pack(list(entry.sources)), pack(pack_fields(entry.before)),
             pack(pack_fields(entry.after)), pack_links(entry.links), pack_links(entry.unlinks)),
        )  # fmt: skip

    def _follow(self, n: int, entry: Entry) -> bool:
        """Set what the line sets, if the record is as the line found or left it; else the line is set aside."""
        names = [name for name in entry.after if name in STATE]
        held = self._fields(n, names) if names else {}
        before, after = pack_fields(entry.before), pack_fields(entry.after)
        if any(held[name] != before.get(name) for name in names) and any(held[name] != after[name] for name in names):
            return False
        self._set(n, {name: value for name, value in entry.after.items() if name in SETTABLE})
        return True

    def _mark(self, mark: Bookmark) -> None:
        """Go on sleeping where the other file was, if this one holds what it had seen and nothing else."""
        scope = self._scope_number(mark.scope)
        if self.so_far.names:
            return
        n = self._number(mark.last)
        part, values = scope_sql(mark.scope)
        count = self.sql(f"SELECT count(*) FROM {TABLES} WHERE {part} AND e.n <= ?", [*values, n]).fetchone()[0]
        if n is not None and count == mark.seen:
            row = (scope, mark.system, n, pack(dict(mark.state)))
            self.sql("INSERT INTO cursors (scope, system, last, state) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", row)

    def _number(self, id_: str) -> int | None:
        return super()._number(self.so_far.names.get(id_, id_))
