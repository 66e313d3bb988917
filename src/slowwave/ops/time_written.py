"""Dates as they are written: "7 May 2023", "May 7th", "2023-05-07", "May 2022", "in 2022", "the 1990s"."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import NamedTuple

from slowwave.ops.calendar import DAY, WEEKDAYS, Stretch, month_span, stretch, years_from
from slowwave.ops.time_words import (
    DECADE_TOKEN,
    DECADES,
    FOLLOWS,
    LEADS,
    LOW_LEADS,
    MONTH_WORDS,
    NUMERIC,
    PLAIN_MONTHS,
    RANGE,
    SHORT_MONTHS,
    UNIT_WORDS,
    WEEKDAY_WORDS,
    Tokens,
)


class WrittenDate(NamedTuple):
    """A date as written: what is missing is None; `next` is the token after it."""

    year: int | None
    month: int | None
    day: int | None
    next: int
    years: int = 1  # 10 for a decade, 100 for a century
    weekday: int | None = None  # of "Friday, 5 June": helps to choose the year


class Written(Tokens):
    """Reads written dates and chooses the year where none is given."""

    def date(self, i: int) -> WrittenDate | None:
        """A written date: "7 May 2023", "May 7th", "2023-05-07", "Friday, 5 June", "May 2022", "2022", "the 1990s"."""
        word = self.at(i)
        if word in WEEKDAY_WORDS:
            j = i + 1
            while self.at(j) in (",", ".", "the") and j < i + 3:
                j += 1
            if self.at(j) in WEEKDAY_WORDS or not (j > i + 1 or word in WEEKDAYS or self.capital(i)):
                return None
            date = self.date(j)
            return date._replace(weekday=WEEKDAY_WORDS[word]) if date and date.day else None
        j = i + (word == "the")
        word = self.at(j)
        if word in MONTH_WORDS:
            return self.date_by_month(j)
        number = self.day_number(j)
        if number:
            k = number[1] + (self.at(number[1]) == "of")
            if self.at(k) in MONTH_WORDS and (k > number[1] or not self.shy(k) or self.anchored(i, k + 1)):
                return self.date_from(number[0], k)
        if word[:1].isdigit() or word in DECADES:
            return self.numeric(j) or self.years(i, j)
        if word == "year" and (year := self.year(j + 1)):
            return WrittenDate(year[0], None, None, year[1])
        return None

    def date_by_month(self, i: int) -> WrittenDate | None:
        """A date that begins with the month, or a month alone."""
        word = self.at(i)
        month = MONTH_WORDS[word]
        j = i + 1
        if self.at(j) == "." and (word in SHORT_MONTHS or self.stops[j] == self.begins[j + 1 : j + 2][-1:][0]
                                  if j + 1 < len(self.words) else False):  # fmt: skip
            j += 1
        year = self.year_after(j)
        if year:
            return WrittenDate(year[0], month, None, year[1])
        k = j + (self.at(j) == "the")
        token = RANGE.match(self.at(k))
        day = self.day_number(k)
        if day and (self.at(day[1]) not in ("am", "pm", "percent") and UNIT_WORDS.get(self.at(day[1])) is None) and (
            not self.shy(i) or self.anchored(i, day[1]) or self.at(k)[-1:].isalpha()
        ):  # fmt: skip
            year = self.year_after(day[1])
            return WrittenDate(year[0], month, day[0], year[1]) if year else WrittenDate(None, month, day[0], day[1])
        if token and int(token[1]) <= 31 and not self.shy(i):
            return None
        before = self.at(i - 1)
        joined = before in ("and", "or", "to", "-", "–", ",") and (
            self.at(i - 2) in MONTH_WORDS or self.at(i - 2)[-4:].isdigit() or self.at(i - 2) in ("early", "mid", "late")
        )
        if self.shy(i):
            plain = (before in LOW_LEADS or joined) and self.closes(i + 1) and (before, word) != ("that", "may")
        else:
            joins = self.at(i + 1) in ("-", "–", "to", "and", "or") and self.at(i + 2) in MONTH_WORDS
            plain = word in PLAIN_MONTHS or before in LEADS or joined or joins
        return WrittenDate(None, month, None, i + 1) if plain else None

    def date_from(self, day: int, i: int) -> WrittenDate:
        """A date whose day was read before the month at this token."""
        month = MONTH_WORDS[self.at(i)]
        j = i + 1 + (self.at(i + 1) == "." and self.at(i) in SHORT_MONTHS)
        year = self.year_after(j)
        return WrittenDate(year[0], month, day, year[1]) if year else WrittenDate(None, month, day, i + 1)

    def shy(self, i: int) -> bool:
        """Whether a month's name may be a verb here: "may" and "march" without a capital."""
        return self.at(i) in ("may", "march") and not self.capital(i)

    def anchored(self, i: int, j: int) -> bool:
        return self.at(i - 1) in LOW_LEADS | {"on", "of", "the"} or self.closes(j) or self.year(j) is not None

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

    def years(self, i: int, j: int) -> WrittenDate | None:
        """A year after a word that makes it one ("in 2022"), a decade, a century's decade name."""
        word = self.at(j)
        before = self.at(i - 1)
        the = j > i
        if word in DECADES:
            return WrittenDate(DECADES[word], None, None, j + 1, 10) if the else None
        decade = DECADE_TOKEN.match(word)
        if decade:
            if decade[1]:
                year = int(decade[1]) * 10
                return WrittenDate(year, None, None, j + 1, 100 if year % 100 == 0 and year != 2000 else 10)
            return (
                WrittenDate(1900 + int(decade[2]) * 10, None, None, j + 1, 10) if the and int(decade[2]) >= 3 else None
            )
        year_token = self.year(j)
        if not year_token or not 1000 <= year_token[0] < 3000 or the:
            return None
        joined = before in ("and", "or", "to", "-", "–") and self.year(i - 2) is not None
        if before not in LEADS | {"back"} and not joined:
            return None
        after = self.at(j + 1)
        if year_token[0] % 10 == 0 and len(after) > 3 and after.endswith("s") and after not in FOLLOWS:
            return None  # "in 2000 cases"
        return None if after in ("%", "/") else WrittenDate(year_token[0], None, None, j + 1)

    def numeric(self, i: int) -> WrittenDate | None:
        """ "2023-05-07", "05/07/2023", "7.5.2023", "2023-05", "05/2023"; "7/22" after "on" or "the"."""
        word = self.at(i)
        match = NUMERIC.match(word)
        if match is None:
            return None
        a, sign, b, c = match[1], match[2], match[3], match[4]
        if c is None:
            if len(a) == 4 and len(b) == 2 and sign != ".":
                return WrittenDate(int(a), int(b), None, i + 1) if 1 <= int(b) <= 12 else None
            if sign != "/" or len(a) > 2:
                return None
            month, day = self.ordered(int(a), int(b), self.day_first)
            clear = max(int(a), int(b)) > 12 and self.at(i - 1) == "the"
            if self.at(i - 1) not in ("on", "since", "by", "until", "before", "after") and not clear:
                return None
            return WrittenDate(None, month, day, i + 1) if month else None
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
        return WrittenDate(year, month, day, i + 1) if 1 <= month <= 12 and 1 <= day <= 31 else None

    @staticmethod
    def ordered(a: int, b: int, day_first: bool) -> tuple[int, int]:
        """Month and day of two numbers; (0, 0) if they are none."""
        month, day = (b, a) if (day_first and b <= 12) or a > 12 else (a, b)
        return (month, day) if 1 <= month <= 12 and 1 <= day <= 31 else (0, 0)

    def resolved(self, date: WrittenDate, i: int) -> Stretch | None:
        """The stretch of a date; None where there is none, such as 31 February or year 0."""
        year, month, day = date.year, date.month, date.day

        choosing = year is None

        def make(year: int) -> Stretch:
            if month is None:
                return years_from(year, date.years)
            if day is None:
                return month_span(year, month)
            start = datetime(year, month, day)
            if choosing and date.weekday not in (None, start.weekday()):
                raise ValueError(f"{start} has another weekday")
            return stretch(start, days=1)

        try:
            return make(year) if year is not None else self.yearly(make, "" if date.weekday is None else "nearest", i)
        except (ValueError, OverflowError):
            return None

    def yearly(self, make: Callable[[int], Stretch], which: str, i: int) -> Stretch | None:
        """The occurrence of something yearly that is meant: the last, this year's, the next, or the likeliest."""
        spans: list[Stretch] = []
        for reach in ((-2, -1, 0, 1), (*range(-8, -2), *range(2, 9))):  # the second for 29 February
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
        if which == "nearest":
            return min(spans, key=lambda span: abs(span[0] - self.today), default=None)
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
