"""Taking records out of weights: train anew without them from where they were not in yet, or dampen what they set.

Dampening is quick and keeps to a budget, and a membership test says how much can still be told; training anew from a
snapshot that never saw the records leaves nothing of them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from slowwave.errors import InputError, NotFoundError
from slowwave.promote.weights.adapter import Adapter
from slowwave.promote.weights.gate import asked, judged, watched
from slowwave.promote.weights.general import General
from slowwave.promote.weights.lessons import Lesson, lessons
from slowwave.promote.weights.night import Trained, keep, night, plan_of
from slowwave.promote.weights.selection import Selection
from slowwave.promote.weights.snapshots import Snapshot, Snapshots
from slowwave.promote.weights.student import Student, tensors_of
from slowwave.promote.weights.training import batch_of
from slowwave.records import Engram
from slowwave.weights.batch import IGNORED, Batch, join
from slowwave.weights.lessons import answers
from slowwave.weights.objective import NextToken
from slowwave.weights.ssd import ALPHAS, dampen, importance, membership, put
from slowwave.weights.vectors import still, trainable, values

Progress = Callable[[str, int, int], None]
STAYS = 48  # examples of what is to stay by which importances are compared


def adapter_of(snapshot: Snapshot, model: Any = None) -> Adapter:
    """The Adapter that a snapshot was made with.

    model   the base model where it was given as an object
    raises  InputError where that is needed
    """
    given = dict(snapshot.parameters)
    if model is None and given["model"] is None:
        raise InputError(
            f"the model of {snapshot.id} was given as an object, so it cannot be loaded again; use unlearning.retrain "
            "or dampened with model="
        )
    return Adapter(**{**given, "model": given["model"] if model is None else model})


def retrain(
    snapshots: Snapshots, folder: Path, engrams: Sequence[Engram], gone: Collection[str], progress: Progress,
    model: Any = None,
) -> Trained | None:  # fmt: skip
    """Teach what the active snapshot holds again without some records, from its nearest ancestor that held none.

    engrams  the records that are to stay and still hold
    gone     ids of those that are to go
    returns  what came of it; None where no snapshot is active or it holds none of them
    """
    active = snapshots.active
    if active is None or set(gone).isdisjoint(active.records):
        return None
    adapter = adapter_of(active, model)
    start = _clean(snapshots, active, gone)
    before = set() if start is None else set(start.records)
    taught = set(active.records) - set(gone)
    new = tuple(one for one in engrams if one.id in taught - before)
    old = tuple(one for one in engrams if one.id in taught & before)
    if not new:
        snapshots.activate(None if start is None else start.id, force=True)
        return Trained(plan_of(Selection((), old, {})), start, True, ("nothing else was taught since; went back",))
    note = f"trained anew without {len(set(gone) & set(active.records))} records"
    return night(plan_of(Selection(new, old, {})), adapter, snapshots, folder, progress, start, note)


def _clean(snapshots: Snapshots, one: Snapshot, gone: Collection[str]) -> Snapshot | None:
    """The nearest of a snapshot and its ancestors that never held any of these records; None for the bare model."""
    now: Snapshot | None = one
    while now is not None and not set(gone).isdisjoint(now.records):
        try:
            now = None if now.parent is None else snapshots.get(now.parent)
        except NotFoundError:  # it was removed: the bare model, then
            now = None
    return now


def dampened(
    snapshots: Snapshots, folder: Path, engrams: Sequence[Engram], gone: Sequence[Engram], progress: Progress,
    model: Any = None,
) -> Snapshot | None:  # fmt: skip
    """Shrink the trained weights that matter far more to some records than to all else (SSD, Foster et al. 2024).

    engrams  the records that are to stay
    gone     those that are to go; their words are needed, so this comes before an erasure
    returns  the snapshot without them, with `membership` before and after among its metrics: how well the loss tells
             what was taught from the same with wrong values; 0.5 is not at all. It is accepted if some weights were
             dampened, none of the records is held any more and the rest is within the bounds of the Adapter. None
             where the active one holds none
    """
    active = snapshots.active
    ids = {one.id for one in gone}
    if active is None or ids.isdisjoint(active.records):
        return None
    adapter = adapter_of(active, model)
    student = Student(adapter)
    general, protected = watched(student.subject, adapter, folder, student.fingerprint)
    path = snapshots.path(active.id)
    if adapter.kind == "stacked":  # its factors as one adapter, so that they can be dampened
        rank = min(next(iter(tensors_of(path).values())).shape)
        student.adapter = adapter = _as_lora(adapter, rank)
    student.prepare(active, path)
    out, _ = lessons([one for one in gone if one.id in active.records])
    stay, _ = lessons([one for one in engrams if one.id in active.records and one.id not in ids])
    if not out:
        raise InputError("no lesson can be made of what is to go, so it cannot be told what it set; retrain instead")
    goes, stays = batch_of(out, student), _stays(stay, general, student)
    wrong = _wrong(out, student)
    metrics = {"membership before": membership(student.model, NextToken(), goes, wrong)}
    found = _ladder(student, out, goes, stays, wrong, adapter.budget, progress)
    metrics |= found | {"membership after": membership(student.model, NextToken(), goes, wrong)}
    facts = asked(student.subject, (*out, *stay), adapter.seed, progress)
    left = {id_: answer for id_, answer in facts.items() if id_ not in ids}
    verdict = judged(left, (), protected.measure(student.subject), adapter.held if left else 0.0, adapter.budget)
    still_held = sum(answer.held for id_, answer in facts.items() if id_ in ids)
    reasons = (
        "" if found["share dampened"] else "no weight could be dampened within the budget",
        f"{still_held} of them are still held" if still_held else "", verdict.reason,
    )  # fmt: skip
    reason = "; ".join(part for part in reasons if part)
    data = tuple(tuple(id_ for id_ in taught if id_ not in ids) for taught in active.data)
    clean = _clean(snapshots, active, ids)
    made = replace(
        active, parent=None if clean is None else clean.id, data=data, accepted=not reason, reason=reason,
        metrics={**verdict.metrics, **metrics}, facts=verdict.facts, forgotten=(), steps=0, marks={},
        note=f"{active.id} dampened: {len(ids & set(active.records))} records",
    )  # fmt: skip
    made = keep(made, student, snapshots, as_kind=active.kind)
    if made.accepted:
        snapshots.activate(made.id)
    return made


def _as_lora(adapter: Adapter, rank: int) -> Adapter:
    given = {**adapter.parameters(), "model": adapter.model, "method": "lora", "rank": rank, "alpha": float(rank)}
    return Adapter(**given)


def _stays(stay: Sequence[Lesson], general: General, student: Student) -> Batch:
    rows = general.rows[: STAYS // 2]
    parts = [Batch(rows, rows, torch.zeros(len(rows), dtype=torch.int64))]
    if stay:
        taught = batch_of(stay, student)
        chosen = torch.linspace(0, len(taught) - 1, min(len(taught), STAYS // 2)).long()
        parts.append(taught.take(chosen))
    whole = join(parts)
    return Batch(whole.x, torch.where(whole.x < 0, IGNORED, whole.y), whole.task)


def _wrong(out: Sequence[Lesson], student: Student) -> Batch:
    """The same sentences with values that were never taught there."""
    from slowwave.cloze.statements import furnish

    pairs = []
    for one, ready in zip(out, furnish([one.statement for one in out], 4, 0, student.adapter.seed), strict=True):
        pairs += [(before, f" {wrong}.") for before, _ in one.pairs for wrong in ready.foils[:4]]
    return answers(pairs, student.subject.encode)


def _ladder(
    student: Student, out: Sequence[Lesson], goes: Batch, stays: Batch, wrong: Batch, budget: float, progress: Progress
) -> dict[str, float]:
    """Down the ladder of alphas until some weights were dampened, none of what is to go is held and its loss no longer
    tells it from the same with wrong values; as long as what stays keeps to the budget.
    """
    model, aim = student.model, NextToken()
    theirs, both = importance(model, aim, goes), importance(model, aim, join([goes, stays]))
    before, start = values(trainable(model)), _loss(student, stays)
    best = (0.0, 0.0, before)
    for place, alpha in enumerate(ALPHAS):
        progress("dampen", place + 1, len(ALPHAS))
        put(model, before)
        share = dampen(model, theirs, both, alpha, 1.0)
        if _loss(student, stays) > start * (1 + max(budget, 0.01)):
            break
        best = (alpha, share, values(trainable(model)))
        told = membership(model, aim, goes, wrong) > 0.5
        if share and not told and not any(answer.held for answer in asked(student.subject, out).values()):
            break
    put(model, best[2])
    return {"alpha": best[0], "share dampened": best[1]}


def _loss(student: Student, batch: Batch) -> float:
    aim = NextToken()
    with still(student.model), torch.no_grad():
        return float(aim.losses(aim.logits(student.model, batch), batch).mean())
