"""Bram Stoker's Dracula (1897, public domain) as dated, authored episodes: the sample that comes with the install.

The text is `dracula.txt.gz`, taken from mlschmitt/classic-books-markdown. A dozen misprints in its headings and
datelines are mended and its quotation marks made straight; no word of the novel is left out.
"""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from importlib.resources import files
from itertools import pairwise
from string import capwords
from typing import Any

from slowwave.records import Item

YEAR = 1893  # none is printed; it is the calendar of Stoker's notes, though printed weekdays are a day or more off it
MIN_WORDS, MAX_WORDS = 60, 180  # an encoder that reads 256 tokens sees about 190 words
_TARGET_WORDS = 130
_SPLIT_PARAGRAPH_COST = 0.1  # cutting inside a paragraph must buy at least this much evenness

_MONTHS = ("May", "June", "July", "August", "September", "October", "November")
_DATE = re.compile(rf"(\d+)(?:-\d+)? ({'|'.join(_MONTHS)})(?: (\d{{4}}))?|(October) (\d+)(?:th)?", re.I)
_HOUR = re.compile(r"(\d+)(?::(\d\d))? (?:o'clock(?: ([ap])\. m)?|([ap])\. m)")
_DAYTIMES = (  # first match wins; hours and minutes
    (r"close to midnight", 23, 30),
    (r"midnight", 23, 59),  # the midnight that ends the printed day
    (r"before morning", 4, 0),
    (r"morning", 8, 0),
    (r"\bnoon", 12, 0),
    (r"afternoon", 15, 0),
    (r"evening", 19, 0),
    (r"night", 21, 0),
)
_UNTIMED_HOUR = 12
_STEP = timedelta(seconds=1)

# Where the text, not a dateline, says when it was written: a dateline or the opening words -> how to date it.
_TOLD = {
    "17, Chatham Street, Wednesday.": "10 May",  # answers the letter of Tuesday, 9 May
    "Visited Renfield very early": "20 July, morning",
    "The same day. I came up here alone": "1 August, 9 p. m.",  # "The clock has just struck nine"
    "I must have slept long and soundly": "21 September, morning",  # the morning after Lucy's death
    "He has come and gone.": "25 September, afternoon",  # he knocked at half-past two
    "Let me put down with exactness": "3 October, 5 a. m.",  # it ends as the sun rises
    "As I must do something or go mad": "3 October, 6 a. m.",  # "It is now six o'clock"
    "We all rose early": "5 October, noon",  # before Mina's report of 5 p. m., which is printed above it
    "Sunset has come and gone.": "29 October, evening",
    "Seven years ago we all went": "6 November 1900",  # no day is printed; this is the one it remembers
}
_AFTER_THE_LOG = "Of course the verdict was an open one"  # here the newspaper goes on, with no heading

_HEADING = re.compile(r"journal|diary|^letter|telegram|^log of|memorandum|^report|^note|gazette|dailygraph", re.I)
_WHEN = re.compile(rf"later|same day|midnight|noon|evening|o'clock|[ap]\. m\b|wednesday|{'|'.join(_MONTHS)}", re.I)
_PLACES = re.compile(
    r"Bistritz|The Castle|Whitby|17, Chatham Street|Buda-Pesth|Hillingham|Albemarle Hotel|in train to London"
    r"|Piccadilly|Varna|London|Antwerp|Berkeley Hotel"
)
_NOTE = re.compile(r"\*?\(.+\)\*?|From a Correspondent\.|\*Whitby\.\*|\*Varna to Whitby\.\*")
_DATELINE = re.compile(r'^("?)\*"?([^*]{3,45})\*(\.? Whitby)?[.—]*\s*')
_DOCUMENTS = (  # a word of the heading -> kind of document
    (r"^letter|^report", "letter"),
    (r"telegram", "telegram"),
    (r"memorandum", "memorandum"),
    (r"^log of", "log"),
    (r"gazette|dailygraph", "cutting"),
    (r"journal|diary", "journal"),
    (r"^note", "note"),
)
_PEOPLE = (  # a word of the heading -> one name for one person, whatever she or he is called there
    ("jonathan harker", "Jonathan Harker"),
    ("mina", "Mina Harker"),
    ("mrs. harker", "Mina Harker"),
    ("lucy", "Lucy Westenra"),
    ("van helsing", "Abraham Van Helsing"),
    ("seward", "Dr. Seward"),
    ("quincey", "Quincey Morris"),
    ("arthur", "Arthur Holmwood"),
    ("godalming", "Arthur Holmwood"),
    ("agatha", "Sister Agatha"),
    ("hennessey", "Patrick Hennessey"),
    ("billington", "Samuel F. Billington & Son"),
    ("carter", "Carter, Paterson & Co."),
    ("mitchell", "Mitchell, Sons & Candy"),
    ("rufus", "Rufus Smith"),
    ("demeter", "Captain of the Demeter"),
    ("dailygraph", "Dailygraph correspondent"),
    ("pall mall", "Pall Mall Gazette correspondent"),
    ("westminster", "Westminster Gazette correspondent"),
    ("note", "Jonathan Harker"),
)
_TITLES = {  # what the session of a document is called that is neither a journal nor sent to somebody
    "Captain of the Demeter": "Log of the Demeter",
    "Dailygraph correspondent": "The Dailygraph",
    "Pall Mall Gazette correspondent": "The Pall Mall Gazette",
    "Westminster Gazette correspondent": "The Westminster Gazette",
}
_SENTENCE = re.compile(
    r"(?<!\bMr)(?<!\bMrs)(?<!\bDr)(?<!\bSt)(?<!\b[A-Z])(?<!\b[ap])(?<!etc)[.!?]['\")]*\s+(?=['\"(]*[A-Z])"
)


