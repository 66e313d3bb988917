"""Writing: items become engrams, are indexed by the system and kept; a correction takes an old record's place."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from slowwave.errors import InputError
from slowwave.ops.intake import check_attrs, to_engrams
from slowwave.ops.provenance import dependents, one
from slowwave.ops.revision import amended, check_revisable, corrected
from slowwave.ops.taking import fresh_of, known_of, outcomes_of, ties_of
from slowwave.promote.files import blocks, drop, folder_of, sources
from slowwave.records import Change, Engram, Item, Link, Outcome, Report, Scope
from slowwave.store.base import Applied, Erased, Operation, View
from slowwave.text.base import batches

if TYPE_CHECKING:
    from slowwave.memory import Memory

BATCH = 256  # records encoded and written in one transaction


def take_in(
    memory: Memory, items: Sequence[Item], scope: Scope, verb: str, progress: Callable[[str, int, int], None]
) -> Report:
    """Keep what is new of these items, a batch a transaction, then the ties between them."""
    start = time.perf_counter()
    now = memory._now()
    made = to_engrams(items, scope, memory.zone, now, memory.half_life_days)
    view = memory.store.view(scope)
    outcomes: list[Outcome] = []
    op: str | None = None
    for part in batches(made, BATCH):
        known = known_of(view, part)
        fresh = fresh_of(part, known)
        applied = None
        if fresh:
            changes = [Change("add", engram.id, "", engram=engram) for engram, _ in fresh]
            applied = _indexed(memory, memory._operation(verb, scope, now, {}), fresh, changes)
            op = applied.op or op
        outcomes += outcomes_of(part, known, applied)
        progress(verb, len(outcomes), len(made))
    ties = ties_of(items, outcomes)
    if ties:
        memory.store.apply(memory._operation("link", scope, memory._now(), {}), ties, {})
    return Report(outcomes, op, time.perf_counter() - start)


def correct(
    memory: Memory, view: View, id_: str, text: str | None, end: datetime | None, given: Mapping[str, Any], reason: str
) -> Report:
    """Change a record's attributes or its end; of another text, make a successor."""
    while True:
        old = one(view, id_)
        now = memory._now()
        attrs = {key: value for key, value in {**old.attrs, **given}.items() if value is not None}
        check_attrs(attrs)
        check_revisable(old, end)
        operation = memory._operation("update", view.scope, now, {})
        if text is not None and text != old.text:
            new, key, changes = corrected(old, text, attrs, end, now, reason)
            applied = _indexed(memory, replace(operation, strict=True), [(new, key)], changes)
            made = applied.added.get(new.id, new.id)
            return Report([Outcome(made, "UPDATE", text, f"takes the place of {id_}")], applied.op)
        change = amended(old, attrs if given else None, end, now, reason)
        applied = memory.store.apply(operation, [change], {})
        if not applied.refused:  # else somebody was first: look again, so that neither's keys are lost
            return Report([Outcome(id_, "UPDATE" if applied.changes else "NONE", old.text)], applied.op)


def tie(memory: Memory, view: View, link: Link) -> Report:
    """Tie two records by hand."""
    if link.source == link.target:
        raise InputError(f"{link.source} cannot be tied to itself")
    ends = (link.source, link.target)
    for id_ in ends:
        one(view, id_)
    change = Change("link", link.source, "tied by hand", links=(link,), sources=ends)
    applied = memory.store.apply(memory._operation("link", view.scope, memory._now(), {}), [change], {})
    return Report(applied.changes, applied.op)


def retire(memory: Memory, view: View, chosen: Sequence[str], reason: str) -> Report:
    """Take records out of view, with what was derived from them alone."""
    now = memory._now()
    changes = [
        Change(
            "forget",
            id_,
            reason or "forgotten by hand",
            fields={"retired": now, "retired_why": "forgotten"},
            guard={"retired": None},
            sources=(id_,),
        )
        for id_ in [*chosen, *dependents(view, chosen)]
    ]
    applied = memory.store.apply(memory._operation("forget", view.scope, now, {}), changes, {})
    return Report(applied.changes, applied.op)


def _indexed(
    memory: Memory, operation: Operation, fresh: Sequence[tuple[Engram, bytes]], changes: Sequence[Change]
) -> Applied:
    """Apply changes that add these engrams, each with its content's key."""
    memory._check_model()
    index = memory.system.index([engram for engram, _ in fresh], [key for _, key in fresh], memory.embedder)
    return memory.store.apply(operation, changes, index)


def erased(memory: Memory, scope: Scope, ids: Sequence[str]) -> Erased:
    """Records removed from the store, from what a model has said of them, and from the blocks a model attends to.

    Blocks of records that are no longer there go as well: what an erasure that was killed left behind.
    """
    done = memory.store.erase(scope, ids)
    gone = {engram.id for engram in done.gone}
    if memory.llm is not None:
        memory.llm.erase(sorted(gone))
    for keys in memory._key_values.values():
        keys.drop(gone)
    folder = folder_of(str(memory.path))
    if folder is not None:
        known: dict[str, bool] = {}
        for id in (id for path in blocks(folder) for id in sources(path)):
            known[id] = known[id] if id in known else memory.store.owner(id) is not None
        drop(folder, gone | {id for id, here in known.items() if not here})
    return done
