"""When a night in the background is due: enough news, nobody writing or the right hour, not too soon after the last."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, time, timedelta

from slowwave.errors import InputError
from slowwave.store.base import Pulse

IDLE_SECONDS = 60.0  # where neither `idle_seconds` nor `hours` is given
MOST = 1e7
HOURS = 'give stretches of the day such as "02:00-05:00", with commas between several; one may pass midnight'

Stretch = tuple[time, time]


@dataclass(frozen=True, slots=True)
class Plan:
    """When a night is due.

    minutes       since the last one began, at least; None for no such limit
    idle_seconds  without a write in the scope; None asks for `hours` alone
    hours         stretches of the day, each with its first moment and without its last
    new_records   that came since the last night, at least; 0 sleeps without any, too
    """

    minutes: float | None = None
    idle_seconds: float | None = IDLE_SECONDS
    hours: tuple[Stretch, ...] = ()
    new_records: int = 1

    def inside(self, now: datetime) -> bool:
        """Whether a moment lies in one of the stretches; `now` is in the zone in which they are meant."""
        moment = now.time()
        return any(
            first <= moment < last if first < last else moment >= first or moment < last for first, last in self.hours
        )

    def against(self, pulse: Pulse, now: datetime, last: datetime | None) -> str:
        """What stands against a night now; "" if nothing does.

        last  when the last night began
        """
        if pulse.fresh < self.new_records:
            return f"{pulse.fresh} of {self.new_records} new records are there"
        if last is not None and self.minutes is not None and now < last + timedelta(minutes=self.minutes):
            return f"the last night began less than {self.minutes:g} minutes ago"
        if self.inside(now):
            return ""
        if self.idle_seconds is None:
            return "it is not the hour"
        quiet = math.inf if pulse.written is None else (now - pulse.written).total_seconds()
        return "" if quiet >= self.idle_seconds else f"written to {max(quiet, 0):.0f} s ago"


def plan_of(minutes: float | None, idle_seconds: float | None, hours: str | None, new_records: int) -> Plan:
    """A plan of what a caller gave; InputError names what cannot be used."""
    for name, value in (("minutes", minutes), ("idle_seconds", idle_seconds), ("new_records", new_records)):
        if value is None and name != "new_records":
            continue
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= MOST:
            raise InputError(f"{name} is {value!r:.60}; it must be a number from 0 to {MOST:.0f}")
    if not new_records and not minutes:
        raise InputError("new_records is 0, which sleeps without news; say how often with minutes")
    stretches = hours_of(hours)
    return Plan(
        minutes, IDLE_SECONDS if idle_seconds is None and not stretches else idle_seconds, stretches, new_records
    )


def hours_of(text: str | None) -> tuple[Stretch, ...]:
    """Stretches of the day: "02:00-05:00", "22:30-06:00", "12-13,01:00-05:00" -> pairs of times."""
    if text is None:
        return ()
    if not isinstance(text, str):
        raise InputError(f"hours is {text!r:.60}; {HOURS}")
    return tuple(_stretch(part.strip(), text) for part in text.split(","))


def _stretch(part: str, text: str) -> Stretch:
    first, _, last = part.partition("-")
    try:
        pair = (_time(first), _time(last))
    except ValueError as error:
        raise InputError(f"hours is {text!r:.60}, and {part!r:.30} in it cannot be read; {HOURS}") from error
    if pair[0] == pair[1]:
        raise InputError(f"hours is {text!r:.60}, and {part!r:.30} in it has no length; {HOURS}")
    return pair


def _time(text: str) -> time:
    hour, colon, minute = text.strip().partition(":")
    if not hour.isdecimal() or (colon and not (minute.isdecimal() and len(minute) == 2)):
        raise ValueError(text)
    if (int(hour), int(minute or 0)) == (24, 0):
        return time(0)
    return time(int(hour), int(minute or 0))
