"""What a store is given and what it gives back, beside engrams: frozen records and nothing else. See `base.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from slowwave.records import Call, Change, Engram, Link, Rejected, Scope
from slowwave.store.filters import Filter

AUDIT = Scope(app_id="slowwave.audit")  # of what the journal keeps about the server itself; an erasure leaves it


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far a system has looked in a scope: the last row number it has seen, and what it wants to remember itself."""

    last: int = 0
    state: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Operation:
    """What is about to be done, as the journal will name it.

    verb    add, update, link, forget, sleep, undo, import, ...
    system  which system proposed it, such as "default"
    model   the language model that took part, or ""
    undoes  the operation that this one takes back
    strict  a change that is refused takes the whole operation back, with a ConflictError
    cursor  where the next sleep of this system goes on
    calls     the calls of a language model that it took
    rejected  what a model proposed and nobody applied
    lease     under which it was made, and which ends with it; where it was lost, nothing is written: a ConflictError
    held      what is kept apart instead of remembered, until somebody decides; see `Held`
    settled   id of something held -> what was decided; its text goes, what was decided stays
    noted     it is journalled even where nothing changed, such as a refusal; `held` and `settled` are always
    """

    id: str
    verb: str
    scope: Scope
    recorded: datetime
    system: str = "default"
    model: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)
    cursor: Cursor | None = None
    undoes: str | None = None
    strict: bool = False
    calls: tuple[Call, ...] = ()
    rejected: tuple[Rejected, ...] = ()
    lease: Lease | None = None
    held: tuple[Held, ...] = ()
    settled: Mapping[str, str] = field(default_factory=dict)
    noted: bool = False


@dataclass(frozen=True, slots=True)
class Held:
    """What was given and is kept apart, unread by any search, until it is released or dropped: quarantine.

    id        as an engram's; names it for whoever decides
    text      for people; "" once it was decided
    item      the whole of what was given, as JSON values; empty once it was decided
    reason    a sentence: what stood against it
    decided   when, and `decision` what: "released" or "dropped"; None and "" while it waits
    """

    id: str
    scope: Scope
    text: str
    item: Mapping[str, Any]
    reason: str
    recorded: datetime
    decided: datetime | None = None
    decision: str = ""


@dataclass(frozen=True, slots=True)
class Key:
    """A key to a memory that is served, as a store keeps it: never the secret, only its hash.

    id       tells it apart in logs and in the journal; `name` is for people
    hash     SHA-256 of the secret, in hex
    scopes   it reaches what lies in any of these; where none is named, everything
    verbs    what it may do, see `slowwave.serve.access`
    limits   its quotas by name, see `slowwave.serve.limits`
    expires, revoked  from when on it opens nothing
    """

    id: str
    name: str
    hash: str
    scopes: tuple[Scope, ...]
    verbs: tuple[str, ...]
    limits: Mapping[str, int]
    created: datetime
    expires: datetime | None = None
    revoked: datetime | None = None


class Usage(NamedTuple):
    """How much of something a key has used on a day (UTC, as 2024-05-01)."""

    key: str
    day: str
    what: str
    amount: int


@dataclass(frozen=True, slots=True)
class Lease:
    """A claim on a scope that nobody else may hold meanwhile, such as the one of whoever sleeps on it.

    name     what it is for; leases of other names know nothing of each other
    holder   who holds it, for people
    token    names this very claim
    taken    when it was taken; `expires`, when it ends unless it is renewed
    """

    scope: Scope
    name: str
    holder: str
    token: str
    taken: datetime
    expires: datetime


