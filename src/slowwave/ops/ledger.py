"""The journal as a ledger: what a memory held at any date, replayed line by line, and one hash for each such state.

    ledger = Ledger.read(view)
    ledger.at(moment)          the state then: every record with its fields, and the ties
    state_hash(ledger.now)     64 hex digits; equal states have equal hashes, whatever way they came about
    ledger.faults()            where the replay does not end at what the store holds; empty if the ledger is whole

A state is what was in memory: what an undo took out again is not in it, and neither is how often something was recalled
(uses are no changes, and stand in no journal). Erased records are gone from the ledger as from everywhere, so a replay
of an earlier date is of what is left.

Source: DMM Gov (Zhang et al. 2025, arXiv 2509.18868): change audit, timeline replay.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Any

from slowwave.records import Change, Engram, Link
from slowwave.store.base import Entry, Past, View

PAGE = 1000
CHANGING = ("until", "closed", "retired", "retired_why", "attrs")  # of the fields that can change, those not by use
Tie = tuple[str, str, str]


@dataclass(frozen=True)
class State:
    """Records by id, as they stood, and the ties between them."""

    records: Mapping[str, Engram]
    ties: frozenset[Tie]

    def lines(self) -> list[str]:
        """A line of JSON a record and a tie, in one order; equal states give equal lines."""
        kept = {id_: engram for id_, engram in self.records.items() if engram.retired_why != "undone"}
        lines = [
            _json(
                [id_, e.kind, e.text, e.scope.to_dict(), _moment(e.at), list(e.sources), e.origin]
                + [_plain(getattr(e, name)) for name in CHANGING]
            )
            for id_, e in sorted(kept.items())
        ]
        return lines + [_json(list(tie)) for tie in sorted(self.ties) if tie[0] in kept and tie[2] in kept]


def state_hash(state: State) -> str:
    """SHA-256, in hex, over the lines of a state."""
    return sha256("\n".join(state.lines()).encode("utf-8", "surrogatepass")).hexdigest()


def state_of(view: View) -> State:
    """What a scope holds now. Reads all of it."""
    records: dict[str, Engram] = {}
    n = 0
    while page := view.kept(n, PAGE):
        n = page[-1][0]
        records |= {kept.engram.id: kept.engram for _, kept in page}
    return State(records, frozenset(_tie(link) for link in _links(view, list(records))))


@dataclass
class Ledger:
    """Everything that was done in a scope, oldest first, and what it came to.

    now     the state that the store holds
    before  id -> the fields of each record when it was added, read off the journal backwards
    """

    operations: Sequence[Past]
    now: State
    before: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    older: frozenset[Tie] = frozenset()  # ties that no line of the journal made: they came with an import

    @classmethod
    def read(cls, view: View) -> Ledger:
        """The ledger of a scope. Reads all of it, in one moment."""
        with view.snapshot():
            done: list[Past] = []
            n = 0
            while page := view.past(n, PAGE):
                n = page[-1][0]
                done += [past for _, past in page]
            now = state_of(view)
        fields = {id_: {name: getattr(e, name) for name in CHANGING} for id_, e in now.records.items()}
        ties = set(now.ties)
        for entry in reversed([entry for past in done for entry in past.entries]):
            if entry.engram in fields:
                fields[entry.engram] |= {name: value for name, value in entry.before.items() if name in CHANGING}
            ties -= {_tie(link) for link in entry.links}
            ties |= {_tie(link) for link in entry.unlinks}
        return cls(done, now, fields, frozenset(ties))

    def at(self, moment: datetime | None = None) -> State:
        """The state at a moment, replayed from nothing; None replays everything."""
        replay = Replay(self)
        for past in self.operations:
            if moment is None or past.operation.recorded <= moment:
                replay.do(past)
        return replay.state(moment)

    def hashes(self, most: int = 50) -> dict[str, str]:
        """Operation -> the state hash right after it, for the latest ones, in one replay."""
        replay, out = Replay(self), dict[str, str]()
        first = max(0, len(self.operations) - most)
        for place, past in enumerate(self.operations):
            replay.do(past)
            if place >= first:
                out[past.operation.id] = state_hash(replay.state(past.operation.recorded))
        return out

    def faults(self) -> list[str]:
        """What the replay of everything does not bring about; empty where the ledger accounts for the whole state."""
        made, held = set(self.at().lines()), set(self.now.lines())
        return [f"the store holds, the ledger does not make: {line:.200}" for line in sorted(held - made)] + [
            f"the ledger makes, the store does not hold: {line:.200}" for line in sorted(made - held)
        ]


class Replay:
    """A state that is made again, operation by operation."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.records: dict[str, Engram] = {}
        self.ties = set(ledger.older)
        added = {e.engram for past in ledger.operations for e in past.entries if e.after.get("added")}
        # What was imported without its history is there from its recording on.
        self.strangers = {
            id_: e.with_(**ledger.before[id_]) for id_, e in ledger.now.records.items() if id_ not in added
        }

    def do(self, past: Past) -> None:
        """Do an operation again."""
        for entry in past.entries:
            self._do(entry)

    def state(self, moment: datetime | None = None) -> State:
        """What there is now; of what no operation added, what was recorded by the moment."""
        early = {id_: e for id_, e in self.strangers.items() if moment is None or e.recorded <= moment}
        records = {**early, **self.records}
        return State(records, frozenset(tie for tie in self.ties if tie[0] in records and tie[2] in records))

    def _do(self, entry: Entry) -> None:
        known = self.ledger.now.records.get(entry.engram)
        if known is not None and entry.after.get("added"):
            self.records[entry.engram] = known.with_(**self.ledger.before[entry.engram])
        elif known is not None:
            place = self.records if entry.engram in self.records else self.strangers
            changed = {name: value for name, value in entry.after.items() if name in CHANGING}
            if entry.engram in place:
                place[entry.engram] = place[entry.engram].with_(**changed)
        self.ties |= {_tie(link) for link in entry.links}
        self.ties -= {_tie(link) for link in entry.unlinks}


def touched(changes: Iterable[Change]) -> set[str]:
    """Ids of every record that some changes name, make, tie or rest on."""
    out: set[str] = set()
    for change in changes:
        out |= {change.id, *change.sources, *(change.engram.sources if change.engram else ())}
        out |= {end for tie in (*change.links, *change.unlinks) for end in (tie.source, tie.target)}
    return out


def _links(view: View, ids: Sequence[str]) -> Iterable[Link]:
    for start in range(0, len(ids), PAGE):
        yield from view.links(ids[start : start + PAGE])


def _tie(link: Link) -> Tie:
    return (link.source, link.relation, link.target)


def _moment(moment: datetime) -> str:
    return moment.isoformat()


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return _moment(value)
    return dict(value) if isinstance(value, Mapping) else value


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
