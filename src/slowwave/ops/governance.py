"""How changes of a memory are let in: the batches they came in, thresholds, decisions, and the audit of all of it.

    arrive in batches -> thresholds -> canary slice -> whole regression set -> rollout -> monitoring -> rollback

What is decided stands in the system's cursor; what was done stands in the journal, which replays (`ledger.py`).

Source: DMM Gov (Zhang et al. 2025, arXiv 2509.18868): admission threshold, staged rollout, monitoring, rollback, change
audit. The numbers are left to the operator there; here they are parameters with a default.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from slowwave.ops.ledger import Ledger, state_hash
from slowwave.ops.lifecycle import status_of
from slowwave.records import Change, Engram
from slowwave.store.base import View

KEPT_DECISIONS = 200  # the latest, in the cursor


@dataclass(frozen=True, slots=True)
class Batch:
    """What came in together: the new records, and the changes that rest on them."""

    name: str
    records: tuple[str, ...]
    changes: tuple[Change, ...] = ()


def batches_of(news: Sequence[Engram], most: int = 50) -> list[tuple[str, list[Engram]]]:
    """New records by the batch they came in, in order: `attrs["batch"]`, else the session, else the day.

    most  batches; where there are more, neighbours are taken together
    """
    found: dict[str, list[Engram]] = {}
    for engram in news:
        name = str(engram.attrs.get("batch") or engram.session or f"{engram.recorded:%Y-%m-%d}")
        found.setdefault(name, []).append(engram)
    items = list(found.items())
    size = -(-len(items) // most) if items else 1
    parts = [items[start : start + size] for start in range(0, len(items), size)]
    return [(_named([name for name, _ in part]), [e for _, many in part for e in many]) for part in parts]


def parted(changes: Sequence[Change], arrived: Mapping[str, Sequence[Engram]]) -> list[Batch]:
    """Changes by the batch that they rest on: the last one, where they rest on several; "" where on none, first."""
    order = {"": 0} | {name: place for place, name in enumerate(arrived, 1)}
    of = {engram.id: name for name, many in arrived.items() for engram in many}
    split: dict[str, list[Change]] = {name: [] for name in order}
    for change in changes:
        ends = [end for tie in change.links for end in (tie.source, tie.target)]
        name = max(
            (of[id_] for id_ in [*change.sources, *ends, change.id] if id_ in of), key=order.__getitem__, default=""
        )
        split[name].append(change)
        if change.engram is not None:
            of.setdefault(change.id, name)
    records = {name: tuple(engram.id for engram in many) for name, many in arrived.items()}
    return [Batch(name, records.get(name, ()), tuple(split[name])) for name in order if name or split[""]]


def admitted(
    changes: Sequence[Change], known: Callable[[Sequence[str]], Mapping[str, Engram]], now: datetime, future_days: float
) -> tuple[list[Change], list[tuple[Change, str]]]:
    """(changes that pass the thresholds, those that do not with the reason); what rests on a refused one is refused.

    known        reads records by id
    future_days  how far ahead of `now` a record may be dated
    """
    made = {change.id: change.engram for change in changes if change.engram is not None}
    named = {id_ for change in changes for id_ in (*change.sources, change.id) if id_ not in made}
    records = {**known(sorted(named)), **made}
    refused: dict[str, str] = {}
    kept: list[Change] = []
    out: list[tuple[Change, str]] = []
    for change in changes:
        reason = next((f"rests on {id_}: {refused[id_]}" for id_ in (*change.sources, change.id) if id_ in refused), "")
        reason = reason or _inadmissible(change, records, now + timedelta(days=future_days))
        if not reason:
            kept.append(change)
            continue
        out.append((change, reason))
        if change.engram is not None:
            refused[change.id] = reason
    return kept, out


def _inadmissible(change: Change, records: Mapping[str, Engram], latest: datetime) -> str:
    """Why a change may not be made at all; "" if it may."""
    if change.engram is not None and not change.engram.sources:
        return "it adds a record without a source"
    gone = [id_ for id_ in change.sources if id_ not in records]
    if gone:
        return f"its source {gone[0]} is not in view"
    ahead = [id_ for id_ in (*change.sources, change.id) if id_ in records and records[id_].at > latest]
    if ahead:
        return f"{ahead[0]} is dated {records[ahead[0]].at:%Y-%m-%d}, which is to come"
    for tie in change.links:
        new, old = records.get(tie.source), records.get(tie.target)
        ends = tie.relation == "supersedes" and change.id == tie.target and change.fields.get("until") is not None
        if ends and new is not None and old is not None and new.at < old.at:
            return f"what replaces it was said on {new.at:%Y-%m-%d}, before it"
    return ""


def _named(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"


@dataclass(frozen=True, slots=True)
class Decision:
    """One line of what was decided: an admission, a refusal at some stage, a rollback.

    night    the night's moment, as ISO 8601, by which its operation is found in the journal
    verdict  admitted, turned down, refused (single changes, by a threshold) or rolled back
    stage    share of the checks at which it was decided; 0 where none was asked
    """

    night: str
    batch: str
    verdict: str
    reason: str
    records: int = 0
    changes: int = 0
    stage: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {name: getattr(self, name) for name in self.__slots__}


def audit(view: View, system: str, most: int = 50) -> dict[str, Any]:
    """What was let in, turned down and rolled back, and whether the ledger accounts for all that is there.

    most     operations that are shown, the latest
    returns  plain JSON values: `decisions` as they were taken; `operations` with the state hash after each, and what
             undid it; `turned_down`, the records that were kept out; `hash` of the state now; `faults` of the replay,
             empty where the journal brings about exactly what the store holds. It reads the whole scope
    """
    ledger = Ledger.read(view)
    hashes = ledger.hashes(most)
    rows = [
        {
            "op": past.operation.id,
            "verb": past.operation.verb,
            "system": past.operation.system,
            "recorded": past.operation.recorded.isoformat(),
            "changes": len(past.entries),
            "undone_by": past.undone_by,
            "hash": hashes[past.operation.id],
        }
        for past in ledger.operations[-most:]
    ]
    decisions = list(view.cursor(system).state.get("decisions", ()))
    held = [id_ for id_ in view.cursor(system).state.get("turned_down", ()) if id_ in ledger.now.records]
    return {
        "scope": view.scope.to_dict(),
        "decisions": decisions,
        "operations": rows,
        "turned_down": [id_ for id_ in held if status_of(ledger.now.records[id_]) == "archived"],
        "hash": state_hash(ledger.now),
        "faults": ledger.faults(),
    }
