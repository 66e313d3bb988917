"""Sleeping: the system dreams Changes under a lease, the store applies them in one transaction; and the way back."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from slowwave.errors import ConflictError, NotFoundError, StoreError
from slowwave.models.llm import LLM
from slowwave.ops import review
from slowwave.ops.arguments import Moment
from slowwave.ops.intake import check_text
from slowwave.ops.provenance import dependents
from slowwave.ops.replies import StoredReplies
from slowwave.ops.undo import last_done, reverse
from slowwave.records import Call, Change, Report
from slowwave.store.base import View, Want
from slowwave.store.clock import parse_moment
from slowwave.store.filters import parse
from slowwave.store.holding import Holding
from slowwave.text.base import Dream, Night

if TYPE_CHECKING:
    from slowwave.memory import Memory

Progress = Callable[[str, int, int], None]


def night(memory: Memory, view: View, since: Moment, progress: Progress, leave: Sequence[str] | None = None) -> Report:
    """Dream and write it down, as the only sleeper on these records."""
    start, now, unwanted = time.perf_counter(), memory._now(), review.names_of("leave", leave or ())
    with Holding(memory.store, view.scope, "sleep") as held:
        dreamt, llm = dream(memory, view, now, since, held.watching(progress))
        calls = tuple(llm.take_calls()) if llm else ()
        changes, left = review.without(review.keyed(dreamt.changes), unwanted)
        operation = memory._operation(
            "sleep",
            view.scope,
            now,
            {"half_life_days": memory.half_life_days},
            cursor=dreamt.cursor,
            model=llm.name if llm else "",
            calls=calls,
            rejected=(*dreamt.rejected, *review.set_aside(left, llm.name if llm else "")),
            lease=held.lease,
        )
        progress("write", 0, len(changes))
        applied = memory.store.apply(operation, changes, dreamt.index)
        held.written()
    notes = [
        *dreamt.notes,
        *_in_vain(calls, dreamt.notes),
        *_left_out(unwanted, left, len(dreamt.changes)),
        *(f"set aside: {change.verb} {change.id}: {why}" for change, why in applied.refused),
    ]
    progress("write", len(changes), len(changes))
    try:
        done = memory.store.build_ann(view.scope, partial(progress, "ann"))
    except StoreError as error:  # the night is written; what is derived can be made at any time
        done = f"not made: {error}"
    notes += [f"approximate index: {done}"] if done else []
    return Report(applied.changes, applied.op, time.perf_counter() - start, notes=notes)


def rehearsal(
    memory: Memory, view: View, since: Moment, progress: Progress, leave: Sequence[str] | None = None
) -> Report:
    """What a night would change, written nowhere."""
    start, unwanted = time.perf_counter(), review.names_of("leave", leave or ())
    dreamt, llm = dream(memory, view, memory._now(), since, progress)
    changes, left = review.without(review.keyed(dreamt.changes), unwanted)
    notes = [*dreamt.notes, *_in_vain(llm.take_calls() if llm else (), dreamt.notes)]
    notes += _left_out(unwanted, left, len(dreamt.changes))
    return Report(changes, None, time.perf_counter() - start, notes=notes)


def dream(memory: Memory, view: View, now: datetime, since: Moment, progress: Progress) -> tuple[Dream, LLM | None]:
    """What a night would change, and the model that it asked, with its calls."""
    memory._uses.flush()
    memory._check_model()
    cursor = view.cursor(memory.system.name)
    if since is not None:
        where = parse({"recorded": {"gte": parse_moment(since, memory.zone, "since")}})
        again = view.numbers([engram.id for engram in view.select(Want(where=where, retired=True))])
        cursor = replace(cursor, last=min([cursor.last, *(n - 1 for n in again.values())]))
    llm = memory.llm.session(StoredReplies(memory.store.replies(view.scope))) if memory.llm else None
    params = {"half_life_days": memory.half_life_days}
    return memory.system.sleep(Night(view, cursor, now, memory.embedder, progress, params, llm)), llm


def _in_vain(calls: Sequence[Call], told: Sequence[str]) -> list[str]:
    """What to say of prompts of which nothing could be made, unless the notes have told it."""
    problems = [call.problem for call in calls if call.problem]
    if not problems or any(problems[0] in note for note in told):
        return []
    return [f"of {len(calls)} prompts to the model {len(problems)} came to nothing, the first: {problems[0]}"]


def _left_out(unwanted: frozenset[str], left: Sequence[Change], proposed: int) -> list[str]:
    if not unwanted:
        return []
    absent = len(unwanted - {change.key for change in left})
    told = f"{len(left)} of {proposed} changes were left out"
    return [f"{told}; {absent} of those to leave out were not proposed again" if absent else told]


def take_back(memory: Memory, view: View, op: str | None, only: Sequence[str] | None = None) -> Report:
    """Reverse one operation, or the last one, as an operation of its own; or what it did to some records."""
    if op is None:
        row = last_done(view)
    else:
        check_text(op, "op")
        rows = view.operations(1, op=op)
        if not rows:
            raise NotFoundError(f"no operation {op!r:.60} in {view.scope}; see: slowwave log")
        row = rows[0]
    op = str(row["op"])
    if row["undone_by"] is not None:
        raise ConflictError(f"{op} was undone by {row['undone_by']} already; undo that one to have it back")
    entries = view.journal(op=op, limit=1_000_000)
    if only is not None:
        entries = review.chosen(entries, review.names_of("only", only))
    done = review.taken_back(view, op)
    if entries and all(review.named(entry) in done for entry in entries):
        by = done[review.named(entries[0])]
        raise ConflictError(f"that was taken back by {by} already; undo that one to have it back")
    entries = [entry for entry in entries if review.named(entry) not in done]
    added = [entry.engram for entry in entries if entry.after.get("added")]
    now = memory._now()
    changes = reverse(entries, dependents(view, added), now)
    params = {"op": op} if only is None else {"op": op, "part": True}
    operation = memory._operation("undo", view.scope, now, params, undoes=op if only is None else None, strict=True)
    applied = memory.store.apply(operation, changes, {})
    return Report(applied.changes, applied.op)
