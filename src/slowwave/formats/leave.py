"""Leaving: a scope's records written to a JSONL file that loses nothing, or to a folder of Markdown for reading."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from slowwave import __version__
from slowwave.errors import InputError
from slowwave.formats import front_matter
from slowwave.formats.jsonl import Jsonl, engram_record, link_record, write_jsonl
from slowwave.formats.markdown_export import MARK, write_markdown
from slowwave.records import Engram, Link
from slowwave.store.base import Entry, Kept, Past, View, Want
from slowwave.store.clock import zone_name

BATCH = 256  # records that go into one transaction when they come back
FORMATS = ("jsonl", "markdown")


def export(view: View, path: Path, format: str = "jsonl") -> int:
    """Write every record of the view's scope; returns how many.

    format  "jsonl": a file with all records, retired ones too, their links, operations and journal. It is written
            beside `path` and takes its place when it is whole, so a kill leaves what was there before.
            "markdown": a folder with the records in view. Files of an earlier export that have no records any more go.
    raises  InputError if the path holds something else than an earlier export
    """
    path = Path(path).expanduser()
    if format not in FORMATS:
        raise InputError(f"format is {format!r}; records can be exported as {' or '.join(FORMATS)}")
    if not path.parent.is_dir():
        raise InputError(f"asked to export to {path}; there is no folder {path.parent}; make it first")
    with view.snapshot():
        return _to_file(view, path) if format == "jsonl" else _to_folder(view, path)


def records(view: View) -> Iterator[Mapping[str, Any]]:
    """The lines of an export: records in the order of recording, each link after its later end, then the operations."""
    n = 0
    while page := view.kept(n, BATCH):
        n = page[-1][0]
        yield from (kept_record(record) for _, record in page)
        yield from (link_record(link) for link in _links(view, [record.engram.id for _, record in page], n))
    n = 0
    while done := view.past(n, 64):
        n = done[-1][0]
        yield from (past_record(one) for _, one in done)


def kept_record(record: Kept) -> dict[str, Any]:
    """The line of a record: an engram's, with its content key and the zone names that its times have no room for."""
    engram = record.engram
    zones = {"at_zone": zone_name(engram.at)} | ({"until_zone": zone_name(engram.until)} if engram.until else {})
    return {**engram_record(engram), **zones, "content": record.content.hex()}


def past_record(one: Past) -> dict[str, Any]:
    """The line of an operation, with its lines of the journal, the calls of a model, and what was turned down."""
    o = one.operation
    calls, rejected = [call.to_dict() for call in o.calls], [aside.to_dict() for aside in o.rejected]
    return {
        "type": "operation", "id": o.id, "verb": o.verb, "scope": o.scope.to_dict(), "recorded": o.recorded.isoformat(),
        "system": o.system, "model": o.model, "params": dict(o.params), "undone_by": one.undone_by,
        "changes": [_line(entry) for entry in one.entries],
        **({"calls": calls} if calls else {}), **({"rejected": rejected} if rejected else {}),
    }  # fmt: skip


def _line(entry: Entry) -> dict[str, Any]:
    return {
        "verb": entry.verb, "id": entry.engram, "reason": entry.reason, "sources": list(entry.sources),
        "before": _fields(entry.before), "after": _fields(entry.after),
        "links": [_tie(link) for link in entry.links], "unlinks": [_tie(link) for link in entry.unlinks],
    }  # fmt: skip


def _fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Times as RFC 9557 has them: 2023-05-08T14:03:00+01:00[Europe/London]."""
    return {
        name: f"{value.isoformat()}[{zone_name(value)}]" if isinstance(value, datetime) else value
        for name, value in fields.items()
    }


def _tie(link: Link) -> list[Any]:
    return [link.source, link.relation, link.target, link.weight]


def _links(view: View, ids: list[str], last: int) -> list[Link]:
    """The links of these records to each other and to earlier ones."""
    links = view.links(ids)
    numbers = view.numbers(list({end for link in links for end in (link.source, link.target)}))
    early = [link for link in links if numbers[link.source] <= last and numbers[link.target] <= last]
    return sorted(early, key=lambda link: (numbers[link.source], link.relation, numbers[link.target]))


def _to_file(view: View, path: Path) -> int:
    if path.is_dir():
        raise InputError(f"asked to export to {path}, which is a folder; name a file such as {path / 'memory.jsonl'}")
    if path.exists() and path.stat().st_size and not Jsonl().detect(path):
        raise InputError(f"{path} is there already and is no slowwave export; name another file, or remove it")
    marks = [
        {"scope": mark.scope.to_dict(), "system": mark.system, "last": mark.last, "seen": mark.seen,
         "state": dict(mark.state)}
        for mark in view.bookmarks()
    ]  # fmt: skip
    header = {"slowwave": __version__, "scope": view.scope.to_dict(), "bookmarks": marks}
    handle, partial = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            counts = write_jsonl(records(view), file, **header)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(partial)
        raise
    _sync(path.parent)
    return counts["engram"]


def _sync(folder: Path) -> None:
    """Make a rename survive a power cut; Windows has no such call, and needs none."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _to_folder(view: View, path: Path) -> int:
    if path.exists() and not path.is_dir():
        raise InputError(f"asked to export Markdown to {path}, which is a file; name a folder")
    earlier = _own_files(path) if path.exists() else []
    engrams: list[Engram] = view.select(Want())
    path.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".", suffix=".partial", dir=path) as made:
        for file in write_markdown(engrams, Path(made)):
            os.replace(file, path / file.name)
            earlier = [old for old in earlier if old != path / file.name]
    for old in earlier:
        old.unlink()
    return len(engrams)


def _own_files(folder: Path) -> list[Path]:
    """The files of an earlier export; InputError if the folder holds anything else that is not hidden."""
    own = []
    for file in sorted(folder.iterdir()):
        if file.name.startswith("."):  # .git, .obsidian
            continue
        if not _is_own(file):
            raise InputError(
                f"{folder} is not empty, and {file.name} is not from an earlier export; name a new or empty folder"
            )
        own.append(file)
    return own


def _is_own(file: Path) -> bool:
    if file.suffix != ".md" or not file.is_file() or file.is_symlink():
        return False
    with file.open(encoding="utf-8", errors="replace") as handle:
        head = handle.read(65_536)
    return MARK in front_matter.split_note(head)[0]
