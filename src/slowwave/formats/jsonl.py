"""slowwave's own export: JSONL that loses nothing, and that shows when it was cut off or changed.

    {"format": "slowwave", "version": 1, "created": "...", ...}         the header
    {"type": "engram", "id": "01H...", "text": "...", ...}              Engram.to_dict()
    {"type": "link", "source": ..., "relation": ..., "target": ..., "weight": ...}
    {"type": "operation", ...}                                          one operation of the journal
    {"type": "end", "counts": {"engram": 2, ...}, "sha256": "..."}      of all lines before, each with its \\n

`read_jsonl` gives the records back as they were; the reader for `slowwave import` gives Items, which leave out what
only the memory that wrote them needs (strength, journal, what was retired).
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from datetime import datetime, tzinfo
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any

from slowwave.errors import FormatError, InputError
from slowwave.formats.base import Junk, Reader
from slowwave.formats.bundle import check_path, is_zip
from slowwave.records import Engram, Item, Link, Scope, utc_now

VERSION = 1
TYPES = ("engram", "link", "operation")
TIMES = ("at", "until", "recorded", "used", "closed", "retired", "due")


def write_jsonl(records: Iterable[Mapping[str, Any]], handle: IO[str] | IO[bytes], **header: Any) -> dict[str, int]:
    """Write records, each with its "type" (engram, link or operation), between a header and a closing line.

    handle   open for writing, text or bytes; it is not closed
    header   more fields for the first line
    returns  how many of each type were written
    raises   InputError for a record without a known type
    """
    hashed, counts = hashlib.sha256(), dict.fromkeys(TYPES, 0)
    _put(handle, {"format": "slowwave", "version": VERSION, "created": utc_now().isoformat(), **header}, hashed)
    for record in records:
        kind = record.get("type")
        if kind not in counts:
            raise InputError(f"a record to export has the type {kind!r}; it must be one of {', '.join(TYPES)}")
        counts[kind] += 1
        _put(handle, record, hashed)
    _put(handle, {"type": "end", "counts": counts, "sha256": hashed.hexdigest()}, hashed)
    return counts


def _put(handle: IO[str] | IO[bytes], record: Mapping[str, Any], hashed: Any) -> None:
    line = json.dumps(record, ensure_ascii=False) + "\n"
    try:
        encoded = line.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which only an escape can carry
        line = json.dumps(record) + "\n"
        encoded = line.encode()
    hashed.update(encoded)
    if isinstance(handle, io.TextIOBase):
        handle.write(line)
    else:
        handle.write(encoded)  # type: ignore[arg-type]


def engram_record(engram: Engram) -> dict[str, Any]:
    """The line of an engram."""
    return {"type": "engram", **engram.to_dict()}


def link_record(link: Link) -> dict[str, Any]:
    """The line of a link."""
    return {"type": "link", "source": link.source, "relation": link.relation, "target": link.target,
            "weight": link.weight}  # fmt: skip


def engram_of(record: Mapping[str, Any]) -> Engram:
    """The engram of a line, equal to the one that was written. Raises FormatError if a field is missing or wrong."""
    try:
        values = {f.name: record[f.name] for f in fields(Engram) if f.name in record}
        for name in TIMES:
            if values.get(name) is not None:
                values[name] = datetime.fromisoformat(values[name])
        values["scope"] = Scope(**values["scope"])
        values["sources"] = tuple(values.get("sources", ()))
        values["attrs"] = MappingProxyType(dict(values.get("attrs") or {}))
        return Engram(**values)
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError(f"engram {record.get('id')!r} cannot be read: {error!r}; export it again") from error


def link_of(record: Mapping[str, Any]) -> Link:
    """The link of a line. Raises FormatError if a field is missing or wrong."""
    try:
        return Link(record["source"], record["relation"], record["target"], record.get("weight", 1.0))
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError(f"the link {dict(record)!r:.200} cannot be read: {error!r}; export it again") from error


def read_jsonl(path: Path, checked: bool = False) -> Iterator[dict[str, Any]]:
    """The records as they were written, in their order, after the whole file was checked against its closing line.

    checked  it was, a moment ago
    raises FormatError, before the first record, if the file is no slowwave export, was made by a newer version, was cut
    off, or was changed. It is read twice, so that half an import never happens.
    """
    path = check_path(path)
    if not checked:
        _verify(path)
    return _records(path)


def _records(path: Path) -> Iterator[dict[str, Any]]:
    for number, raw in enumerate(_lines(path)):
        record = json.loads(raw)
        if number and record.get("type") in TYPES:
            yield record


def _lines(path: Path) -> Iterator[bytes]:
    """The lines as bytes without mark and line ends, which editors and mail change."""
    with path.open("rb") as handle:
        for number, raw in enumerate(handle):
            raw = raw.rstrip(b"\r\n")
            raw = raw.removeprefix(b"\xef\xbb\xbf") if not number else raw
            if raw:
                yield raw


def _verify(path: Path) -> None:
    hashed, counts, number, end = hashlib.sha256(), dict.fromkeys(TYPES, 0), 0, None
    for number, raw in enumerate(_lines(path), 1):
        try:
            record = json.loads(raw)
        except (ValueError, RecursionError) as error:
            if number == 1:
                break
            raise FormatError(
                f"asked to import {path}; line {number} is damaged or cut off ({error}); copy or export it again"
            ) from error
        if number == 1:
            _check_header(path, record)
        elif end is not None:
            raise FormatError(f"asked to import {path}; line {number} stands after its closing line; export it again")
        elif isinstance(record, dict) and record.get("type") == "end":
            end = record
            continue
        elif isinstance(record, dict) and record.get("type") in counts:
            counts[record["type"]] += 1
        else:
            raise FormatError(f"asked to import {path}; line {number} is of no known type; export it again")
        hashed.update(raw + b"\n")
    if number <= 1 and end is None and hashed.digest() == hashlib.sha256().digest():
        raise FormatError(f"asked to import {path} as a slowwave export; its first line is no header; check the path")
    if end is None:
        raise FormatError(
            f"asked to import {path}; it ends after {sum(counts.values())} records without its closing line, so it was "
            f"cut off; copy or export it again"
        )
    if end.get("counts") != counts or end.get("sha256") != hashed.hexdigest():
        raise FormatError(
            f"asked to import {path}; its closing line promises {end.get('counts')}, it holds {counts}, and the sha256 "
            f"{'agrees' if end.get('sha256') == hashed.hexdigest() else 'differs'}: it was changed; export it again"
        )


def _check_header(path: Path, record: Any) -> None:
    if not isinstance(record, dict) or record.get("format") != "slowwave":
        raise FormatError(f"asked to import {path} as a slowwave export; its first line is no header; check the path")
    if not isinstance(record.get("version"), int) or record["version"] > VERSION:
        raise FormatError(
            f"{path} is a slowwave export of version {record.get('version')!r}; this slowwave reads up to {VERSION}; "
            f"update slowwave"
        )


class Jsonl(Reader):
    """Reader of slowwave's own export as Items; the links of the file stay in memory."""

    name = "jsonl"
    what = "a slowwave export (JSONL)"
    may_be_empty = True

    def _looks(self, path: Path) -> bool:
        if not path.is_file() or is_zip(path):
            return False
        with path.open("rb") as handle:
            first = handle.readline(2**16).removeprefix(b"\xef\xbb\xbf")
        try:
            header = json.loads(first)
        except (ValueError, RecursionError):
            return False
        return isinstance(header, dict) and header.get("format") == "slowwave"

    def _read(self, path: Path, zone: tzinfo) -> Iterator[Item | Junk]:
        ties: dict[str, list[tuple[str, str]]] = {}
        names: dict[str, str] = {}
        for record in read_jsonl(path):
            if record["type"] == "link":
                link = link_of(record)
                ties.setdefault(link.source, []).append((link.relation, link.target))
            elif record["type"] == "engram" and record.get("origin"):
                names[str(record.get("id"))] = str(record["origin"])
        for record in _records(path):
            if record["type"] == "engram":
                yield _item(engram_of(record), ties, names)


def _item(engram: Engram, ties: Mapping[str, list[tuple[str, str]]], names: Mapping[str, str]) -> Item | Junk:
    if engram.retired is not None:
        return Junk(f"engram {engram.id}", engram.text, f"retired: {engram.retired_why or 'no reason kept'}")
    attrs = dict(engram.attrs)
    session = attrs.pop("session", None)
    if isinstance(attrs.get("speaker"), str):
        del attrs["speaker"]
    return Item(
        text=engram.text,
        kind=engram.kind,
        speaker=engram.speaker,
        at=engram.at,
        until=engram.until,
        session=str(session) if session is not None else None,
        origin=_origin(engram.id, names),
        attrs=attrs,
        scope=engram.scope.to_dict(),
        links=tuple((relation, _origin(target, names)) for relation, target in ties.get(engram.id, ())),
    )


def _origin(identity: str, names: Mapping[str, str]) -> str:
    return names.get(identity, f"slowwave:{identity}")
