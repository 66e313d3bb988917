"""DMM Gov: another system's nights, governed. What came in is let in by batches, tried on a slice first, watched after.

    new batches -> thresholds -> canary slice -> whole regression set -> rollout -> next night: monitoring -> rollback

A batch after which known questions are answered worse is turned down whole: its records are archived, nothing is made
of them, and the inner system dreams again as if they had not come.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

from slowwave.errors import InputError
from slowwave.models.base import Embedder, Vectors
from slowwave.ops.governance import KEPT_DECISIONS, Decision, admitted, batches_of, parted
from slowwave.ops.lifecycle import move
from slowwave.ops.packing import Context
from slowwave.ops.provenance import dependents
from slowwave.ops.regression import NO_GROUND, Check, Mark, Marks, draw, drawn, not_worse
from slowwave.ops.rollout import Rollout
from slowwave.ops.screen import without
from slowwave.ops.undo import reverse
from slowwave.records import Change, Engram, Hit, Hits
from slowwave.store.base import Cursor, Index, View, Want
from slowwave.text.base import Cue, Dream, Night, TextSystem
from slowwave.text.plain import unread

MOST_NAMED = 5000  # records that were turned down, of which the cursor keeps the ids


class DmmGov(TextSystem):
    """A text system whose nights must pass thresholds, a canary slice and a regression set, and are watched afterwards.

    inner         the system that is governed, by name or as it is
    checks        questions with gold answers that must not be answered worse; see `slowwave.ops.regression.Check`
    drawn_checks  checks taken from well-supported facts of the store, where no checks are given
    least_sources sessions that a fact is said in before it becomes one
    stages        shares of the checks at which a batch is tried, one after another; the first is the canary slice
    alpha         the largest corrected p at which worse answers to given checks speak against a batch; 1 lets nothing
                  get worse, on balance
    drawn_alpha   the same for drawn checks, which the memory itself answered, rightly or not
    watch_alpha   the same for taking a night back on the next one, since more than that night may be the cause
    future_days   how far ahead a record may be dated
    usual         the share of drawn checks that a batch is first taken to overturn rightly; learnt from those let in
    most_batches  batches of one night; where more came, neighbours are taken together
    top_k         hits that an answer may use
    """

    name = "dmm-gov"
    paper = "Memory in Large Language Models: Mechanisms, Evaluation and Evolution (Zhang et al., 2025)"
    operations = ("updating", "forgetting", "indexing")
    asks = ("sleep", "reading")
    claim = (
        "A framework without results: admission, staged rollout, monitoring, rollback and audit for any memory change."
    )
    differs = (
        "The governance loop; the evaluation in three settings is in the proof. Thresholds, which the paper leaves to "
        "the operator, have defaults. A batch is what came in one session, import or day, and is turned down whole. A "
        "rollout is staged over copies of growing slices, within one night. What is turned down is archived, not "
        "deleted. Deletion reaches what was derived through forget and erase; trained adapters come with promotion."
    )
    proof = "proofs/dmm_gov.py"

    def __init__(
        self,
        inner: str | TextSystem = "default",
        checks: Sequence[Check] = (),
        drawn_checks: int = 40,
        least_sources: int = 2,
        stages: Sequence[float] = (0.25, 1.0),
        alpha: float = 1.0,
        drawn_alpha: float = 0.01,
        watch_alpha: float = 0.1,
        future_days: float = 1.0,
        usual: float = 0.2,
        most_batches: int = 50,
        top_k: int = 10,
    ) -> None:
        from slowwave.text import resolve_system  # which knows this class

        self.inner = inner
        self.system = resolve_system(inner)
        if isinstance(self.system, DmmGov):
            raise InputError("inner is dmm-gov itself; give the system that it is to govern")
        if not stages or any(not 0 < share <= 1 for share in stages) or list(stages) != sorted(stages):
            raise InputError(f"stages is {list(stages)}; give shares above 0 up to 1, in ascending order")
        if len({check.name for check in checks}) != len(checks):
            raise InputError("two of the checks have the same name; give them different questions or dates")
        self.checks = tuple(checks)
        self.drawn_checks = drawn_checks
        self.least_sources = least_sources
        self.stages = tuple(stages)
        self.alpha = alpha
        self.drawn_alpha = drawn_alpha
        self.watch_alpha = watch_alpha
        self.future_days = future_days
        self.usual = usual
        self.most_batches = most_batches
        self.top_k = top_k

    # -- what the inner system does as well

    def index(
        self, engrams: Sequence[Engram], contents: Sequence[bytes], embedder: Embedder | None
    ) -> dict[str, Index]:
        return self.system.index(engrams, contents, embedder)

    def embed(self, engrams: Sequence[Engram], embedder: Embedder) -> Vectors:
        return self.system.embed(engrams, embedder)

    def search(self, view: View, cue: Cue, embedder: Embedder | None) -> Hits:
        hits = self.system.search(self._seen(view), cue, embedder)
        sources = view.get(list({id_ for hit in hits for id_ in hit.engram.sources}))
        cited = [hit for hit in hits if _is_cited(hit.engram, sources)]
        told = {"uncited": len(hits) - len(cited), "refused": not cited}
        told["outdated"] = sum(hit.engram.until is not None for hit in cited)
        return Hits(cited, {**hits.trace, "governance": told})

    def context(
        self, view: View, cue: Cue, embedder: Embedder | None, max_tokens: int, count_tokens: Callable[[str], int]
    ) -> Context:
        if type(self.system).context is TextSystem.context:
            return super().context(view, cue, embedder, max_tokens, count_tokens)
        return self.system.context(self._seen(view), cue, embedder, max_tokens, count_tokens)

    def _seen(self, view: View) -> View:
        """The view as the inner system knows it: with the cursor that it left."""
        return without(view, (), {self.system.name: _inner(view.cursor(self.name))})

    # -- the night

    def sleep(self, night: Night) -> Dream:
        news = unread(night, lambda engram: not engram.sources)
        came = [news[n] for n in sorted(news)]
        checks = self._checks(night)
        rollout = self._rollout(night, came)
        marks = rollout.marks(checks)
        rolled_back = self._monitored(night, marks)
        if rolled_back is not None:
            return rolled_back
        arrived = dict(batches_of(came, self.most_batches))
        turned_down: list[Decision] = []
        while True:
            left = {name: many for name, many in arrived.items() if name not in {d.batch for d in turned_down}}
            hidden = [engram.id for name, many in arrived.items() if name not in left for engram in many]
            view = without(night.view, hidden, {self.system.name: _inner(night.since)})
            dream = self.system.sleep(replace(night, view=view, since=_inner(night.since)))
            kept, refused = admitted(dream.changes, view.get, night.now, self.future_days)
            bad = rollout.first_bad(checks, parted(kept, left), dream.index) if checks else None
            night.progress("try", len(rollout.passed) + len(turned_down), len(arrived))
            if bad is None:
                break
            turned_down.append(bad)  # and dream again, as if it had not come
        for decision in turned_down:
            reason = f"batch {decision.batch} was turned down at {decision.stage:.0%} of the checks: {decision.reason}"
            kept += [move(engram, "archived", night.now, reason) for engram in arrived[decision.batch]]
        decisions = [*rollout.passed.values(), *turned_down, *(_refused(night, *pair) for pair in refused)]
        notes = [*dream.notes, *(f"{d.batch}: {d.verdict}: {d.reason}" for d in decisions if d.verdict != "admitted")]
        state = self._state(night, kept, rollout, marks, decisions, hidden)
        return Dream(
            tuple(kept),
            dream.index,
            Cursor(dream.cursor.last, {**state, "inner": dream.cursor.state}),
            tuple(notes),
            dream.rejected,
        )

    def _rollout(self, night: Night, came: Sequence[Engram]) -> Rollout:
        """The trials of this night, over the memory without what came since the last."""
        inner = {self.system.name: _inner(night.since)}

        def ask(view: View, check: Check, k: int) -> Sequence[Hit]:
            threshold = 0.0 if check.gold else None  # on what is not known, the threshold is what is tried
            cue = Cue(check.question, check.at or night.now, Want(at=check.at), k, threshold)
            return self.system.search(without(view, (), inner), cue, night.embedder)

        overturned, asked = night.since.state.get("overturned", (0, 0))
        alpha = self.alpha if self.checks else self.drawn_alpha
        before = without(night.view, [engram.id for engram in came])
        return Rollout(
            before, night.view, self.system, night.embedder, night.now, ask,
            self.top_k, self.stages, alpha, self.usual, overturned, asked,
        )  # fmt: skip

    def _checks(self, night: Night) -> list[Check]:
        """What is asked this night: what the user gave and applies now, else what was drawn from the store."""
        if self.checks:
            return [check for check in self.checks if check.applies(night.now)]
        facts = night.view.get(list(night.since.state.get("drawn", ())))
        return [check for fact in facts.values() if (check := drawn(fact)) is not None]

    def _monitored(self, night: Night, marks: Marks) -> Dream | None:
        """The last night taken back, where the checks that were asked before it are now answered worse; else None."""
        state = night.since.state
        before = {name: Mark(*values) for name, values in state.get("marks", {}).items() if name in marks}
        ruling = not_worse(before, {name: marks[name] for name in before}, self.watch_alpha)
        op = None if ruling.holds else _operation(night.view, self.name, str(state.get("night", "")))
        if op is None:
            return None
        entries = night.view.journal(op=op, limit=1_000_000)
        kept_out = set(state["turned_down"])
        entries = [entry for entry in entries if entry.engram not in kept_out]
        added = [entry.engram for entry in entries if entry.after.get("added")]
        changes = reverse(entries, dependents(night.view, added), night.now)
        told = Decision(night.now.isoformat(), op, "rolled back", f"after it: {ruling.reason}", 0, len(changes), 1.0)
        decisions = [*state.get("decisions", ()), told.to_dict()][-KEPT_DECISIONS:]
        cursor = Cursor(night.since.last, {**state, "decisions": decisions, "marks": {}})
        return Dream(tuple(changes), {}, cursor, (f"rolled back {op}: {ruling.reason}; what is new waits a night",))

    def _state(
        self,
        night: Night,
        changes: Sequence[Change],
        rollout: Rollout,
        marks: Marks,
        decisions: Sequence[Decision],
        turned_down: Sequence[str],
    ) -> dict[str, Any]:
        """What the next night needs: what was decided, how the checks stood before this one, which facts are checks."""
        before = night.since.state
        if not changes and not decisions:  # a night that does nothing is not what the next one watches
            return {name: value for name, value in before.items() if name != "inner"}
        return {
            "night": night.now.isoformat(),
            "marks": {name: [getattr(mark, f.name) for f in fields(Mark)] for name, mark in marks.items()},
            "decisions": [*before.get("decisions", ()), *(d.to_dict() for d in decisions)][-KEPT_DECISIONS:],
            "turned_down": [*before.get("turned_down", ()), *turned_down][-MOST_NAMED:],
            "overturned": [rollout.overturned, rollout.drawn],
            "drawn": []
            if self.checks
            else draw(night.view, changes, before.get("drawn", ()), self.least_sources, self.drawn_checks),
        }


def _inner(cursor: Cursor) -> Cursor:
    """The inner system's own cursor."""
    return Cursor(cursor.last, cursor.state.get("inner", {}))


def _operation(view: View, system: str, night: str) -> str | None:
    """The operation of a night of this system, if it is there and was not undone."""
    rows = view.operations(200, "sleep")
    mine = (row for row in rows if row["system"] == system and row["recorded"] == night and row["undone_by"] is None)
    return next((str(row["op"]) for row in mine), None)


def _is_cited(engram: Engram, sources: Mapping[str, Engram]) -> bool:
    """Whether a record rests on something that is in view or was merged into what is; what was said rests on itself."""
    gone = [id_ for id_ in engram.sources if id_ in sources and sources[id_].retired_why in NO_GROUND]
    return not engram.sources or len(gone) < len(engram.sources)


def _refused(night: Night, change: Change, reason: str) -> Decision:
    return Decision(night.now.isoformat(), change.id, "refused", reason, 0, 1)
