"""What a memory is worth by what came of using it: weights that follow utility, alarms, copies in the abstract.

    utilities = [reward - what the task brings without it, ...]       # one a use
    weight = reweighed(weight, utilities, share_of_uses)
    if failing(recent): ...                                           # it has turned bad: demote
    if proven(recent): text, slots = abstracted(memory)               # stable: promote, and spread a copy

Source: SEDM (2025, arXiv 2509.09498): w + alpha * mean utility - beta * use frequency. Differs: as printed, frequent
use is punished even where every use is a success; by default only the share of uses that failed is charged.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal

from slowwave.errors import InputError
from slowwave.ops.admission import sign_flip
from slowwave.ops.dates import find_times
from slowwave.ops.names import TITLES, names

RECENT = 8  # utilities that are kept to see a change by
FEWEST = 4  # utilities below which nothing is concluded
LEVEL = 0.1  # one-sided p from which uses speak for or against a memory
_ASIDE = datetime(2000, 1, 1, tzinfo=UTC)  # dates are looked for, not resolved
_PLAIN: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("address", re.compile(r"https?://\S+[\w/]|[\w.+-]+@[\w-]+\.[\w.]*\w")),
    ("path", re.compile(r"(?<!\w)(?:[A-Za-z]:)?[/\\~](?:[\w.-]+[/\\])+[\w.-]*\w")),
    ("amount", re.compile(r"[$€£]\s?\d[\d.,]*\w*|\d[\d.,]*\s?(?:%|percent|dollars|euros|pounds)\b")),
)
_NUMBER = re.compile(r"(?<![\w.])\d+(?:[.,:]\d+)*(?!\w)")
_PLACE = re.compile(r"\b(?:in|at|from|near|to|into|around|outside)\s+(?:the\s+)?$", re.I)
_FIRM = re.compile(r"\b(?:Inc|Ltd|LLC|Corp|Corporation|Company|Bank|University|Institute|Agency|GmbH|Co)\.?$")


@dataclass(frozen=True, slots=True)
class Tally:
    """How the uses of one memory went.

    uses    in all
    wins    uses with a utility of at least 0
    total   sum of all utilities
    recent  the last utilities, oldest first
    """

    uses: int = 0
    wins: int = 0
    total: float = 0.0
    recent: tuple[float, ...] = ()

    @property
    def mean(self) -> float:
        """Mean utility of a use; 0 if there was none."""
        return self.total / self.uses if self.uses else 0.0

    @property
    def success_rate(self) -> float:
        """Share of uses that did no worse than without; 1 if there was none."""
        return self.wins / self.uses if self.uses else 1.0

    def after(self, utilities: Sequence[float]) -> Tally:
        """The tally with more uses."""
        return Tally(
            self.uses + len(utilities),
            self.wins + sum(u >= 0 for u in utilities),
            self.total + sum(utilities),
            (*self.recent, *utilities)[-RECENT:],
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        recent = [round(u, 4) for u in self.recent]
        return {"uses": self.uses, "wins": self.wins, "total": round(self.total, 4), "recent": recent}

    @staticmethod
    def from_dict(given: Mapping[str, Any]) -> Tally:
        """The tally that `to_dict` wrote; an empty one where it is not there."""
        return Tally(
            int(given.get("uses", 0)),
            int(given.get("wins", 0)),
            float(given.get("total", 0.0)),
            tuple(float(u) for u in given.get("recent", ())),
        )


@dataclass(frozen=True, slots=True)
class Abstracted:
    """A text with its entities replaced by typed slots: slot -> what stood there."""

    text: str
    slots: Mapping[str, str] = field(default_factory=dict)


def reweighed(
    weight: float,
    utilities: Sequence[float],
    use_share: float,
    rule: Literal["success rate", "printed"] = "success rate",
    alpha: float = 0.5,
    beta: float = 0.1,
) -> float:
    """The weight after some uses, in [0, 1].

    utilities  of the uses since it was last weighed: reward minus what the task brings without the memory
    use_share  the share of all runs since then that used it, in [0, 1]
    rule       "printed": the paper's w + alpha * mean utility - beta * use share; "success rate": beta is charged on
               the uses that failed alone, so that a memory which always helps never loses by being asked for
    """
    if not 0 <= use_share <= 1:
        raise InputError(f"use_share is {use_share}; it must lie in [0, 1]")
    if not utilities:
        return min(1.0, max(0.0, weight))
    failed = sum(u < 0 for u in utilities) / len(utilities)
    charge = use_share * (1.0 if rule == "printed" else failed)
    return min(1.0, max(0.0, weight + alpha * sum(utilities) / len(utilities) - beta * charge))


def failing(recent: Sequence[float], level: float = LEVEL, fewest: int = FEWEST) -> bool:
    """Whether the last uses say that the memory now does harm: rewards dropped again and again, beyond chance."""
    return len(recent) >= fewest and sum(recent) < 0 and sign_flip([-u for u in recent]) <= level


def proven(recent: Sequence[float], level: float = LEVEL, fewest: int = RECENT) -> bool:
    """Whether the last uses say that the memory reliably helps."""
    return len(recent) >= fewest and sum(recent) > 0 and sign_flip(list(recent)) <= level


def abstracted(text: str) -> Abstracted:
    """The text with names, places, dates, numbers, amounts, addresses and paths replaced by typed slots.

    One entity gets one slot wherever it stands: "Ask Ben. Ben knows." -> "Ask [person 1]. [person 1] knows."
    """
    spans: list[tuple[int, int, str]] = []

    def take(start: int, end: int, kind: str) -> None:
        if all(end <= a or start >= b for a, b, _ in spans):
            spans.append((start, end, kind))

    for kind, pattern in _PLAIN:
        for match in pattern.finditer(text):
            take(*match.span(), kind)
    for span in find_times(text, _ASIDE):
        for match in re.finditer(re.escape(span.text), text):
            take(*match.span(), "date")
    for name in sorted(names(text), key=len, reverse=True):
        for match in re.finditer(rf"(?<!\w){re.escape(name)}(?!\w)", text):
            take(*match.span(), _kind_of(name, text[: match.start()], text[match.end() :]))
    for match in _NUMBER.finditer(text):
        take(*match.span(), "number")
    return _filled(text, sorted(spans))


def _filled(text: str, spans: Sequence[tuple[int, int, str]]) -> Abstracted:
    slots: dict[str, str] = {}
    many: Counter[str] = Counter()
    for start, end, kind in spans:  # the first place where an entity stands says what it is
        if text[start:end] not in slots:
            many[kind] += 1
            slots[text[start:end]] = f"[{kind} {many[kind]}]"
    out, last = [], 0
    for start, end, _ in spans:
        out += [text[last:start], slots[text[start:end]]]
        last = end
    return Abstracted("".join([*out, text[last:]]), {slot: entity for entity, slot in slots.items()})


def _kind_of(name: str, before: str, after: str) -> str:
    first = name.split()[0].strip(".").lower()
    if first in TITLES:
        return "person"
    if _FIRM.search(name):
        return "organisation"
    if _PLACE.search(before):
        return "place"
    return (
        "person"
        if re.match(r"'s\b|,|\s(?:says?|said|knows?|asks?|asked|is|was|has|lives?|works?)\b", after)
        else "name"
    )


def merged(tallies: Sequence[Tally]) -> Tally:
    """The tally of memories that have become one; of the last uses, those of the most used memory count."""
    most = max(tallies, key=lambda tally: tally.uses, default=Tally())
    return replace(
        most,
        uses=sum(t.uses for t in tallies),
        wins=sum(t.wins for t in tallies),
        total=sum(t.total for t in tallies),
    )