@dataclass(frozen=True, slots=True)
class Index:
    """What is kept beside an engram so that it can be found; all but `content` is derived and rebuildable.

    vector  (dim,) float32 unit row of the store's current model, or None (no model at hand)
    content what makes two items the same: 16 bytes, see `content_key`
    words   the text as the full-text index sees it
    times   the intervals that the text speaks of, [start, end) in microseconds since 1970 UTC
    """

    content: bytes
    words: str
    vector: NDArray[np.float32] | None = None
    times: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Applied:
    """What the store made of an operation.

    op        the operation's id; None if nothing changed, and no call and no rejection was to be noted
    added     id given -> id kept: equal for what was added, another for what was there already
    changes   the changes that took effect, in order
    refused   changes set aside because the store no longer holds what their proposer saw, with the reason
    """

    op: str | None
    added: Mapping[str, str]
    changes: tuple[Change, ...]
    refused: tuple[tuple[Change, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Erased:
    """What an erasure removed.

    counts  rows by table, with `asked` (records named) and `derived` (what stood on them)
    gone    the records as they were, wherever in the file; for the receipt, then to be let go
    open    why their bytes may still be in a file (another process reads it, no room, ...); "" if they are not
    """

    counts: Mapping[str, int]
    gone: tuple[Engram, ...]
    open: str = ""


class Row(NamedTuple):
    """A candidate as the ranking needs it: cheaper than an Engram, which is read for the winners alone."""

    n: int
    kind: str
    text: str
    at: int
    until: int | None
    recorded: int
    retired: int | None
    strength: float
    session: int
    turn: int
    speaker: str | None
    scope: int


@dataclass(frozen=True, slots=True)
class Want:
    """Which engrams a read is about.

    kinds    these kinds only
    where    a parsed filter
    at       those true at this moment: at <= moment < until
    as_of    as the store knew things at this moment (recorded, closed and retired are turned back to it)
    retired  also what was merged, corrected, forgotten or undone
    """

    kinds: tuple[str, ...] | None = None
    where: Filter | None = None
    at: datetime | None = None
    as_of: datetime | None = None
    retired: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether only retired engrams have to be left out."""
        return self.kinds is None and self.where is None and self.at is None and self.as_of is None


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the journal."""

    op: str
    verb: str
    engram: str
    reason: str
    sources: tuple[str, ...]
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    links: tuple[Link, ...]
    unlinks: tuple[Link, ...]
    recorded: datetime
    operation: str
    system: str
    model: str


class Asked(NamedTuple):
    """A call of a language model, and the operation that took it."""

    op: str
    recorded: datetime
    call: Call


class SetAside(NamedTuple):
    """What a model proposed and nobody applied, and the operation that turned it down."""

    op: str
    recorded: datetime
    rejected: Rejected


class Lines(list[Entry]):
    """The journal lines of one operation, in order.

    calls     the calls of a language model that it took
    rejected  what the model proposed and nobody applied
    """

    def __init__(self, entries: Sequence[Entry], calls: Sequence[Call] = (), rejected: Sequence[Rejected] = ()) -> None:
        super().__init__(entries)
        self.calls = tuple(calls)
        self.rejected = tuple(rejected)


@dataclass(frozen=True, slots=True)
class Said:
    """A model's reply as it is kept: its words, what they cost, and why they end ("stop" or "length").

    tokens  of the words with their log probabilities, each (text, logprob, ((text, logprob), ...)): see `models.chat`
    """

    text: str
    tokens_in: int
    tokens_out: int
    finish: str = "stop"
    tokens: tuple[tuple[str, float, tuple[tuple[str, float], ...]], ...] = ()


@dataclass(frozen=True, slots=True)
class Pulse:
    """What one wants to know of a scope before sleeping on it.

    written  when anything but a sleep last wrote here; None if nothing ever did
    fresh    records in view, made from no others, that the system has not looked at yet; no more than were asked for
    """

    written: datetime | None
    fresh: int


@dataclass(frozen=True, slots=True)
class Kept:
    """A record with what is needed to write it back elsewhere: `content` is its key, see `Index`."""

    engram: Engram
    content: bytes


@dataclass(frozen=True, slots=True)
class Past:
    """An operation that was done, and its lines about records that the view sees, oldest first."""

    operation: Operation
    undone_by: str | None
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Bookmark:
    """A Cursor that another file can read: the last record that was seen, by id, and how many were until then."""

    scope: Scope
    system: str
    last: str
    seen: int
    state: Mapping[str, Any]


@dataclass(slots=True)
class Restored:
    """How far a restore has come; one object goes through all of its transactions.

    added, known, operations  records written, records that were there, operations written
    missing    sources that are not in this file
    names      id in the export -> id of the same item here, where they differ
    behind     records that were here and are not as the export has them
    conflicts  of those, the ones that were changed here too, so that the change was not taken over
    """

    added: int = 0
    known: int = 0
    operations: int = 0
    missing: int = 0
    names: dict[str, str] = field(default_factory=dict)
    behind: set[str] = field(default_factory=set)
    conflicts: list[str] = field(default_factory=list)
