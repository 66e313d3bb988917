"""The plain records that every stage hands to the next, from Item (taken in) to Hit (found) and Change (proposed)."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Literal, TypedDict, overload

from slowwave.errors import InputError, ScopeError

Kind = Literal["episode", "fact", "summary", "note", "event", "skill"]
KINDS: tuple[str, ...] = ("episode", "fact", "summary", "note", "event", "skill")
RELATIONS: tuple[str, ...] = (
    "supersedes", "supports", "contradicts", "causes", "hinders", "reacts", "wants", "next", "similar", "about", "part",
)  # fmt: skip
SCOPE_FIELDS: tuple[str, ...] = ("user_id", "agent_id", "run_id", "app_id")
MAX_NAME = 256  # characters in one scope field


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose memory this is. At least one field is named; a record's scope is exact, a reader's is a prefix.

    A reader with `user_id="ana"` sees every record whose `user_id` is "ana", whatever its agent or run; a reader
    with `user_id="ana", run_id="r1"` sees that run alone. Nothing else is visible, whatever filter is given.
    """

    user_id: str | None = None
    agent_id: str | None = None
    run_id: str | None = None
    app_id: str | None = None

    def __post_init__(self) -> None:
        named = {name: getattr(self, name) for name in SCOPE_FIELDS if getattr(self, name) is not None}
        if not named:
            raise ScopeError("no scope was given; name at least one of user_id, agent_id, run_id, app_id")
        for name, value in named.items():
            if not isinstance(value, str) or not value.strip() or len(value) > MAX_NAME:
                raise ScopeError(f"{name} is {value!r:.80}; it must be a text of 1 to {MAX_NAME} characters")
            if any(ord(c) < 32 or 0xD800 <= ord(c) <= 0xDFFF for c in value):
                raise ScopeError(f"{name} is {value!r:.80}; it must not hold control characters")

    @staticmethod
    def common(scopes: Iterable[Scope]) -> Scope:
        """The narrowest scope that covers all of them; where they share no field, a ScopeError."""
        given = list(scopes)
        shared = {name: values.pop() for name in SCOPE_FIELDS if len(values := {getattr(s, name) for s in given}) == 1}
        return Scope(**shared)

    def covers(self, other: Scope) -> bool:
        """Whether a reader with this scope may see a record of the other."""
        return all(getattr(self, name) in (None, getattr(other, name)) for name in SCOPE_FIELDS)

    def to_dict(self) -> dict[str, str]:
        """The named fields alone."""
        return {name: value for name in SCOPE_FIELDS if (value := getattr(self, name)) is not None}

    def __str__(self) -> str:
        return " ".join(f"{name}={value}" for name, value in self.to_dict().items())


class ScopeArgs(TypedDict, total=False):
    """The scope as keyword arguments of every verb of Memory."""

    user_id: str | None
    agent_id: str | None
    run_id: str | None
    app_id: str | None


def scope_of(given: Mapping[str, Any]) -> Scope:
    """Keyword arguments -> a Scope; an unknown name is an InputError: a misspelt scope must not widen a search."""
    unknown = [name for name in given if name not in SCOPE_FIELDS]
    if unknown:
        known = {"limit": "top_k", "k": "top_k", "n": "top_k", "session_id": "run_id", "thread_id": "run_id"}
        hint = known.get(unknown[0], "")
        near = difflib.get_close_matches(unknown[0], SCOPE_FIELDS, n=1)
        kind, hint = (ScopeError, near[0]) if near else (InputError, hint)
        raise kind(
            f"there is no argument {', '.join(unknown)}; {f'did you mean {hint}? ' if hint else ''}"
            f"beside this verb's own arguments there are {', '.join(SCOPE_FIELDS)}"
        )
    return Scope(**given)


