"""Nights: what each changed, as a diff; a new one proposed first, then applied; any operation taken back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from starlette.responses import Response

from slowwave.errors import NotFoundError
from slowwave.ops.review import named, taken_back
from slowwave.records import Engram
from slowwave.serve.page.frame import Asked, view
from slowwave.serve.page.record import passive
from slowwave.store.base import Lines, View

PAGE = 60  # changes on a page
SHOWN = 100  # operations
LOUD = (
    "supersede",
    "contradict",
    "merge",
    "update",
    "add",
    "summarise",
    "note",
    "refine",
    "support",
    "forget",
    "retire",
    "restore",
    "undo",
    "link",
    "weaken",
)  # fmt: skip - in this order


@dataclass
class Row:
    """One change: what was there (`old`), what is there now (`new`), why, and what the reason rests on."""

    verb: str
    id: str
    reason: str
    old: str = ""
    new: str = ""
    kind: str = ""
    gone: bool = False
    until: datetime | None = None
    strength: float | None = None
    key: str = ""  # what a form names it by
    back: str = ""  # the operation that took it back
    ties: list[tuple[str, str, str]] = field(default_factory=list)  # relation, id, text
    sources: list[tuple[str, str]] = field(default_factory=list)  # id, text


@view("/nights", "log")
async def nights(asked: Asked) -> Response:
    """Every night and everything else that changed something, newest first."""
    verb = asked.text("verb", "sleep")
    rows = await asked.call(asked.memory.log, limit=SHOWN, verb=None if verb == "all" else verb, **asked.named)
    held = await asked.call(asked.memory.store.held_lease, asked.scope, "sleep")
    return asked.render("nights.html", rows=rows, verb=verb, asleep=held)


@view("/nights", "sleep", post=True)
async def begin(asked: Asked) -> Response:
    """Begin a night, or a proposal of one; its page shows how far it is. What was shown and is not kept is left out."""
    dry = asked.text("dry_run") == "yes"
    arguments: dict[str, Any] = {"dry_run": True} if dry else {}
    if leave := sorted(set(asked.many("shown")) - set(asked.many("keep"))):
        arguments["leave"] = leave
    assert asked.scope is not None
    job = await asked.call(asked.frame.service.jobs.start, "sleep", asked.scope, arguments, asked.who.key)
    return asked.go(f"/nights/job/{job.id}")


@view("/nights/job/{id}", "sleep")
async def job(asked: Asked) -> Response:
    """How far a night is; then its diff: a proposal to apply or leave, or what was done."""
    found = await asked.call(asked.frame.service.jobs.get, asked.request.path_params["id"])
    if found is None or found.scope != asked.scope:
        raise NotFoundError("there is no such night any more; see the list of nights")
    dry = bool(found.arguments.get("dry_run"))
    result = found.result or {}
    if found.state == "done" and not dry and result.get("op"):
        response = asked.go(f"/nights/{result['op']}", "The night is over. What it changed is below.")
        if asked.request.headers.get("hx-request"):
            response.headers["hx-redirect"] = response.headers["location"]
            response.status_code = 200
        return response
    changes = result.get("results", [])
    offset, only = asked.number("offset"), asked.text("only")
    rows = await asked.call(_proposed, asked.see(), changes)
    chosen = [row for row in rows if not only or row.verb == only]
    return asked.render(
        "job.html", job=found, dry=dry, rows=chosen[offset : offset + PAGE], counts=_counts(row.verb for row in rows),
        only=only, more=offset + PAGE if len(chosen) > offset + PAGE else None, notes=result.get("notes", []),
    )  # fmt: skip


@view("/nights/{op}", "log")
async def night(asked: Asked) -> Response:
    """One operation as a diff."""
    op = asked.request.path_params["op"]
    lines = await asked.call(asked.memory.log, op, **asked.named)
    assert isinstance(lines, Lines)
    about = next(iter(await asked.call(asked.see().operations, 1, None, op)), None)
    if about is None:
        raise NotFoundError(f"no operation {op:.60} in {asked.scope}")
    offset, only = asked.number("offset"), asked.text("only")
    chosen = [line for line in lines if not only or line.verb == only]
    chosen.sort(key=lambda line: LOUD.index(line.verb) if line.verb in LOUD else len(LOUD))
    rows = await asked.call(_done, asked.see(), chosen[offset : offset + PAGE])
    back = await asked.call(taken_back, asked.see(), op)
    for row in rows:
        row.back = back.get(row.key, "")
    return asked.render(
        "night.html", op=op, about=about, rows=rows, counts=_counts(line.verb for line in lines), only=only,
        more=offset + PAGE if len(chosen) > offset + PAGE else None, calls=lines.calls, rejected=lines.rejected,
    )  # fmt: skip


@view("/nights/{op}/undo", "undo", post=True)
async def undo(asked: Asked) -> Response:
    """Take back an operation, all of it, or the changes that are marked."""
    op, part = asked.request.path_params["op"], asked.text("part") == "yes"
    only = asked.many("only")
    if part and not only:
        return asked.go(f"/nights/{op}", "Nothing was marked, so nothing was taken back.")
    report = await asked.call(asked.memory.undo, op, only=only if part else None, **asked.named)
    if part:
        count = len(report)
        told = "One change was" if count == 1 else f"{count} changes were"
        return asked.go(f"/nights/{op}", f"{told} taken back; the rest stays.")
    return asked.go(f"/nights/{report.op}", "Taken back. Undoing this again brings it back once more.")


def _counts(verbs: Iterable[str]) -> list[tuple[str, int]]:
    found = Counter(verbs)
    return sorted(found.items(), key=lambda pair: LOUD.index(pair[0]) if pair[0] in LOUD else len(LOUD))


def _proposed(view: View, changes: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Rows of the changes that a dry run proposed; what it would add is not in the store."""
    new = {change["id"]: change["text"] for change in changes if change["text"]}
    texts = _texts(view, changes, new)
    rows = []
    for change in changes:
        added = change["text"] is not None
        rows.append(
            _row(change["verb"], change["id"], change["reason"], added, change["kind"] or "", change["fields"],
                 [tuple(link[:3]) for link in change["links"]], change["sources"], texts, change.get("key", ""))
        )  # fmt: skip
    return sorted(rows, key=lambda row: LOUD.index(row.verb) if row.verb in LOUD else len(LOUD))


