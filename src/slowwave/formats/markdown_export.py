"""Writes engrams as Markdown that people can read and the `markdown` format can take in again.

One file a session, or a month where there is no session, and a scope:

    ## 2023-05-08T14:03:00+01:00 Ana
    <!-- {"id": "01H...", "kind": "episode", ...} -->
    > I moved to Porto in May.

The quoted lines are the text, exactly; the comment, which readers of Markdown do not show, holds the other fields. For
a copy that loses nothing of links and journal either, write JSONL.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Any

from slowwave.errors import InputError, ScopeError
from slowwave.formats import front_matter
from slowwave.formats.base import Junk, clean, clean_values, digest, scope_of, unreadable
from slowwave.formats.times import instant
from slowwave.records import KINDS, Engram, Item

MARK = "slowwave"  # the key in the front matter that says who wrote the file
VERSION = 1
ENTRY = re.compile(r"^## (?P<at>\S+)(?: (?P<speaker>.*))?\n<!-- (?P<meta>\{.*\}) -->\n", re.MULTILINE)


def write_markdown(engrams: Iterable[Engram], folder: Path) -> list[Path]:
    """Write the engrams into `folder`, one file a session or month and scope, each in the order of time.

    engrams   any order; those of one file are held in memory together, so in practice all are
    folder    made if it is not there; files of the same name are replaced
    returns   the files written
    raises    InputError if the folder is a file
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"asked to write Markdown into {folder}, which is a file; name a folder")
    folder.mkdir(parents=True, exist_ok=True)
    files: dict[tuple[str, str], list[Engram]] = {}
    for engram in engrams:
        group = engram.session or f"{engram.at:%Y-%m}"
        files.setdefault((group, str(engram.scope)), []).append(engram)
    taken: set[str] = set()
    out = []
    for (group, scope), members in sorted(files.items()):
        name = re.sub(r"[^\w .()-]+", "-", group).strip(" .-")[:80] or "memory"
        if name.casefold() in taken:  # two sessions of one name, or one in two scopes
            name = f"{name} {digest(group, scope)[:8]}"
        taken.add(name.casefold())
        path = folder / f"{name}.md"
        with path.open("w", encoding="utf-8", errors="surrogatepass", newline="\n") as handle:
            handle.write(_head(group, members))
            for engram in sorted(members, key=lambda engram: (engram.at, engram.id)):
                handle.write(_entry(engram))
        out.append(path)
    return out


def _head(group: str, members: list[Engram]) -> str:
    first, last = min(engram.at for engram in members), max(engram.at for engram in members)
    values: dict[str, Any] = {
        MARK: VERSION,
        "title": group,
        "from": first.isoformat(),
        "to": last.isoformat(),
        "records": len(members),
        "scope": members[0].scope.to_dict(),
    }
    return front_matter.write(values) + f"\n# {' '.join(group.split())}\n"


def _entry(engram: Engram) -> str:
    meta: dict[str, Any] = {
        "id": engram.id,
        "kind": engram.kind,
        "origin": engram.origin,
        "recorded": engram.recorded.isoformat(),
        "until": engram.until.isoformat() if engram.until else None,
        "retired": engram.retired_why if engram.retired else None,
        "sources": list(engram.sources),
        "attrs": dict(engram.attrs),
    }
    meta = {key: value for key, value in meta.items() if value not in (None, [], {})}
    if "\r" in engram.text:
        meta["text"] = engram.text  # editors rewrite line ends
    kept = json.dumps(meta, ensure_ascii=False).replace(">", "\\u003e").replace("\u2028", "\\u2028")
    speaker = " ".join((engram.speaker or "").split())
    quoted = "\n".join(f"> {line}" if line else ">" for line in engram.text.replace("\r", "").split("\n"))
    return f"\n## {engram.at.isoformat()} {speaker}".rstrip() + f"\n<!-- {kept} -->\n{quoted}\n"


def read_back(name: str, head: Mapping[str, Any], body: str, zone: tzinfo) -> Iterator[Item | Junk]:
    """The entries of a file that `write_markdown` wrote, also after an edit of its quoted texts."""
    given = head.get("scope")
    try:
        scope = scope_of(given if isinstance(given, dict) else {})
    except ScopeError as error:
        yield unreadable(name, given, f"a scope that is not well formed ({error})")
        return
    entries = list(ENTRY.finditer(body))
    for match, following in zip(entries, [*entries[1:], None], strict=True):
        where = f"{name}#{match['at']}"
        quoted = body[match.end() : following.start() if following else len(body)]
        try:
            meta = json.loads(match["meta"])
        except ValueError as error:
            yield unreadable(where, match["meta"], f"not the comment that was written: {error}")
            continue
        yield _item(where, meta, match["at"], quoted, scope, zone)


def _item(where: str, meta: dict[str, Any], date: str, quoted: str, scope: dict[str, str], zone: tzinfo) -> Item | Junk:
    lines = [line[1:].removeprefix(" ") for line in quoted.split("\n") if line.startswith(">")]
    text = "\n".join(lines)
    if isinstance(meta.get("text"), str) and meta["text"].replace("\r", "") == text:
        text = meta["text"]
    if meta.get("retired"):
        return Junk(where, text, f"retired: {meta['retired']}")
    if not text.strip():
        return Junk(where, text, "no text")
    attrs = clean_values(meta.get("attrs") or {})
    speaker, session = attrs.pop("speaker", None), attrs.pop("session", None)
    at: datetime | None = instant(date, zone)
    return Item(
        text=clean(text),
        kind=meta["kind"] if meta.get("kind") in KINDS else "episode",
        speaker=speaker if isinstance(speaker, str) else None,
        at=at,
        until=instant(meta.get("until"), zone),
        session=str(session) if session is not None else None,
        origin=clean(str(meta.get("origin") or f"slowwave:{meta.get('id')}")),
        attrs=attrs,
        scope=scope,
    )
