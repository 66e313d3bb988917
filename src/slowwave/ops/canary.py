"""A slice of a memory, copied into a store of its own: changes are tried there first, measured, and taken out again.

    with Canary(view, ids, system, embedder, now) as canary:
        canary.add(new_records)                     # what came since
        done = canary.apply(changes, index)         # as the store would apply them, refusals and all
        hits = system.search(canary.view, cue, embedder)
        canary.take_back(done)                      # the state hash is the earlier one again

The slice is what it is given, with what that was made from; so it costs what it holds, and never the whole store. What
is true of the slice need not be true of the whole: that is what monitoring is for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from types import TracebackType
from typing import Protocol

from slowwave.models.base import Embedder
from slowwave.ops.ledger import state_hash, state_of
from slowwave.ops.provenance import dependents
from slowwave.ops.undo import reverse
from slowwave.records import Change, Engram, Link
from slowwave.store import open_store
from slowwave.store.base import Index, Operation, View
from slowwave.store.ids import new_id

BATCH = 512


class Indexer(Protocol):
    """What a copy needs of a text system: the index entries of records."""

    def index(
        self, engrams: Sequence[Engram], contents: Sequence[bytes], embedder: Embedder | None
    ) -> dict[str, Index]: ...


class Canary:
    """A copy of some records of a view.

    ids     records to copy; those they were made from come with them
    system  makes the words and times of their index entries; vectors are copied
    """

    def __init__(
        self, view: View, ids: Iterable[str], system: Indexer, embedder: Embedder | None, now: datetime
    ) -> None:
        self.origin = view
        self.system = system
        self.now = now
        self._store = open_store(":memory:", vector_dtype="float32", ann_from=None)
        if embedder is not None:
            self._store.set_model(embedder.name, embedder.dim)
        self.view: View = self._store.view(view.scope)
        self._held: set[str] = set()
        self.add(ids)

    def __len__(self) -> int:
        return len(self._held)

    def hash(self) -> str:
        """The state hash of the slice."""
        return state_hash(state_of(self.view))

    def add(self, ids: Iterable[str]) -> str | None:
        """Copy further records, with what they were made from and the ties among all that is here; the operation."""
        numbers = self.origin.numbers(_with_sources(self.origin, [id_ for id_ in ids if id_ not in self._held]))
        ns = sorted(n for id_, n in numbers.items() if id_ not in self._held)
        kept = [pair for run in _runs(ns) for pair in self.origin.kept(run[0] - 1, len(run)) if pair[0] in set(run)]
        vectors = self.origin.vectors(ns)
        changes: list[Change] = []
        index: dict[str, Index] = {}
        for start in range(0, len(kept), BATCH):
            part = kept[start : start + BATCH]
            made = self.system.index([k.engram for _, k in part], [k.content for _, k in part], None)
            index |= {k.engram.id: replace(made[k.engram.id], vector=vectors.get(n)) for n, k in part}
        changes += [Change("add", k.engram.id, "copied", engram=k.engram) for _, k in kept]
        self._held |= {k.engram.id for _, k in kept}
        changes += [_tied(link) for link in self.origin.links([k.engram.id for _, k in kept]) if self._has(link)]
        return self._do("import", changes, index)

    def apply(self, changes: Sequence[Change], index: Mapping[str, Index]) -> str | None:
        """Apply changes as the store would; the operation, None if nothing changed."""
        return self._do("sleep", changes, index)

    def take_back(self, op: str | None) -> None:
        """Undo an operation of this copy; None is one that changed nothing."""
        if op is None:
            return
        entries = self.view.journal(op=op, limit=1_000_000)
        added = [entry.engram for entry in entries if entry.after.get("added")]
        self._held -= set(added)
        changes = reverse(entries, dependents(self.view, added), self.now)
        operation = Operation(new_id(), "undo", self.view.scope, self.now, undoes=op, strict=True)
        self._store.apply(operation, changes, {})

    def close(self) -> None:
        """Let it go."""
        self._store.close()

    def __enter__(self) -> Canary:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _has(self, link: Link) -> bool:
        return link.source in self._held and link.target in self._held and link.source != link.target

    def _do(self, verb: str, changes: Sequence[Change], index: Mapping[str, Index]) -> str | None:
        if not changes:
            return None
        return self._store.apply(Operation(new_id(), verb, self.view.scope, self.now), changes, index).op


def around(view: View, ids: Iterable[str]) -> set[str]:
    """These records, those tied to them, and those made from them: what a change of them may reach."""
    near = set(ids)
    near |= {end for tie in view.links(sorted(near)) for end in (tie.source, tie.target)}
    return near | {made for many in view.derived(sorted(near)).values() for made in many}


def _with_sources(view: View, ids: Sequence[str]) -> list[str]:
    known: dict[str, None] = {}
    edge = list(ids)
    while edge:
        known |= dict.fromkeys(edge)
        edge = [source for engram in view.get(edge).values() for source in engram.sources if source not in known]
        edge = list(dict.fromkeys(edge))
    return list(known)


def _runs(ns: Sequence[int]) -> list[list[int]]:
    """Ascending numbers as runs of neighbours, so that each is read at once."""
    out: list[list[int]] = []
    for n in ns:
        if out and n == out[-1][-1] + 1:
            out[-1].append(n)
        else:
            out.append([n])
    return out


def _tied(link: Link) -> Change:
    return Change("link", link.source, "copied", links=(link,))
