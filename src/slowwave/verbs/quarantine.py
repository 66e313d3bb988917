"""Quarantine: what looks written for a model to obey is kept apart, until somebody releases or drops it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from slowwave.errors import InputError, NotFoundError
from slowwave.ops.intake import to_engrams
from slowwave.ops.quarantine import from_values, reason_of, to_values
from slowwave.ops.taking import fresh_of, known_of, outcomes_of
from slowwave.records import Change, Item, Outcome, Report, Scope
from slowwave.store.base import Held, View
from slowwave.store.ids import new_id
from slowwave.verbs.write import take_in

if TYPE_CHECKING:
    from slowwave.memory import Memory

MOST = 1000  # that wait in one scope; what comes then is turned down


def sifted(
    memory: Memory, items: Sequence[Item], scope: Scope, verb: str, progress: Callable[[str, int, int], None]
) -> Report:
    """As `write.take_in`, but for what looks written for a model to obey."""
    reasons = [reason_of(item) for item in items]
    if not any(reasons):
        return take_in(memory, items, scope, verb, progress)
    apart = [(item, reason) for item, reason in zip(items, reasons, strict=True) if reason]
    to_engrams([item for item, _ in apart], scope, memory.zone, memory._now(), memory.half_life_days)  # it can be kept
    rest = [item for item, reason in zip(items, reasons, strict=True) if not reason]
    report = take_in(memory, rest, scope, verb, progress) if rest else Report([])
    aside = iter(hold(memory, scope, [item for item, _ in apart], [reason for _, reason in apart]))
    taken = iter(report)
    return Report([next(aside if reason else taken) for reason in reasons], report.op, report.seconds)


def hold(memory: Memory, scope: Scope, items: Sequence[Item], reasons: Sequence[str]) -> list[Outcome]:
    """Keep items apart, in one transaction; what waits already is not kept twice."""
    view, now = memory.store.view(scope), memory._now()
    waiting = {(one.scope, one.text): one.id for one in view.held(MOST + 1)}
    held: list[Held] = []
    out: list[Outcome] = []
    for item, reason in zip(items, reasons, strict=True):
        own = Scope(**{**scope.to_dict(), **item.scope})
        if (own, item.text) not in waiting:
            one = Held(new_id(), own, item.text, to_values(item), reason, now)
            waiting[own, item.text] = one.id
            held.append(one)
        out.append(Outcome(waiting[own, item.text], "HELD", item.text, reason))
    if len(waiting) > MOST:
        raise InputError(f"{MOST} texts wait in quarantine in {scope} already; review them first: slowwave held list")
    if held:
        memory.store.apply(memory._operation("hold", scope, now, {}, held=tuple(held)), [], {})
    return out


def release(memory: Memory, view: View, id_: str) -> Report:
    """What was kept apart becomes a record, as it was given; both in one transaction."""
    one = waiting(view, id_)
    now = memory._now()
    made = to_engrams([from_values(one.item)], one.scope, memory.zone, now, memory.half_life_days)
    known = known_of(view, made)
    fresh = fresh_of(made, known)
    changes = [Change("add", engram.id, f"released: {one.reason}", engram=engram) for engram, _ in fresh]
    memory._check_model()
    index = memory.system.index([engram for engram, _ in fresh], [key for _, key in fresh], memory.embedder)
    operation = memory._operation("release", view.scope, now, {"held": id_}, settled={id_: "released"})
    applied = memory.store.apply(operation, changes, index)
    return Report(outcomes_of(made, known, applied), applied.op)


def drop(memory: Memory, view: View, id_: str) -> Report:
    """What was kept apart goes; that it came, why it was held and who dropped it stays in the journal."""
    one = waiting(view, id_)
    operation = memory._operation("drop", view.scope, memory._now(), {"held": id_}, settled={id_: "dropped"})
    applied = memory.store.apply(operation, [], {})
    return Report([Outcome(id_, "DROP", one.text, one.reason)], applied.op)


def waiting(view: View, id_: str) -> Held:
    """What waits under this id; NotFoundError if nothing does."""
    found = view.held(1, [id_])
    if not found:
        raise NotFoundError(f"nothing is held under {id_!r:.60} in {view.scope}; see: slowwave held list")
    return found[0]


def doomed(view: View, ids: Sequence[str] | None, subject: str | None, all_: bool) -> list[str]:
    """What an erasure takes of what is or was held: by id, by a name that it mentions, or all of it."""
    if all_ or subject:
        found = view.held(1_000_000, decided=True)
        name = (subject or "").casefold()
        return [one.id for one in found if all_ or name in f"{one.text} {dict(one.item)}".casefold()]
    named = [id_ for id_ in ids if isinstance(id_, str)] if isinstance(ids, Sequence) else []
    return [one.id for one in view.held(len(named), named, decided=True)] if named else []
