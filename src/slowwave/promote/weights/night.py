"""A night that trains: choose, teach, judge, keep. What is under way is kept aside; only a judged snapshot is seen."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slowwave.errors import InputError
from slowwave.models.llm import LLM
from slowwave.promote.weights.adapter import Adapter
from slowwave.promote.weights.lessons import Lesson, lessons
from slowwave.promote.weights.selection import Selection, select
from slowwave.promote.weights.snapshots import Snapshot, Snapshots, check_parent
from slowwave.records import Rejected, Scope
from slowwave.store.base import View

if TYPE_CHECKING:
    from slowwave.promote.weights.student import Student
    from slowwave.weights.base import Method

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Plan:
    """What a night would teach.

    new, old  lessons of records not taught yet, and of those of earlier nights that still hold
    left      reason -> how many records stay out for it
    rejected  what a language model proposed as a lesson and does not fit
    looked    at how many records
    """

    new: tuple[Lesson, ...]
    old: tuple[Lesson, ...]
    left: Mapping[str, int]
    rejected: tuple[Rejected, ...] = ()
    looked: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        taught = [{"id": one.id, "taught": list(one.taught), "asked": list(one.asked)} for one in self.new]
        return {
            "lessons": taught, "rehearsed": [one.id for one in self.old], "left out": dict(self.left),
            "looked at": self.looked,
        }  # fmt: skip


@dataclass(frozen=True)
class Trained:
    """What came of a night.

    snapshot  what was made; None where there was nothing to teach, or nothing was to be done yet (a dry run)
    active    whether it is in use from now on
    """

    plan: Plan
    snapshot: Snapshot | None = None
    active: bool = False
    notes: tuple[str, ...] = field(default=())

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        made = None if self.snapshot is None else self.snapshot.to_dict()
        return {**self.plan.to_dict(), "snapshot": made, "active": self.active, "notes": list(self.notes)}


def place_of(adapter: Adapter, beside: Path | None) -> Path:
    """The folder of the snapshots.

    beside  the one beside the memory's file, if it has one
    """
    folder = adapter.folder or beside
    if folder is None:
        raise InputError(
            "a memory in RAM or on a server has no place for snapshots beside it; give Adapter(folder=...)"
        )
    return folder


def planned(view: View, adapter: Adapter, snapshots: Snapshots, now: datetime, llm: LLM | None = None) -> Plan:
    """What a night would teach, without a model being loaded."""
    parent = snapshots.active
    chosen = select(view, adapter, now, () if parent is None else parent.records)
    return plan_of(chosen, llm)


def plan_of(chosen: Selection, llm: LLM | None = None) -> Plan:
    """Records as lessons."""
    rejected: list[Rejected] = []
    new, none = lessons(chosen.new, llm, rejected)
    old, _ = lessons(chosen.old, llm, rejected)
    left = dict(chosen.left)
    if none:
        left["no lesson can be made of it"] = len(none)
    return Plan(tuple(new), tuple(old), left, tuple(rejected), chosen.looked)


def night(
    plan: Plan, adapter: Adapter, snapshots: Snapshots, folder: Path, progress: Progress,
    parent: Snapshot | None = None, note: str = "", now: datetime | None = None,
) -> Trained:  # fmt: skip
    """Teach what was planned, judge it, and keep it; it becomes active if it is accepted.

    parent  go on from this one; None from the bare model
    raises  InputError, ModelError, ... before anything is kept
    """
    from slowwave.promote.weights.gate import asked, judged, watched
    from slowwave.promote.weights.student import Student
    from slowwave.promote.weights.training import guards_of, train

    guards_of(adapter)
    begun = time.perf_counter()
    snapshots.sweep()
    progress("load the model", 0, 1)
    student = Student(adapter)
    progress("load the model", 1, 1)
    check_parent(parent, student.fingerprint, adapter.kind)
    general, protected = watched(student.subject, adapter, folder, student.fingerprint)
    before = None if parent is None else snapshots.path(parent.id)
    methods = student.prepare(parent, before)
    nights = 0 if parent is None else len(parent.data)
    done, guards = train(student, methods, plan.new, plan.old, general, nights, snapshots.night, before, progress)
    facts = asked(student.subject, (*plan.new, *plan.old), adapter.seed, progress)
    progress("watch what was there", 0, 1)
    lost = protected.measure(student.subject)
    progress("watch what was there", 1, 1)
    verdict = judged(facts, [one.id for one in plan.new], lost, adapter.held, adapter.budget)
    was = {} if parent is None else dict(parent.facts)
    made = keep(
        Snapshot(
            "", None if parent is None else parent.id, snapshots.scope.to_dict(), student.subject.name,
            student.fingerprint, adapter.kind, adapter.method, adapter.parameters(),
            (*(() if parent is None else parent.data), tuple(one.id for one in plan.new)), "", verdict.accepted,
            verdict.reason, verdict.metrics, verdict.facts,
            tuple(id_ for id_, held in was.items() if held and verdict.facts.get(id_) is False),
            (now or datetime.now(UTC)).isoformat(timespec="seconds"), round(time.perf_counter() - begun, 1), done.steps,
            note=note, marks={} if parent is None else parent.marks,
        ), student, snapshots, guards,
    )  # fmt: skip
    if made.accepted:
        snapshots.activate(made.id)
    shutil.rmtree(snapshots.night, ignore_errors=True)
    notes = (f"a night that was killed went on from step {done.resumed} of {done.steps}",) if done.resumed else ()
    return Trained(plan, made, made.accepted, notes)


def keep(
    made: Snapshot, student: Student, snapshots: Snapshots, guards: Sequence[Method] = (), as_kind: str = ""
) -> Snapshot:
    """Write a snapshot, whole or not at all; id, hash, files and versions are filled in.

    as_kind  of the files, where the student was trained as another
    """
    from slowwave.promote.weights.training import keep_guards

    aside = snapshots.begin()
    try:
        hash_ = student.write(aside, as_kind)
        keep_guards(guards, aside)
        libraries = {name: version(name) for name in ("slowwave", "torch", "transformers", "peft")}
        return snapshots.finish(aside, replace(made, id=snapshots.next_id(hash_), hash=hash_, versions=libraries))
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def load(
    folder: str | Path, model: Any = None, snapshot: str | None = None, scope: Scope | None = None
) -> tuple[Any, Any]:
    """(model, tokenizer) of transformers with the active snapshot in it; a PeftModel where that is a low-rank one.

    folder    of the snapshots: "ana.db.adapters", or the memory's file itself
    model     the base: a path, a name or (model, tokenizer), which is changed in place; None takes the one trained from
    snapshot  another one than the active; None and nothing active gives the bare model
    scope     whose; it may be left out where the folder holds the snapshots of one scope alone

    raises    NotFoundError, and InputError where the model is not the one that was trained
    """
    from slowwave.promote.weights.student import Student, with_snapshot

    lines = lines_of(folder, scope)
    chosen = lines.get(snapshot) if snapshot is not None else lines.active
    known = chosen or next(iter(lines.list()), None)
    base = model if model is not None else known.parameters["model"] if known is not None else None
    if base is None:
        raise InputError("nothing was trained here yet, or from a model given as an object; give the model")
    student: Student = Student(Adapter(base))
    if chosen is None:
        return student.model, student.subject.tokenizer
    check_parent(chosen, student.fingerprint, chosen.kind)
    return with_snapshot(student.model, chosen, lines.path(chosen.id)), student.subject.tokenizer


def lines_of(folder: str | Path, scope: Scope | None = None) -> Snapshots:
    """The snapshots of a scope in a folder, or of the only one there."""
    from slowwave.errors import NotFoundError
    from slowwave.promote.weights.snapshots import SUFFIX, lines

    place = Path(folder).expanduser()
    if place.is_file():
        place = Path(f"{place}{SUFFIX}")
    if scope is not None:
        return Snapshots(place, scope)
    found = list(lines(place))
    if len(found) != 1:
        some = "; ".join(str(line.scope) for line in found) or "none"
        raise NotFoundError(f"{place} holds the snapshots of {len(found)} scopes ({some}); name one with scope=")
    return found[0]
