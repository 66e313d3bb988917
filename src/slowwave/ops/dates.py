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

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from slowwave.ops.calendar import (
    DAY,
    DAY_PARTS,
    FIRST,
    LAST,
    SEASONS,
    WEEKDAYS,
    Stretch,
    TimeSpan,
    away,
    beside,
    day_part,
    describe,
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
from slowwave.ops.time_single import Single
from slowwave.ops.time_words import (
    DETERMINERS,
    DIGITS,
    EVENT_ENDS,
    FOLLOWS,
    NOUN_ENDS,
    PARTS,
    PARTS_OF,
    RELATIONS,
    SECOND,
    STARTS,
    SUBJECTS,
    TRIGGERS,
    UNIT_WORDS,
    WEEKDAY_NAMES,
    WEEKDAY_WORDS,
    WORD,
    Found,
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
    if TRIGGERS.isdisjoint(WORD.findall(text.lower())) and not DIGITS.search(text):
        return []
    reader = Reader(text, reference, day_first)
    spans: list[TimeSpan] = []
    i, count = 0, len(reader.words)
    while i < count:
        word = reader.bare(i)
        if word not in STARTS and reader.words[i] not in STARTS and not word[0].isdigit():
            i += 1
            continue
        second = SECOND.get(word)
        if second is not None and (next_ := reader.bare(i + 1)) not in second and not next_[:1].isdigit():
            i += 1
            continue
        found = reader.read(i)
        if found is None:
            i += 1
            continue
        if found.span and found.span[0] < found.span[1]:
            span = zoned(found.span, reference.tzinfo, text, reader.begins[i], reader.stops[found.next - 1])
            spans.append(span)
        i = max(found.next, i + 1)
    return spans


def find_event_times(text: str) -> list[EventTime]:
    """The expressions that tell a time by an event: "the week before the wedding", "since my trip to Rome".

    Where the words after "before" or "after" are themselves a time ("the week before 12 June"), `find_times` has it.
    """
    if RELATIONS.keys().isdisjoint(WORD.findall(text.lower())):
        return []
    reader = Reader(text, datetime(2000, 1, 1), False)
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
    found = related(span, event_time.relation, event_time.unit, event_time.fewest, event_time.most)
    start, end = found[0].replace(tzinfo=zone), found[1].replace(tzinfo=zone)
    return TimeSpan(start, end, event_time.text, event_time.begin, event_time.stop)


def related(span: Stretch, relation: str, unit: str, fewest: int, most: int) -> Stretch:
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


MAX_DEPTH = 3  # "the end of the first week of June" is two times inside another


class Reader(Single):
    """Reads times that hold others: ranges, open ends, parts, and what lies beside a date or an event."""

    def __init__(self, text: str, reference: datetime, day_first: bool = False) -> None:
        super().__init__(text, reference, day_first)
        self.depth = 0
        self.rules: tuple[Callable[[int], Found | None], ...] = (
            self.between,
            self.open_ended,
            self.beside_time,
            self.part,
            self.nth,
            self.atom,
        )

    def read(self, i: int) -> Found | None:
        """The longest expression that begins at this token."""
        for rule in self.rules:
            try:
                found = rule(i)
            except (ValueError, OverflowError):
                continue
            if found is not None:
                return found
        return None

    def time(self, i: int) -> Found | None:
        """An expression inside another one."""
        if self.at(i) in ("the", "a", "an") or self.at(i) in STARTS or self.at(i)[:1].isdigit():
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

    def between(self, i: int) -> Found | None:
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
                if end.span[1] <= start.span[0] and self.at(i + 1) in WEEKDAY_WORDS:
                    return Found((start.span[0], shift(end.span[1], days=7)), end.next)
                return Found((start.span[0], end.span[1]), end.next)
        return None

    def open_ended(self, i: int) -> Found | None:
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
            return Found((FIRST, start), found.next)
        if word == "after":
            return Found((end, LAST), found.next)
        if start >= self.now:
            return Found(None, found.next)
        return Found((start, self.now), found.next)

    def beside_time(self, i: int) -> Found | None:
        """ "the week before 12 June", "two days after Christmas", "the day before yesterday", "the week of 5 June"."""
        head = self.shape(i)
        if head is None:
            return None
        unit, fewest, most, relation, j = head
        if relation == "before" and self.at(j) == "last" and not most:
            span = self.determined("last", unit, j)
            return Found(beside(span, unit, False), j + 1) if span else None
        if unit == "day" and self.at(j) in ("yesterday", "tomorrow"):
            near = self.named_day(j)
            return (
                self.tail(Found(related(near.span, relation, unit, fewest, most), j + 1))
                if near and near.span
                else None
            )
        found = self.time(j)
        if found is None and self.at(i) not in WEEKDAY_WORDS and self.event_stop(j, True) is not None:
            return Found(None, j)  # "the weekend after our trip" is no weekend that could be told without the trip
        if found is None or (relation == "of" and most):
            return None
        if found.span is None:
            return found
        if relation == "of" and unit in SEASONS:
            return Found(season_span(unit, found.span[0].year), found.next)
        if relation == "of" and unit not in DAY_PARTS and found.span[1] - found.span[0] > 8 * DAY:
            return found if unit in ("month", "year") else None
        return Found(related(found.span, relation, unit, fewest, most), found.next)

    def shape(self, i: int) -> tuple[str, int, int, Literal["before", "after", "since", "during", "of"], int] | None:
        """ "the week before", "two days after", "a month since": unit, fewest, most, relation, next token."""
        fewest = most = 0
        j = i
        if self.at(i) == "the" or (self.at(i) in WEEKDAY_WORDS and self.at(i + 1) in RELATIONS):
            j = i + (self.at(i) == "the")
        elif (number := self.number(i)) is not None:
            fewest, most, j = number
        elif self.at(i) not in DAY_PARTS and self.at(i) not in SEASONS:
            return None
        word = self.at(j)
        unit = UNIT_WORDS.get(word) or (word if word in DAY_PARTS or word in SEASONS else "")
        if not unit and word in WEEKDAY_WORDS and (word in WEEKDAYS or self.capital(j)):
            unit = WEEKDAY_NAMES[WEEKDAY_WORDS[word]]
        if not unit or (unit in DAY_PARTS and most > 1) or unit in ("minute", "hour", "century"):
            return None
        if unit in DAY_PARTS or unit in SEASONS:
            fewest = most = 0
        relation = RELATIONS.get(self.at(j + 1))
        if self.at(j + 1) == "prior" and self.at(j + 2) == "to":
            return unit, fewest, most, "before", j + 3
        if self.at(j + 1) == "from" and most and self.at(j + 2) != "now":
            relation = "after"
        if relation is None or relation in ("since", "during"):
            return None
        return unit, fewest, most, relation, j + 2

    def part(self, i: int) -> Found | None:
        """ "early June", "mid-June", "the end of March", "later this month", "the second half of 2022"."""
        j = i + (self.at(i) == "the")
        word = self.at(j)
        if word in ("earlier", "later") and self.at(j + 1) in ("this", "today"):
            found = self.time(j + 1)
            if found is None or found.span is None or not found.span[0] <= self.now < found.span[1]:
                return None
            start, end = found.span
            return Found((start, max(self.today, start + DAY)) if word == "earlier" and end - start > DAY else
                          (start, self.now) if word == "earlier" else (self.now, end), found.next)  # fmt: skip
        half = word in ("first", "second") and self.at(j + 1) == "half"
        if half:
            j += 1
        if word in PARTS:
            k = j + 1 + (self.at(j + 1) in ("-", "in", "on"))
        elif (word in PARTS_OF or half) and self.at(j + 1) == "of":
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
            return Found((start, middle) if word == "first" else (middle, end), found.next)
        return Found(third(found.span, PARTS[word] if word in PARTS else PARTS_OF[word]), found.next)

    def whole(self, i: int) -> Found | None:
        """The time that a part is taken of; "the month" is this month."""
        if self.at(i) in ("the", "this") and (unit := UNIT_WORDS.get(self.bare(i + 1))):
            if self.at(i + 2) in RELATIONS or unit in ("day", "hour", "minute"):
                return None
            return Found(unit_span(self.now, unit), i + 2)
        if self.at(i) == "the" and self.at(i + 1) in SEASONS:
            return self.season(i + 1, "")
        return self.time(i)

    def nth(self, i: int) -> Found | None:
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
            return Found(years_from(100 * rank - 99, 100), j + 1)
        if self.at(j) == "of" and rank > 0 and self.at(j + 1) in ("this", "last", "next", "the"):
            month = self.determined(self.at(j + 1).replace("the", "this"), "month", j + 1)
            if self.at(j + 2) == "month" and month:
                return self.day_of(month, rank, j + 3)
        count = 1
        if abs(rank) == 1 and (number := self.number(j)) is not None and self.at(j) not in ("a", "an"):
            count, j = number[1], number[2]
        name = self.at(j)
        unit = UNIT_WORDS.get(name)
        if (unit is None and name not in WEEKDAYS) or self.at(j + 1) not in ("of", "in"):
            return None
        found = self.whole(j + 2)
        if found is None or found.span is None:
            return found
        return self.nth_of(found, unit, name, rank, count)

    def nth_of(self, found: Found, unit: str | None, name: str, rank: int, count: int) -> Found | None:
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
            return Found(None, found.next) if end - start > 8 * DAY else None
        return Found(span, found.next)

    def event(self, i: int) -> tuple[EventTime, int] | None:
        """ "the week before the wedding": the expression that begins at this token, and the token after it."""
        head = self.shape(i)
        if head:
            unit, fewest, most, relation, j = head
            if relation == "of" and (most or unit in SEASONS or unit in ("month", "year", "decade")):
                return None
        else:
            found = RELATIONS.get(self.at(i))
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
        if self.text[end : end + 1] in tuple("'’") and self.text[self.begins[j] : end].count(self.text[end]) % 2:
            end += 1  # the closing mark of "the 'Rack Fest'"
        event = self.text[self.begins[j] : end]
        return EventTime(event, relation, unit, fewest, most, self.text[begin:end], begin, end), stop

    def event_stop(self, i: int, shaped: bool) -> int | None:
        """The token after the words for an event, which begin at this one; None if they name none."""
        first = self.at(i)
        clause = first in SUBJECTS
        quoted = first in ('"', "“") or (i < len(self.words) and self.text[self.begins[i] - 1] in "'‘\"“")
        noun = first in DETERMINERS or first.endswith("'s") or quoted
        if not (clause or noun or (shaped and first and first[0].isalpha() and first not in FOLLOWS)):
            return None
        j = i + 1
        while j < len(self.words) and j < i + 14:
            word = self.words[j]
            if word[0] in ".,:;!?()[]…—|" or word in EVENT_ENDS or (not clause and word in NOUN_ENDS):
                break
            j += 1
        while j > i and self.at(j - 1) in ('"', "“", "”", "-", "–", "/"):
            j -= 1
        return j if j > i + (first in DETERMINERS or first == '"') else None