@dataclass(frozen=True, slots=True)
class Item:
    """One thing to take in, before it has an id: what an importer yields and what `Memory.add` makes of its input.

    at       when it happened, aware or naive (a naive time is read in the memory's zone); None means "now"
    until    when it stopped being true, if the source says so
    session  the stretch of conversation or the document it belongs to
    origin   the item's own name in the source, such as a message id: adding it again is then a no-op
    attrs    anything else worth keeping, JSON values only
    scope    fields that override the scope given to `add`, such as {"agent_id": "bot"}
    links    ties to other items of the same batch, as (relation, origin of the other item)
    """

    text: str
    kind: str = "episode"
    speaker: str | None = None
    at: datetime | None = None
    until: datetime | None = None
    session: str | None = None
    origin: str | None = None
    attrs: Mapping[str, Any] = field(default_factory=dict)
    scope: Mapping[str, str] = field(default_factory=dict)
    links: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Engram:
    """One thing remembered. Its text never changes: an edit is a new engram that supersedes the old one.

    id        26 characters, sorts by the moment of recording
    at        when it happened or became true, with the zone it was said in
    until     when it stopped being true; None while it holds
    recorded  when it was written here (UTC)
    closed    when `until` was learned (UTC); a reader as of an earlier moment does not see `until`
    retired   when it left the current view (merged, corrected, forgotten, undone); None while it is in view
    strength  in (0, 1], 1 when new or used; halves with each `half_life_days` without use
    used      when it was last recalled (UTC); None if never
    due       when its strength halves next (UTC); None if it never will
    sources   ids of the engrams it was made from; empty for episodes and for what was added by hand
    """

    id: str
    kind: str
    text: str
    scope: Scope
    at: datetime
    recorded: datetime
    until: datetime | None = None
    sources: tuple[str, ...] = ()
    strength: float = 1.0
    used: datetime | None = None
    attrs: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    closed: datetime | None = None
    retired: datetime | None = None
    retired_why: str | None = None
    origin: str | None = None
    half_life_days: float = 30.0
    due: datetime | None = None

    @property
    def speaker(self) -> str | None:
        """Who said or wrote it, if that is known."""
        value = self.attrs.get("speaker")
        return value if value and isinstance(value, str) else None

    @property
    def session(self) -> str | None:
        """The stretch of conversation it belongs to: `attrs["session"]`, else the scope's `run_id`."""
        value = self.attrs.get("session", self.scope.run_id)
        return str(value) if value not in (None, "") else None

    def with_(self, **changes: Any) -> Engram:
        """A copy with some fields replaced."""
        return replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values: times as ISO 8601 with their zone, the scope as its named fields."""
        out: dict[str, Any] = {}
        for f in fields(self):
            value = getattr(self, f.name)
            if isinstance(value, datetime):
                value = value.isoformat()
            elif isinstance(value, Scope):
                value = value.to_dict()
            elif isinstance(value, tuple):
                value = list(value)
            elif isinstance(value, Mapping):
                value = dict(value)
            out[f.name] = value
        return out

    def to_result(self) -> dict[str, Any]:
        """The shape that users of mem0 know: id, memory, metadata, created_at, updated_at, and the scope's fields."""
        return {
            "id": self.id,
            "memory": self.text,
            "created_at": self.recorded.isoformat(),
            "updated_at": (self.closed or self.retired or self.recorded).isoformat(),
            "valid_at": self.at.isoformat(),
            "invalid_at": self.until.isoformat() if self.until else None,
            "kind": self.kind,
            "metadata": dict(self.attrs),
            **self.scope.to_dict(),
        }


@dataclass(frozen=True, slots=True)
class Link:
    """A typed, weighted tie from one engram to another, such as (new, "supersedes", old)."""

    source: str
    relation: str
    target: str
    weight: float = 1.0

    def __post_init__(self) -> None:
        for end in (self.source, self.target):
            if not isinstance(end, str):
                raise InputError(f"a link's end is {end!r:.60}; it must be the id of a record")
        if self.relation not in RELATIONS:
            raise InputError(f"relation is {self.relation!r}; it must be one of {', '.join(RELATIONS)}")
        if not isinstance(self.weight, (int, float)) or not 0 <= self.weight <= 1:
            raise InputError(f"weight is {self.weight!r}; it must lie in [0, 1]")


