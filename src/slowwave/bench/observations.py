"""How well the facts that a night drew match the observations that LoCoMo ships, turn by turn, by rule.

The observations were written by a large model for the data set, and each names the turn that it was seen in. A fact
counts as much as its words overlap (token F1, on stems) with the observation of one of its turns that is nearest to it,
and the other way round; so a fact from a turn without any counts nothing, and neither does what nobody drew. It is a
measure of likeness: the observations are not all there is to know, so nothing would reach 1.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from slowwave.bench.metrics import overlap

Said = tuple[str, frozenset[str]]  # a statement, and the turns that it is from


def observations(file: Path, sessions: int | None = None) -> list[Said]:
    """What was observed in the first so many sessions (None: all) of one conversation."""
    told = json.loads(file.read_text(encoding="utf-8"))["observation"]
    out = []
    for key in sorted(told, key=_number):
        if sessions is not None and _number(key) > sessions:
            continue
        for statements in told[key].values():
            for statement, where in statements:
                ids = re.findall(r"D\d+:\d+", " ".join(where) if isinstance(where, list) else where)
                if ids:
                    out.append((statement, frozenset(ids)))
    return out


def extraction(facts: Sequence[Said], gold: Sequence[Said]) -> Mapping[str, float]:
    """Precision, recall and F1 of facts against observations, and the share of the observed turns that have a fact."""
    precision = _likeness(facts, gold)
    recall = _likeness(gold, facts)
    seen = {turn for _, turns in gold for turn in turns}
    drawn = {turn for _, turns in facts for turn in turns}
    return {
        "facts": len(facts),
        "observations": len(gold),
        "precision": round(precision, 4),
        "recall": round(recall, 4),
        "f1": round(2 * precision * recall / (precision + recall), 4) if precision + recall else 0.0,
        "turns": round(len(seen & drawn) / max(1, len(seen)), 4),
    }


def _likeness(these: Sequence[Said], those: Sequence[Said]) -> float:
    return sum(_nearest(text, turns, those) for text, turns in these) / max(1, len(these))


def _nearest(text: str, turns: frozenset[str], others: Iterable[Said]) -> float:
    return max((overlap(text, other) for other, of in others if turns & of), default=0.0)


def _number(key: str) -> int:
    found = re.match(r"session_(\d+)", key)
    return int(found[1]) if found else 0
