"""slowwave's own export put back as it was: ids, times, what was retired, links, journal; vectors are made anew."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slowwave.errors import FormatError, InputError, ScopeError
from slowwave.formats.jsonl import engram_of, link_of, read_jsonl
from slowwave.ops.intake import check_attrs, check_text
from slowwave.records import KINDS, SCOPE_FIELDS, Call, Engram, Link, Rejected, Scope
from slowwave.store.base import Bookmark, Entry, Index, Kept, Operation, Past, Restored
from slowwave.store.clock import to_micros, zone_of
from slowwave.store.ids import content_key

if TYPE_CHECKING:
    from slowwave.formats.arrive import Arrival
    from slowwave.memory import Memory, Progress

BATCH = 256
ZONED = re.compile(r"^(?P<time>\d{4}-\d\d-\d\dT[^\[\]]+)\[(?P<zone>[^\[\]]+)\]$")
FIELDS_WITH_TIMES = ("until", "closed", "retired", "used", "due")


def come_home(memory: Memory, path: Path, scope: Scope, rehome: bool, arrival: Arrival, progress: Progress) -> None:
    """Write an export back; `arrival` is filled in. See `Store.restore` for what happens to what is here already."""
    home = _home(path, scope, rehome)
    so_far = Restored()
    total = 0
    for records, links, operations in _batches(path, home):
        total += len(records)
        if arrival.dry_run:
            so_far.known += len(_here(memory, scope, records))
            so_far.added = total - so_far.known
        else:
            index = _index(memory, scope, records)
            memory.store.restore(scope, records, links, operations, (), index, so_far)
        progress("import", total, 0)
    if not arrival.dry_run:
        memory.store.restore(scope, (), (), (), _bookmarks(path, home), {}, so_far)
    progress("import", total, total)
    arrival.added, arrival.known, arrival.conflicts = so_far.added, so_far.known, so_far.conflicts
    arrival.audit = {"items": total, "operations": so_far.operations}
    arrival.text = f"{total} records, {so_far.operations} operations that were not here"
    if so_far.missing:
        arrival.notes.append(f"{so_far.missing} sources lie outside the export and are not named any more")


def _home(path: Path, scope: Scope, rehome: bool) -> Callable[[Mapping[str, Any]], Scope]:
    """Where what has a scope in the file belongs here. ScopeError, before anything is written, if it has no place."""
    found = {_scope(record["scope"]) for record in read_jsonl(path) if record["type"] == "engram"}
    outside = sorted(str(own) for own in found if not scope.covers(own))
    if outside and not rehome:
        raise ScopeError(
            f"asked to import {path} into {scope}; it holds records of {'; '.join(outside[:3])}"
            f"{f' and {len(outside) - 3} more scopes' if len(outside) > 3 else ''}; name a scope that covers them, or "
            f"say rehome=True (--rehome) to make them {scope}'s"
        )

    def home(given: Mapping[str, Any]) -> Scope:
        return Scope(**{**_scope(given).to_dict(), **scope.to_dict()})

    return home


def _scope(given: Any) -> Scope:
    if not isinstance(given, Mapping) or any(name not in SCOPE_FIELDS for name in given):
        raise FormatError(f"the scope {given!r:.120} cannot be read; export it again")
    return Scope(**given)


Part = tuple[list[Kept], list[Link], list[Past]]


def _batches(path: Path, home: Callable[[Mapping[str, Any]], Scope]) -> Iterator[Part]:
    """Records with the links that follow them, 256 at a time; then operations, until they have as many lines."""
    records: list[Kept] = []
    links: list[Link] = []
    operations: list[Past] = []
    lines = 0
    for record in read_jsonl(path, checked=True):
        kind = record["type"]
        if kind == "engram" and (len(records) == BATCH or (links and len(records) > BATCH // 2) or operations):
            yield records, links, operations
            records, links, operations, lines = [], [], [], 0
        if kind == "operation" and (lines > BATCH or records):
            yield records, links, operations
            records, links, operations, lines = [], [], [], 0
        if kind == "engram":
            records.append(_kept(record, home))
        elif kind == "link":
            links.append(link_of(record))
        else:
            operations.append(_past(record, home))
            lines += 1 + len(operations[-1].entries)
    if records or links or operations:
        yield records, links, operations


def _kept(record: Mapping[str, Any], home: Callable[[Mapping[str, Any]], Scope]) -> Kept:
    engram = engram_of(record)
    try:
        check_text(engram.text, "text")
        check_attrs(engram.attrs)
        if engram.kind not in KINDS or not engram.text.strip() or not 0 < engram.strength <= 1:
            raise InputError(f"kind {engram.kind!r}, strength {engram.strength!r}, {len(engram.text)} characters")
        engram = engram.with_(
            scope=home(record["scope"]),
            at=_zoned(engram.at, record.get("at_zone")),
            until=None if engram.until is None else _zoned(engram.until, record.get("until_zone")),
        )
        content = bytes.fromhex(record["content"]) if "content" in record else _content(engram)
    except (InputError, TypeError, ValueError) as error:
        raise FormatError(f"engram {record.get('id')!r:.60} cannot be kept: {error}; export it again") from error
    return Kept(engram, content)


def _content(engram: Engram) -> bytes:
    """The key of a record whose file does not name it."""
    return content_key(engram.text, engram.kind, engram.speaker, engram.origin, to_micros(engram.at), 0)


def _zoned(moment: datetime, zone: Any) -> datetime:
    """The same moment in the zone of that name."""
    if not isinstance(zone, str):
        return moment
    try:
        return moment.astimezone(zone_of(zone))
    except OverflowError:
        return moment


def _past(record: Mapping[str, Any], home: Callable[[Mapping[str, Any]], Scope]) -> Past:
    try:
        recorded = datetime.fromisoformat(record["recorded"])
        operation = Operation(
            str(record["id"]), str(record["verb"]), home(record["scope"]), recorded, str(record["system"]),
            str(record["model"]), dict(record["params"]),
            calls=tuple(map(_call, record.get("calls", ()))),
            rejected=tuple(map(_rejected, record.get("rejected", ()))),
        )  # fmt: skip
        entries = tuple(_entry(line, operation) for line in record["changes"])
        return Past(operation, record["undone_by"], entries)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise FormatError(f"operation {record.get('id')!r:.60} cannot be read: {error!r}; export it again") from error


def _call(given: Mapping[str, Any]) -> Call:
    return Call(
        str(given["operation"]), str(given["model"]), str(given["prompt"]), int(given["tokens_in"]),
        int(given["tokens_out"]), float(given["seconds"]), bool(given["cached"]), str(given["problem"]),
    )  # fmt: skip


def _rejected(given: Mapping[str, Any]) -> Rejected:
    return Rejected(
        str(given["operation"]), str(given["reason"]), str(given["text"]), tuple(map(str, given["sources"])),
        str(given["model"]), str(given["prompt"]),
    )  # fmt: skip


def _entry(line: Mapping[str, Any], operation: Operation) -> Entry:
    return Entry(
        op=operation.id, verb=str(line["verb"]), engram=str(line["id"]), reason=str(line["reason"]),
        sources=tuple(line["sources"]), before=_fields(line["before"]), after=_fields(line["after"]),
        links=tuple(Link(*tie) for tie in line["links"]), unlinks=tuple(Link(*tie) for tie in line["unlinks"]),
        recorded=operation.recorded, operation=operation.verb, system=operation.system, model=operation.model,
    )  # fmt: skip


def _fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    out = dict(fields)
    for name in FIELDS_WITH_TIMES:
        if isinstance(out.get(name), str) and (match := ZONED.match(out[name])):
            out[name] = _zoned(datetime.fromisoformat(match["time"]), match["zone"])
    return out


def _bookmarks(path: Path, home: Callable[[Mapping[str, Any]], Scope]) -> list[Bookmark]:
    """How far sleeps had looked, from the file's first line."""
    with closing(path.open(encoding="utf-8-sig")) as handle:
        header = json.loads(handle.readline())
    marks: Sequence[Mapping[str, Any]] = header.get("bookmarks", ())
    return [
        Bookmark(home(mark["scope"]), str(mark["system"]), str(mark["last"]), int(mark["seen"]), dict(mark["state"]))
        for mark in marks
    ]


def _here(memory: Memory, scope: Scope, records: Sequence[Kept]) -> set[str]:
    """The ids of those that need not be written: here by id, or as the same item."""
    view = memory.store.view(scope)
    here = set(view.get([record.engram.id for record in records]))
    for own in {record.engram.scope for record in records}:
        part = [record for record in records if record.engram.scope == own]
        held = view.find_content(own, [record.content for record in part])
        here |= {record.engram.id for record in part if record.content in held}
    return here


def _index(memory: Memory, scope: Scope, records: Sequence[Kept]) -> Mapping[str, Index]:
    """The index entries of what is new."""
    here = _here(memory, scope, records)
    fresh: Iterable[Kept] = [record for record in records if record.engram.id not in here]
    if not fresh:
        return {}
    memory._check_model()
    engrams, contents = [record.engram for record in fresh], [record.content for record in fresh]
    return memory.system.index(engrams, contents, memory.embedder)
