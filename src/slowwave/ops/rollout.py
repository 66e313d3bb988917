"""A staged rollout: batches of changes tried one after another on growing slices of a memory, and ruled on at each.

The first slice is the canary: the records that bear on a share of the checks, and those that the batches touch. A batch
that does not pass there is taken out of the copy again and never reaches the next.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime

from slowwave.models.base import Embedder
from slowwave.ops.canary import Canary, Indexer, around
from slowwave.ops.governance import Batch, Decision
from slowwave.ops.ledger import touched
from slowwave.ops.regression import Check, Mark, Ruling, measure, not_worse, share_of
from slowwave.records import Change, Hit
from slowwave.store.base import Index, View

Ask = Callable[[View, Check, int], Sequence[Hit]]
NEAR = 30  # records that a slice begins with, a check: those that compete for its answer
FEWEST = 8  # drawn checks from which their being overturned says something
BELIEVED = 20  # checks that the usual share of overturned ones weighs as much as


@dataclass
class Rollout:
    """One night's trials.

    view     the memory without what is on trial; slices are cut from it
    whole    the memory with it, from which new records are copied
    ask      (view, check, k) -> the hits that answer a check
    stages   shares of the checks, ascending
    alpha    see `not_worse`
    usual    share of drawn checks that a batch overturns rightly, before any is known
    overturned, drawn  drawn checks that earlier batches overturned, and how many there were
    passed   decisions on the batches that went through all stages
    """

    view: View
    whole: View
    system: Indexer
    embedder: Embedder | None
    now: datetime
    ask: Ask
    top_k: int
    stages: Sequence[float]
    alpha: float
    usual: float
    overturned: int = 0
    drawn: int = 0
    passed: dict[str, Decision] = field(default_factory=dict)

    def marks(self, checks: Sequence[Check], view: View | None = None) -> dict[str, Mark]:
        """How the checks are answered in the memory as it was, or in a copy."""
        seen = view or self.view
        return measure(checks, lambda check: self.ask(seen, check, self.top_k), seen.get)

    def slice(self, checks: Sequence[Check], parts: Sequence[Batch]) -> Canary:
        """A copy of what bears on some checks and of what the batches touch."""
        near = {hit.id for check in checks for hit in self.ask(self.view, check, NEAR)}
        near |= {check.fact for check in checks if check.fact}
        reached = touched(change for part in parts for change in part.changes)
        held = set(self.view.numbers(sorted(near | reached)))
        return Canary(self.whole, sorted(around(self.view, held)), self.system, self.embedder, self.now)

    def first_bad(self, checks: Sequence[Check], parts: Sequence[Batch], index: Mapping[str, Index]) -> Decision | None:
        """The decision on the first batch that does not pass; None where all do."""
        asked = [share_of(checks, share) for share in self.stages]
        with ExitStack() as stack:
            slices = [stack.enter_context(self.slice(some, parts)) for some in asked]
            before: list[dict[str, Mark] | None] = [None] * len(slices)
            for part in parts:
                tried = bool(part.name) and part.name not in self.passed
                ruling, seen = Ruling(True, ""), (0, 0)
                for place, (share, some, copy) in enumerate(zip(self.stages, asked, slices, strict=True)):
                    was = before[place]
                    if tried and was is None:
                        was = self.marks(some, copy.view)
                    came, done = copy.add(part.records), copy.apply(part.changes, index)
                    before[place] = None
                    if not tried or was is None:
                        continue  # it rests on nothing new, or passed before a later one made the night dream again
                    after = self.marks(some, copy.view)
                    ruling, seen = self._ruled(some, part.changes, was, after)
                    if not ruling.holds:
                        copy.take_back(done)
                        copy.take_back(came)
                        return self._decided(part, "turned down", ruling.reason, share)
                    before[place] = after
                if tried:
                    self.passed[part.name] = self._decided(part, "admitted", ruling.reason, self.stages[-1])
                    self.overturned, self.drawn = self.overturned + seen[0], self.drawn + seen[1]
        return None

    def _ruled(
        self, checks: Sequence[Check], changes: Sequence[Change], before: Mapping[str, Mark], after: Mapping[str, Mark]
    ) -> tuple[Ruling, tuple[int, int]]:
        """The ruling on a batch, and (drawn checks whose fact it ends, drawn checks)."""
        ended = {change.id for change in changes if change.fields.get("until") or change.fields.get("retired")}
        facts = [check for check in checks if check.fact]
        gone = {check.name for check in facts if check.fact in ended}
        kept = {name: mark for name, mark in before.items() if name not in gone}
        rate = (self.overturned + BELIEVED * self.usual) / (self.drawn + BELIEVED)
        counted = len(gone) if len(facts) >= FEWEST else 0
        ruling = not_worse(kept, {name: after[name] for name in kept}, self.alpha, counted, rate)
        return ruling, (len(gone), len(facts))

    def _decided(self, part: Batch, verdict: str, reason: str, stage: float) -> Decision:
        night = self.now.isoformat()
        return Decision(night, part.name, verdict, reason, len(part.records), len(part.changes), stage)
