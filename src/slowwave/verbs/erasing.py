"""Erasing: what is meant is chosen, in view or not, held apart or not; then it goes, from weights too where asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from slowwave.ops import receipts
from slowwave.ops.provenance import chosen_ids
from slowwave.records import Receipt, Scope
from slowwave.store.filters import parse
from slowwave.verbs import quarantine, train

if TYPE_CHECKING:
    from slowwave.memory import Memory


class Chosen(NamedTuple):
    """What is to go: ids, or all that names a subject, or all of the scope; and filters, which may ask for nothing."""

    id: str | Iterable[str] | None
    subject: str | None
    all: bool
    filtered: bool
    filters: Mapping[str, Any] | None


def erase(
    memory: Memory, own: Scope, chosen: Chosen, adapters: str, progress: Callable[[str, int, int], None]
) -> Receipt:
    """Erase what is chosen, and say what went; see `Memory.erase`."""
    id, subject, all, filtered, filters = chosen
    view = memory.store.view(own)
    ids = list(id) if isinstance(id, Iterable) and not isinstance(id, str) else id
    held = quarantine.doomed(view, [ids] if isinstance(ids, str) else ids, subject, all)
    left = [one for one in ids if one not in held] if isinstance(ids, list) else ids
    found: Sequence[str] = []
    if not held or (left and left not in held) or subject is not None or all:
        found = chosen_ids(view, left, parse(filters, memory.zone), filtered, subject, all, retired=True)
    memory._uses.clear()
    erased, holding, done = train.erase(memory, own, [*found, *held], adapters, progress)
    return receipts.make(memory._now(), own, erased, memory.store, holding, done)
