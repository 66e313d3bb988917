"""Time expressions in English text, found and resolved against the moment they were said at.

`find_times` reads dates ("7 May 2023", "05/07/2023", "the first week of June") and relative words ("last Friday", "two
weeks ago", "since March"). `find_event_times` finds what needs memory first ("the week before the wedding"), and
`resolve_event` resolves it once the event's time is known. `describe` writes a stretch out, `overlap` compares two.

The text is cut into tokens in one linear pass; a hand-written grammar then looks a few tokens ahead from each word
that can begin an expression. Rules where English leaves room:

- a missing year or week is the one that fits the tense around it; without a hint the past wins, unless the future
  one is three times nearer;
- 05/07/2023 is month first unless `day_first`; 25/07/2023 and 25.07.2023 can only be day first;
- "last week" is the calendar week before this one, "the last week" and "the past week" the seven days up to today;
- "last Friday" is the most recent one before today, "next Friday" the first one after today;
- "may", "march", "second", "sat", "sun", "fall" count only where their neighbours make them a time.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple

from slowwave.ops.calendar import (
    DAY,
    DAY_PARTS,
    FIRST,
    HOLIDAYS,
    LAST,
    MONTHS,
    SEASONS,
    WEEKDAYS,
    Stretch,
    TimeSpan,
    away,
    beside,
    day_part,
    describe,
    month_span,
    overlap,
    season_span,
    shift,
    stretch,
    third,
    unit_span,
    weekday_after,
    weekday_before,
    years_from,
    zoned,
)

__all__ = ["EventTime", "TimeSpan", "describe", "find_event_times", "find_times", "overlap", "resolve_event"]


@dataclass(frozen=True, slots=True)
class EventTime:
    """A time told by an event that is not a date: "two days after we arrived".

    event     the words for the event, to search for: "we arrived"
    relation  before, after, since, during or of
    unit      day, week, month, year, weekend, night, friday, summer, ...; empty for a plain "before the wedding"
    fewest, most   how many units; both 0 for "the week before", which is the week itself
    text      the whole expression, at character positions `begin` to `stop`
    """

    event: str
    relation: Literal["before", "after", "since", "during", "of"]
    unit: str = ""
    fewest: int = 0
    most: int = 0
    text: str = ""
    begin: int = 0
    stop: int = 0

    @property
    def shape(self) -> str:
        """What stands before the event, such as "week before" or "2 day after"."""
        count = "" if not self.most else str(self.most) if self.fewest == self.most else f"{self.fewest}-{self.most}"
        return " ".join(part for part in (count, self.unit, self.relation) if part)


def find_times(text: str, reference: datetime, *, day_first: bool = False) -> list[TimeSpan]:
    """The time expressions of a text, in order, each resolved to a half-open stretch in the reference's zone.

    reference  the moment the text was said or written, naive or aware
    day_first  read 05/07/2023 as 5 July
    Never raises on any text: what is no date (31 February, year 0) or lies outside years 1 to 9999 is left out.
    """
    if _TRIGGERS.isdisjoint(_WORD.findall(text.lower())) and not _DIGITS.search(text):
        return []
    reader = _Reader(text, reference, day_first)
    spans: list[TimeSpan] = []
    i, count = 0, len(reader.words)
    while i < count:
        word = reader.words[i]
        if word not in _STARTS and not word[0].isdigit():
            i += 1
            continue
        second = _SECOND.get(word)
        if second is not None and (next_ := reader.bare(i + 1)) not in second and not next_[:1].isdigit():
            i += 1
            continue
        found = reader.read(i)
        if found is None:
            i += 1
            continue
        if found.span and found.span[0] < found.span[1]:
            begin, stop = reader.begins[found.first if found.first >= 0 else i], reader.stops[found.next - 1]
            spans.append(zoned(found.span, reference.tzinfo, text, begin, stop))
        i = max(found.next, i + 1)
    return spans


def find_event_times(text: str) -> list[EventTime]:
    """The expressions that tell a time by an event: "the week before the wedding", "since my trip to Rome".

    Where the words after "before" or "after" are themselves a time ("the week before 12 June"), `find_times` has it.
    """
    if _RELATIONS.keys().isdisjoint(_WORD.findall(text.lower())):
        return []
    reader = _Reader(text, datetime(2000, 1, 1), False)
    events: list[EventTime] = []
    i = 0
    while i < len(reader.words):
        event = reader.event(i)
        if event is None:
            i += 1
            continue
        events.append(event[0])
        i = event[1]
    return events


def resolve_event(event_time: EventTime, when: datetime | TimeSpan) -> TimeSpan:
    """The stretch that is meant, once the event's time is known.

    when    the event's day (a moment counts as its day) or its stretch
    raises  ValueError, OverflowError where the result lies outside years 1 to 9999
    """
    if isinstance(when, TimeSpan):
        zone, span = when.start.tzinfo, (when.start.replace(tzinfo=None), when.end.replace(tzinfo=None))
    else:
        zone, span = when.tzinfo, unit_span(when.replace(tzinfo=None), "day")
    found = _related(span, event_time.relation, event_time.unit, event_time.fewest, event_time.most)
    start, end = found[0].replace(tzinfo=zone), found[1].replace(tzinfo=zone)
    return TimeSpan(start, end, event_time.text, event_time.begin, event_time.stop)


def _related(span: Stretch, relation: str, unit: str, fewest: int, most: int) -> Stretch:
    """The stretch that stands in this relation to another."""
    start, end = span
    if relation == "of" or relation == "during":
        if unit in DAY_PARTS:
            return day_part(start, unit)
        return span if not unit or unit in WEEKDAYS or unit in SEASONS else unit_span(start, unit)
    if not unit:
        return (FIRST, start) if relation == "before" else (end if relation == "after" else start, LAST)
    after = relation != "before"
    if not most:
        return beside(span, unit, after)
    if unit in WEEKDAYS:
        day = (
            weekday_after(end - timedelta(microseconds=1), WEEKDAYS[unit]) if after
            else weekday_before(start, WEEKDAYS[unit])
        )  # fmt: skip
        sign = 1 if after else -1
        days = sorted(shift(day, days=7 * sign * (count - 1)) for count in (fewest, most))
        return days[0], days[1] + DAY
    if unit in DAY_PARTS or unit in SEASONS:
        raise ValueError(f"cannot count {unit}s")
    return away(end - timedelta(microseconds=1) if after else start, fewest, most, unit, 1 if after else -1)


class _Found(NamedTuple):
    """What a rule read: the stretch (None: it is a date that does not exist), the token after it, the first token."""

    span: Stretch | None
    next: int
    first: int = -1


class _Date(NamedTuple):
    """A date as written: what is missing is None; `next` is the token after it."""

    year: int | None
    month: int | None
    day: int | None
    next: int
    years: int = 1  # 10 for a decade, 100 for a century


def _list(words: str) -> list[str]:
    return words.split()


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_NUMBERS = {
    word: index + 1
    for index, word in enumerate(
        _list(
            "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
            "seventeen eighteen nineteen twenty"
        )
    )
} | {"thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "hundred": 100}
_VAGUE = {"couple": (2, 3), "few": (2, 5), "several": (3, 8)}
_ORDINALS = {
    word: index + 1
    for index, word in enumerate(
        _list(
            "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth "
            "fifteenth sixteenth seventeenth eighteenth nineteenth twentieth"
        )
    )
} | {"thirtieth": 30}
_MONTHS = {name.lower(): index + 1 for index, name in enumerate(MONTHS)}
_SHORT_MONTHS = {name[:3]: index for name, index in _MONTHS.items() if name != "may"} | {"sept": 9}
_MONTH = _MONTHS | _SHORT_MONTHS
_PLAIN_MONTHS = {"january", "february", "july", "september", "october", "november", "december"}
_SHORT_DAYS = {"mon": 0, "tue": 1, "tues": 1, "wed": 2, "weds": 2, "thu": 3, "thur": 3, "thurs": 3, "fri": 4,
               "sat": 5, "sun": 6}  # fmt: skip
_VERBS = {"sat", "sun", "wed", "mon"}  # also words of their own when they are not capitalised
_WEEKDAY = WEEKDAYS | _SHORT_DAYS
_WEEKDAY_NAMES = list(WEEKDAYS)
_UNITS = {name + ending: name for name in ("minute", "hour", "day", "week", "weekend", "fortnight", "month", "quarter",
                                           "year", "decade") for ending in ("", "s")}  # fmt: skip
_UNITS |= {"century": "century", "yr": "year", "yrs": "year", "wk": "week", "wks": "week"}
_DECADES = {"thirties": 1930, "forties": 1940, "fifties": 1950, "sixties": 1960, "seventies": 1970, "eighties": 1980,
            "nineties": 1990}  # fmt: skip
_TODAY = {"today": 0, "yesterday": -1, "tomorrow": 1, "tonight": 0}
_RELATIONS: dict[str, Literal["before", "after", "since", "during", "of"]] = {
    "before": "before", "after": "after", "following": "after", "of": "of", "since": "since", "during": "during",
}  # fmt: skip
_PARTS = {"early": 0, "mid": 1, "late": 2}
_PARTS_OF = {"beginning": 0, "start": 0, "middle": 1, "end": 2}
# Words before a month's or season's name that make it a time, and words after a name that let it stand alone.
_LEADS = _set(
    "in since until till by during before after from of early mid late last next this past through throughout around "
    "between over late- - for circa about"
)
_LOW_LEADS = _set("in since until till by during before after early mid late last next between from")
_FOLLOWS = _set(
    "at and or to in for with we i he she they it you but so because when was is are were will my our his her their "
    "the a an until till after before from on this that as if then by of while since during not though who which "
    "where what how did do does had has have would could should can i'm we're it's i've we've i'll there here just "
    "all last next too also again through"
)
_LEADING_NOT = _set("every each a an my our his her their your per most some any no")
_PAST_WORDS = _set(
    "was were did had went been saw met got made took came left bought ate gave ran won lost told said found felt "
    "began wrote read drove flew didn't wasn't weren't hadn't"
)
_FUTURE_WORDS = _set(
    "will going gonna plan plans planning planned upcoming hope hoping soon tomorrow next won't let's shall forward "
    "booked scheduled expecting due i'll we'll they'll he'll she'll it'll you'll"
)
_DAY_TOKEN = re.compile(r"(\d{1,2})(st|nd|rd|th)?\Z")
_ORDINAL_TOKEN = re.compile(r"(\d{1,2})(?:st|nd|rd|th)\Z")
_DECADE_TOKEN = re.compile(r"(?:(\d{3})|(\d))0['’]?s\Z")
_NUMERIC = re.compile(r"(\d{1,4})([-/.])(\d{1,2})(?:\2(\d{1,4}))?\Z")
_RANGE = re.compile(r"(\d{1,4})(?:st|nd|rd|th)?[-–](\d{1,4})(?:st|nd|rd|th)?\Z")
_TOKEN = re.compile(
    r"(?P<w>[0-9]+(?:st|nd|rd|th)?(?:[:./–-][0-9]+)*(?:['’]?[^\W\d_]+)?"  # 7th, 2023-05-07, 14:30, 7-9, 1990s
    r"|[^\W\d_]+(?:['’][^\W\d_]+)*)|(?P<p>[.,:;!?()\[\]\"“”…—–|/-])"
)
_WORD = re.compile(r"[a-z]+")
_DIGITS = re.compile(r"[0-9]{4}|[0-9](?:st|nd|rd|th|[/.-][0-9]|0s)")
_DAY_FORMS = {word: part for part in DAY_PARTS for word in (part,)}

_HOLIDAY_STARTS: dict[str, list[tuple[tuple[str, ...], Callable[[int], Stretch]]]] = {}
for _name, _rule in sorted(HOLIDAYS.items(), key=lambda pair: -len(pair[0])):
    _HOLIDAY_STARTS.setdefault(_name.split()[0], []).append((tuple(_name.split()), _rule))

_TRIGGERS = frozenset(_MONTH) | frozenset(_WEEKDAY) | frozenset(SEASONS) | frozenset(_TODAY) | frozenset(_DECADES)
_TRIGGERS |= {
    "ago",
    "last",
    "next",
    "this",
    "past",
    "coming",
    "previous",
    "other",
    "earlier",
    "later",
    "from",
    "in",
    "weekend",
    "century",
    "end",
    "start",
    "beginning",
    "middle",
    "since",
} - {"in", "this", "from", "since"}
_TRIGGERS |= frozenset(_UNITS) | frozenset(_HOLIDAY_STARTS) | frozenset(DAY_PARTS)
_STARTS = (
    frozenset(_MONTH) | frozenset(_WEEKDAY) | frozenset(SEASONS) | frozenset(_TODAY) | frozenset(_DECADES)
    | frozenset(_HOLIDAY_STARTS) | frozenset(_NUMBERS) | frozenset(_VAGUE) | frozenset(_ORDINALS) | frozenset(_PARTS)
    | frozenset(_PARTS_OF)
    | {"the", "a", "an", "last", "next", "this", "past", "coming", "previous", "upcoming", "between", "from", "since",
       "before", "after", "in", "earlier", "later", "weekend"}
)  # fmt: skip


# What must follow a common word for it to begin an expression: a quick look before the rules are tried.
_COUNTS = frozenset(_NUMBERS) | frozenset(_VAGUE)
_NAMES = (
    frozenset(_MONTH) | frozenset(_WEEKDAY) | frozenset(SEASONS) | frozenset(_HOLIDAY_STARTS) | frozenset(DAY_PARTS)
)
_SECOND = (
    {
        "the": _STARTS | frozenset(_UNITS) | _NAMES | {"other", "year"},
        "a": frozenset(_UNITS) | frozenset(_VAGUE) | _NAMES,
        "an": frozenset(_UNITS),
        "in": _COUNTS | {"a", "an"},
    }
    | {
        word: frozenset(_UNITS) | _NAMES | _COUNTS | {"past", "last", "coming", "upcoming"}
        for word in ("last", "next", "this", "past", "coming", "previous", "upcoming")
    }
    | {word: _STARTS | frozenset(DAY_PARTS) | {"year"} for word in ("from", "between", "since", "before", "after")}
)


MAX_DEPTH = 3  # "the end of the first week of June" is two times inside another


class _Reader:
    """The tokens of one text and the grammar over them. Each rule takes a token's index and returns what it read."""

    def __init__(self, text: str, reference: datetime, day_first: bool) -> None:
        self.text = text
        self.reference = reference
        self.now = reference.replace(tzinfo=None)
        self.day_first = day_first
        self.depth = 0
        self.words: list[str] = []
        self.begins: list[int] = []
        self.stops: list[int] = []
        for match in _TOKEN.finditer(text):
            self.words.append(match[0].lower().replace("’", "'"))
            self.begins.append(match.start())
            self.stops.append(match.end())
        self.rules: tuple[Callable[[int], _Found | None], ...] = (
            self.between, self.open_ended, self.beside_time, self.part, self.nth, self.atom,
        )  # fmt: skip

    @property
    def today(self) -> datetime:
        return self.now.replace(hour=0, minute=0, second=0, microsecond=0)

    def at(self, i: int) -> str:
        """The word at a token, lower case; empty outside the text."""
        return self.words[i] if 0 <= i < len(self.words) else ""

    def bare(self, i: int) -> str:
        """The word without a possessive ending."""
        word = self.at(i)
        return word[:-2] if word.endswith("'s") else word

    def capital(self, i: int) -> bool:
        return self.text[self.begins[i]].isupper()

    def closes(self, i: int) -> bool:
        """Whether a name that ends before this token can stand alone: the sentence or clause goes on after it."""
        word = self.at(i)
        return not word or not word[0].isalpha() or word in _FOLLOWS or word in DAY_PARTS

    def lean(self, i: int) -> int:
        """The tense around a token: -1 past, +1 future, 0 no hint."""
        near = self.words[max(0, i - 12) : i + 12]
        past = any(word in _PAST_WORDS or (len(word) > 4 and word.endswith("ed")) for word in near)
        future = any(word in _FUTURE_WORDS for word in near)
        return future - past

    def read(self, i: int) -> _Found | None:
        """The longest expression that begins at this token."""
        for rule in self.rules:
            try:
                found = rule(i)
            except (ValueError, OverflowError):
                continue
            if found is not None:
                return found
        return None

    def time(self, i: int) -> _Found | None:
        """An expression inside another one."""
        if self.at(i) in ("the", "a", "an") or self.at(i) in _STARTS or self.at(i)[:1].isdigit():
            if self.depth == MAX_DEPTH:
                return None
            self.depth += 1
            try:
                for rule in (self.beside_time, self.part, self.nth, self.atom):
                    found = rule(i)
                    if found is not None:
                        return found
            finally:
                self.depth -= 1
        return None

    # ranges and open ends

    def between(self, i: int) -> _Found | None:
        """ "between May and July", "from 3 to 9 May", "from last Monday to yesterday"."""
        joins = {"between": ("and",), "from": ("to", "until", "till", "through", "-", "–")}.get(self.at(i))
        if joins is None:
            return None
        left_day = self.day_number(i + 1)
        if left_day and self.at(left_day[1]) in joins:
            right = self.date(left_day[1] + 1)
            if right and right.month and right.day:
                return self.date_range(right._replace(day=left_day[0]), right, right.next)
        left = self.date(i + 1)
        if left and self.at(left.next) in joins:
            right = self.date(left.next + 1)
            if right:
                return self.date_range(left, right, right.next)
            number = self.day_number(left.next + 1)
            if number and left.day:
                return self.date_range(left, left._replace(day=number[0]), number[1])
        start = self.time(i + 1)
        if start and start.span and self.at(start.next) in joins:
            end = self.time(start.next + 1)
            if end and end.span:
                if end.span[1] <= start.span[0] and self.at(i + 1) in _WEEKDAY:
                    return _Found((start.span[0], shift(end.span[1], days=7)), end.next)
                return _Found((start.span[0], end.span[1]), end.next)
        return None

    def date_range(self, left: _Date, right: _Date, next_: int) -> _Found | None:
        """From the beginning of one date to the end of the other; each lends the other the year it lacks."""
        if left.year is None and right.year is not None:
            left = left._replace(year=right.year)
            if left.month and right.month and left.month > right.month:
                left = left._replace(year=right.year - 1)
        if right.year is None and left.year is not None:
            wraps = left.month and right.month and right.month < left.month
            right = right._replace(year=left.year + bool(wraps))
        first = self.resolved(left, next_)
        if first is None:
            return _Found(None, next_)
        if right.year is None:
            year = first[0].year
            wraps = left.month and right.month and (right.month, right.day or 31) < (left.month, left.day or 0)
            right = right._replace(year=year + bool(wraps))
        last = self.resolved(right, next_)
        return _Found((first[0], last[1]) if last else None, next_)

    def open_ended(self, i: int) -> _Found | None:
        """ "since March" up to the reference; "before June" and "after 3 May" without an end."""
        word = self.at(i)
        if word not in ("since", "before", "after"):
            return None
        found = self.time(i + 1)
        if found is None:
            return None
        if found.span is None:
            return found
        start, end = found.span
        if word == "before":
            return _Found((FIRST, start), found.next)
        if word == "after":
            return _Found((end, LAST), found.next)
        if start >= self.now:
            return _Found(None, found.next)
        return _Found((start, self.now), found.next)

    # one time beside, in or of another

    def beside_time(self, i: int) -> _Found | None:
        """ "the week before 12 June", "two days after Christmas", "the day before yesterday", "the week of 5 June"."""
        head = self.shape(i)
        if head is None:
            return None
        unit, fewest, most, relation, j = head
        if relation == "before" and self.at(j) == "last" and not most:
            span = self.determined("last", unit, j)
            return _Found(beside(span, unit, False), j + 1) if span else None
        found = self.time(j)
        if found is None or (relation == "of" and most):
            return None
        if found.span is None:
            return found
        if relation == "of" and unit in SEASONS:
            return _Found(season_span(unit, found.span[0].year), found.next)
        if relation == "of" and unit not in DAY_PARTS and found.span[1] - found.span[0] > 8 * DAY:
            return found if unit in ("month", "year") else None
        return _Found(_related(found.span, relation, unit, fewest, most), found.next)

    def shape(self, i: int) -> tuple[str, int, int, Literal["before", "after", "since", "during", "of"], int] | None:
        """ "the week before", "two days after", "a month since": unit, fewest, most, relation, next token."""
        fewest = most = 0
        j = i
        if self.at(i) == "the" or (self.at(i) in _WEEKDAY and self.at(i + 1) in _RELATIONS):
            j = i + (self.at(i) == "the")
        elif (number := self.number(i)) is not None:
            fewest, most, j = number
        elif self.at(i) not in DAY_PARTS and self.at(i) not in SEASONS:
            return None
        word = self.at(j)
        unit = _UNITS.get(word) or (word if word in DAY_PARTS or word in SEASONS else "")
        if not unit and word in _WEEKDAY and (word in WEEKDAYS or self.capital(j)):
            unit = _WEEKDAY_NAMES[_WEEKDAY[word]]
        if not unit or (unit in DAY_PARTS and most > 1) or unit in ("minute", "hour", "century"):
            return None
        if unit in DAY_PARTS or unit in SEASONS:
            fewest = most = 0
        relation = _RELATIONS.get(self.at(j + 1))
        if self.at(j + 1) == "prior" and self.at(j + 2) == "to":
            return unit, fewest, most, "before", j + 3
        if self.at(j + 1) == "from" and most:
            relation = "after"
        if relation is None or relation in ("since", "during"):
            return None
        return unit, fewest, most, relation, j + 2

    def part(self, i: int) -> _Found | None:
        """ "early June", "mid-June", "the end of March", "later this month", "the second half of 2022"."""
        j = i + (self.at(i) == "the")
        word = self.at(j)
        if word in ("earlier", "later") and self.at(j + 1) in ("this", "today"):
            found = self.time(j + 1)
            if found is None or found.span is None or not found.span[0] <= self.now < found.span[1]:
                return None
            start, end = found.span
            return _Found((start, max(self.today, start + DAY)) if word == "earlier" and end - start > DAY else
                          (start, self.now) if word == "earlier" else (self.now, end), found.next)  # fmt: skip
        half = word in ("first", "second") and self.at(j + 1) == "half"
        if half:
            j += 1
        if word in _PARTS:
            k = j + 1 + (self.at(j + 1) in ("-", "in", "on"))
        elif (word in _PARTS_OF or half) and self.at(j + 1) == "of":
            k = j + 2
        else:
            return None
        found = self.whole(k)
        if found is None or found.span is None:
            return found
        if half:
            start, end = found.span
            months = (end.year - start.year) * 12 + end.month - start.month
            middle = shift(start, months=months // 2) if months > 1 else start + (end - start).days // 2 * DAY
            return _Found((start, middle) if word == "first" else (middle, end), found.next)
        return _Found(third(found.span, _PARTS[word] if word in _PARTS else _PARTS_OF[word]), found.next)

    def whole(self, i: int) -> _Found | None:
        """The time that a part is taken of; "the month" is this month."""
        if self.at(i) in ("the", "this") and (unit := _UNITS.get(self.bare(i + 1))):
            if self.at(i + 2) in _RELATIONS or unit in ("day", "hour", "minute"):
                return None
            return _Found(unit_span(self.now, unit), i + 2)
        if self.at(i) == "the" and self.at(i + 1) in SEASONS:
            return self.season(i + 1, "")
        return self.time(i)

    def nth(self, i: int) -> _Found | None:
        """ "the first week of June", "the last Friday in May", "the first three months of 2023", "the 19th century"."""
        j = i + (self.at(i) == "the")
        word = self.at(j)
        ordinal = self.ordinal(j)
        if ordinal is None and word == "last" and self.at(j + 1) in ("-", "–"):
            return None
        rank, j = ordinal if ordinal else (-1, j + 1) if word == "last" else (0, j)
        if not rank:
            return None
        if self.at(j) == "century" and rank > 1:
            return _Found(years_from(100 * rank - 99, 100), j + 1)
        if self.at(j) == "of" and rank > 0 and self.at(j + 1) in ("this", "last", "next", "the"):
            month = self.determined(self.at(j + 1).replace("the", "this"), "month", j + 1)
            if self.at(j + 2) == "month" and month:
                return self.day_of(month, rank, j + 3)
        count = 1
        if abs(rank) == 1 and (number := self.number(j)) is not None and self.at(j) not in ("a", "an"):
            count, j = number[1], number[2]
        name = self.at(j)
        unit = _UNITS.get(name)
        if (unit is None and name not in WEEKDAYS) or self.at(j + 1) not in ("of", "in"):
            return None
        found = self.whole(j + 2)
        if found is None or found.span is None:
            return found
        return self.nth_of(found, unit, name, rank, count)

    def nth_of(self, found: _Found, unit: str | None, name: str, rank: int, count: int) -> _Found | None:
        assert found.span is not None
        start, end = found.span
        if unit is None or unit == "weekend":
            weekday = 5 if unit else WEEKDAYS[name]
            days = 2 if unit else 1
            if rank > 0:
                first = weekday_after(start - DAY, weekday) + (rank - 1) * 7 * DAY
            else:
                first = weekday_before(end - (days - 1) * DAY if unit else end, weekday)
            span = stretch(first, days=days)
        else:
            step = {"day": 1, "week": 7, "fortnight": 14}.get(unit)
            months = {"month": 1, "quarter": 3, "year": 12}.get(unit)
            if step:
                begin = start + (rank - 1) * step * DAY if rank > 0 else end - count * step * DAY
                span = stretch(begin, days=step * count)
            elif months:
                begin = shift(start, months=(rank - 1) * months) if rank > 0 else shift(end, months=-count * months)
                span = stretch(begin, months=months * count)
            else:
                return None
        if span[0] < start or span[0] >= end or (span[1] > end and unit != "weekend" and end != LAST):
            return _Found(None, found.next) if end - start > 8 * DAY else None
        return _Found(span, found.next)

    def day_of(self, month: Stretch, day: int, next_: int) -> _Found:
        try:
            return _Found(stretch(month[0].replace(day=day), days=1), next_)
        except ValueError:
            return _Found(None, next_)

    # single times

    def atom(self, i: int) -> _Found | None:
        """One time without another inside it, and a part of the day after it: "last Friday night"."""
        for rule in (self.named_day, self.told, self.counted, self.dated, self.weekday, self.season_or_holiday):
            found = rule(i)
            if found is not None:
                return self.tail(found)
        return None

    def tail(self, found: _Found) -> _Found:
        """Narrow a day by "morning" and a week by "on Friday" where they follow."""
        if found.span is None:
            return found
        start, end = found.span
        j = found.next
        if end - start == 7 * DAY and start.weekday() == 0:
            k = j + (self.at(j) == "on")
            if self.at(k) in WEEKDAYS and k > j:
                day = start + WEEKDAYS[self.at(k)] * DAY
                return self.tail(_Found(stretch(day, days=1), k + 1))
        if end - start == DAY and not start.hour:
            part = self.at(j)
            if part in DAY_PARTS:
                return _Found(day_part(start, part), j + 1)
            if part == "at" and self.at(j + 1) == "night":
                return _Found(day_part(start, "night"), j + 2)
        return found

    def named_day(self, i: int) -> _Found | None:
        """Today, yesterday, tomorrow, tonight; "the other day"."""
        word = self.bare(i)
        if word in _TODAY:
            day = shift(self.today, days=_TODAY[word])
            return _Found(day_part(day, "night") if word == "tonight" else stretch(day, days=1), i + 1)
        if word == "the" and self.at(i + 1) == "other" and self.at(i + 2) in ("day", "night", "evening", "morning"):
            return _Found((shift(self.today, days=-7), self.today), i + 3)
        return None

    def told(self, i: int) -> _Found | None:
        """ "last week", "this morning", "next Friday", "the past two weeks", "this coming weekend", "the weekend"."""
        j = i
        article = self.at(j) == "the"
        j += article
        which = self.at(j)
        if article and which == "weekend" and self.closes(j + 1):
            return _Found(self.nearby_week("weekend", i), j + 1)
        if which == "weekend" and self.at(i - 1) in ("over", "at", "on", "for", "during") and self.closes(j + 1):
            return _Found(self.nearby_week("weekend", i), j + 1)
        if which == "this" and self.at(j + 1) in ("past", "last", "coming", "upcoming"):
            j, article = j + 1, True
            which = self.at(j)
        if which not in ("last", "next", "this", "past", "coming", "previous", "upcoming"):
            return None
        j += 1
        number = self.number(j) if self.at(j) not in ("a", "an") else None
        if number is not None and which != "this":
            unit = _UNITS.get(self.bare(number[2]))
            if unit is None or unit in ("weekend", "century"):
                return None
            return _Found(self.rolling(which, unit, number[1]), number[2] + 1)
        name = self.bare(j)
        if article and name in _UNITS and name != "weekend":
            if name in ("day", "minute", "hour") or name.endswith("s") or self.at(j + 1) in ("of", "before", "after"):
                return None
            return _Found(self.rolling(which, _UNITS[name], 1), j + 1)
        if which == "past" and name not in _UNITS and not article:
            return None
        word = {"past": "last", "previous": "last", "coming": "next", "upcoming": "next"}.get(which, which)
        if name in HOLIDAYS or name in _HOLIDAY_STARTS:
            found = self.holiday(j, word)
            if found is not None:
                return found
        if name in SEASONS:
            return self.season(j, word)
        if name in _SHORT_DAYS and name in _VERBS and not self.capital(j):
            return None
        if name in ("may", "march", "mar", "sun") and word == "this" and not self.capital(j):
            return None
        if which in ("coming", "upcoming") and name == "weekend":
            return _Found(unit_span(self.now, "weekend", self.now.weekday() >= 5), j + 1)
        span = self.determined(word, name, j)
        return _Found(span, j + 1) if span else None

    def rolling(self, which: str, unit: str, count: int) -> Stretch:
        """ "the past two weeks": so many units up to and with today; "the next three days": from tomorrow on."""
        factor = {"fortnight": (14, "days"), "quarter": (3, "months"), "decade": (10, "years")}
        times, name = factor.get(unit, (1, unit + "s"))
        if unit in ("hour", "minute"):
            length = timedelta(**{name: count})
            return (self.now - length, self.now) if which in ("last", "past", "previous") else (
                self.now, self.now + length)  # fmt: skip
        tomorrow = shift(self.today, days=1)
        if which in ("last", "past", "previous"):
            return shift(self.today, **{name: -count * times}), tomorrow
        return tomorrow, shift(tomorrow, **{name: count * times})

    def determined(self, which: str, name: str, i: int) -> Stretch | None:
        """The last, this or next one of a unit, weekday, month or part of the day."""
        offset = {"last": -1, "this": 0, "next": 1}.get(which)
        if offset is None:
            return None
        if name in DAY_PARTS:
            if which == "last" and name in ("night", "evening"):
                return day_part(shift(self.today, days=-1), name)
            if which == "this" and name != "night":
                return day_part(self.today, name)
            return None
        if name in _WEEKDAY:
            weekday = _WEEKDAY[name]
            if which == "last":
                return stretch(weekday_before(self.today, weekday), days=1)
            if which == "next":
                return stretch(weekday_after(self.today, weekday), days=1)
            day = unit_span(self.now, "week")[0] + weekday * DAY
            if day < self.today and self.lean(i) >= 0:
                day = shift(day, days=7)
            return stretch(day, days=1)
        if name in _MONTH:
            month = _MONTH[name]
            return self.yearly(lambda year: month_span(year, month), which, i)
        unit = _UNITS.get(name)
        if unit is None or name.endswith("s") or unit in ("minute", "hour", "day"):
            return None
        return unit_span(self.now, unit, offset)

    def yearly(self, make: Callable[[int], Stretch], which: str, i: int) -> Stretch | None:
        """The occurrence of something yearly that is meant: the last, this year's, the next, or the likeliest."""
        spans: list[Stretch] = []
        for reach in ((-2, -1, 0, 1), (-8, -4, -3, 2, 3, 4, 8)):  # the second for 29 February
            for offset in reach:
                with suppress(ValueError, OverflowError):
                    spans.append(make(self.now.year + offset))
            if len(spans) > 2:
                break
        return self.likeliest(sorted(spans), which, i)

    def likeliest(self, spans: list[Stretch], which: str, i: int) -> Stretch | None:
        past = [span for span in spans if span[1] <= self.today]
        future = [span for span in spans if span[0] > self.today]
        now = [span for span in spans if span[0] <= self.today < span[1]]
        if which == "last":
            return past[-1] if past else None
        if which == "next":
            return future[0] if future else None
        lean = self.lean(i)
        if now and (which == "this" or lean == 0 or now[0][1] - now[0][0] > DAY):
            return now[0]
        if which == "this":
            same = [span for span in spans if span[0].year == self.now.year]
            return same[0] if same else None
        if not past or not future:
            return next(iter(future[:1] or past[-1:] or now), None)
        if lean:
            return past[-1] if lean < 0 else future[0]
        ahead, behind = future[0][0] - self.today, self.today - past[-1][1]
        return future[0] if ahead * 3 < behind else past[-1]

    def nearby_week(self, unit: str, i: int, weekday: int = 0) -> Stretch:
        """The weekend or weekday that is meant when only its name is said."""
        spans = []
        for offset in (-2, -1, 0, 1, 2):
            try:
                if unit == "weekend":
                    spans.append(unit_span(self.now, unit, offset))
                else:
                    spans.append(stretch(shift(unit_span(self.now, "week", offset)[0], days=weekday), days=1))
            except (ValueError, OverflowError):
                continue
        chosen = self.likeliest(spans, "", i)
        if chosen is None:
            raise ValueError("no such week")
        return chosen

    def counted(self, i: int) -> _Found | None:
        """ "two weeks ago", "a few days ago", "in three days", "two days from now"."""
        ahead = self.at(i) == "in"
        number = self.number(i + ahead)
        if number is None:
            return None
        fewest, most, j = number
        unit = _UNITS.get(self.at(j).rstrip("'"))
        if unit is None and self.at(j).removesuffix("s") in WEEKDAYS:
            weekday = WEEKDAYS[self.at(j).removesuffix("s")]
            if self.at(j + 1) != "ago" or ahead:
                return None
            day = weekday_before(self.today, weekday)
            return _Found((shift(day, days=-7 * (most - 1)), shift(day, days=1 - 7 * (fewest - 1))), j + 2)
        if unit is None or unit == "century":
            return None
        j += 1
        if self.at(j) == "or" and self.at(j + 1) in ("so", "two", "more"):
            most = max(most, 2) if self.at(j + 1) == "two" else most
            j += 2
        if ahead:
            j += self.at(j) == "time"
            if unit in ("minute", "hour") or self.at(j) in ("ago", "before") or not self.closes(j) or self.negated(i):
                return None
            return _Found(away(self.now, fewest, most, unit, 1), j)
        if self.at(j) in ("ago", "back") and (self.at(j) == "ago" or self.closes(j + 1)):
            if unit in ("minute", "hour"):
                return _Found(self.hours_ago(fewest, most, unit), j + 1)
            return _Found(away(self.now, fewest, most, unit, -1), j + 1)
        if self.at(j) == "from" and self.at(j + 1) == "now":
            return _Found(away(self.now, fewest, most, unit, 1), j + 2)
        return None

    def hours_ago(self, fewest: int, most: int, unit: str) -> Stretch:
        """Elapsed hours are counted in UTC, so that a change of the clock between does not matter."""
        early, late = (timedelta(**{unit + "s": count}) for count in (most, fewest))
        if self.reference.tzinfo is None:
            moments = [self.now - early, self.now - late]
        else:
            utc = self.reference.astimezone(UTC)
            moments = [(utc - back).astimezone(self.reference.tzinfo).replace(tzinfo=None) for back in (early, late)]
        return unit_span(moments[0], unit)[0], unit_span(moments[1], unit)[1]

    def negated(self, i: int) -> bool:
        """ "the first time in two years" and "have not met in two years" look back over a time, not ahead."""
        near = self.words[max(0, i - 8) : i]
        return any(word in ("first", "once", "twice", "never", "not", "times") or word.endswith("n't") for word in near)

    def dated(self, i: int) -> _Found | None:
        """A date, and a second one after "to" or a dash: "12-18 June 2023", "May to July 2022"."""
        token = _RANGE.match(self.at(i))
        if token and self.at(i + 1) in _MONTH:
            right = self.date_from(int(token[2]), i + 1)
            if right and right.month:
                return self.date_range(right._replace(day=int(token[1])), right, right.next)
        if token and len(token[1]) == 4 == len(token[2]) and self.at(i - 1) in _LEADS | {"the"}:
            first, last = int(token[1]), int(token[2])
            return _Found((years_from(first)[0], years_from(last)[1]), i + 1) if 0 < first <= last else None
        date = self.date(i)
        if date is None:
            return self.the_day(i)
        left, j = date, date.next
        if left.month and self.at(j) in ("to", "-", "–", "through", "until"):
            other = self.date(j + 1)
            if other is not None and other.month and bool(other.day) == bool(left.day):
                return self.date_range(left, other, other.next)
            number = self.day_number(j + 1)
            if left.day and number and number[0] > left.day and not _UNITS.get(self.at(number[1])):
                year = self.year(number[1])
                if year:
                    left = left._replace(year=year[0])
                return self.date_range(left, left._replace(day=number[0]), year[1] if year else number[1])
        return _Found(self.resolved(left, i), left.next)

    def resolved(self, date: _Date, i: int) -> Stretch | None:
        """The stretch of a date; None where there is none, such as 31 February or year 0."""
        year, month, day = date.year, date.month, date.day

        def make(year: int) -> Stretch:
            if month is None:
                return years_from(year, date.years)
            return stretch(datetime(year, month, day), days=1) if day else month_span(year, month)

        try:
            return make(year) if year is not None else self.yearly(make, "", i)
        except (ValueError, OverflowError):
            return None

    def date(self, i: int) -> _Date | None:
        """A written date: "7 May 2023", "May 7th", "2023-05-07", "Friday, 5 June", "May 2022", "2022", "the 1990s"."""
        word = self.at(i)
        if word in _WEEKDAY:
            j = i + 1
            while self.at(j) in (",", ".", "the") and j < i + 3:
                j += 1
            if self.at(j) in _WEEKDAY or not (j > i + 1 or word in WEEKDAYS or self.capital(i)):
                return None
            date = self.date(j)
            return date if date and date.day else None
        j = i + (word == "the")
        word = self.at(j)
        if word in _MONTH:
            return self.date_by_month(j)
        number = self.day_number(j)
        if number:
            k = number[1] + (self.at(number[1]) == "of")
            if self.at(k) in _MONTH and (k > number[1] or not self.shy(k) or self.anchored(i, k + 1)):
                return self.date_from(number[0], k)
        if word[:1].isdigit() or word in _DECADES:
            return self.numeric(j) or self.years(i, j)
        if word == "year" and (year := self.year(j + 1)):
            return _Date(year[0], None, None, year[1])
        return None

    def shy(self, i: int) -> bool:
        """Whether a month's name may be a verb here: "may" and "march" without a capital."""
        return self.at(i) in ("may", "march") and not self.capital(i)

    def anchored(self, i: int, j: int) -> bool:
        return self.at(i - 1) in _LOW_LEADS | {"on", "of", "the"} or self.closes(j) or self.year(j) is not None

    def date_from(self, day: int, i: int) -> _Date:
        """A date whose day was read before the month at this token."""
        month = _MONTH[self.at(i)]
        j = i + 1 + (self.at(i + 1) == "." and self.at(i) in _SHORT_MONTHS)
        year = self.year_after(j)
        return _Date(year[0], month, day, year[1]) if year else _Date(None, month, day, i + 1)

    def date_by_month(self, i: int) -> _Date | None:
        """A date that begins with the month, or a month alone."""
        word = self.at(i)
        month = _MONTH[word]
        j = i + 1
        if self.at(j) == "." and (word in _SHORT_MONTHS or self.stops[j] == self.begins[j + 1 : j + 2][-1:][0]
                                  if j + 1 < len(self.words) else False):  # fmt: skip
            j += 1
        year = self.year_after(j)
        if year:
            return _Date(year[0], month, None, year[1])
        k = j + (self.at(j) == "the")
        token = _RANGE.match(self.at(k))
        day = self.day_number(k)
        if day and (self.at(day[1]) not in ("am", "pm", "percent") and _UNITS.get(self.at(day[1])) is None) and (
            not self.shy(i) or self.anchored(i, day[1]) or self.at(k)[-1:].isalpha()
        ):  # fmt: skip
            year = self.year_after(day[1])
            return _Date(year[0], month, day[0], year[1]) if year else _Date(None, month, day[0], day[1])
        if token and int(token[1]) <= 31 and not self.shy(i):
            return None
        before = self.at(i - 1)
        joined = before in ("and", "or", "to", "-", "–", ",") and (
            self.at(i - 2) in _MONTH or self.at(i - 2)[-4:].isdigit() or self.at(i - 2) in ("early", "mid", "late")
        )
        if self.shy(i):
            plain = (before in _LOW_LEADS or joined) and self.closes(i + 1) and (before, word) != ("that", "may")
        else:
            plain = word in _PLAIN_MONTHS or before in _LEADS or joined
        return _Date(None, month, None, i + 1) if plain else None

    def year(self, i: int) -> tuple[int, int] | None:
        """A year of four digits and the next token."""
        word = self.at(i)
        return (int(word), i + 1) if len(word) == 4 and word.isascii() and word.isdigit() else None

    def year_after(self, i: int) -> tuple[int, int] | None:
        """The year that follows a month or day: "2022", ", 2022", "of 2022", "last year"."""
        j = i + (self.at(i) in (",", "of", "in"))
        year = self.year(j)
        if year:
            return year
        if self.at(j) in ("last", "this", "next") and self.at(j + 1) == "year" and self.at(i) != ",":
            return self.now.year + {"last": -1, "this": 0, "next": 1}[self.at(j)], j + 2
        return None

    def years(self, i: int, j: int) -> _Date | None:
        """A year after a word that makes it one ("in 2022"), a decade, a century's decade name."""
        word = self.at(j)
        before = self.at(i - 1)
        the = j > i
        if word in _DECADES:
            return _Date(_DECADES[word], None, None, j + 1, 10) if the else None
        decade = _DECADE_TOKEN.match(word)
        if decade:
            if decade[1]:
                year = int(decade[1]) * 10
                return _Date(year, None, None, j + 1, 100 if year % 100 == 0 and year != 2000 else 10)
            return _Date(1900 + int(decade[2]) * 10, None, None, j + 1, 10) if the and int(decade[2]) >= 3 else None
        year_token = self.year(j)
        if not year_token or not 1000 <= year_token[0] < 3000 or the:
            return None
        joined = before in ("and", "or", "to", "-", "–") and self.year(i - 2) is not None
        if before not in _LEADS | {"back"} and not joined:
            return None
        after = self.at(j + 1)
        if year_token[0] % 10 == 0 and len(after) > 3 and after.endswith("s") and after not in _FOLLOWS:
            return None  # "in 2000 cases"
        return None if after in ("%", "/") else _Date(year_token[0], None, None, j + 1)

    def numeric(self, i: int) -> _Date | None:
        """ "2023-05-07", "05/07/2023", "7.5.2023", "2023-05", "05/2023"; "7/22" after "on" or "the"."""
        word = self.at(i)
        if "t" in word or ":" in word:  # 2023-05-07T14:30
            word = re.split("[t:]", word, maxsplit=1)[0]
        match = _NUMERIC.match(word)
        if match is None:
            return None
        a, sign, b, c = match[1], match[2], match[3], match[4]
        if c is None:
            if len(a) == 4 and len(b) == 2 and sign != ".":
                return _Date(int(a), int(b), None, i + 1) if 1 <= int(b) <= 12 else None
            if sign != "/" or len(a) > 2:
                return None
            month, day = self.ordered(int(a), int(b), self.day_first)
            clear = max(int(a), int(b)) > 12 and self.at(i - 1) == "the"
            if self.at(i - 1) not in ("on", "since", "by", "until", "before", "after") and not clear:
                return None
            return _Date(None, month, day, i + 1) if month else None
        if len(a) == 4:
            year, month, day = int(a), int(b), int(c)
        elif len(a) <= 2 and len(c) in (2, 4):
            month, day = self.ordered(int(a), int(b), self.day_first or sign == ".")
            year = int(c)
            if len(c) == 2:
                if sign == ".":
                    return None
                year += (self.now.year - 50 - year + 99) // 100 * 100
        else:
            return None
        return _Date(year, month, day, i + 1) if 1 <= month <= 12 and 1 <= day <= 31 else None

    @staticmethod
    def ordered(a: int, b: int, day_first: bool) -> tuple[int, int]:
        """Month and day of two numbers; (0, 0) if they are none."""
        month, day = (b, a) if (day_first and b <= 12) or a > 12 else (a, b)
        return (month, day) if 1 <= month <= 12 and 1 <= day <= 31 else (0, 0)

    def the_day(self, i: int) -> _Found | None:
        """ "on the 17th": the nearest month that has such a day and fits the tense."""
        if self.at(i) != "the" or self.at(i - 1) not in ("on", "by", "since", "until", "before", "after", "from"):
            return None
        token = _ORDINAL_TOKEN.match(self.at(i + 1))
        if token is None or not self.closes(i + 2):
            return None
        day = int(token[1])
        spans = []
        for offset in range(-3, 4):
            try:
                month = unit_span(self.now, "month", offset)[0]
                spans.append(stretch(month.replace(day=day), days=1))
            except (ValueError, OverflowError):
                continue
        span = self.likeliest(spans, "", i)
        return _Found(span, i + 2) if span else None

    def weekday(self, i: int) -> _Found | None:
        """A weekday's name alone: "on Friday"; "Sundays", "every Sunday" and "my Sunday ride" are no dates."""
        word = self.bare(i)
        before = self.at(i - 1)
        if word not in _WEEKDAY or before in _LEADING_NOT:
            return None
        if self.at(i + 1) in ("mornings", "afternoons", "evenings", "nights"):
            return None
        if word in _SHORT_DAYS and not (
            self.capital(i) and before in ("on", "by", "until", "since", "from", "and", "or", "before", "after")
        ):
            return None
        j = i + 1
        week = j + (self.at(j) in ("of", "in"))
        if self.at(week) in ("last", "this", "next") and self.at(week + 1) == "week":
            span = self.determined(self.at(week), "week", i)
            return _Found(stretch(span[0] + _WEEKDAY[word] * DAY, days=1), week + 2) if span else None
        return _Found(self.nearby_week("weekday", i, _WEEKDAY[word]), j)

    def season_or_holiday(self, i: int) -> _Found | None:
        word = self.bare(i)
        the = self.at(i) == "the"
        j = i + the
        if self.at(j) in SEASONS:
            if self.year_after(j + 1):
                return self.season(j, "")
            lead = self.at(i - 1) in ("in", "during", "over", "since", "until", "before", "after", "by", "throughout")
            strong = lead and self.closes(j + 1) and (the or self.at(j) not in ("fall", "spring") or
                                                      self.at(i - 1) in ("in", "since", "during", "until"))  # fmt: skip
            return self.season(j, "") if strong or (lead and the) or self.at(i - 1) in _PARTS else None
        if word in _HOLIDAY_STARTS:
            return self.holiday(i, "")
        return None

    def season(self, i: int, which: str) -> _Found | None:
        """A season, with its year if one follows."""
        name = self.bare(i)
        year = self.year_after(i + 1) if not which else None
        if year:
            try:
                return _Found(season_span(name, year[0]), year[1])
            except (ValueError, OverflowError):
                return _Found(None, year[1])
        span = self.yearly(lambda year: season_span(name, year), which, i)
        return _Found(span, i + 1) if span else None

    def holiday(self, i: int, which: str) -> _Found | None:
        """A holiday by name, with its year if one follows; "Christmas tree" is none."""
        for names, make in _HOLIDAY_STARTS[self.bare(i) if self.bare(i) in _HOLIDAY_STARTS else self.at(i)]:
            if all(self.at(i + k).replace("'", "") == name or (self.bare(i + k) == name and k == len(names) - 1)
                   for k, name in enumerate(names)):  # fmt: skip
                j = i + len(names)
                year = self.year_after(j) if not which else None
                if year:
                    try:
                        return _Found(make(year[0]), year[1])
                    except (ValueError, OverflowError):
                        return _Found(None, year[1])
                if (not which and not self.closes(j)) or self.at(i - 1) in _LEADING_NOT:
                    return None
                if names[0] in ("new", "april", "may", "good", "black", "earth") and not self.capital(i):
                    return None
                span = self.yearly(make, which, i)
                return _Found(span, j) if span else None
        return None

    # numbers

    def number(self, i: int) -> tuple[int, int, int] | None:
        """ "two", "a", "a couple of", "2-3", "two or three": fewest, most, next token."""
        word = self.at(i)
        if word in ("a", "an"):
            return self.number(i + 1) if self.at(i + 1) in _VAGUE else (1, 1, i + 1)
        if word in _VAGUE:
            return (*_VAGUE[word], i + 1 + (self.at(i + 1) == "of"))
        value = _NUMBERS.get(word)
        if value is None and word.isascii() and word.isdigit() and len(word) <= 9:
            value = int(word)
        if value is None:
            token = _RANGE.match(word)
            if token and int(token[1]) < int(token[2]):
                return int(token[1]), int(token[2]), i + 1
            return None
        if value in (20, 30, 40, 50, 60) and word in _NUMBERS:
            j = i + 1 + (self.at(i + 1) == "-")
            if _NUMBERS.get(self.at(j), 99) < 10:
                return value + _NUMBERS[self.at(j)], value + _NUMBERS[self.at(j)], j + 1
        if self.at(i + 1) in ("or", "to", "-", "–"):
            other = _NUMBERS.get(self.at(i + 2)) or (int(self.at(i + 2)) if self.at(i + 2).isdecimal()
                                                    and len(self.at(i + 2)) < 4 else 0)  # fmt: skip
            if other > value:
                return value, other, i + 3
        return (value, value, i + 1) if value > 0 else None

    def ordinal(self, i: int) -> tuple[int, int] | None:
        """ "first", "3rd", "twenty-first" and the next token."""
        word = self.at(i)
        if word in _ORDINALS:
            return _ORDINALS[word], i + 1
        token = _ORDINAL_TOKEN.match(word)
        if token:
            return int(token[1]), i + 1
        if word in ("twenty", "thirty") and self.at(i + 1) == "-" and _ORDINALS.get(self.at(i + 2), 99) < 10:
            return _NUMBERS[word] + _ORDINALS[self.at(i + 2)], i + 3
        return None

    def day_number(self, i: int) -> tuple[int, int] | None:
        """A day of the month, in digits or as an ordinal, and the next token."""
        ordinal = self.ordinal(i)
        if ordinal:
            return ordinal
        token = _DAY_TOKEN.match(self.at(i))
        return (int(token[1]), i + 1) if token else None

    # events

    def event(self, i: int) -> tuple[EventTime, int] | None:
        """ "the week before the wedding": the expression that begins at this token, and the token after it."""
        head = self.shape(i)
        if head:
            unit, fewest, most, relation, j = head
            if relation == "of" and (most or unit in SEASONS or unit in ("month", "year", "decade")):
                return None
        else:
            found = _RELATIONS.get(self.at(i))
            if found is None or found == "of" or self.at(i) == "following":
                return None
            unit, fewest, most, relation, j = "", 0, 0, found, i + 1
        try:
            if self.time(j) is not None or (self.at(j) == "last" and relation == "before"):
                return None
        except (ValueError, OverflowError):
            return None
        stop = self.event_stop(j, bool(unit))
        if stop is None:
            return None
        begin, end = self.begins[i], self.stops[stop - 1]
        event = self.text[self.begins[j] : end]
        return EventTime(event, relation, unit, fewest, most, self.text[begin:end], begin, end), stop

    def event_stop(self, i: int, shaped: bool) -> int | None:
        """The token after the words for an event, which begin at this one; None if they name none."""
        first = self.at(i)
        clause = first in _SUBJECTS
        quoted = first in ('"', "“") or (i < len(self.words) and self.text[self.begins[i] - 1] in "'‘\"“")
        noun = first in _DETERMINERS or first.endswith("'s") or quoted
        if not (clause or noun or (shaped and first and first[0].isalpha() and first not in _FOLLOWS)):
            return None
        j = i + 1
        while j < len(self.words) and j < i + 14:
            word = self.words[j]
            if word[0] in ".,:;!?()[]…—|" or word in _EVENT_ENDS or (not clause and word in _NOUN_ENDS):
                break
            j += 1
        while j > i and self.at(j - 1) in ('"', "“", "”", "-", "–", "/"):
            j -= 1
        return j if j > i + (first in _DETERMINERS or first == '"') else None


_DETERMINERS = _set("the my our his her their your that this a an")
_SUBJECTS = _set("we i he she they you it")
_EVENT_ENDS = _set("and but so because while which when")
_NOUN_ENDS = _SUBJECTS | _set(
    "did do does was were is are had has have will would could can should that who then where"
)
