"""What the journal tells: a record's history, the operations, the calls of models, what was set aside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from slowwave.errors import InputError, NotFoundError
from slowwave.ops.arguments import count_of
from slowwave.ops.provenance import one
from slowwave.store.base import Entry, Lines, View


def history(view: View, id_: str) -> Sequence[Entry]:
    """Every change to a record, its predecessors and successors, oldest first."""
    one(view, id_)
    chain, edge = {id_}, [id_]
    while edge:
        ends = {end for tie in view.links(edge, ("supersedes",)) for end in (tie.source, tie.target)}
        edge = [end for end in ends if end not in chain]
        chain.update(edge)
    return list(reversed(view.journal(sorted(chain))))


def log(view: View, op: str | None, limit: int, verb: str | None, rejected: bool, calls: bool) -> Sequence[Any]:
    """Operations, or the lines of one; or calls, or rejections, of all or of one."""
    most = count_of("limit", limit) if op is None else 1_000_000
    if rejected and calls:
        raise InputError("rejected and calls were both asked for; ask for one, then for the other")
    if op is None and not (rejected or calls):
        return view.operations(most, verb)
    asked, aside = view.calls(most, op), view.rejected(most, op)
    if op is None:
        return asked if calls else aside
    entries = view.journal(op=op, limit=most)
    if not entries and not view.operations(1, op=op):
        raise NotFoundError(f"no operation {op:.60} in {view.scope}; see: slowwave log")
    if calls or rejected:
        return asked if calls else aside
    return Lines(entries[::-1], [one.call for one in asked], [one.rejected for one in aside])
