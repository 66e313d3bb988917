"""Markdown notes: one note, or a folder of them such as an Obsidian vault; also what `write_markdown` wrote.

A note becomes one episode a section, a section being what stands under a heading; long ones are cut at paragraphs.
Its date comes from a heading that is a date, else the front matter (date, created, ...), else the file's name
(2023-05-08.md), else the time the file was changed; attrs["dated_by"] says which. Wikilinks are kept as attrs and,
where they lead to a note of the same folder, as links. Hidden folders (.obsidian, .trash) are skipped, symbolic links
not followed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from pathlib import Path, PurePosixPath
from typing import Any

from slowwave.errors import FormatError
from slowwave.formats import front_matter
from slowwave.formats.base import Junk, Reader, clean, clean_values, unreadable
from slowwave.formats.bundle import Part, Skipped, parts
from slowwave.formats.decode import text_of
from slowwave.formats.markdown_export import MARK, read_back
from slowwave.formats.split import pieces
from slowwave.formats.times import instant, written
from slowwave.records import KINDS, Item

SUFFIXES = (".md", ".markdown", ".mdown")
DATE_KEYS = ("date", "created", "created_at", "date_created", "datetime", "day")
HEADING = re.compile(r"^ {0,3}(#{1,6})[ \t]+(\S.*)$")
CODE = re.compile(r"^ {0,3}(```|~~~)")
WIKILINK = re.compile(r"!?\[\[([^\[\]|#^]+)(?:[#^][^\[\]|]*)?(?:\|[^\[\]]*)?\]\]")
TAG = re.compile(r"(?<![\w#/&])#([^\W\d_][\w/-]*)")
NAME_DATE = re.compile(r"(?<!\d)(\d{4})[-_.]?(\d{2})[-_.]?(\d{2})(?!\d)")


@dataclass(slots=True)
class _Section:
    heading: str = ""
    lines: list[str] = field(default_factory=list)


class Markdown(Reader):
    """Reader of Markdown notes, note by note."""

    name = "markdown"
    what = "Markdown notes (a .md file or a folder of them)"

    def _looks(self, path: Path) -> bool:
        if path.is_file():
            return path.suffix.lower() in SUFFIXES
        return any(isinstance(part, Part) for part in parts(path, _wanted))

    def _read(self, path: Path, zone: tzinfo) -> Iterator[Item | Junk]:
        notes = []
        for part in parts(path, _wanted):
            if isinstance(part, Skipped):
                yield unreadable(part.name, "", part.reason)
            else:
                notes.append(part.name)
        places = {PurePosixPath(name).stem.casefold(): name for name in reversed(notes)}
        for part in parts(path, _wanted):
            if not isinstance(part, Skipped):
                try:
                    text = text_of(part).removeprefix("\ufeff")
                except FormatError as error:
                    yield unreadable(part.name, "", str(error))
                    continue
                yield from _note(part, text, zone, places)


def _wanted(name: str) -> bool:
    return name.lower().endswith(SUFFIXES)


def _note(part: Part, text: str, zone: tzinfo, places: dict[str, str]) -> Iterator[Item | Junk]:
    head, body = front_matter.split_note(text)
    if MARK in head:
        yield from read_back(part.name, head, body, zone)
        return
    date, dated_by = _date(part, head, zone)
    title = clean(str(head.get("title") or PurePosixPath(part.name).stem))
    attrs: dict[str, Any] = {"title": title, "path": part.name}
    for key, value in head.items():
        if key not in ("tags", "tag", "title", *DATE_KEYS) and value not in (None, [], ""):
            attrs[clean(key)] = clean_values(value)
    tags = _listed(head.get("tags")) + _listed(head.get("tag"))
    kind = head.get("kind")
    first, number = f"markdown:{part.name}", 0
    seen: dict[str, int] = {}
    for section in _sections(body):
        found, by = written(section.heading, zone), dated_by
        at = date
        if found is not None and found[1] == len(section.heading):
            at, by = found[0], "heading"
        source = clean("\n".join(section.lines).strip())
        if section.heading and not "".join(section.lines[1:]).strip():
            yield Junk(f"{part.name}#{section.heading}", source, "a heading with nothing under it")
            continue
        links = [clean(name.strip()) for name in dict.fromkeys(WIKILINK.findall(source))]
        own = attrs | {"dated_by": by}
        if section.heading:
            own["heading"] = clean(section.heading)
        if names := [*dict.fromkeys([*tags, *TAG.findall(_without_code(source))])]:
            own["tags"] = names
        if links:
            own["links"] = links
        targets = (places.get(PurePosixPath(name).name.casefold()) for name in links)
        ties = tuple(("about", f"markdown:{name}") for name in dict.fromkeys(targets) if name and name != part.name)
        for piece in pieces(source):
            key = clean(section.heading)
            seen[key] = nth = seen.get(key, 0) + 1
            origin = first if number == 0 else f"{first}#{key}" + (f":{nth}" if nth > 1 else "")
            number += 1
            yield Item(
                text=piece,
                kind=kind if kind in KINDS else "episode",
                at=at,
                session=title,
                origin=clean(origin),
                attrs=own,
                links=ties,
            )
    if number == 0:
        yield Junk(part.name, body.strip(), "an empty note")


def _date(part: Part, head: dict[str, Any], zone: tzinfo) -> tuple[datetime | None, str]:
    for key in DATE_KEYS:
        if (at := instant(head.get(key), zone)) is not None:
            return at, "front matter"
    for year, month, day in NAME_DATE.findall(PurePosixPath(part.name).stem):
        try:
            return datetime(int(year), int(month), int(day), tzinfo=zone), "file name"
        except ValueError:
            continue
    changed = instant(part.modified, zone) if part.modified is not None else None
    return changed, "file time" if changed else "nothing"


def _sections(body: str) -> Iterator[_Section]:
    """The note cut at its headings; a # inside a code block is none."""
    section, code = _Section(), ""
    for line in body.split("\n"):
        if fence := CODE.match(line):
            code = "" if code == fence[1] else code or fence[1]
        heading = None if code or fence else HEADING.match(line)
        if heading:
            if section.lines:
                yield section
            section = _Section(heading[2].rstrip().rstrip("#").rstrip() or "#", [line])
        elif line.strip() or section.lines:
            section.lines.append(line)
    if section.lines:
        yield section


def _listed(value: Any) -> list[str]:
    names = value if isinstance(value, list) else str(value).replace(",", " ").split() if value is not None else []
    return [clean(str(name)).lstrip("#") for name in names if str(name).strip()]


def _without_code(text: str) -> str:
    return re.sub(r"```.*?```|`[^`\n]*`|https?://\S+", " ", text, flags=re.DOTALL)
