"""Single times: a written date or one told by its distance, such as "last Friday", "two weeks ago", "Christmas"."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, timedelta
from itertools import pairwise

from slowwave.ops.calendar import (
    DAY,
    DAY_PARTS,
    HOLIDAYS,
    SEASONS,
    WEEKDAYS,
    Stretch,
    away,
    day_part,
    month_span,
    season_span,
    shift,
    stretch,
    unit_span,
    weekday_after,
    weekday_before,
    years_from,
)
from slowwave.ops.time_words import (
    ABOUT,
    HOLIDAY_STARTS,
    LASTING_VERBS,
    LEADING_NOT,
    LEADS,
    LOOKING_BACK,
    MONTH_WORDS,
    ORDINAL_TOKEN,
    PARTS,
    RANGE,
    SHORT_DAYS,
    TODAY,
    UNIT_WORDS,
    VERBS,
    WEEKDAY_WORDS,
    Found,
)
from slowwave.ops.time_written import Written, WrittenDate


class Single(Written):
    """Reads one time that holds no other. Each rule takes a token's index and returns what it found there."""

    def atom(self, i: int) -> Found | None:
        """One time without another inside it, and a part of the day after it: "last Friday night"."""
        for rule in (self.named_day, self.told, self.counted, self.dated, self.weekday, self.season_or_holiday):
            found = rule(i)
            if found is not None:
                return self.tail(found)
        return None

    def tail(self, found: Found) -> Found:
        """Narrow a day by "morning" and a week by "on Friday" where they follow."""
        if found.span is None:
            return found
        start, end = found.span
        j = found.next
        if end - start == 7 * DAY and start.weekday() == 0:
            k = j + (self.at(j) == "on")
            if self.at(k) in WEEKDAYS and k > j:
                day = start + WEEKDAYS[self.at(k)] * DAY
                return self.tail(Found(stretch(day, days=1), k + 1))
        if end - start == DAY and not start.hour:
            part = self.at(j)
            if part in DAY_PARTS:
                return Found(day_part(start, part), j + 1)
            if part == "at" and self.at(j + 1) == "night":
                return Found(day_part(start, "night"), j + 2)
        return found

    def named_day(self, i: int) -> Found | None:
        """Today, yesterday, tomorrow, tonight; "the other day"."""
        word = self.bare(i)
        if word in TODAY:
            day = shift(self.today, days=TODAY[word])
            return Found(day_part(day, "night") if word == "tonight" else stretch(day, days=1), i + 1)
        if word == "the" and self.at(i + 1) == "other" and self.at(i + 2) in ("day", "night", "evening", "morning"):
            return Found((shift(self.today, days=-7), self.today), i + 3)
        return None

    def told(self, i: int) -> Found | None:
        """ "last week", "this morning", "next Friday", "the past two weeks", "this coming weekend", "the weekend"."""
        j = i
        article = self.at(j) == "the"
        j += article
        which = self.at(j)
        if article and which == "weekend" and self.closes(j + 1):
            return Found(self.nearby_week("weekend", i), j + 1)
        if which == "weekend" and self.at(i - 1) in ("over", "at", "on", "for", "during") and self.closes(j + 1):
            return Found(self.nearby_week("weekend", i), j + 1)
        if which == "this" and self.at(j + 1) in ("past", "last", "coming", "upcoming"):
            j, article = j + 1, True
            which = self.at(j)
        if which not in ("last", "next", "this", "past", "coming", "previous", "upcoming"):
            return None
        j += 1
        number = self.number(j) if self.at(j) not in ("a", "an") else None
        if number is not None and which != "this":
            unit = UNIT_WORDS.get(self.bare(number[2]))
            if unit is None or unit in ("weekend", "century"):
                return None
            return Found(self.rolling(which, unit, number[1]), number[2] + 1)
        name = self.bare(j)
        if article and which != "previous" and name in UNIT_WORDS and name != "weekend":
            if name in ("day", "minute", "hour") or name.endswith("s") or self.at(j + 1) in ("of", "before", "after"):
                return None
            return Found(self.rolling(which, UNIT_WORDS[name], 1), j + 1)
        if which == "past" and name not in UNIT_WORDS and not article:
            return None
        word = {"past": "last", "previous": "last", "coming": "next", "upcoming": "next"}.get(which, which)
        if name in HOLIDAYS or name in HOLIDAY_STARTS:
            found = self.holiday(j, word)
            if found is not None:
                return found
        if name in SEASONS:
            return self.season(j, word)
        if name in SHORT_DAYS and name in VERBS and not self.capital(j):
            return None
        if name in ("may", "march", "mar", "sun") and word == "this" and not self.capital(j):
            return None
        if which in ("coming", "upcoming") and name == "weekend":
            return Found(unit_span(self.now, "weekend", self.now.weekday() >= 5), j + 1)
        span = self.determined(word, name, j)
        return Found(span, j + 1) if span else None

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
        if name in WEEKDAY_WORDS:
            weekday = WEEKDAY_WORDS[name]
            if which == "last":
                return stretch(weekday_before(self.today, weekday), days=1)
            if which == "next":
                return stretch(weekday_after(self.today, weekday), days=1)
            day = unit_span(self.now, "week")[0] + weekday * DAY
            if day < self.today and self.lean(i) >= 0:
                day = shift(day, days=7)
            return stretch(day, days=1)
        if name in MONTH_WORDS:
            month = MONTH_WORDS[name]
            return self.yearly(lambda year: month_span(year, month), which, i)
        unit = UNIT_WORDS.get(name)
        if unit is None or name.endswith("s") or unit in ("minute", "hour", "day"):
            return None
        if unit == "weekend" and which == "this" and self.now.weekday() < 3 and self.lean(i) < 0:
            offset = -1  # "we tried it this weekend", said on a Monday
        return unit_span(self.now, unit, offset)

    def rolling(self, which: str, unit: str, count: int) -> Stretch:
        """ "the past two weeks": so many units up to and with today; "the next three days": from tomorrow on."""
        factor = {
            "century": (100, "years"),
            "fortnight": (14, "days"),
            "quarter": (3, "months"),
            "decade": (10, "years"),
        }
        times, name = factor.get(unit, (1, unit + "s"))
        if unit in ("hour", "minute"):
            length = timedelta(**{name: count})
            return (self.now - length, self.now) if which in ("last", "past", "previous") else (
                self.now, self.now + length)  # fmt: skip
        tomorrow = shift(self.today, days=1)
        if which in ("last", "past", "previous"):
            return shift(self.today, **{name: -count * times}), tomorrow
        return tomorrow, shift(tomorrow, **{name: count * times})

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

    def counted(self, i: int) -> Found | None:
        """ "two weeks ago", "a few days ago", "in three days", "two days from now"."""
        if self.at(i) == "half":
            if self.words[i + 1 : i + 4] != ["a", "year", "ago"]:
                return None
            return Found(away(self.now, 5, 7, "month", -1), i + 4)
        ahead = self.at(i) == "in"
        number = self.number(i + ahead)
        if number is None:
            return None
        fewest, most, j = number
        unit = UNIT_WORDS.get(self.at(j).rstrip("'"))
        if unit is None and self.at(j).removesuffix("s") in WEEKDAYS:
            weekday = WEEKDAYS[self.at(j).removesuffix("s")]
            if self.at(j + 1) != "ago" or ahead:
                return None
            day = weekday_before(self.today, weekday)
            return Found((shift(day, days=-7 * (most - 1)), shift(day, days=1 - 7 * (fewest - 1))), j + 2)
        if unit is None or unit == "century":
            return None
        j += 1
        if unit == "year" and self.words[j : j + 4] == ["and", "a", "half", "ago"]:
            return Found(away(self.now, 12 * fewest + 4, 12 * most + 8, "month", -1), j + 4)
        if self.at(j) == "or" and self.at(j + 1) in ("so", "two", "more"):
            most = max(most, 2) if self.at(j + 1) == "two" else most
            j += 2
        if ahead:
            j += self.at(j) == "time"
            if (unit == "day" and most == 1) or self.lean(i) < 0:  # "twice in a day", "we finished in three days"
                return None
            if unit in ("minute", "hour") or self.at(j) in ("ago", "before") or not self.closes(j) or self.negated(i):
                return None
            return Found(away(self.now, fewest, most, unit, 1), j)
        if self.at(j) in ("ago", "back") and (self.at(j) == "ago" or self.closes(j + 1)):
            if unit in ("minute", "hour"):
                return Found(self.hours_ago(fewest, most, unit), j + 1)
            return Found(away(self.now, fewest, most, unit, -1), j + 1)
        if self.at(j) == "from" and self.at(j + 1) == "now":
            return Found(away(self.now, fewest, most, unit, 1), j + 2)
        if unit not in ("minute", "hour") and (self.at(j) == "now" or self.lasting(i)):
            return Found((away(self.now, fewest, most, unit, -1)[0], self.now), j + (self.at(j) == "now"))
        return None

    def lasting(self, i: int) -> bool:
        """Whether a length of time reaches up to now: "we have known each other for" four years."""
        while self.at(i - 1) in ABOUT:
            i -= 1
        near = self.words[max(0, i - 9) : i]
        return self.at(i - 1) == "for" and (
            "been" in near
            or any(
                (word in ("have", "has") or word.endswith("'ve")) and after in LASTING_VERBS
                for word, after in pairwise(near)
            )
        )

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
        return any(word in LOOKING_BACK or word.endswith("n't") for word in near)

    def dated(self, i: int) -> Found | None:
        """A date, and a second one after "to" or a dash: "12-18 June 2023", "May to July 2022"."""
        token = RANGE.match(self.at(i))
        if token and self.at(i + 1) in MONTH_WORDS:
            right = self.date_from(int(token[2]), i + 1)
            if right and right.month:
                return self.date_range(right._replace(day=int(token[1])), right, right.next)
        if token and len(token[1]) == 4 == len(token[2]) and self.at(i - 1) in LEADS | {"the"}:
            first, last = int(token[1]), int(token[2])
            return Found((years_from(first)[0], years_from(last)[1]), i + 1) if 0 < first <= last else None
        days = RANGE.match(self.at(i + 1)) if self.at(i) in MONTH_WORDS else None  # "November 5-6, 2022"
        if days and len(days[2]) < 3:
            year = self.year_after(i + 2)
            begin = WrittenDate(year[0] if year else None, MONTH_WORDS[self.at(i)], int(days[1]), i + 2)
            return self.date_range(begin, begin._replace(day=int(days[2])), year[1] if year else i + 2)
        date = self.date(i)
        if date is None:
            return self.the_day(i)
        left, j = date, date.next
        if left.month and self.at(j) in ("to", "-", "–", "through", "until"):
            other = self.date(j + 1)
            if other is not None and other.month and bool(other.day) == bool(left.day):
                return self.date_range(left, other, other.next)
            number = self.day_number(j + 1)
            if left.day and number and number[0] > left.day and not UNIT_WORDS.get(self.at(number[1])):
                year = self.year_after(number[1])
                if year:
                    left = left._replace(year=year[0])
                return self.date_range(left, left._replace(day=number[0]), year[1] if year else number[1])
        return Found(self.resolved(left, i), left.next)

    def date_range(self, left: WrittenDate, right: WrittenDate, next_: int) -> Found | None:
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
            return Found(None, next_)
        if right.year is None:
            year = first[0].year
            wraps = left.month and right.month and (right.month, right.day or 31) < (left.month, left.day or 0)
            right = right._replace(year=year + bool(wraps))
        last = self.resolved(right, next_)
        return Found((first[0], last[1]) if last else None, next_)

    def the_day(self, i: int) -> Found | None:
        """ "on the 17th": the nearest month that has such a day and fits the tense."""
        if self.at(i) != "the" or self.at(i - 1) not in ("on", "by", "since", "until", "before", "after", "from"):
            return None
        token = ORDINAL_TOKEN.match(self.at(i + 1))
        if token is None or not self.closes(i + 2):
            return None
        return self.day_in_month(int(token[1]), i, i + 2)

    def day_in_month(self, day: int, i: int, next_: int, weekday: int | None = None) -> Found | None:
        """This day of the likeliest month; with a weekday, of a month where it falls on it."""
        spans = []
        for offset in range(-14, 15) if weekday is not None else range(-3, 4):
            with suppress(ValueError, OverflowError):
                start = unit_span(self.now, "month", offset)[0].replace(day=day)
                if weekday in (None, start.weekday()):
                    spans.append(stretch(start, days=1))
        span = self.likeliest(spans, "" if weekday is None else "nearest", i)
        return Found(span, next_) if span else None

    def day_of(self, month: Stretch, day: int, next_: int) -> Found:
        try:
            return Found(stretch(month[0].replace(day=day), days=1), next_)
        except ValueError:
            return Found(None, next_)

    def weekday(self, i: int) -> Found | None:
        """A weekday's name alone: "on Friday"; "Sundays", "every Sunday" and "my Sunday ride" are no dates."""
        word = self.bare(i)
        before = self.at(i - 1)
        if word not in WEEKDAY_WORDS or before in LEADING_NOT or (before == "the" and not self.closes(i + 1)):
            return None
        if self.at(i + 1) in ("mornings", "afternoons", "evenings", "nights"):
            return None
        if word in SHORT_DAYS and not (
            self.capital(i) and before in ("on", "by", "until", "since", "from", "and", "or", "before", "after")
        ):
            return None
        j = i + 1
        the = self.at(j) == "the"
        if number := ORDINAL_TOKEN.match(self.at(j + the)):  # "Friday the 13th"
            return self.day_in_month(int(number[1]), i, j + the + 1, WEEKDAY_WORDS[word])
        joins = ("to", "-", "–", "through")  # "Monday to Friday" is every week, "from Monday to Friday" is not
        first = self.at(j) in joins and self.at(j + 1) in WEEKDAY_WORDS and before != "from"
        second = before in joins and self.at(i - 2) in WEEKDAY_WORDS and self.at(i - 3) != "from"
        if first or second:
            return None
        week = j + (self.at(j) in ("of", "in"))
        if self.at(week) in ("last", "this", "next") and self.at(week + 1) == "week":
            span = self.determined(self.at(week), "week", i)
            return Found(stretch(span[0] + WEEKDAY_WORDS[word] * DAY, days=1), week + 2) if span else None
        return Found(self.nearby_week("weekday", i, WEEKDAY_WORDS[word]), j)

    def season_or_holiday(self, i: int) -> Found | None:
        word = self.bare(i)
        the = self.at(i) == "the"
        j = i + the
        if self.at(j) in SEASONS:
            if self.year_after(j + 1):
                return self.season(j, "")
            if j + 1 < len(self.words) and self.capital(j) and self.capital(j + 1):
                return None  # "the Spring Fling Market"
            lead = self.at(i - 1) in ("in", "during", "over", "since", "until", "before", "after", "by", "throughout")
            strong = lead and self.closes(j + 1) and (the or self.at(j) not in ("fall", "spring") or
                                                      self.at(i - 1) in ("in", "since", "during", "until"))  # fmt: skip
            return self.season(j, "") if strong or (lead and the) or self.at(i - 1) in PARTS else None
        if word in HOLIDAY_STARTS or self.at(i) in HOLIDAY_STARTS:
            return self.holiday(i, "")
        return None

    def season(self, i: int, which: str) -> Found | None:
        """A season, with its year if one follows."""
        name = self.bare(i)
        year = self.year_after(i + 1) if not which else None
        if year:
            try:
                return Found(season_span(name, year[0]), year[1])
            except (ValueError, OverflowError):
                return Found(None, year[1])
        span = self.yearly(lambda year: season_span(name, year), which, i)
        return Found(span, i + 1) if span else None

    def holiday(self, i: int, which: str) -> Found | None:
        """A holiday by name, with its year if one follows; "Christmas tree" is none."""
        first = self.at(i) if self.at(i) in HOLIDAY_STARTS else self.bare(i)
        dot = self.at(i + 1) == "." and first == "st"
        for names, make in HOLIDAY_STARTS[first]:
            words = [self.at(i), *self.words[i + 1 + dot : i + len(names) + dot]]
            plain = [word.replace("'", "") for word in words]
            if plain == list(names) or [*plain[:-1], self.bare(i + len(names) - 1 + dot)] == list(names):
                j = i + len(names) + dot
                year = self.year_after(j) if not which else None
                if year:
                    try:
                        return Found(make(year[0]), year[1])
                    except (ValueError, OverflowError):
                        return Found(None, year[1])
                if (not which and len(names) == 1 and not self.closes(j)) or self.at(i - 1) in LEADING_NOT:
                    return None
                if names[0] in ("new", "april", "may", "good", "black", "earth") and not self.capital(i):
                    return None
                span = self.yearly(make, which, i)
                return Found(span, j) if span else None
        return None
