"""Stretches of time and their arithmetic: days, weeks, months, seasons, holidays, and how a stretch is written out.

Everything here works on naive wall-clock datetimes; `dates.py` puts the reference's zone back. A `Stretch` is a
half-open pair (start, end). Weeks run from Monday, a weekend is Saturday and Sunday, seasons are those of the northern
hemisphere in whole months. What falls outside the years 1 to 9999 raises ValueError or OverflowError, except an end,
which is cut at the last moment there is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

Stretch = tuple[datetime, datetime]

DAY = timedelta(days=1)
FIRST = datetime.min
LAST = datetime.max
MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
SEASONS = {"spring": 3, "summer": 6, "autumn": 9, "fall": 9, "winter": 12}  # the month each begins with
DAY_PARTS = {"morning": (5, 12), "afternoon": (12, 18), "evening": (18, 24), "night": (18, 30)}  # hours of the day


@dataclass(frozen=True, slots=True)
class TimeSpan:
    """A half-open stretch of time [start, end), and the words that named it.

    text   the words as they stand; `begin` and `stop` are their character positions, so `text == whole[begin:stop]`
    An open beginning ("before June") starts at datetime.min, an open end ("after 3 May") ends at datetime.max.
    """

    start: datetime
    end: datetime
    text: str = ""
    begin: int = 0
    stop: int = 0


def shift(moment: datetime, **units: int) -> datetime:
    """The moment moved by calendar units (days=, weeks=, months=, years=); 31 January + 1 month is 28 February.

    raises  ValueError, OverflowError outside the years 1 to 9999
    """
    if units.keys() <= {"days", "weeks"}:
        return moment + timedelta(**units)
    from dateutil.relativedelta import relativedelta  # 15 ms to import

    moved: datetime = moment + relativedelta(**units)  # type: ignore[arg-type]  # takes int at run time
    return moved


def stretch(start: datetime, **units: int) -> Stretch:
    """From a start onwards for so many calendar units, the end cut at the last moment there is."""
    try:
        return start, shift(start, **units)
    except (ValueError, OverflowError):
        return start, LAST


def unit_span(moment: datetime, unit: str, offset: int = 0) -> Stretch:
    """The calendar unit that holds the moment, moved by `offset` units: `unit_span(now, "week", -1)` is last week.

    unit  minute, hour, day, week, fortnight, weekend, month, quarter, year, decade or century
    """
    if unit in ("minute", "hour"):
        start = moment.replace(minute=moment.minute if unit == "minute" else 0, second=0, microsecond=0)
        start += timedelta(**{unit + "s": offset})
        return start, _capped(start, timedelta(**{unit + "s": 1}))
    day = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    if unit == "day":
        return stretch(shift(day, days=offset), days=1)
    if unit in ("week", "fortnight", "weekend"):
        monday = shift(day, days=-day.weekday())
        if unit == "weekend":
            return stretch(shift(monday, days=7 * offset + 5), days=2)
        length = 7 if unit == "week" else 14
        return stretch(shift(monday, days=length * offset), days=length)
    if unit in ("month", "quarter"):
        length = 1 if unit == "month" else 3
        return stretch(shift(day.replace(month=(day.month - 1) // length * length + 1, day=1), months=length * offset),
                       months=length)  # fmt: skip
    years = {"year": 1, "decade": 10, "century": 100}[unit]
    return years_from(day.year // years * years + offset * years, years)


@lru_cache(maxsize=1024)
def month_span(year: int, month: int) -> Stretch:
    """A calendar month."""
    return stretch(datetime(year, month, 1), months=1)


def years_from(year: int, years: int = 1) -> Stretch:
    """So many whole years from 1 January of `year`."""
    return stretch(datetime(year, 1, 1), years=years)


def season_span(name: str, year: int) -> Stretch:
    """The three months of a season; winter is named by the year it begins in."""
    return stretch(datetime(year, SEASONS[name], 1), months=3)


def day_part(day: datetime, part: str) -> Stretch:
    """The morning, afternoon, evening or night of a day; a night ends at six the next morning."""
    begin, end = DAY_PARTS[part]
    midnight = day.replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight + timedelta(hours=begin), _capped(midnight, timedelta(hours=end))


def weekday_before(moment: datetime, weekday: int) -> datetime:
    """The last day with this weekday (Monday is 0) that lies wholly before the moment's day."""
    day = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    return shift(day, days=-((day.weekday() - weekday - 1) % 7 + 1))


def weekday_after(moment: datetime, weekday: int) -> datetime:
    """The first day with this weekday after the moment's day."""
    day = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    return shift(day, days=(weekday - day.weekday() - 1) % 7 + 1)