@dataclass(frozen=True, slots=True)
class _Entry:
    """What holds for the paragraphs under one heading and dateline.

    title  the document, such as "Mina Murray's Journal"
    when   the words that date it; "" where none are printed
    fresh  it opens a document or a new date, and with it a session
    """

    chapter: int = 0
    title: str = ""
    speaker: str = ""
    when: str = ""
    fresh: bool = True
    attrs: dict[str, Any] = field(default_factory=dict)


def episodes() -> list[Item]:
    """The whole novel in its own order: 1,225 episodes of 60 to 180 words (a short telegram stays short).

    speaker  who wrote or spoke the document, by one name throughout (Mina Murray is "Mina Harker" from the start)
    at       naive: the writer's own clock, in England, at sea or in Transylvania. The date is the printed one, else
             that of the entry before; the hour comes from words such as "11 p. m." or "Midnight" (23:59), else it is
             12:00; "Later" is an hour later. Episodes of one entry are a second apart, so that time keeps their order
    session  the document's entry, such as "Mina Murray's Journal, 24 July"
    origin   "dracula:ch06:012", the twelfth episode of chapter 6
    attrs    chapter; document (journal, letter, telegram, cutting, log, memorandum, note); byline, the heading as
             printed; and where they are printed: dated, note, recipient, place
    """
    out: list[Item] = []
    ends: dict[str, datetime] = {}  # session -> its last moment so far
    clock, session = datetime(YEAR, 5, 3), ""
    numbers: Counter[int] = Counter()
    for entry, paragraphs in _entries():
        at, timed = _moment(entry.when, clock)
        if entry.fresh:
            day = at.strftime("%Y") if at.year != YEAR else f"{at.day} {at:%B}"
            session = f"{entry.title}, {day}"
        floors = [ends.get(session, datetime.min)] + ([clock] if not timed and at.date() == clock.date() else [])
        at = max(at, max(floors) + _STEP)
        for piece in _pack(paragraphs):
            numbers[entry.chapter] += 1
            origin = f"dracula:ch{entry.chapter:02d}:{numbers[entry.chapter]:03d}"
            attrs = {"chapter": entry.chapter, **entry.attrs}
            out.append(Item(piece, speaker=entry.speaker, at=at, session=session, origin=origin, attrs=attrs))
            clock = ends[session] = at
            at += _STEP
    return out


def questions() -> list[dict[str, Any]]:
    """The ten questions of the demo, each with what an honest answer rests on.

    question, answer  for people
    kwargs            how to ask, such as {"at": "1893-08-31"}: as of that date, and nothing later is known
    gold              an episode that holds any one of these strings is right evidence; none: there is no answer
    then              kwargs and gold of the same question asked again, later (one question has it)
    note              what makes it hard
    """
    loaded: list[dict[str, Any]] = json.loads((files("slowwave.data") / "questions.json").read_text("utf-8"))
    return loaded


def text() -> str:
    """The novel as shipped: one paragraph a line, `## CHAPTER n`, headings and datelines between asterisks."""
    packed = (files("slowwave.data") / "dracula.txt.gz").read_bytes()
    return gzip.decompress(packed).decode("utf-8")


def _entries() -> Iterator[tuple[_Entry, list[str]]]:
    """Each stretch of paragraphs under one heading and dateline, in the novel's order."""
    entry, newspaper, held = _Entry(), _Entry(), list[str]()
    body = text().split("## CHAPTER 1\n", 1)[1]
    for line in filter(None, map(str.strip, f"## CHAPTER 1\n{body}".splitlines())):
        was, rest = entry, line
        if line == "**THE END**":
            break
        if line.startswith("## CHAPTER"):
            entry = replace(entry, chapter=int(line.split()[-1]), when="", fresh=True)
            rest = ""
        elif (heading := re.fullmatch(r"\*+([^*(][^*]*)\*+", line)) and _HEADING.search(heading[1]):
            entry, rest = _document(entry.chapter, heading[1]), ""
            newspaper = entry if entry.attrs["document"] == "cutting" else newspaper
        elif not held and _NOTE.fullmatch(line):
            entry, rest = _noted(entry, line.strip("*()")), ""
        elif line.startswith(_AFTER_THE_LOG):
            entry = replace(newspaper, when="9 August")
        else:
            entry, rest = _dated(entry, line)
        if entry is not was and held:
            yield was, held
            held = []
        if rest:
            held.append(" ".join(rest.replace("*", "").split()))
    yield entry, held


