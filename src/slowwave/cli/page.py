"""Printing for people: styled by rich on a terminal, plain in a pipe. Control characters of others' texts are shown."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from slowwave.records import Change, Engram, Hit, Link

if TYPE_CHECKING:
    from rich.console import Console

    from slowwave.store.base import Entry

SHOWN = 200  # characters of a record's text in a list on a terminal
# control characters move the cursor, hide text or ring; what was remembered may hold them
CONTROLS = {code: 0x2400 + code for code in range(32) if code not in (9, 10)} | {0x7F: 0x2421}
CONTROLS |= dict.fromkeys([*range(0x80, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)], 0xFFFD)
COLOURS = {
    "add": "green", "restore": "green", "strengthen": "green", "merge": "cyan", "supersede": "yellow",
    "update": "yellow", "link": "blue", "weaken": "magenta", "forget": "red", "retire": "red", "undo": "red",
}  # fmt: skip
QUIET = ("due", "closed", "retired", "retired_why")  # fields that the verb tells already

Part = str | tuple[str, str]


class Page:
    """Where a command writes: `page.line("plain ", ("green text", "green"))`."""

    def __init__(self) -> None:
        self.styled = sys.stdout.isatty()
        self._console: Console | None = None

    def line(self, *parts: Part) -> None:
        """One line of plain and (text, style) parts."""
        plain = [(part, "") if isinstance(part, str) else part for part in parts]
        safe = [(text.translate(CONTROLS), style) for text, style in plain]
        if not self.styled:
            sys.stdout.write(_encodable("".join(text for text, _ in safe)) + "\n")
            return
        from rich.text import Text

        self.console().print(Text.assemble(*safe), soft_wrap=True)

    def lines(self, text: str) -> None:
        """Text of several lines as it is."""
        for line in text.rstrip("\n").split("\n"):
            self.line(line)

    def console(self) -> Console:
        """The terminal; honours NO_COLOR and TERM."""
        if self._console is None:
            from rich.console import Console

            self._console = Console(highlight=False, markup=False, emoji=False)
        return self._console

    def short(self, text: str) -> str:
        """The text on one line, cut on a terminal and whole in a pipe."""
        text = " ".join(text.split())
        return text if not self.styled or len(text) <= SHOWN else text[: SHOWN - 1] + "…"

    def pairs(self, values: Mapping[str, Any]) -> None:
        """Names and values, a line each."""
        width = max((len(name) for name in values), default=0)
        for name, value in values.items():
            self.line((f"{name:<{width}}  ", "dim"), value if isinstance(value, str) else plain(value))

    def record(self, engram: Engram) -> None:
        """One record as one line."""
        gone = f" [{engram.retired_why}]" if engram.retired else ""
        self.line((f"{engram.id}  ", "dim"), *self._said(engram), (gone, "red"))

    def hit(self, hit: Hit, explain: bool) -> None:
        """One hit: score and text, then its id and why it was found."""
        self.line((f"{hit.score:.2f}  ", "bold green"), *self._said(hit.engram))
        self.line((f"      {hit.id}  {hit.why}", "dim"))
        if explain:
            self.line(("      " + "  ".join(f"{name} {value:.3g}" for name, value in hit.channels.items()), "dim"))

    def step(self, step: Step) -> None:
        """One line of a diff, with the texts before and after."""
        self.line((f"{step.verb:<10} ", COLOURS.get(step.verb, "bold")), (f"{step.id}  ", "dim"), *self._changed(step))
        why = step.reason + (f"  from {', '.join(step.sources)}" if step.sources else "")
        if why:
            self.line((f"{'':<10} {why.strip()}", "dim"))

    def _changed(self, step: Step) -> list[Part]:
        parts: list[Part] = []
        if step.before is not None:
            parts.append((f"“{self.short(step.before)}”", "red" if step.after is not None else ""))
        if step.after is not None:
            parts += [" → " if step.before is not None else "", (f"“{self.short(step.after)}”", "green")]
        if step.fields:
            parts.append((f"  {step.fields}", "yellow"))
        if step.ties:
            parts.append((f"  {step.ties}", "blue"))
        return parts

    def _said(self, engram: Engram) -> list[Part]:
        until = f" to {day(engram.until)}" if engram.until else ""
        who = engram.speaker or ("" if engram.kind == "episode" else engram.kind)
        return [
            (f"{day(engram.at)}{until}  ", "cyan"),
            (f"{who}: " if who else "", "bold"),
            self.short(engram.text),
        ]


@dataclass(frozen=True, slots=True)
class Step:
    """One change as a line of a diff: the texts before and after, the fields and ties that changed, why, from what."""

    verb: str
    id: str
    before: str | None
    after: str | None
    fields: str = ""
    ties: str = ""
    reason: str = ""
    sources: tuple[str, ...] = field(default=())


def steps_proposed(changes: Sequence[Change], known: Mapping[str, Engram]) -> list[Step]:
    """Changes that were not applied, beside the records as they are now."""
    out = []
    for change in changes:
        held = known.get(change.id)
        before = {name: getattr(held, name, None) for name in change.fields}
        out.append(
            Step(
                change.verb,
                change.id,
                _replaced(change.links, known) if change.engram else held.text if held else None,
                change.engram.text if change.engram else None,
                _fields(before, change.fields),
                _ties(change.id, change.links, change.unlinks, bool(change.engram)),
                change.reason,
                change.sources,
            )
        )
    return out


def steps_done(entries: Sequence[Entry], known: Mapping[str, Engram]) -> list[Step]:
    """Lines of the journal, with the texts of their records."""
    out = []
    for entry in entries:
        added = bool(entry.after.get("added"))
        text = known[entry.engram].text if entry.engram in known else None
        out.append(
            Step(
                entry.verb,
                entry.engram,
                _replaced(entry.links, known) if added else text,
                text if added else None,
                "" if added else _fields(entry.before, entry.after),
                _ties(entry.engram, entry.links, entry.unlinks, added),
                entry.reason,
                entry.sources,
            )
        )
    return out


def record_values(engram: Engram) -> dict[str, Any]:
    """A record for --json: mem0's fields and what slowwave knows besides."""
    return {
        **engram.to_result(),
        "sources": list(engram.sources),
        "strength": engram.strength,
        "origin": engram.origin,
        "retired": engram.retired.isoformat() if engram.retired else None,
        "retired_why": engram.retired_why,
    }


