"""Times as sources write them: ISO 8601, seconds or milliseconds since 1970, and dates written for people."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

MONTHS = {
    name: number
    for number, names in enumerate(
        ("jan january", "feb february", "mar march", "apr april", "may", "jun june", "jul july", "aug august",
         "sep sept september", "oct october", "nov november", "dec december"),
        1,
    )
    for name in names.split()
}  # fmt: skip
_MONTH = "(?P<month>" + "|".join(sorted(MONTHS, key=len, reverse=True)) + r")\.?"
_WEEKDAY = r"(?:(?:mon|tues?|wed(?:nes)?|thu(?:rs)?|fri|sat(?:ur)?|sun)(?:day)?\.?,?\s+)?"
_CLOCK = (
    r"(?P<hour>\d{1,2})[:.](?P<minute>\d{2})(?:[:.](?P<second>\d{2})(?:[.,]\d+)?)?"
    r"(?:\s?(?P<half>[ap])\.?\s?m\.?(?!\w))?"
)
_ZONE = r"(?:\s?(?P<zone>Z|[+-]\d{2}:?\d{2}))?"
_JOIN = r"(?:,?\s+(?:at\s+|um\s+|klo\s+|à\s+)?|T)"
_DAY_FIRST = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?\s+(?:of\s+)?" + _MONTH + r",?\s+(?P<year>\d{4})"
_MONTH_FIRST = _MONTH + r"\s+(?P<day>\d{1,2})(?:st|nd|rd|th)?,?\s+(?P<year>\d{4})"
_ISO = r"(?P<year>\d{4})[-/.](?P<month>\d{1,2})[-/.](?P<day>\d{1,2})"
_NUMERIC = r"(?P<one>\d{1,2})[./-](?P<two>\d{1,2})[./-](?P<year>\d{4}|\d{2})"
WRITTEN = tuple(
    re.compile(_WEEKDAY + date + f"(?:{_JOIN}{_CLOCK}{_ZONE})?", re.IGNORECASE)
    for date in (_ISO, _DAY_FIRST, _MONTH_FIRST, _NUMERIC)
)


def instant(value: Any, zone: tzinfo) -> datetime | None:
    """The moment that a field names, aware; None if it names none.

    value  ISO 8601 with or without a zone, seconds or milliseconds since 1970 (number or digits), or a datetime
    zone   where a naive time was written, and in which to show a count of seconds, which names no zone of its own
    """
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=zone)
    if isinstance(value, str):
        text = value.strip()
        try:
            parsed = datetime.fromisoformat(text)
        except ValueError:
            parsed = None
        # "20230508" is a date; other runs of digits are seconds
        if parsed is not None and (not text.isdigit() or len(text) == 8):
            return parsed if parsed.tzinfo else parsed.replace(tzinfo=zone)
        if re.fullmatch(r"-?\d{9,13}(\.\d+)?", text):
            value = float(text)
        else:
            found = written(text, zone)
            return found[0] if found and found[1] == len(text) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    seconds = value / 1000 if abs(value) > 1e11 else value  # 1e11 seconds is the year 5138
    try:
        return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)).astimezone(zone)
    except (OverflowError, ValueError):
        return None


def written(text: str, zone: tzinfo, day_first: bool = True) -> tuple[datetime, int] | None:
    """The date (and time) that the text begins with, and where it ends; None if it begins with none.

    day_first  how to read 5/8/2023: as 5 August, or as May 8
    """
    for pattern in WRITTEN:
        match = pattern.match(text)
        if match and not text[match.end() : match.end() + 1].isdigit() and (moment := _moment(match, zone, day_first)):
            return moment, match.end()
    return None


def has_clock(text: str) -> bool:
    """Whether the date that the text begins with has a time of day."""
    return any(match["hour"] for pattern in WRITTEN if (match := pattern.match(text)))


def _moment(match: re.Match[str], zone: tzinfo, day_first: bool) -> datetime | None:
    found = match.groupdict()
    if "one" in found:
        one, two = int(found["one"]), int(found["two"])
        day, month = (one, two) if (day_first and two <= 12) or one > 12 else (two, one)
    else:
        day, written_month = int(found["day"]), found["month"].lower()
        month = int(written_month) if written_month.isdigit() else MONTHS[written_month]
    year = int(found["year"]) + (2000 if len(found["year"]) == 2 else 0)
    hour = int(found["hour"] or 0)
    if found["half"]:
        hour = hour % 12 + (12 if found["half"].lower() == "p" else 0)
    try:
        moment = datetime(year, month, day, hour, int(found["minute"] or 0), int(found["second"] or 0))
        return moment.replace(tzinfo=zone) if not found["zone"] else moment.replace(tzinfo=_offset(found["zone"]))
    except ValueError:
        return None


def _offset(zone: str) -> tzinfo:
    return datetime.strptime(zone.upper(), "%z").tzinfo or UTC
