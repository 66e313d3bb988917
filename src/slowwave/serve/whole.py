"""Answers that lose nothing, for `slowwave.client`, which asks for them with `Prefer: return=representation`.

The usual answers have mem0's fields and what people look for; these have every field of the records as well, so that
the client gives back the records that a `Memory` on a file would.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from datetime import datetime
from typing import Any

from starlette.requests import HTTPConnection

from slowwave.errors import AccessError, InputError
from slowwave.ops.answering import Answered
from slowwave.ops.marking import as_data
from slowwave.ops.packing import Context
from slowwave.records import SCOPE_FIELDS, Change, Hit, Hits, Item, Report, Scope
from slowwave.serve.answers import record

_WHOLE: ContextVar[bool] = ContextVar("slowwave_whole", default=False)


def prefer(http: HTTPConnection) -> None:
    """From now on, in this request, answers are whole if it asks for that."""
    _WHOLE.set("return=representation" in http.headers.get("prefer", ""))


def hit(one: Hit) -> dict[str, Any]:
    """A hit with every field of its record, and its scores as they are."""
    return {**record(one.engram), "score": one.score, "why": one.why, "channels": dict(one.channels)}


def hits(found: Hits) -> dict[str, Any]:
    """What a search found."""
    if not _WHOLE.get():
        return found.to_dict()
    return {"results": [hit(one) for one in found], "trace": dict(found.trace)}


def context(made: Context) -> dict[str, Any]:
    """A context, with its hits."""
    if not _WHOLE.get():
        return {**made.to_dict(), "prompt": as_data(made.text) if made.text else ""}
    lists = {"hits": [hit(one) for one in made.hits], "spare": [hit(one) for one in made.left_out]}
    return {**made.to_dict(), "prompt": as_data(made.text) if made.text else "", **lists}


def answer(said: Answered) -> dict[str, Any]:
    """An answer with what it cites."""
    if not _WHOLE.get():
        return said.to_dict()
    return {**said.to_dict(), "cited": [hit(one) for one in said.hits]}


def report(made: Report) -> dict[str, Any]:
    """A report, with whole changes."""
    return whole_report(made) if _WHOLE.get() else made.to_dict()


def whole_report(made: Report) -> dict[str, Any]:
    """A report, with whole changes, whoever asks: the result of a job, which another may look at."""
    results = [change(one) if isinstance(one, Change) else one.to_dict() for one in made]
    return {**made.to_dict(), "results": results, "seconds": made.seconds}


def change(one: Change) -> dict[str, Any]:
    """A change with the record that it adds, and what it saw."""
    return {
        **one.to_dict(),
        "engram": record(one.engram) if one.engram else None,
        "unlinks": [[link.source, link.relation, link.target, link.weight] for link in one.unlinks],
        "guard": {k: v.isoformat() if isinstance(v, datetime) else _plain(v) for k, v in one.guard.items()},
    }


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else value


def content_of(content: Any, scope: Scope) -> Any:
    """The content of an add, its whole items ({"item": {...}}) as Items; none of them reaches out of the scope."""
    if isinstance(content, list):
        return [_entry(one, scope) for one in content]
    return _entry(content, scope)


def _entry(entry: Any, scope: Scope) -> Any:
    if not isinstance(entry, Mapping) or set(entry) != {"item"} or not isinstance(entry["item"], Mapping):
        return entry
    given = dict(entry["item"])
    unknown = [name for name in given if name not in Item.__slots__]
    if unknown:
        raise InputError(f"an item has {', '.join(map(str, unknown))[:80]}; its fields are {', '.join(Item.__slots__)}")
    own = given.get("scope") or {}
    if not isinstance(own, Mapping) or not all(name in SCOPE_FIELDS for name in own):
        raise InputError(f"an item's scope is {own!r:.80}; its fields are {', '.join(SCOPE_FIELDS)}")
    if own and not scope.covers(Scope(**{**scope.to_dict(), **own})):
        raise AccessError(f"an item lies in {own!r:.80}, outside of {scope}; give it to that scope")
    links = given.get("links") or ()
    if not isinstance(links, Sequence) or isinstance(links, str):
        raise InputError("an item's links must be a list of [relation, origin]")
    given["links"] = tuple(tuple(pair) if isinstance(pair, list) else pair for pair in links)
    if "text" not in given:
        raise InputError("an item has no text")
    return Item(**given)