def entry_values(entry: Entry) -> dict[str, Any]:
    """A line of the journal for --json."""
    return {
        "op": entry.op, "operation": entry.operation, "verb": entry.verb, "id": entry.engram, "reason": entry.reason,
        "sources": list(entry.sources), "before": _json(entry.before), "after": _json(entry.after),
        "links": [_link(tie) for tie in entry.links], "unlinks": [_link(tie) for tie in entry.unlinks],
        "recorded": entry.recorded.isoformat(), "system": entry.system, "model": entry.model,
    }  # fmt: skip


def day(moment: datetime) -> str:
    """The date, with the time of day where there is one."""
    date = f"{moment.year:04d}-{moment:%m-%d}"
    return f"{date} {moment:%H:%M}" if moment.hour or moment.minute else date


def plain(value: Any) -> str:
    """A value in a few words."""
    if isinstance(value, datetime):
        return day(value)
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {plain(item)}" for name, item in value.items()) or "none"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(plain, value)) or "none"
    return "none" if value is None else str(value)


def _replaced(links: Sequence[Link], known: Mapping[str, Engram]) -> str | None:
    """The text of what a new record takes the place of."""
    texts = [known[link.target].text for link in links if link.relation == "supersedes" and link.target in known]
    return texts[0] if len(texts) == 1 else None


def _fields(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    said = [
        f"{name}: {plain(before.get(name))} → {plain(value)}"
        for name, value in after.items()
        if name not in QUIET and before.get(name) != value
    ]
    return ", ".join(said)


def _ties(id_: str, links: Sequence[Link], unlinks: Sequence[Link], added: bool) -> str:
    said = [_tie(id_, link) for link in links if not (added and link.relation == "supersedes")]
    return ", ".join([*said, *(f"no longer {_tie(id_, link)}" for link in unlinks)])


def _tie(id_: str, link: Link) -> str:
    return f"{link.relation} {link.target}" if link.source == id_ else f"{link.source} {link.relation}"


def _link(link: Link) -> list[Any]:
    return [link.source, link.relation, link.target, link.weight]


def _json(values: Mapping[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps(dict(values), default=lambda value: value.isoformat()))  # type: ignore[no-any-return]


def _encodable(text: str) -> str:
    """What the pipe's encoding cannot say, escaped."""
    encoding = sys.stdout.encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)
