"""Arriving: another system's data taken in with a report of what was found, or slowwave's own export put back whole.

What an import does to each item, by its origin (its name in the source) and its text:

    not here                       added
    here, with the same text       known; nothing changes, also where it was corrected or forgotten here since
    here, with another text        edited at the source: the new version supersedes the old one, which stays in history
    of another scope than named    left out, unless `rehome` says that the named scope is to be its own

Items go in by 256, each time in one transaction. After a kill, importing again does what is left.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slowwave.errors import InputError
from slowwave.formats import format_of
from slowwave.formats.audit import Audit
from slowwave.formats.base import Junk
from slowwave.ops.intake import to_engrams, to_items
from slowwave.ops.quarantine import reason_of
from slowwave.records import Change, Engram, Item, Link, Scope
from slowwave.store.base import View

if TYPE_CHECKING:
    from slowwave.memory import Memory, Progress

BATCH = 256
EDITED = "edited at the source"
OWN = "slowwave:"  # how the origin of a record begins that slowwave itself exported as Markdown


@dataclass(slots=True)
class Arrival:
    """What an import found and did. With `dry_run`, what it would do.

    added     new records
    known     items that were here already
    edited    items whose text is another than here: the new version has taken the old one's place
    restored  items that an undo had taken out of view, and that are in view again
    linked    ties that the source states
    conflicts ids of records that were changed here and in the source since they parted; they stay as they are here
    ops       the operations, for `undo`
    notes     what else is to be said
    audit     the items seen, what was left out and why, repeats and troubles with dates; see `Audit`
    """

    path: str
    format: str
    dry_run: bool = False
    added: int = 0
    known: int = 0
    edited: int = 0
    restored: int = 0
    linked: int = 0
    conflicts: list[str] = field(default_factory=list)
    ops: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    audit: dict[str, Any] = field(default_factory=dict)
    junk: int = 0
    seconds: float = 0.0
    text: str = ""  # the audit for people

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "path": self.path,
            "format": self.format,
            "dry_run": self.dry_run,
            "counts": {
                "added": self.added,
                "known": self.known,
                "edited": self.edited,
                "restored": self.restored,
                "linked": self.linked,
                "junk": self.junk,
                "conflicts": len(self.conflicts),
            },
            "conflicts": list(self.conflicts),
            "ops": list(self.ops),
            "notes": list(self.notes),
            "audit": self.audit,
            "seconds": round(self.seconds, 4),
        }

    def summary(self) -> str:
        """The same for people: what was found, then what was done."""
        would = "would be " if self.dry_run else ""
        done = {
            f"{would}added": self.added,
            "known already": self.known,
            f"edited at the source, {would or 'are '}superseded": self.edited,
            f"{would}in view again": self.restored,
            f"links {would}made": self.linked,
            "left out": self.junk,
            "changed here too, left as they are": len(self.conflicts),
        }
        lines = [f"{self.path} as {self.format}: {self.text}".rstrip(), ""]
        lines += [f"{count:>8}  {what}" for what, count in done.items() if count] or ["nothing to do"]
        return "\n".join([*lines, *self.notes])


def arrive(
    memory: Memory,
    path: Path,
    scope: Scope,
    format: str | None,
    dry_run: bool,
    progress: Progress,
    rehome: bool = False,
    trusted: bool = True,
) -> Arrival:
    """Take in what is at the path; the report says what was found and what became of it.

    scope   whose it becomes. An item that names more of a scope (a run, an agent) keeps that
    format  one of `slowwave.formats.FORMATS`; None looks at the data
    rehome  an item of another scope becomes this one's, instead of being left out
    trusted False keeps apart what looks written for a model to obey
    raises  FormatError where the path cannot be read in that format; for slowwave's own export also ScopeError where
            `scope` does not cover it, and then nothing is written
    """
    start = time.perf_counter()
    path = Path(path).expanduser()
    known = format_of(path, format)
    if known.name == "jsonl":
        from slowwave.formats.homecoming import come_home

        arrival = Arrival(str(path), known.name, dry_run)
        come_home(memory, path, scope, rehome, arrival, progress)
    else:
        intake = Intake(memory, scope, Arrival(str(path), known.name, dry_run), rehome, trusted)
        intake.run(known.read(path, memory.zone), progress)
        arrival = intake.arrival
    arrival.seconds = time.perf_counter() - start
    return arrival


@dataclass(frozen=True, slots=True)
class Plan:
    """What one batch comes to: changes in order, the content keys of what they add."""

    changes: list[Change]
    contents: dict[str, bytes]


class Intake:
    """One import of a foreign format, batch by batch."""

    def __init__(self, memory: Memory, scope: Scope, arrival: Arrival, rehome: bool, trusted: bool = True) -> None:
        self.memory = memory
        self.scope = scope
        self.arrival = arrival
        self.rehome = rehome
        self.trusted = trusted
        self.view: View = memory.store.view(scope)
        self.now: datetime = memory._now()
        self.audit = Audit(self.now)
        self._ties: list[tuple[str, str, str]] = []
        self._planned: set[tuple[Scope, bytes]] = set()  # in a dry run, what would be here by now

    def run(self, source: Iterable[Item | Junk], progress: Progress) -> None:
        """Take in everything; then tie what the source ties."""
        batch: list[Item] = []
        for item in self._usable(source):
            batch.append(item)
            if len(batch) == BATCH:
                self._take(batch)
                batch = []
                progress("import", self.audit.items, 0)
        if batch:
            self._take(batch)
        if not self.arrival.dry_run:
            self._tie(progress)
        arrival = self.arrival
        arrival.audit, arrival.text = self.audit.to_dict(), self.audit.summary()
        arrival.junk = self.audit.junk.total()
        progress("import", self.audit.items, self.audit.items)

    def _usable(self, source: Iterable[Item | Junk]) -> Iterator[Item]:
        """Items that can be kept; the others go into the audit with their reason."""
        for taken in source:
            item = self._checked(taken) if isinstance(taken, Item) else taken
            self.audit.see(item)
            if isinstance(item, Item):
                yield item

    def _checked(self, item: Item) -> Item | Junk:
        where = item.origin or item.session or "an item"
        own, named = dict(item.scope), self.scope.to_dict()
        foreign = [name for name, value in own.items() if named.get(name, value) != value]
        if foreign and not self.rehome:
            said = ", ".join(f"{name}={own[name]}" for name in foreign)
            return Junk(where, item.text, f"belongs to another scope ({said})")
        item = replace(item, scope={name: value for name, value in own.items() if name not in named})
        try:
            to_engrams(to_items([item], {}), self.scope, self.memory.zone, self.now, self.memory.half_life_days)
        except InputError as error:
            return Junk(where, item.text, f"cannot be kept: {error}")
        reason = "" if self.trusted else reason_of(item)
        if reason:
            if not self.arrival.dry_run:
                self.memory._hold(self.scope, [item], [reason])
            return Junk(where, item.text, f"is kept apart: {reason}")
        return item

    def _take(self, batch: Sequence[Item]) -> None:
        """One batch in one transaction."""
        memory, arrival = self.memory, self.arrival
        items = [replace(item, links=()) for item in batch]
        made = to_engrams(items, self.scope, memory.zone, self.now, memory.half_life_days)
        self._ties += [(item.origin, *link) for item in batch if item.origin for link in item.links]
        plan = self._plan(made)
        if arrival.dry_run or not plan.changes:
            return
        memory._check_model()
        fresh = [change.engram for change in plan.changes if change.engram is not None]
        index = memory.system.index(fresh, [plan.contents[engram.id] for engram in fresh], memory.embedder)
        params = {"path": Path(arrival.path).name, "format": arrival.format}
        applied = memory.store.apply(memory._operation("import", self.scope, self.now, params), plan.changes, index)
        arrival.ops += [applied.op] if applied.op else []
        arrival.conflicts += [change.id for change, _ in applied.refused]

    def _plan(self, made: Sequence[tuple[Engram, bytes]]) -> Plan:
        """What is new, what is known, what was edited; counted as it is decided."""
        arrival, plan = self.arrival, Plan([], {})
        held = self._held(made)
        current = self._current([engram for engram, _ in made])
        for engram, content in made:
            key, place = (engram.scope, content), (engram.scope, engram.origin or "")
            before = held.get(key)
            old = current.get(place) if engram.origin else None
            undone = before is not None and before.retired_why == "undone"
            if (before is not None and not undone) or key in self._planned or (old is not None and _same(old, engram)):
                arrival.known += 1
                continue
            if before is not None:
                plan.changes.append(_back(before, old))
                arrival.restored += 1
                engram = before
            else:
                plan.changes.append(_new(engram, old))
                plan.contents[engram.id] = content
                arrival.added += old is None
                arrival.edited += old is not None
            if old is not None:
                plan.changes.append(_replaced(old, engram, self.now))
            if arrival.dry_run:
                self._planned.add(key)
            current[place] = engram
        return plan

    def _held(self, made: Sequence[tuple[Engram, bytes]]) -> dict[tuple[Scope, bytes], Engram]:
        """What is here with the same content, in view or not."""
        held: dict[tuple[Scope, bytes], Engram] = {}
        for scope in {engram.scope for engram, _ in made}:
            contents = [content for engram, content in made if engram.scope == scope]
            held.update({(scope, key): found for key, found in self.view.find_content(scope, contents).items()})
        return held

    def _current(self, engrams: Sequence[Engram]) -> dict[tuple[Scope, str], Engram]:
        """The version in view of each origin, and the record itself where Markdown that we wrote comes back."""
        origins = [engram.origin for engram in engrams if engram.origin]
        found = self.view.find_origin(origins)
        current = {(version.scope, name): version for name, versions in found.items() for version in versions}
        own = self.view.get([name.removeprefix(OWN) for name in origins if name.startswith(OWN)])
        current.update({(engram.scope, OWN + engram.id): engram for engram in own.values()})
        return current

    def _tie(self, progress: Progress) -> None:
        """The links between items, which name each other by origin and may lie far apart in the source."""
        for start in range(0, len(self._ties), BATCH):
            part = self._ties[start : start + BATCH]
            found = self.view.find_origin(list({name for tie in part for name in (tie[0], tie[2])}))
            links = []
            for source, relation, target in part:
                ends = _ends(found.get(source, []), found.get(target, []))
                if ends is not None:
                    links.append(Link(ends[0].id, relation, ends[1].id))
            held = set(self.view.links([link.source for link in links]))
            fresh = [link for link in dict.fromkeys(links) if link not in held]
            changes = [Change("link", link.source, "stated by the source", links=(link,)) for link in fresh]
            if changes:
                operation = self.memory._operation("import", self.scope, self.now, {"format": self.arrival.format})
                applied = self.memory.store.apply(operation, changes, {})
                self.arrival.linked += len(applied.changes)
                self.arrival.ops += [applied.op] if applied.op else []
            progress("link", min(start + BATCH, len(self._ties)), len(self._ties))


def _same(old: Engram, new: Engram) -> bool:
    return old.text == new.text and old.kind == new.kind and old.speaker == new.speaker


def _new(engram: Engram, old: Engram | None) -> Change:
    """A record that was not here; where it replaces one, as `Memory.update` does it."""
    if old is None:
        return Change("add", engram.id, "", engram=engram)
    links = (Link(engram.id, "supersedes", old.id),)
    return Change("update", engram.id, EDITED, engram=engram, links=links, sources=(old.id,))


def _back(before: Engram, old: Engram | None) -> Change:
    """A record that an undo took out of view comes into view again."""
    fields, guard = {"retired": None, "retired_why": None}, {"retired_why": before.retired_why}
    links = () if old is None else (Link(before.id, "supersedes", old.id),)
    return Change("restore", before.id, "imported again", fields=fields, guard=guard, links=links, sources=(before.id,))


def _replaced(old: Engram, new: Engram, now: datetime) -> Change:
    fields = {"retired": now, "retired_why": "corrected"}
    return Change("retire", old.id, f"{EDITED}: {new.id}", fields=fields, guard={"retired": None}, sources=(old.id,))


def _ends(sources: Sequence[Engram], targets: Sequence[Engram]) -> tuple[Engram, Engram] | None:
    """The two ends of a tie: of one scope where that is possible, and never one record twice."""
    pairs = [(source, target) for source in sources for target in targets if source.id != target.id]
    pairs.sort(key=lambda pair: pair[0].scope != pair[1].scope)
    return pairs[0] if pairs else None
