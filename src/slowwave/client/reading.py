"""Answers of a server -> the records that a `Memory` on a file gives. `FIELDS` names what is read of each answer."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any

from slowwave.formats.arrive import Arrival
from slowwave.ops.answering import Answered
from slowwave.ops.packing import Context
from slowwave.records import (
    SCOPE_FIELDS,
    Call,
    Change,
    Engram,
    Hit,
    Hits,
    Link,
    Outcome,
    Receipt,
    Rejected,
    Report,
    Scope,
)
from slowwave.store.base import Asked, Entry, Held, Lines, SetAside

Json = Mapping[str, Any]
TIMES = ("until", "closed", "retired", "due", "used", "at", "recorded")  # fields of a change that are moments
_RECORD = {
    "id", "memory", "kind", "created_at", "updated_at", "valid_at", "invalid_at", "metadata", "sources", *SCOPE_FIELDS,
    "strength", "used", "origin", "closed", "retired", "retired_why", "half_life_days", "due",
}  # fmt: skip
# What is read of each answer, by its name in the OpenAPI description; a test holds the two together.
FIELDS: dict[str, set[str]] = {
    "Record": _RECORD,
    "Found": _RECORD | {"score", "why", "channels"},
    "Hits": {"results", "trace"},
    "Records": {"results"},
    "Outcome": {"id", "memory", "event", "reason"},
    "Added": {"results", "op", "counts", "seconds", "notes"},
    "Changed": {"results", "op", "counts", "seconds", "notes"},
    "Context": {"text", "prompt", "tokens", "sources", "left_out", "hits", "spare"},
    "Answer": {"answer", "abstained", "why", "ungrounded", "tokens", "cited"},
    "Line": {
        "op", "operation", "verb", "id", "reason", "sources", "before", "after", "links", "unlinks", "recorded",
        "system", "model",
    },
    "Lines": {"results"},
    "Operation": {"results", "calls", "rejected"},
    "Rows": {"results"},
    "Erased": {"at", "scope", "ids", "counts", "files", "needles", "found", "open", "clean", "sha256", "adapters",
               "unlearned"},
    "HeldState": {"id", "scope", "text", "reason", "recorded", "decided", "decision"},
    "HeldStates": {"results"},
    "Arrived": {"path", "format", "dry_run", "counts", "conflicts", "ops", "notes", "audit", "seconds"},
    "JobState": {
        "id", "verb", "scope", "by", "arguments", "state", "stage", "done", "total", "created", "started", "ended",
        "result", "error",
    },
}  # fmt: skip


def moment(text: str | None) -> datetime | None:
    """ISO text -> datetime."""
    return None if text is None else datetime.fromisoformat(text)


def engram(given: Json) -> Engram:
    """A record."""
    return Engram(
        id=given["id"],
        kind=given["kind"],
        text=given["memory"],
        scope=Scope(**{name: given[name] for name in SCOPE_FIELDS if given.get(name) is not None}),
        at=datetime.fromisoformat(given["valid_at"]),
        recorded=datetime.fromisoformat(given["created_at"]),
        until=moment(given["invalid_at"]),
        sources=tuple(given["sources"]),
        strength=given["strength"],
        used=moment(given["used"]),
        attrs=MappingProxyType(dict(given["metadata"])),
        closed=moment(given["closed"]),
        retired=moment(given["retired"]),
        retired_why=given["retired_why"],
        origin=given["origin"],
        half_life_days=given["half_life_days"],
        due=moment(given["due"]),
    )


def engrams(given: Json) -> list[Engram]:
    """Records in order."""
    return [engram(one) for one in given["results"]]


def hit(given: Json) -> Hit:
    """A record that was found."""
    return Hit(engram(given), given["score"], dict(given["channels"]), given["why"])


def hits(given: Json) -> Hits:
    """What a search found."""
    return Hits([hit(one) for one in given["results"]], given["trace"])


def context(given: Json) -> Context:
    """Text for a prompt."""
    used, left = [tuple(hit(one) for one in given[name]) for name in ("hits", "spare")]
    return Context(given["text"], given["tokens"], used, left)


def answered(given: Json) -> Answered:
    """An answer."""
    return Answered(
        given["answer"], tuple(hit(one) for one in given["cited"]), given["abstained"], given["why"],
        given["ungrounded"], given["tokens"],
    )  # fmt: skip


def outcomes(given: Json) -> Report:
    """A report on items that were given."""
    items = [Outcome(one["id"], one["event"], one["memory"], one["reason"]) for one in given["results"]]
    return Report(items, given["op"], given["seconds"], given["counts"], given["notes"])


def changes(given: Json) -> Report:
    """A report of changes."""
    items = [change(one) for one in given["results"]]
    return Report(items, given["op"], given["seconds"], given["counts"], given["notes"])


def change(given: Json) -> Change:
    """One change."""
    added = given.get("engram")
    return Change(
        given["verb"], given["id"], given["reason"], engram=engram(added) if added else None,
        fields=values(given["fields"]), links=links(given["links"]), unlinks=links(given.get("unlinks", ())),
        guard=values(given.get("guard", {})), sources=tuple(given["sources"]), key=given.get("key", ""),
    )  # fmt: skip


def values(given: Json) -> dict[str, Any]:
    """Fields of a change or of a line of the journal: moments as moments."""
    return {
        name: datetime.fromisoformat(value) if name in TIMES and isinstance(value, str) else value
        for name, value in given.items()
    }


def links(given: Any) -> tuple[Link, ...]:
    """Ties."""
    return tuple(Link(*one) for one in given)


def entry(given: Json) -> Entry:
    """A line of the journal."""
    return Entry(
        op=given["op"], verb=given["verb"], engram=given["id"], reason=given["reason"],
        sources=tuple(given["sources"]), before=values(given["before"]), after=values(given["after"]),
        links=links(given["links"]), unlinks=links(given["unlinks"]),
        recorded=datetime.fromisoformat(given["recorded"]), operation=given["operation"], system=given["system"],
        model=given["model"],
    )  # fmt: skip


def entries(given: Json) -> list[Entry]:
    """Lines of the journal, in order."""
    return [entry(one) for one in given["results"]]


def lines(given: Json) -> Lines:
    """One operation."""
    return Lines(entries(given), [call(one) for one in given["calls"]], [rejected(one) for one in given["rejected"]])


def call(given: Json) -> Call:
    """A call of a language model."""
    return Call(**{name: given[name] for name in Call.__slots__})


def rejected(given: Json) -> Rejected:
    """What nobody applied."""
    return Rejected(**{name: given[name] for name in Rejected.__slots__ if name != "sources"},
                    sources=tuple(given["sources"]))  # fmt: skip


def asked(given: Json) -> list[Asked]:
    """Calls, each with its operation."""
    return [Asked(row["op"], datetime.fromisoformat(row["recorded"]), call(row)) for row in given["results"]]


def aside(given: Json) -> list[SetAside]:
    """What was turned down, each with its operation."""
    return [SetAside(row["op"], datetime.fromisoformat(row["recorded"]), rejected(row)) for row in given["results"]]


def rows(given: Json) -> list[dict[str, Any]]:
    """Rows as they are."""
    return list(given["results"])


def scopes(given: Json) -> list[tuple[Scope, int]]:
    """Scopes with their numbers of records."""
    return [(Scope(**row["scope"]), row["records"]) for row in given["results"]]


def receipt(given: Json) -> Receipt:
    """The receipt of an erasure."""
    return Receipt(
        at=datetime.fromisoformat(given["at"]), scope=Scope(**given["scope"]), ids=tuple(given["ids"]),
        counts=given["counts"], files=given["files"], needles=given["needles"], found=tuple(given["found"]),
        open=given["open"], sha256=given["sha256"], adapters=tuple(given.get("adapters", ())),
        unlearned=tuple(given.get("unlearned", ())),
    )  # fmt: skip


def held(given: Json) -> list[Held]:
    """What is kept apart; the whole of what was given stays with the server."""
    return [
        Held(one["id"], Scope(**one["scope"]), one["text"], {}, one["reason"],
             datetime.fromisoformat(one["recorded"]), moment(one["decided"]), one["decision"])
        for one in given["results"]
    ]  # fmt: skip


def arrival(given: Json) -> Arrival:
    """What an import did."""
    counts = {name: given["counts"][name] for name in ("added", "known", "edited", "restored", "linked", "junk")}
    more = {name: given[name] for name in ("format", "dry_run", "conflicts", "ops", "notes", "audit", "seconds")}
    return Arrival(given["path"], **more, **counts)


def plain(given: Any) -> Any:
    """As it is."""
    return given