def _document(chapter: int, heading: str) -> _Entry:
    """The entry that a printed heading opens."""
    kind = next(name for word, name in _DOCUMENTS if re.search(word, heading, re.I))
    sender, _, receiver = heading.partition(" to ")
    speaker = _person(sender)
    attrs = {"document": kind, "byline": heading}
    title = re.sub(r"(—continued| \(Cont\.\))?\.?$", "", heading)
    title = _TITLES.get(speaker, capwords(title) if title.isupper() else title)
    if receiver:
        attrs["recipient"] = _person(receiver)
        title = f"{kind.capitalize()}, {speaker} to {attrs['recipient']}"
    if place := _PLACES.search(sender):
        attrs["place"] = place[0]
    date = _DATE.search(heading)
    return _Entry(chapter, title, speaker, date[0] if date else "", True, attrs)


def _noted(entry: _Entry, note: str) -> _Entry:
    """The entry with a remark that is printed between its heading and its text."""
    attrs = {**entry.attrs, "note": " ".join(filter(None, (entry.attrs.get("note"), note)))}
    if place := _PLACES.fullmatch(note.rstrip(".")):
        attrs["place"] = place[0]
    return replace(entry, attrs=attrs)


def _dated(entry: _Entry, line: str) -> tuple[_Entry, str]:
    """The entry that a paragraph belongs to, and the paragraph without its dateline."""
    found = _DATELINE.match(line)
    printed, rest = "", line
    if found and _WHEN.search(found[2]):
        printed, rest = found[2] + (found[3] or ""), line[found.end() :]
        rest = found[1] + rest if rest else ""
    elif entry.attrs["document"] == "log" and (logged := re.match(r"\*?(?:On|Written) (\d+ July)", line)):
        printed = logged[1]
    told = next((when for words, when in _TOLD.items() if words in (printed, rest[: len(words)])), "")
    if not (printed or told):
        return entry, line
    attrs = dict(entry.attrs)
    fresh = bool(_DATE.search(printed)) or (entry.fresh and "dated" not in attrs)
    if _DATE.search(printed) and "dated" in attrs:
        attrs.pop("place", None)  # it went with the dateline before
    if printed:
        attrs["dated"] = printed
    if place := _PLACES.search(printed):
        attrs["place"] = place[0]
    return replace(entry, when=told or printed, fresh=fresh, attrs=attrs), rest


def _person(words: str) -> str:
    return next(name for word, name in _PEOPLE if word in words.lower())


def _moment(words: str, clock: datetime) -> tuple[datetime, bool]:
    """When the words say, counted from the moment before, and whether they name an hour."""
    if not words:
        return clock + _STEP, True
    day = clock
    if date := _DATE.search(words):
        number, month = (date[1], date[2]) if date[1] else (date[5], date[4])
        day = datetime(int(date[3] or YEAR), _MONTHS.index(month.capitalize()) + 5, int(number))
    if hour := _HOUR.search(words):
        half = 0 if "a" in (hour[3], hour[4]) else 12  # an o'clock alone is past noon in both places
        return day.replace(hour=int(hour[1]) % 12 + half, minute=int(hour[2] or 0), second=0), True
    for word, hours, minutes in _DAYTIMES:
        if re.search(word, words, re.I):
            return day.replace(hour=hours, minute=minutes, second=0), True
    if "later" in words.lower():
        return clock + timedelta(hours=1), True
    return day.replace(hour=_UNTIMED_HOUR, minute=0, second=0), False


def _pack(paragraphs: list[str]) -> list[str]:
    """Paragraphs -> texts of even length, cut between paragraphs, or between sentences where one is too long.

    The cheapest cutting by dynamic programming: a text costs its squared distance from the target length, and a cut
    inside a paragraph costs extra.
    """
    units: list[tuple[str, bool]] = []  # a sentence, and whether it ends its paragraph
    for paragraph in paragraphs:
        ends = [found.end() for found in _SENTENCE.finditer(paragraph)]
        parts = [paragraph[i:j].strip() for i, j in pairwise([0, *ends, len(paragraph)])]
        units += [(part, number == len(parts)) for number, part in enumerate(parts, 1)]
    words = [len(unit.split()) for unit, _ in units]
    best: list[tuple[float, int]] = [(0.0, 0)]  # for each end: the cost so far, and where its last text starts
    for end in range(1, len(units) + 1):
        options = []
        for start in range(end - 1, -1, -1):
            size = sum(words[start:end])
            if size > MAX_WORDS and start < end - 1:
                break
            cost = (size / _TARGET_WORDS - 1) ** 2 + (0.0 if units[end - 1][1] else _SPLIT_PARAGRAPH_COST)
            options.append((best[start][0] + cost, start))
        best.append(min(options))
    cuts = [len(units)]
    while cuts[-1]:
        cuts.append(best[cuts[-1]][1])
    return [_join(units[i:j]) for i, j in pairwise(reversed(cuts))]


def _join(units: list[tuple[str, bool]]) -> str:
    return "".join(unit + ("\n\n" if ends else " ") for unit, ends in units).strip()
