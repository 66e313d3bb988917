"""Nights that train: after a night of text, what is worth it goes into weights; and what an erasure does about it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slowwave.errors import InputError, SlowwaveError
from slowwave.ops.arguments import Moment
from slowwave.ops.provenance import descendants
from slowwave.ops.replies import StoredReplies
from slowwave.promote.weights.adapter import Adapter, resolve_adapter
from slowwave.promote.weights.night import Trained, night, place_of, planned
from slowwave.promote.weights.snapshots import Snapshots, drop_night, folder_of, holding
from slowwave.records import Engram, Report, Scope
from slowwave.store.base import Erased, View, Want
from slowwave.store.holding import Holding
from slowwave.verbs import sleep, write

if TYPE_CHECKING:
    from slowwave.memory import Memory

Progress = sleep.Progress
VERB = "train"
HOWS = ("mark", "dampen", "retrain")


def trained(
    memory: Memory, view: View, into: Adapter | str | Path, dry_run: bool, since: Moment, progress: Progress,
    leave: Sequence[str] | None = None,
) -> Report:  # fmt: skip
    """Sleep, then teach; what came of it is in the report's `trained`."""
    adapter = resolve_adapter(into)
    folder = place_of(adapter, folder_of(str(memory.path)))
    snapshots = Snapshots(folder, view.scope)
    report = (sleep.rehearsal if dry_run else sleep.night)(memory, view, since, progress, leave)
    if dry_run:
        return _with(report, Trained(planned(view, adapter, snapshots, memory._now())))
    with Holding(memory.store, view.scope, VERB) as held:
        mark_changed(view, snapshots)
        llm = memory.llm.session(StoredReplies(memory.store.replies(view.scope))) if memory.llm else None
        plan = planned(view, adapter, snapshots, memory._now(), llm)
        done = Trained(plan)
        if plan.new:
            watched = held.watching(progress)
            done = night(plan, adapter, snapshots, folder, watched, snapshots.active, now=memory._now())
        calls = tuple(llm.take_calls()) if llm else ()
        memory.store.apply(
            memory._operation(
                VERB, view.scope, memory._now(), _told(done, folder), model=llm.name if llm else "", calls=calls,
                rejected=plan.rejected, lease=held.lease, noted=done.snapshot is not None,
            ), [], {},
        )  # fmt: skip
        held.written()
    return _with(report, done)


def _told(done: Trained, folder: Path) -> Mapping[str, Any]:
    """For the journal: ids of records are in the snapshot, not here."""
    made = done.snapshot
    if made is None:
        return {"folder": str(folder)}
    return {"folder": str(folder), "snapshot": made.id, "parent": made.parent, "method": made.method, "hash": made.hash,
            "accepted": made.accepted, "reason": made.reason}  # fmt: skip


def _with(report: Report, done: Trained) -> Report:
    return Report(list(report), report.op, report.seconds, report.counts, report.notes, done.to_dict())


def folders(memory: Memory, view: View) -> list[Path]:
    """Every folder in which snapshots of the scope may lie: the one beside the file, and those the journal names."""
    beside = folder_of(str(memory.path))
    named = [Path(row["params"]["folder"]) for row in view.operations(1000, verb=VERB) if "folder" in row["params"]]
    return [place for place in dict.fromkeys([*([beside] if beside else []), *named]) if place.is_dir()]


def mark_changed(view: View, snapshots: Snapshots) -> None:
    """Note on the snapshots what has been superseded, forgotten or erased since; what was undone is no longer noted."""
    records = sorted({id_ for one in snapshots.list() for id_ in one.records})
    if records:
        found = view.get(records)
        snapshots.mark({id_: _became(found.get(id_)) for id_ in records})


def _became(engram: Engram | None) -> str:
    if engram is None:
        return "erased"
    if engram.retired is not None:
        return "forgotten" if engram.retired_why == "forgotten" else "superseded"
    return "superseded" if engram.until is not None else ""


def anew(
    memory: Memory, view: View, snapshots: Snapshots, folder: Path, progress: Progress, model: Any = None
) -> Trained | None:
    """Train the active snapshot anew without records that have changed since; None where none has."""
    from slowwave.promote.weights.unlearning import retrain

    with Holding(memory.store, view.scope, VERB) as held:
        mark_changed(view, snapshots)
        active = snapshots.active
        if active is None or not active.marks:
            return None
        engrams = [one for one in view.get(list(active.records)).values() if one.id not in active.marks]
        done = retrain(snapshots, folder, engrams, set(active.marks), held.watching(progress), model)
        told = {} if done is None else _told(done, folder)
        memory.store.apply(
            memory._operation(VERB, view.scope, memory._now(), told, lease=held.lease, noted=True), [], {}
        )
        held.written()
        return done


def erase(
    memory: Memory, scope: Scope, ids: Sequence[str], how: str, progress: Progress
) -> tuple[Erased, tuple[str, ...], tuple[str, ...]]:
    """Erase records, and see to the weights that hold them.

    how      "mark", "dampen" or "retrain"
    returns  what went, the snapshots that hold it still, what was done about weights
    """
    if how not in HOWS:
        raise InputError(f"adapters is {how!r:.60}; it must be one of {', '.join(HOWS)}")
    view = memory.store.view(scope)
    places = folders(memory, view)
    for folder in places:  # one that cannot be read is told before anything is gone
        holding(folder, ids)
    done = taken_out(memory, places, descendants(view, ids), how, progress) if places and how == "dampen" else ()
    gone = write.erased(memory, scope, ids)
    if places and how == "retrain":
        done = taken_out(memory, places, gone.gone, how, progress)
    return gone, marked(places, {engram.id for engram in gone.gone}), done


def marked(places: Sequence[Path], gone: Collection[str]) -> tuple[str, ...]:
    """Mark the snapshots that hold erased records, and drop nights under way; the snapshots, as scope and id."""
    out = []
    for folder in places:
        drop_night(folder)
        for line, ids in holding(folder, gone):
            line.mark(dict.fromkeys(gone, "erased"))
            out += [f"{id_} of {line.scope}" for id_ in ids]
    return tuple(out)


def taken_out(
    memory: Memory, places: Sequence[Path], gone: Sequence[Engram], how: str, progress: Progress
) -> tuple[str, ...]:
    """Take records out of the active snapshots that hold them, and delete every snapshot that does.

    how      "dampen", before the records are erased, or "retrain", after
    returns  what was done, as sentences; a retraining that fails is told there, since the records are gone already
    """
    from slowwave.promote.weights.unlearning import dampened, retrain

    said = []
    ids = {one.id for one in gone}
    for folder in places:
        for line, holders in holding(folder, ids):
            own = memory.store.view(line.scope)
            engrams = [one for one in own.select(Want()) if one.id not in ids and one.until is None]
            made, failed = None, ""
            try:
                if how == "dampen":
                    made = dampened(line, folder, engrams, gone, progress)
                else:
                    done = retrain(line, folder, engrams, ids, progress)
                    made = None if done is None else done.snapshot
            except SlowwaveError as error:
                if how == "dampen":
                    raise
                failed = str(error)
            active = line.active
            if failed or (active is not None and active.id in holders):
                reason = failed or ("nothing came of it" if made is None else made.reason)
                said.append(f"{how}: refused: {reason}; {', '.join(holders)} hold it still")
                continue
            for id_ in holders:
                line.remove(id_)
            kept = "the bare model" if active is None else active.id
            said.append(f"{how}: {kept} is in use; deleted what held it: {', '.join(holders)}")
    return tuple(said)
