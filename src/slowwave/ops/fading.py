"""The forgetting curve: what is not used fades, what is used comes back and lasts longer.

A record's strength halves with every half-life that passes without use, down to a floor. It does so in steps, at
moments that are known beforehand, so a night visits only the records whose next step is due, and a record is visited
at most `len(LEVELS) - 1` times between two uses: O(1) amortised, whatever the size of the store.

Sources: H. Ebbinghaus, "Über das Gedächtnis" (1885), for retention that falls with time and for the gain of spaced
repetition; W. Zhong et al., "MemoryBank" (2023, arXiv 2305.10250), for R = exp(-t/S) in an agent's memory, where a
recall sets t to 0 and S to S + 1. Differs: base 2 rather than e, in steps, with a floor; and a recall lengthens the
half-life by how much had been forgotten, so that ten recalls within an hour do not count as ten.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

from slowwave.errors import InputError

FLOOR = 1 / 16
LEVELS: tuple[float, ...] = (1.0, 1 / 2, 1 / 4, 1 / 8, FLOOR)  # what a record that began at 1 can weigh
MAX_HALF_LIFE_DAYS = 36_500.0  # a hundred years: beyond it nothing is ever due


def strength_at(strength: float, last_use: datetime, now: datetime, half_life_days: float) -> float:
    """How strong a record is at `now`, in (0, 1].

    strength        its strength at `last_use`, in (0, 1]; 1 for a record that has just been made or used
    last_use        when it was last recalled, or recorded if it never was; aware
    now             aware; a moment before `last_use` counts as `last_use`
    half_life_days  days without use in which the strength halves
    returns         strength / 2**k after k whole half-lives, never below 1/16 (nor above `strength`)
    raises          InputError for naive times, or a strength or half-life out of range
    """
    return _faded(_checked(strength), _halvings(last_use, now, half_life_days))


def next_halving(strength: float, last_use: datetime, now: datetime, half_life_days: float) -> datetime | None:
    """The first moment after `now` at which `strength_at` is lower than it is at `now`; None if it is at its floor.

    Arguments as in `strength_at`; the answer is in UTC. None also where that moment lies beyond the year 9999.
    """
    done = _halvings(last_use, now, half_life_days)
    if _faded(_checked(strength), done + 1) == _faded(strength, done):
        return None
    try:
        return _utc("last_use", last_use) + (done + 1) * timedelta(days=half_life_days)
    except OverflowError:
        return None


def due_before(level: float, now: datetime, half_life_days: float) -> datetime | None:
    """The cutoff for a store's query: records that now weigh `level` are due if last used at or before this moment.

    level    the strength as stored, one of LEVELS (1 down to 1/16)
    returns  a moment in UTC; None for the floor, which is never due, or where it lies before the year 1

    A night asks, for each level above the floor: stored strength == level and last use <= due_before(level, ...).
    """
    if level not in LEVELS:
        raise InputError(f"level is {level!r}; it must be one of {', '.join(map(str, LEVELS))}")
    if level == FLOOR:
        return None
    try:
        return _utc("now", now) - (LEVELS.index(level) + 1) * _span(half_life_days)
    except OverflowError:
        return None


def half_life_after_use(half_life_days: float, last_use: datetime, now: datetime, gain: float = 1.0) -> float:
    """The half-life of a record that is used at `now`; its strength is 1 again.

    gain     how much longer the half-life of a wholly forgotten record becomes; 1 doubles it, 0 switches this off
    returns  half_life_days * (1 + gain * (1 - retention)), at most a hundred years, where retention is
             2**(-t / half-life) and t the time since the last use: a use at once changes nothing, one after a whole
             half-life gives half as much again (gain 1)
    """
    if not 0 <= gain <= 10:
        raise InputError(f"gain is {gain!r}; it must lie in [0, 10]")
    elapsed = max(timedelta(0), _utc("now", now) - _utc("last_use", last_use))
    retention = math.pow(2, -(elapsed / _span(half_life_days)))
    return min(MAX_HALF_LIFE_DAYS, half_life_days * (1 + gain * (1 - retention)))


def _faded(strength: float, halvings: int) -> float:
    halved = math.ldexp(strength, -halvings)
    return max(halved, min(FLOOR, strength))


def _halvings(last_use: datetime, now: datetime, half_life_days: float) -> int:
    """Whole half-lives between two moments, in exact integer microseconds."""
    return max(0, (_utc("now", now) - _utc("last_use", last_use)) // _span(half_life_days))


def _checked(strength: float) -> float:
    if not 0 < strength <= 1:
        raise InputError(f"strength is {strength!r}; it must lie in (0, 1]")
    return strength


def _span(half_life_days: float) -> timedelta:
    if not 1e-6 <= half_life_days <= MAX_HALF_LIFE_DAYS:
        raise InputError(f"half_life_days is {half_life_days!r}; it must lie in [0.000001, {MAX_HALF_LIFE_DAYS:.0f}]")
    return timedelta(days=half_life_days)


def _utc(name: str, moment: datetime) -> datetime:
    """In UTC, because Python subtracts two times of one zone by their clock faces, blind to summer time."""
    if moment.tzinfo is None:
        raise InputError(f"{name} is {moment.isoformat()}, without a zone; give an aware time, such as one in UTC")
    try:
        return moment.astimezone(UTC)
    except OverflowError:  # the first or last hours of the calendar: the clock face will do
        return moment.replace(tzinfo=UTC)
