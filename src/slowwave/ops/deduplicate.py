"""Finds what is said again: near in meaning, and the same in every value. Nearness alone never decides.

HippoMM (Lin et al. 2025) keeps a frame if its cosine to all that is kept is below 0.9. For pictures that is safe; two
statements that differ in a colour alone reach 0.96. So the cosine only picks what is compared, and `ops/compare.py`
says whether the words agree. `by_cosine_alone` is the paper's rule, kept to be measured against.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from slowwave.ops.compare import compare
from slowwave.ops.dates import find_times
from slowwave.ops.made import Made
from slowwave.ops.words import tokens
from slowwave.records import Change, Engram, Link
from slowwave.store.base import View

Floats = NDArray[np.float32]

ALIKE = 0.9  # cosine from which two records are compared
BATCH = 256  # records compared with older ones at once
NEAREST = 5  # older records that each is compared with
_HAPPENED = re.compile(
    r"\b(?:was|were|went|did|had|got|came|saw|made|took|gave|found|met|bought|said|told|felt|left|ran|ate|\w{3,}ed)\b",
    re.I,
)


def says_again(old: Engram, new: Engram, cosine: float, alike: float = ALIKE) -> str:
    """Why the later record only repeats the earlier one, as a reason; "" if it does not, or that cannot be told.

    They must be near (`alike`), of one speaker and kind, agree in every value, and speak of the same occasion: "I ran
    yesterday", said on two days, is two runs.
    """
    if cosine < alike or old.speaker != new.speaker or old.kind != new.kind or old.until is not None:
        return ""
    if not same_occasion(old, new):
        return ""
    verdict = compare(old.text, new.text, cosine)
    if verdict.outcome == "restates":
        return verdict.reason
    same = [token.key for token in tokens(old.text)] == [token.key for token in tokens(new.text)]
    return "word for word the same" if same else ""  # small talk, which `compare` holds to state nothing


def same_occasion(old: Engram, new: Engram) -> bool:
    """Whether words that agree also speak of one thing: always within a sitting, else only where no time is told."""
    if old.session == new.session and old.at.date() == new.at.date():
        return True
    if _HAPPENED.search(old.text) and _HAPPENED.search(new.text):  # in both: "as I said" tells of no event
        return False
    return not find_times(new.text, new.at) and not find_times(old.text, old.at)


def drop_repeats(view: View, new: Mapping[int, Engram], made: Made, now: datetime, alike: float = ALIKE) -> set[str]:
    """Take out of view the records that only say again what an earlier one said; returns their ids.

    new  by row number, in the order of recording; each is compared with the nearest recorded before it
    """
    gone: set[str] = set()
    numbers = list(new)
    for start in range(0, len(numbers), BATCH):
        part = numbers[start : start + BATCH]
        near = view.nearest_older(part, NEAREST)
        older = view.engrams(sorted({m for pairs in near.values() for m, _ in pairs}))
        rows = view.vectors([*part, *older])
        for n in part:
            for m, _ in near.get(n, ()):
                old = older.get(m)
                if old is None or old.retired is not None or old.id in gone or m not in rows or n not in rows:
                    continue
                reason = says_again(old, new[n], float(rows[m] @ rows[n]), alike)
                if reason:
                    made.changes.append(_merged(old, new[n], reason, now))
                    gone.add(new[n].id)
                    break
    return gone


def by_cosine_alone(vectors: Floats, alike: float = ALIKE) -> dict[int, int]:
    """Place -> the kept place that it is near to: the paper's rule, which takes another value for a repeat."""
    held: list[int] = []
    out: dict[int, int] = {}
    for place in range(len(vectors)):
        cosines = vectors[held] @ vectors[place] if held else np.empty(0)
        if len(cosines) and cosines.max() >= alike:
            out[place] = held[int(np.argmax(cosines))]
        else:
            held.append(place)
    return out


def _merged(old: Engram, new: Engram, reason: str, now: datetime) -> Change:
    return Change(
        "merge",
        new.id,
        f"repeats {old.id}: {reason}",
        fields={"retired": now, "retired_why": "merged"},
        guard={"retired": None},
        links=(Link(new.id, "supports", old.id),),
        sources=(old.id, new.id),
    )