@dataclass(frozen=True, slots=True)
class Change:
    """One step that an operation proposes and the store applies: what, to which engram, why, and from which sources.

    verb      what a person calls it: add, support, refine, supersede, contradict, merge, summarise, note, link, weaken,
              update, retire, forget, restore, undo
    id        the engram it is about
    engram    the record to add, where the verb adds one
    fields    the columns to set on `id` (any of until, closed, retired, retired_why, strength, due, attrs)
    links     ties to add; `unlinks` are ties to take away
    guard     the values of `fields` that the proposer saw; where the store finds others, the change is set aside
    reason    a sentence for the diff
    sources   the engrams that the reason rests on; never empty for a derived change
    key       names it within a proposal, alike each time that it is proposed: what `sleep(leave=...)` takes
    """

    verb: str
    id: str
    reason: str
    engram: Engram | None = None
    fields: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    links: tuple[Link, ...] = ()
    unlinks: tuple[Link, ...] = ()
    guard: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    sources: tuple[str, ...] = ()
    key: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "verb": self.verb,
            "id": self.id,
            "reason": self.reason,
            "text": self.engram.text if self.engram else None,
            "kind": self.engram.kind if self.engram else None,
            "fields": {k: v.isoformat() if isinstance(v, datetime) else v for k, v in self.fields.items()},
            "links": [[link.source, link.relation, link.target, link.weight] for link in self.links],
            "sources": list(self.sources),
            **({"key": self.key} if self.key else {}),
        }


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a language model, as the journal keeps it: never the prompt's words, only their hash.

    operation  what it was for, such as "facts" or "outcome"
    prompt     SHA-256 over model, messages, schema and settings, in hex
    seconds    wall time, retries included; 0 where the answer came from the cache
    problem    why nothing could be made of the reply; "" if something could
    """

    operation: str
    model: str
    prompt: str
    tokens_in: int = 0
    tokens_out: int = 0
    seconds: float = 0.0
    cached: bool = False
    problem: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {f.name: getattr(self, f.name) for f in fields(self)}


@dataclass(frozen=True, slots=True)
class Rejected:
    """What a model proposed and nobody applied: kept to be looked at, never read by a search.

    operation  what it was for
    reason     a sentence: which rule it broke, with the values
    text       the proposal, or the start of the reply where none could be read
    sources    ids of the engrams that the model was shown; erasing one of them erases this
    """

    operation: str
    reason: str
    text: str
    sources: tuple[str, ...] = ()
    model: str = ""
    prompt: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {f.name: list(v) if isinstance(v := getattr(self, f.name), tuple) else v for f in fields(self)}


@dataclass(frozen=True, slots=True, repr=False)
class Hit:
    """One engram that a search found, with its score in [0, 1] and what each channel gave to it.

    channels  the raw score of each channel that saw it, such as {"dense": 0.61, "lexical": 7.2, "speaker": 1.0}
    why       a sentence for people
    """

    engram: Engram
    score: float
    channels: Mapping[str, float] = field(default_factory=dict)
    why: str = ""

    def __repr__(self) -> str:
        return f"Hit({self.score:.2f}, {self.engram.text!r}, {self.engram.at:%Y-%m-%d}, why={self.why!r})"

    @property
    def id(self) -> str:
        """The engram's id."""
        return self.engram.id

    @property
    def text(self) -> str:
        """The engram's text."""
        return self.engram.text

    def to_dict(self) -> dict[str, Any]:
        """The shape that users of mem0 know, with `why` and `channels` beside the score."""
        return {
            **self.engram.to_result(),
            "score": round(self.score, 4),
            "why": self.why,
            "channels": {k: round(v, 4) for k, v in self.channels.items()},
            "sources": list(self.engram.sources),
        }


class _Results(Sequence[Any]):
    """A sequence that also answers `["results"]`, so that code written for mem0 reads it."""

    _items: tuple[Any, ...]

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._items)

    def to_dict(self) -> dict[str, Any]:
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self._items)!r})"


