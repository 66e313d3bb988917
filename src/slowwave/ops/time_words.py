"""The English words of time, the tokens of a text, and the questions that the grammar asks of them.

A text is cut in one linear pass; nothing here backtracks. Words are lower case; their character positions stay beside
them, so that what is found slices out of the text unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import Literal, NamedTuple

from slowwave.ops.calendar import DAY_PARTS, HOLIDAYS, MONTHS, SEASONS, WEEKDAYS, Stretch


class Found(NamedTuple):
    """What a rule read: the stretch (None: it is a date that does not exist) and the token after it."""

    span: Stretch | None
    next: int


def listed(words: str) -> list[str]:
    """Words apart, in their order."""
    return words.split()


def words_of(words: str) -> frozenset[str]:
    """Words apart, as a set."""
    return frozenset(words.split())


NUMBERS = {
    word: index + 1
    for index, word in enumerate(
        listed(
            "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
            "seventeen eighteen nineteen twenty"
        )
    )
} | {"thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90, "hundred": 100}
VAGUE = {"couple": (2, 3), "few": (2, 5), "several": (3, 8)}
ORDINALS = {
    word: index + 1
    for index, word in enumerate(
        listed(
            "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth "
            "fifteenth sixteenth seventeenth eighteenth nineteenth twentieth"
        )
    )
} | {"thirtieth": 30}
MONTH_NAMES = {name.lower(): index + 1 for index, name in enumerate(MONTHS)}
SHORT_MONTHS = {name[:3]: index for name, index in MONTH_NAMES.items() if name != "may"} | {"sept": 9}
MONTH_WORDS = MONTH_NAMES | SHORT_MONTHS
PLAIN_MONTHS = {"january", "february", "july", "september", "october", "november", "december"}
SHORT_DAYS = {"mon": 0, "tue": 1, "tues": 1, "wed": 2, "weds": 2, "thu": 3, "thur": 3, "thurs": 3, "fri": 4,
               "sat": 5, "sun": 6}  # fmt: skip
VERBS = {"sat", "sun", "wed", "mon"}  # also words of their own when they are not capitalised
WEEKDAY_WORDS = WEEKDAYS | SHORT_DAYS
WEEKDAY_NAMES = list(WEEKDAYS)
UNIT_WORDS = {
    name + ending: name
    for name in ("minute", "hour", "day", "week", "weekend", "fortnight", "month", "quarter", "year", "decade")
    for ending in ("", "s")
}
UNIT_WORDS |= {"century": "century", "yr": "year", "yrs": "year", "wk": "week", "wks": "week"}
DECADES = {"thirties": 1930, "forties": 1940, "fifties": 1950, "sixties": 1960, "seventies": 1970, "eighties": 1980,
            "nineties": 1990}  # fmt: skip
TODAY = {"today": 0, "yesterday": -1, "tomorrow": 1, "tonight": 0}
RELATIONS: dict[str, Literal["before", "after", "since", "during", "of"]] = {
    "before": "before", "after": "after", "following": "after", "of": "of", "since": "since", "during": "during",
}  # fmt: skip
PARTS = {"early": 0, "mid": 1, "late": 2}
PARTS_OF = {"beginning": 0, "start": 0, "middle": 1, "end": 2}
# Words before a month's or season's name that make it a time, and words after a name that let it stand alone.
LEADS = words_of(
    "in since until till by during before after from of early mid late last next this past through throughout around "
    "between over - for circa about"
)
LOW_LEADS = words_of("in since until till by during before after early mid late last next between from")
FOLLOWS = words_of(
    "at and or to in for with we i he she they it you but so because when was is are were will my our his her their "
    "the a an until till after before from on this that as if then by of while since during not though who which "
    "where what how did do does had has have would could should can i'm we're it's i've we've i'll there here just "
    "all last next too also again through"
)
LEADING_NOT = words_of("every each a an my our his her their your per most some any no")
ABOUT = words_of("about over almost nearly around like just under roughly at least more than only the past last")
LOOKING_BACK = words_of("first once twice never not times many much often")
LASTING_VERBS = words_of("known had lived worked loved wanted owned studied played practiced practised kept used")
PAST_WORDS = words_of(
    "was were did had went been saw met got made took came left bought ate gave ran won lost told said found felt "
    "began wrote read drove flew didn't wasn't weren't hadn't"
)
FUTURE_WORDS = words_of(
    "will going gonna plan plans planning planned upcoming hope hoping soon tomorrow next won't let's shall forward "
    "booked scheduled expecting due i'll we'll they'll he'll she'll it'll you'll"
)
DAY_TOKEN = re.compile(r"(\d{1,2})(st|nd|rd|th)?\Z")
ORDINAL_TOKEN = re.compile(r"(\d{1,2})(?:st|nd|rd|th)\Z")
DECADE_TOKEN = re.compile(r"(?:(\d{3})|(\d))0['’]?s\Z")
NUMERIC = re.compile(r"(\d{1,4})([-/.])(\d{1,2})(?:\2(\d{1,4}))?\Z")
RANGE = re.compile(r"(\d{1,4})(?:st|nd|rd|th)?[-–](\d{1,4})(?:st|nd|rd|th)?\Z")
TOKEN = re.compile(
    r"[0-9]+(?:[:./–-][0-9]+)+(?:st|nd|rd|th)?"  # 2023-05-07, 14:30, 7-9
    r"|[0-9]+(?:['’]?[^\W\d_]+)?(?:[–-][0-9]+(?:st|nd|rd|th)?)?"  # 7, 7th, 7th-9th, 1990s
    r"|[^\W\d_]+(?:['’][^\W\d_]+)*"
    r"|[.,:;!?()\[\]\"“”…—–|/-]"
)
WORD = re.compile(r"[a-z]+")
DIGITS = re.compile(r"[0-9]{4}|[0-9](?:st|nd|rd|th|[/.-][0-9]|0s)")

HOLIDAY_STARTS: dict[str, list[tuple[tuple[str, ...], Callable[[int], Stretch]]]] = {}
for _name, _rule in sorted(HOLIDAYS.items(), key=lambda pair: -len(pair[0])):
    HOLIDAY_STARTS.setdefault(_name.split()[0], []).append((tuple(_name.split()), _rule))
HOLIDAY_STARTS |= {name[:-1] + "'s": rules for name, rules in HOLIDAY_STARTS.items() if name.endswith("s")}

_NAMED = frozenset().union(MONTH_WORDS, WEEKDAY_WORDS, SEASONS, HOLIDAY_STARTS, DAY_PARTS)
_COUNTS = frozenset().union(NUMBERS, VAGUE)
_WHICH = words_of("last next this past coming previous upcoming")
# A text without any of these words, and without digits that look like a date, holds no time.
TRIGGERS = _NAMED.union(TODAY, DECADES, UNIT_WORDS, words_of("ago now last next past other earlier later end start"))
# The words an expression can begin with.
STARTS = (_NAMED - DAY_PARTS.keys()).union(TODAY, DECADES, _COUNTS, ORDINALS, PARTS, PARTS_OF, _WHICH) | words_of(
    "the a an between from since before after in earlier later weekend half"
)
# What must follow a common word for it to begin an expression: a quick look before the rules are tried.
SECOND = {
    "the": STARTS.union(UNIT_WORDS, _NAMED, ("other", "year")),
    "a": _NAMED.union(UNIT_WORDS, VAGUE, ("hundred",)),
    "an": frozenset(UNIT_WORDS),
    "in": _COUNTS | {"a", "an"},
}
SECOND |= {word: _NAMED.union(UNIT_WORDS, _COUNTS, ("past", "last", "coming", "upcoming")) for word in _WHICH}
SECOND |= {word: STARTS.union(DAY_PARTS, ("year",)) for word in ("from", "between", "since", "before", "after")}
# The words of an event: what it can begin with, and where it ends.
DETERMINERS = words_of("the my our his her their your that this a an")
SUBJECTS = words_of("we i he she they you it")
EVENT_ENDS = words_of("and but so because while which when")
NOUN_ENDS = SUBJECTS - {"it", "you"} | words_of(
    "did do does was were is are had has have will would could can should that who then where"
)


class Tokens:
    """The tokens of one text, the moment it was said at, and what can be asked of a token without any grammar.

    Every method takes a token's index; indexes outside the text are allowed and read as an empty word.
    """

    def __init__(self, text: str, reference: datetime, day_first: bool) -> None:
        self.text = text
        self.reference = reference
        self.now = reference.replace(tzinfo=None)
        self.day_first = day_first
        self.words: list[str] = []
        self.begins: list[int] = []
        self.stops: list[int] = []
        for match in TOKEN.finditer(text):
            self.words.append(match[0].lower().replace("’", "'"))
            self.begins.append(match.start())
            self.stops.append(match.end())

    @property
    def today(self) -> datetime:
        """The midnight that the reference's day begins with."""
        return self.now.replace(hour=0, minute=0, second=0, microsecond=0)

    def at(self, i: int) -> str:
        """The word at a token, lower case; empty outside the text."""
        return self.words[i] if 0 <= i < len(self.words) else ""

    def bare(self, i: int) -> str:
        """The word without a possessive ending."""
        word = self.at(i)
        return word[:-2] if word.endswith("'s") else word

    def capital(self, i: int) -> bool:
        """Whether the token begins with a capital letter."""
        return self.text[self.begins[i]].isupper()

    def closes(self, i: int) -> bool:
        """Whether a name that ends before this token can stand alone: the sentence or clause goes on after it."""
        word = self.at(i)
        return not word or not word[0].isalpha() or word in FOLLOWS or word in DAY_PARTS

    def lean(self, i: int) -> int:
        """The tense around a token: -1 past, +1 future, 0 no hint."""
        near = self.words[max(0, i - 12) : i + 12]
        if self.at(i - 1) == "by":
            return 1
        past = any(word in PAST_WORDS or (len(word) > 4 and word.endswith("ed")) for word in near)
        future = any(word in FUTURE_WORDS for word in near) or "see you" in " ".join(near)
        return future - past

    def number(self, i: int) -> tuple[int, int, int] | None:
        """ "two", "a", "a couple of", "2-3", "two or three": fewest, most, next token."""
        word = self.at(i)
        if word in ("a", "an"):
            return self.number(i + 1) if self.at(i + 1) in VAGUE or self.at(i + 1) == "hundred" else (1, 1, i + 1)
        if word in VAGUE:
            return (*VAGUE[word], i + 1 + (self.at(i + 1) == "of"))
        value = NUMBERS.get(word)
        if value is None and word.isascii() and word.isdigit() and len(word) <= 9:
            value = int(word)
        if value is None:
            token = RANGE.match(word)
            if token and int(token[1]) < int(token[2]):
                return int(token[1]), int(token[2]), i + 1
            return None
        if value in range(20, 100, 10) and word in NUMBERS:
            j = i + 1 + (self.at(i + 1) == "-")
            if NUMBERS.get(self.at(j), 99) < 10:
                return value + NUMBERS[self.at(j)], value + NUMBERS[self.at(j)], j + 1
        if self.at(i + 1) in ("or", "to", "-", "–"):
            other = NUMBERS.get(self.at(i + 2)) or (int(self.at(i + 2)) if self.at(i + 2).isdecimal()
                                                    and len(self.at(i + 2)) < 4 else 0)  # fmt: skip
            if other > value:
                return value, other, i + 3
        return (value, value, i + 1) if value > 0 else None

    def ordinal(self, i: int) -> tuple[int, int] | None:
        """ "first", "3rd", "twenty-first" and the next token."""
        word = self.at(i)
        if word in ORDINALS:
            return ORDINALS[word], i + 1
        token = ORDINAL_TOKEN.match(word)
        if token:
            return int(token[1]), i + 1
        if word in ("twenty", "thirty") and self.at(i + 1) == "-" and ORDINALS.get(self.at(i + 2), 99) < 10:
            return NUMBERS[word] + ORDINALS[self.at(i + 2)], i + 3
        return None

    def day_number(self, i: int) -> tuple[int, int] | None:
        """A day of the month, in digits or as an ordinal, and the next token."""
        ordinal = self.ordinal(i)
        if ordinal:
            return ordinal
        token = DAY_TOKEN.match(self.at(i))
        return (int(token[1]), i + 1) if token else None
