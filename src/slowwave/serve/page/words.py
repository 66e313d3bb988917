"""How values are put into words for people: dates, scopes, sizes, verbs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from slowwave.records import Scope

MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
          "November", "December")  # fmt: skip
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
ID = re.compile(r"\b[0-9A-HJKMNP-TV-Z]{26}\b")
SAYS = re.compile(rf" \((?:says|from|see) {ID.pattern}\)")
VERBS = {
    "add": "written down",
    "support": "confirmed",
    "refine": "made more exact",
    "supersede": "no longer holds",
    "contradict": "contradicts",
    "merge": "folded away",
    "summarise": "summed up",
    "note": "noted",
    "link": "tied",
    "weaken": "fades",
    "update": "corrected",
    "retire": "out of view",
    "forget": "forgotten",
    "restore": "back in view",
    "undo": "taken back",
}
CHANNELS = {
    "dense": "meaning",
    "lexical": "words",
    "speaker": "who said it",
    "time": "when",
    "session": "same conversation",
    "around": "what stands beside it",
    "known": "a fact that is asked for",
    "alone": "stands by itself",
    "question": "asks rather than tells",
    "superseded": "holds no longer",
    "recent": "said of late",
    "gathered": "a summary of much",
}


def moment_of(value: Any) -> datetime | None:
    """A datetime, or its ISO text."""
    return datetime.fromisoformat(value) if isinstance(value, str) and value else value or None


def day(value: Any) -> str:
    """Monday, 8 May 2023"""
    at = moment_of(value)
    return "" if at is None else f"{DAYS[at.weekday()]}, {date(at)}"


def date(value: Any) -> str:
    """8 May 2023"""
    at = moment_of(value)
    return "" if at is None else f"{at.day} {MONTHS[at.month - 1]} {at.year}"


def clock(value: Any) -> str:
    """14:02"""
    at = moment_of(value)
    return "" if at is None else f"{at.hour:02d}:{at.minute:02d}"


def moment(value: Any) -> str:
    """8 May 2023, 14:02; midnight is left out"""
    at = moment_of(value)
    if at is None:
        return ""
    return date(at) if (at.hour, at.minute, at.second) == (0, 0, 0) else f"{date(at)}, {clock(at)}"


def iso(value: Any) -> str:
    """For <time datetime=...>."""
    at = moment_of(value)
    return "" if at is None else at.isoformat()


def since(value: Any, now: datetime | None = None) -> str:
    """3 days ago"""
    at = moment_of(value)
    if at is None:
        return ""
    seconds = ((now or datetime.now(UTC)) - at).total_seconds()
    ahead = seconds < 0
    seconds = abs(seconds)
    for size, name in ((31_557_600, "year"), (2_629_800, "month"), (86_400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            count = int(seconds // size)
            told = f"{count:,} {name}{'s' if count > 1 else ''}"
            return f"in {told}" if ahead else f"{told} ago"
    return "now"


def who(scope: Scope | Mapping[str, str] | None) -> str:
    """user ana, run r1"""
    fields = scope.to_dict() if isinstance(scope, Scope) else dict(scope or {})
    return ", ".join(f"{name.removesuffix('_id')} {value}" for name, value in fields.items()) or "everything"


def size(value: float) -> str:
    """1.4 MB"""
    for unit in ("bytes", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            return f"{value:,.0f} {unit}" if unit == "bytes" else f"{value:,.1f} {unit}"
        value /= 1000
    raise AssertionError


def number(value: float) -> str:
    """12,345"""
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.2f}"


def percent(value: float) -> str:
    """42 %"""
    return f"{100 * value:.0f} %"


def cut(text: str, most: int = 90) -> str:
    """The beginning of a text on one line."""
    line = " ".join(str(text).split())
    return line if len(line) <= most else line[: most - 1].rstrip() + "…"


def plain(reason: str) -> str:
    """A reason without the ids, which the page shows as links."""
    return ID.sub("…", SAYS.sub("", reason))


def told(value: Any) -> str:
    """A value of the journal, whatever it is."""
    if isinstance(value, datetime):
        return moment(value)
    if isinstance(value, Mapping):
        return cut(", ".join(f"{name}: {told(item)}" for name, item in value.items()), 300)
    if isinstance(value, float):
        return f"{value:g}"
    return cut(str(value), 300)


FILTERS = {
    "day": day, "date": date, "clock": clock, "moment": moment, "iso": iso, "since": since, "who": who, "size": size,
    "number": number, "percent": percent, "cut": cut, "plain": plain, "told": told,
    "verb": lambda verb: VERBS.get(verb, verb),
    "channel": lambda name: CHANNELS.get(name, name.replace("_", " ")),
}  # fmt: skip