class Hits(_Results):
    """What a search found, best first. A list of Hit; `hits["results"]` is the list of plain dictionaries.

    trace  how it was found: channels used, what was degraded, the threshold, and the nearest that were left out
    """

    def __init__(self, hits: Sequence[Hit], trace: Mapping[str, Any] | None = None) -> None:
        self._items: tuple[Hit, ...] = tuple(hits)
        self.trace: Mapping[str, Any] = dict(trace or {})

    @overload
    def __getitem__(self, key: int) -> Hit: ...
    @overload
    def __getitem__(self, key: slice) -> Sequence[Hit]: ...
    @overload
    def __getitem__(self, key: str) -> list[dict[str, Any]]: ...
    def __getitem__(self, key: int | slice | str) -> Any:
        return self.to_dict()[key] if isinstance(key, str) else self._items[key]

    def to_dict(self) -> dict[str, Any]:
        """{"results": [...], "trace": {...}}."""
        return {"results": [hit.to_dict() for hit in self._items], "trace": dict(self.trace)}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one item that was given: `event` is ADD, NONE (was there already) or UPDATE."""

    id: str
    event: str
    memory: str
    reason: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"id": self.id, "memory": self.memory, "event": self.event, "reason": self.reason}


class Report(_Results):
    """What an operation did: an Outcome an item for `add`, a Change an item for `sleep`, `forget` and `undo`.

    op       the operation's id in the journal, which `undo` takes; None for a dry run or where nothing changed
    seconds  how long it took
    trained  of a sleep into weights: the lessons, the snapshot, whether it is active; None for all else
    """

    def __init__(
        self,
        items: Sequence[Outcome] | Sequence[Change],
        op: str | None = None,
        seconds: float = 0.0,
        counts: Mapping[str, int] | None = None,
        notes: Sequence[str] = (),
        trained: Mapping[str, Any] | None = None,
    ) -> None:
        self._items: tuple[Any, ...] = tuple(items)
        self.trained = trained
        self.op = op
        self.seconds = seconds
        self.notes = tuple(notes)
        if counts is None:
            tally: dict[str, int] = {}
            for item in self._items:
                key = item.event if isinstance(item, Outcome) else item.verb
                tally[key] = tally.get(key, 0) + 1
            counts = tally
        self.counts: Mapping[str, int] = dict(counts)

    def __getitem__(self, key: Any) -> Any:
        return self.to_dict()[key] if isinstance(key, str) else self._items[key]

    @property
    def ids(self) -> list[str]:
        """The engrams concerned, in order."""
        return [item.id for item in self._items]

    def to_dict(self) -> dict[str, Any]:
        """{"results": [...], "op": ..., "counts": {...}, "seconds": ..., "notes": [...]}."""
        return {
            "results": [item.to_dict() for item in self._items],
            "op": self.op,
            "counts": dict(self.counts),
            "seconds": round(self.seconds, 4),
            "notes": list(self.notes),
            **({} if self.trained is None else {"trained": dict(self.trained)}),
        }


@dataclass(frozen=True, slots=True)
class Receipt:
    """Proof of an erasure.

    ids      what was erased, by id alone
    counts   rows removed, by table
    files    the files that were scanned afterwards, with their sizes in bytes
    needles  how many pieces of the erased texts were looked for in those bytes
    found    pieces that are still there and that no remaining record accounts for: must be empty
    open     why the files could not be rewritten yet, and what to do; "" if they were
    clean    whether `found` and `open` are empty
    adapters snapshots of trained weights that still hold what was erased; see `slowwave adapters`
    unlearned what was done to take it out of weights
    sha256   over all of the above, so that a receipt that was edited is recognised
    """

    at: datetime
    scope: Scope
    ids: tuple[str, ...]
    counts: Mapping[str, int]
    files: Mapping[str, int]
    needles: int
    found: tuple[str, ...]
    open: str
    sha256: str
    adapters: tuple[str, ...] = ()
    unlearned: tuple[str, ...] = ()

    @property
    def clean(self) -> bool:
        """Whether nothing of what was erased is left in the bytes of the files."""
        return not self.found and not self.open

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "at": self.at.isoformat(),
            "scope": self.scope.to_dict(),
            "ids": list(self.ids),
            "counts": dict(self.counts),
            "files": dict(self.files),
            "needles": self.needles,
            "found": list(self.found),
            "open": self.open,
            "clean": self.clean,
            "adapters": list(self.adapters),
            "unlearned": list(self.unlearned),
            "sha256": self.sha256,
        }


def utc_now() -> datetime:
    """The present moment, aware, in UTC."""
    return datetime.now(UTC)