def third(span: Stretch, which: int) -> Stretch:
    """The early (0), middle (1) or late (2) part: days 1-10, 11-20 and the rest of a month, else rounded thirds."""
    start, end = span
    days = (end - start).days
    if days <= 2:
        return span
    if days <= 31:
        cuts = [0, 2, 4, days] if days == 7 else [0, days // 3, days // 3 * 2, days]
        return start + cuts[which] * DAY, start + cuts[which + 1] * DAY if which < 2 else end
    months = (end.year - start.year) * 12 + end.month - start.month
    left = shift(start, months=months * which // 3)
    return left, shift(start, months=months * (which + 1) // 3) if which < 2 else end


def away(moment: datetime, fewest: int, most: int, unit: str, sign: int) -> Stretch:
    """Where "two weeks ago" (sign -1) or "in three days" (+1) lies, as wide as such words are meant.

    A day for days, a week around the point for weeks, the calendar month or year for months and years, three years
    for a decade. "A few days ago" has fewest 2 and most 5 and reaches over both.
    """
    near, far = sign * fewest, sign * most
    first, last = min(near, far), max(near, far)
    if unit in ("week", "fortnight"):
        length = 7 if unit == "week" else 14
        day = moment.replace(hour=0, minute=0, second=0, microsecond=0)
        return shift(day, days=length * first - 3), stretch(shift(day, days=length * last + 3), days=1)[1]
    if unit == "decade":
        year = unit_span(moment, "year")[0].year
        return years_from(year + 10 * first - 1)[0], years_from(year + 10 * last + 1)[1]
    if unit == "weekend" and sign > 0 and moment.weekday() < 5:
        first, last = first - 1, last - 1
    return unit_span(moment, unit, first)[0], unit_span(moment, unit, last)[1]


def beside(span: Stretch, unit: str, after: bool) -> Stretch:
    """The week, day, weekend, night, Friday or summer that lies right before (or after) a stretch."""
    start, end = span
    last_day = end - timedelta(microseconds=1)
    if unit in WEEKDAYS:
        day = weekday_after(last_day, WEEKDAYS[unit]) if after else weekday_before(start, WEEKDAYS[unit])
        return stretch(day, days=1)
    if unit in DAY_PARTS:
        return day_part(shift(last_day, days=1) if after else shift(start, days=-1), unit)
    if unit in SEASONS:
        years = (last_day.year, last_day.year + 1) if after else (start.year, start.year - 1, start.year - 2)
        for year in years:
            season = season_span(unit, year)
            if season[0] >= end if after else season[1] <= start:
                return season
        raise ValueError(f"no {unit} beside {start.year}")
    if unit == "weekend":
        if after:
            return unit_span(last_day, unit, 0 if last_day.weekday() < 5 else 1)
        return unit_span(shift(start, days=-2), unit, 0 if start.weekday() == 0 else -1)
    days = {"day": 1, "week": 7, "fortnight": 14}.get(unit)
    units = {"days": days} if days else {"months": {"month": 1, "quarter": 3, "year": 12, "decade": 120}[unit]}
    if after:
        return stretch(end, **units)
    return shift(start, **{name: -count for name, count in units.items()}), start


WEEKDAYS = {
    name: index
    for index, name in enumerate(("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"))
}


def _fixed(month: int, day: int) -> Callable[[int], Stretch]:
    return lambda year: stretch(datetime(year, month, day), days=1)


def _nth(month: int, weekday: int, count: int, plus: int = 0) -> Callable[[int], Stretch]:
    """The count-th weekday of a month (-1: the last), and `plus` days."""

    def holiday(year: int) -> Stretch:
        if count > 0:
            day = weekday_after(shift(datetime(year, month, 1), days=-1), weekday) + (count - 1) * 7 * DAY
        else:
            day = weekday_before(shift(datetime(year, month, 1), months=1), weekday)
        return stretch(shift(day, days=plus), days=1)

    return holiday


def _easter(plus: int) -> Callable[[int], Stretch]:
    def holiday(year: int) -> Stretch:
        from dateutil.easter import easter

        day = easter(year)
        return stretch(shift(datetime(day.year, day.month, day.day), days=plus), days=1)

    return holiday


# By their words without apostrophes; movable ones as they are kept in the United States.
HOLIDAYS: dict[str, Callable[[int], Stretch]] = {
    "new years eve": _fixed(12, 31), "new years day": _fixed(1, 1), "new years": _fixed(1, 1),
    "new year": _fixed(1, 1), "martin luther king day": _nth(1, 0, 3), "mlk day": _nth(1, 0, 3),
    "groundhog day": _fixed(2, 2), "valentines day": _fixed(2, 14), "valentines": _fixed(2, 14),
    "valentine day": _fixed(2, 14), "presidents day": _nth(2, 0, 3), "international womens day": _fixed(3, 8),
    "st patricks day": _fixed(3, 17), "saint patricks day": _fixed(3, 17), "april fools day": _fixed(4, 1),
    "april fools": _fixed(4, 1), "maundy thursday": _easter(-3), "good friday": _easter(-2), "palm sunday": _easter(-7),
    "easter sunday": _easter(0), "easter monday": _easter(1), "easter": _easter(0), "ash wednesday": _easter(-46),
    "earth day": _fixed(4, 22), "may day": _fixed(5, 1), "cinco de mayo": _fixed(5, 5), "mothers day": _nth(5, 6, 2),
    "memorial day": _nth(5, 0, -1), "fathers day": _nth(6, 6, 3), "juneteenth": _fixed(6, 19),
    "canada day": _fixed(7, 1), "independence day": _fixed(7, 4), "bastille day": _fixed(7, 14),
    "labor day": _nth(9, 0, 1), "labour day": _nth(9, 0, 1), "columbus day": _nth(10, 0, 2),
    "halloween": _fixed(10, 31), "all saints day": _fixed(11, 1), "guy fawkes night": _fixed(11, 5),
    "bonfire night": _fixed(11, 5), "veterans day": _fixed(11, 11), "remembrance day": _fixed(11, 11),
    "thanksgiving day": _nth(11, 3, 4), "thanksgiving": _nth(11, 3, 4), "black friday": _nth(11, 3, 4, 1),
    "christmas eve": _fixed(12, 24), "christmas day": _fixed(12, 25), "christmas": _fixed(12, 25),
    "xmas": _fixed(12, 25), "boxing day": _fixed(12, 26),
}  # fmt: skip


def describe(span: TimeSpan) -> str:
    """A stretch in words, such as "7 May 2023", "12-18 June 2023", "May 2023", "summer 2022", "before 2020"."""
    start, end = span.start.replace(tzinfo=None), span.end.replace(tzinfo=None)
    if start == FIRST and end - start > 366 * DAY:
        return "any time" if end == LAST else f"before {_moment(end)}"
    if end == LAST and start.year < 9999:
        return f"after {_moment(start - DAY)}"
    if start.time() != datetime.min.time() or end.time() not in (datetime.min.time(), LAST.time()):
        return _part_of_day(start, end)
    last = end - timedelta(microseconds=1)
    if start.day == 1 and (last.day == 31 or (last + DAY).day == 1):
        return _months(start, last)
    if start.date() == last.date():
        return _date(start)
    if start.year != last.year:
        return f"{_date(start)} - {_date(last)}"
    if start.month != last.month:
        return f"{start.day} {MONTHS[start.month - 1]} - {_date(last)}"
    return f"{start.day}-{_date(last)}"


def overlap(a: TimeSpan, b: TimeSpan) -> float:
    """How much of the shorter stretch lies in the other, in [0, 1]: a day within a month gives 1, apart gives 0.

    Where only one of them has a zone, the wall clocks are compared.
    """
    starts, ends = [a.start, b.start], [a.end, b.end]
    if (a.start.tzinfo is None) != (b.start.tzinfo is None):
        starts, ends = ([t.replace(tzinfo=None) for t in times] for times in (starts, ends))
    shared: timedelta = min(ends) - max(starts)
    shorter: timedelta = min(ends[0] - starts[0], ends[1] - starts[1])
    if shorter <= timedelta(0) or shared <= timedelta(0):
        return 0.0
    return min(1.0, shared / shorter)


def _capped(start: datetime, length: timedelta) -> datetime:
    return start + length if LAST - start > length else LAST


def _date(day: datetime) -> str:
    return f"{day.day} {MONTHS[day.month - 1]} {day.year}"


def _moment(day: datetime) -> str:
    return str(day.year) if (day.month, day.day) == (1, 1) else _date(day)


def _part_of_day(start: datetime, end: datetime) -> str:
    midnight = start.replace(hour=0, minute=0, second=0, microsecond=0)
    for part, (begin, stop) in DAY_PARTS.items():
        if (start, end) == (midnight + timedelta(hours=begin), _capped(midnight, timedelta(hours=stop))):
            return f"{part} of {_date(start)}"
    if (end - timedelta(microseconds=1)).date() == start.date():
        return f"{_date(start)} {start:%H:%M}-{'24:00' if end.date() != start.date() else format(end, '%H:%M')}"
    return f"{_date(start)} - {_date(end - timedelta(microseconds=1))}"


def _months(start: datetime, last: datetime) -> str:
    """A stretch of whole months: `last` is its last moment."""
    months = (last.year - start.year) * 12 + last.month - start.month + 1
    first_name, last_name = MONTHS[start.month - 1], MONTHS[last.month - 1]
    if months == 1:
        return f"{first_name} {start.year}"
    if start.month == 1 and last.month == 12:
        if months == 12:
            return str(start.year)
        return f"{start.year}s" if months == 120 and start.year % 10 == 0 else f"{start.year}-{last.year}"
    if months == 3 and start.month in SEASONS.values():
        name = next(name for name, month in SEASONS.items() if month == start.month)
        return f"{name} {start.year}" if start.year == last.year else f"{name} {start.year}-{last.year}"
    if start.year == last.year:
        return f"{first_name}-{last_name} {start.year}"
    return f"{first_name} {start.year} - {last_name} {last.year}"


def zoned(span: Stretch, tzinfo: Any, text: str, begin: int, stop: int) -> TimeSpan:
    """A TimeSpan of this stretch in a zone, with its words."""
    start, end = span
    return TimeSpan(start.replace(tzinfo=tzinfo), end.replace(tzinfo=tzinfo), text[begin:stop], begin, stop)
