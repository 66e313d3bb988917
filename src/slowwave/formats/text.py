"""Plain dated text: chats as WhatsApp exports them, logs, diaries.

    [08/05/2023, 14:03:22] Ana: I moved to Porto       a line with a date begins an entry; lines without one go on
    2023-05-08 14:03 Ana: I moved to Porto
    8 May 2023                                         a date alone on its line is a heading for what follows
    Ana: I moved to Porto                              "Name: " begins an entry where that name comes more than once

Under a date heading, paragraphs are entries. Whether 05/08 is in May or in August is decided once a file: by a number
over 12, else by which reading keeps the dates in order, else day first; what is only assumed is noted in attrs. Months
are read in English. Notices of the messenger and placeholders for media are Junk.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from pathlib import Path, PurePosixPath

from slowwave.formats.base import Junk, Origins, Reader, clean, unreadable
from slowwave.formats.bundle import Part, Skipped, parts
from slowwave.formats.decode import head_of, lines_of
from slowwave.formats.split import pieces
from slowwave.formats.times import has_clock, written
from slowwave.records import Item

SUFFIXES = (".txt", ".text", ".log")
MARKS = dict.fromkeys(map(ord, "\u200e\u200f\u202a\u202c\ufeff")) | {0x202F: " ", 0xA0: " "}  # WhatsApp is fond of them
SPEAKER = re.compile(
    r"(?P<name>[^\W\d_~+][^:\[\]{}<>\"/\\]{0,39}|[~+][^:\[\]\"/\\]{1,39}):(?:\s+(?P<text>.*)|$)", re.DOTALL
)
AFTER_DATE = re.compile(r"\]?[.,:;]?\s*(?:[-–—|:]+\s*)?")
NUMERIC = re.compile(r"\[?(\d{1,2})[./-](\d{1,2})[./-](\d{4}|\d{2})(?!\d)")
MEDIA = re.compile(
    r"<?(?:media omitted|attached: [^>]*|(?:image|video|audio|sticker|gif|document|contact card) omitted)>?"
    r"|.*\(file attached\)|this message was deleted\.?|you deleted this message\.?|null",
    re.IGNORECASE,
)
SAMPLE_LINES = 2000


@dataclass(slots=True)
class _Entry:
    where: str
    at: datetime | None
    speaker: str | None
    lines: list[str] = field(default_factory=list)
    dated_line: bool = False  # the date stood on the line itself, so blank lines do not end the entry


@dataclass(frozen=True, slots=True)
class _Habits:
    """What the first 2,000 lines say of the whole file."""

    day_first: bool
    assumed: bool
    names: frozenset[str]
    dated: int
    chat: bool  # most dated lines have a time of day and a speaker


class Text(Reader):
    """Reader of dated plain text, line by line."""

    name = "text"
    what = "plain dated text (a chat, a log or a diary as .txt)"

    def _looks(self, path: Path) -> bool:
        if path.is_dir():
            return False
        for part in parts(path, _wanted):
            if isinstance(part, Skipped) or head_of(part, 512).lstrip("\ufeff \r\n")[:1] == "{":
                continue
            if "\0" in head_of(part, 512):
                return False
            habits = _habits(part)
            if habits.dated or habits.names:
                return True
        return False

    def _read(self, path: Path, zone: tzinfo) -> Iterator[Item | Junk]:
        for part in parts(path, _wanted):
            if isinstance(part, Skipped):
                yield unreadable(part.name, "", part.reason)
                continue
            habits, origins = _habits(part), Origins(self.name)
            for entry in _entries(part, habits, zone):
                if isinstance(entry, Junk):
                    yield entry
                else:
                    yield from _items(entry, PurePosixPath(part.name).stem, habits, origins)


def _wanted(name: str) -> bool:
    return name.lower().endswith(SUFFIXES)


def _habits(part: Part) -> _Habits:
    names: Counter[str] = Counter()
    numeric: list[tuple[int, int, int]] = []
    lines = dated = talk = 0
    before: str | None = None
    answered: set[str] = set()
    half_day = False
    for number, line in lines_of(part):
        if number > SAMPLE_LINES:
            break
        if isinstance(line, Junk) or not line.strip():
            before = None
            continue
        lines += 1
        shown = line.translate(MARKS).strip()
        bare = shown.lstrip("[")
        found = written(bare, UTC)
        if found:
            dated += 1
            half_day = half_day or bool(re.search(r"\d\s?[ap]\.?m\b", bare[: found[1]], re.IGNORECASE))
            if match := NUMERIC.match(shown):
                numeric.append((int(match[1]), int(match[2]), int(match[3])))
            shown = bare[found[1] :][AFTER_DATE.match(bare, found[1]).end() - found[1] :]  # type: ignore[union-attr]
            talk += bool(has_clock(bare) and SPEAKER.match(shown))
        match = SPEAKER.match(shown)
        if match:
            names[match["name"]] += 1
            if before is not None and before != match["name"]:
                answered |= {before, match["name"]}  # two who speak in turn
        before = match["name"] if match else None
    day_first, assumed = _day_first(numeric, half_day)
    heard = sum(names.values())
    kept = frozenset(name for name, times in names.items() if times > 1 or name in answered or heard > lines / 2)
    return _Habits(day_first, assumed, kept, dated, chat=talk > 0 and talk >= dated / 2)


def _day_first(numeric: list[tuple[int, int, int]], half_day: bool) -> tuple[bool, bool]:
    """Whether dates are written day first, and whether that is only assumed."""
    if any(one > 12 for one, _, _ in numeric):
        return True, False
    if any(two > 12 for _, two, _ in numeric):
        return False, False
    as_day = [(year, two, one) for one, two, year in numeric]
    as_month = [(year, one, two) for one, two, year in numeric]
    if (as_day == sorted(as_day)) != (as_month == sorted(as_month)):
        return as_day == sorted(as_day), False
    return not half_day, bool(numeric)  # a clock of twelve hours goes with month first


def _entries(part: Part, habits: _Habits, zone: tzinfo) -> Iterator[_Entry | Junk]:
    entry: _Entry | None = None
    date: datetime | None = None
    for number, line in lines_of(part):
        if isinstance(line, Junk):
            yield line
            continue
        where = f"{part.name}:{number}"
        if "\0" in line:
            yield unreadable(where, line, "NUL bytes, so no text")
            continue
        shown = line.translate(MARKS).strip()
        if not shown:
            if entry is not None and entry.dated_line and habits.chat:
                entry.lines.append("")
            elif entry is not None:
                yield entry
                entry = None
            continue
        bare = shown.lstrip("#*_ ") if shown[0] in "#*_" else shown.removeprefix("[")
        found = written(bare, zone, habits.day_first)
        if found is not None and (not habits.chat or has_clock(bare)):
            rest = bare[AFTER_DATE.match(bare, found[1]).end() :].strip()  # type: ignore[union-attr]
            if entry is not None:
                yield entry
            if rest.strip("*_.: "):
                speaker, text = _speaker(rest, habits, always=habits.chat)
                entry = _Entry(where, found[0], speaker, [text], dated_line=True)
                date = date if habits.chat else found[0]
            else:
                entry, date = None, found[0]
            continue
        speaker, text = _speaker(shown, habits, always=False)
        if speaker is not None and not habits.chat:
            if entry is not None:
                yield entry
            entry = _Entry(where, date, speaker, [text])
        elif entry is None:
            entry = _Entry(where, date, None, [shown])
        else:
            entry.lines.append(shown)
    if entry is not None:
        yield entry


def _speaker(text: str, habits: _Habits, always: bool) -> tuple[str | None, str]:
    match = SPEAKER.match(text)
    if match and (always or match["name"] in habits.names):
        return match["name"].strip(), match["text"] or ""
    return None, text


def _items(entry: _Entry, stem: str, habits: _Habits, origins: Origins) -> Iterator[Item | Junk]:
    text = clean("\n".join(entry.lines).strip())
    if entry.speaker is None and habits.chat and entry.dated_line:
        yield Junk(entry.where, text, "a notice of the messenger")
    elif not text:
        yield Junk(entry.where, text, "no text")
    elif MEDIA.fullmatch(text):
        yield Junk(entry.where, text, "media that is not in the export")
    else:
        session = f"{stem} {entry.at:%Y-%m-%d}" if entry.at else stem
        attrs = {"date_order": "day first (assumed)" if habits.day_first else "month first (assumed)"}
        for piece in pieces(text):
            origin = origins.name(entry.at, entry.speaker, piece)
            kept = attrs if habits.assumed else {}
            yield Item(piece, "episode", entry.speaker, entry.at, None, session, origin, kept)