def _done(view: View, lines: Sequence[Any]) -> list[Row]:
    """Rows of the journal's lines."""
    changes = [
        {"id": line.engram, "links": [(t.source, t.relation, t.target) for t in line.links], "sources": line.sources}
        for line in lines
    ]
    known = view.get(sorted({line.engram for line in lines}))
    texts = _texts(view, changes, {})
    rows = []
    for line, change in zip(lines, changes, strict=True):
        added = bool(line.after.get("added"))
        kind = known[line.engram].kind if line.engram in known else ""
        fields = {name: value for name, value in line.after.items() if name != "added"}
        rows.append(
            _row(line.verb, line.engram, line.reason, added, kind, fields, change["links"], line.sources, texts,
                 named(line))
        )  # fmt: skip
    return rows


def _texts(view: View, changes: Sequence[Mapping[str, Any]], new: Mapping[str, str]) -> dict[str, str]:
    ids = {change["id"] for change in changes}
    ids |= {id_ for change in changes for id_ in change["sources"]}
    ids |= {link[end] for change in changes for link in change["links"] for end in (0, 2)}
    found: dict[str, Engram] = {}
    wanted = sorted(ids - new.keys())
    for start in range(0, len(wanted), 500):
        found.update(view.get(wanted[start : start + 500]))
    return {**{id_: engram.text for id_, engram in found.items()}, **new}


def _row(
    verb: str, id_: str, reason: str, added: bool, kind: str, fields: Mapping[str, Any],
    links: Iterable[tuple[str, str, str]], sources: Iterable[str], texts: Mapping[str, str], key: str,
) -> Row:  # fmt: skip
    row = Row(verb, id_, reason, kind=kind, key=key)
    text = texts.get(id_, "(erased)")
    row.new, row.old = (text, "") if added else ("", text)
    row.gone = fields.get("retired") is not None
    until = fields.get("until")
    row.until = datetime.fromisoformat(until) if isinstance(until, str) else until
    strength = fields.get("strength")
    row.strength = float(strength) if isinstance(strength, (int, float)) else None
    for source, relation, target in links:
        outward = source == id_
        other = target if outward else source
        if relation == "supersedes" and not outward and not added:
            row.new = texts.get(other, "")
        row.ties.append((relation if outward else passive(relation), other, texts.get(other, "(erased)")))
    row.sources = [(source, texts[source]) for source in sources if source in texts and source != id_]
    return row
