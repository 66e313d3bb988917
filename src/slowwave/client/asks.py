"""Which request each verb of Memory is: the arguments as the verb takes them -> Asks, whose answers make the result.

A verb is a generator: it yields what is to be asked, gets what the answer reads as, and returns the verb's result; so
one description serves the client that waits and the one that awaits.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from slowwave.client import reading
from slowwave.errors import InputError
from slowwave.memory import Memory
from slowwave.ops.packing import estimate_tokens
from slowwave.records import SCOPE_FIELDS, Item, scope_of

PAGE = 1000  # records that are read at a time, where all are asked for


@dataclass(frozen=True)
class Ask:
    """One request.

    read    makes the result of the answer's JSON
    safe    nothing changes by it, so that it can be sent again
    slow    may take minutes
    events  the answer is a stream of a job's states; `progress` hears of them
    to      a file into which the answer goes
    sent    a file that is sent
    """

    method: str
    path: str
    read: Callable[[Any], Any]
    params: Mapping[str, Any] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None
    safe: bool = False
    slow: bool = False
    events: Callable[[str, int, int], None] | None = None
    to: Path | None = None
    sent: Path | None = None


Flow = Generator[Ask, Any, Any]
Given = dict[str, Any]
HERE_ONLY = {  # what is done where the memory lies, and how
    "sleep_every": "start `slowwave sleep --watch` there, or call sleep",
    "build_ann": "a night there makes it",
    "rebuild": "run `slowwave rebuild` there",
    "reembed": "run `slowwave reembed` there",
    "check": "run `slowwave check` there",
    "backup": "run `slowwave backup` there",
}
NOT_SENT = ("progress", "count_tokens", "form", "model", "joint", "path", "into", "adapters")


def given_of(verb: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Given:
    """What was given, by name, as Memory's own signature has it; TypeError and ScopeError as Memory's."""
    signature = inspect.signature(getattr(Memory, verb))
    bound = signature.bind(None, *args, **kwargs)
    given = dict(bound.arguments)
    given.pop("self")
    given |= given.pop("search", {})
    given |= given.pop("scope", {})
    known = set(signature.parameters) | (set(inspect.signature(Memory.search).parameters) if verb in PASSING else set())
    scope = {name: value for name, value in given.items() if name not in known}
    if any(name not in SCOPE_FIELDS for name in scope):
        scope_of(scope)  # says which name there is not
    if (given.get("form") or "text") != "text":
        raise InputError("form='kv' makes keys and values of a model in this process; the memory is on a server")
    if given.get("into") is not None:
        raise InputError("into teaches a model where the memory lies, on a server; run `slowwave sleep --into` there")
    if given.get("adapters", "mark") != "mark":
        raise InputError("adapters trains where the memory lies, on a server; run `slowwave erase --adapters` there")
    if given.get("count_tokens", estimate_tokens) is not estimate_tokens:
        raise InputError("count_tokens counts where the memory is, on a server; leave it out, it estimates")
    return {name: plain(value) if name not in NOT_SENT else value for name, value in given.items()}


def plain(value: Any) -> Any:
    """An argument as JSON has it."""
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if isinstance(value, Item):
        whole = {name: item for name, item in asdict(value).items() if item not in (None, {}, ())}
        return {"item": plain(whole)}
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, (str, int, float, bool)) or value is None:
        return value
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if hasattr(value, "__iter__") and not isinstance(value, (bytes, bytearray)):
        return [plain(item) for item in value]
    raise InputError(f"{value!r:.60} is a {type(value).__name__}; give a text, number, time, list or dictionary")


def _body(given: Given, *without: str) -> Given:
    return {name: value for name, value in given.items() if name not in (*NOT_SENT, *without)}


def _params(given: Given, *without: str) -> Given:
    out: Given = {}
    for name, value in _body(given, *without).items():
        if isinstance(value, bool):
            out[name] = "true" if value else "false"
        elif isinstance(value, Mapping):
            out[name] = json.dumps(value)
        elif value is not None:
            out[name] = value
    return out


def _post(path: str, read: Callable[[Any], Any], **how: Any) -> Callable[[Given], Flow]:
    def flow(given: Given) -> Flow:
        return (yield Ask("POST", path, read, body=_body(given), **how))

    return flow


def _update(given: Given) -> Flow:
    return (yield Ask("PATCH", f"/memories/{_id(given)}", reading.outcomes, body=_body(given, "id")))


def _get(given: Given) -> Flow:
    return (yield Ask("GET", f"/memories/{_id(given)}", reading.engram, _params(given, "id"), safe=True))


def _list(given: Given) -> Flow:
    if "limit" not in given or given["limit"] is not None:
        return (yield Ask("GET", "/memories", reading.engrams, _params(given), safe=True))
    out: list[Any] = []
    start = given.get("offset", 0)
    while True:
        params = _params({**given, "limit": PAGE, "offset": start + len(out)})
        found = yield Ask("GET", "/memories", reading.engrams, params, safe=True)
        out += found
        if len(found) < PAGE:
            return out


def _history(given: Given) -> Flow:
    return (yield Ask("GET", f"/memories/{_id(given)}/history", reading.entries, _params(given, "id"), safe=True))


def _log(given: Given) -> Flow:
    op, calls, rejected = given.get("op"), given.get("calls"), given.get("rejected")
    if calls and rejected:
        raise InputError("rejected and calls were both asked for; ask for one, then for the other")
    if op is None:
        read = reading.asked if calls else reading.aside if rejected else reading.rows
        return (yield Ask("GET", "/log", read, _params(given, "op"), safe=True))
    params = _params({name: value for name, value in given.items() if name in SCOPE_FIELDS})
    if not (calls or rejected):
        return (yield Ask("GET", f"/log/{_part(op)}", reading.lines, params, safe=True))
    more = yield Ask("GET", "/log", reading.asked if calls else reading.aside, {**params, "limit": 1_000_000,
                     "calls" if calls else "rejected": "true"}, safe=True)  # fmt: skip
    return [one for one in more if one.op == op]


def _sleep(given: Given) -> Flow:
    progress = given.get("progress")
    if progress is None:
        return (yield Ask("POST", "/sleep", reading.changes, body=_body(given), slow=True))
    return (yield Ask("POST", "/sleep/events", reading.changes, body=_body(given), slow=True, events=progress))


def _export(given: Given) -> Flow:
    if (given.get("format") or "jsonl") != "jsonl":
        raise InputError("a server gives JSON lines; for Markdown run `slowwave export` where it is")
    to = Path(given["path"]).expanduser()
    if not to.parent.is_dir():
        raise InputError(f"asked to export to {to}; there is no folder {to.parent}; make it first")
    return (yield Ask("GET", "/export", reading.plain, _params(given, "format"), safe=True, slow=True, to=to))


def _import(given: Given) -> Flow:
    file = Path(given["path"]).expanduser()
    if not file.is_file():
        raise InputError(f"asked to import {file}; a server takes one file, such as an archive; there is none")
    params = {**_params(given), "filename": file.name[-100:]}
    arrival = yield Ask("POST", "/import", reading.arrival, params, slow=True, sent=file)
    arrival.path = str(given["path"])
    return arrival


def _held(given: Given) -> Flow:
    return (yield Ask("GET", "/held", reading.held, _params(given), safe=True))


def _decide(name: str) -> Callable[[Given], Flow]:
    def flow(given: Given) -> Flow:
        return (yield Ask("POST", f"/held/{_id(given)}/{name}", reading.outcomes, body=_body(given, "id")))

    return flow


def _whole(path: str, read: Callable[[Any], Any]) -> Callable[[Given], Flow]:
    def flow(given: Given) -> Flow:
        return (yield Ask("GET", path, read, _params(given), safe=True))

    return flow


def _id(given: Given) -> str:
    return _part(given["id"])


def _part(text: Any) -> str:
    """An id as a part of a path."""
    if not isinstance(text, str) or not text.strip("./ "):
        raise InputError(f"id is {text!r:.60}; it must be the id of a record or an operation")
    return quote(text, safe="")


PASSING = ("context", "answer")  # verbs that pass arguments on to search
FLOWS: dict[str, Callable[[Given], Flow]] = {
    "add": _post("/memories", reading.outcomes),
    "update": _update,
    "link": _post("/links", reading.changes),
    "search": _post("/search", reading.hits, safe=True),
    "context": _post("/context", reading.context, safe=True),
    "answer": _post("/answer", reading.answered, safe=True, slow=True),
    "get": _get,
    "list": _list,
    "history": _history,
    "log": _log,
    "sleep": _sleep,
    "undo": _post("/undo", reading.changes),
    "forget": _post("/forget", reading.changes),
    "erase": _post("/erase", reading.receipt, slow=True),
    "held": _held,
    "release": _decide("release"),
    "drop": _decide("drop"),
    "stats": _whole("/stats", reading.plain),
    "scopes": _whole("/scopes", reading.scopes),
    "export": _export,
    "import_": _import,
}


def flow_of(verb: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Flow:
    """What a verb asks for."""
    if verb in HERE_ONLY:
        raise InputError(f"{verb} is not done through a server; {HERE_ONLY[verb]}")
    return FLOWS[verb](given_of(verb, tuple(args), kwargs))
