"""Answers as pydantic models, for the OpenAPI description; what is sent is a record's own `to_dict`, unchecked."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field
from pydantic_core import to_json
from starlette.responses import JSONResponse

from slowwave.records import Engram
from slowwave.store.base import Entry, Held


class Json(JSONResponse):
    """JSON, made by pydantic's serializer."""

    def render(self, content: Any) -> bytes:
        return to_json(content, inf_nan_mode="null", fallback=str)


class Failure(BaseModel):
    """What went wrong: `type` is the name of slowwave's exception."""

    type: str
    message: str


class Failed(BaseModel):
    """Every answer with a status from 400 on."""

    error: Failure


class Memory(BaseModel):
    """One record."""

    id: str
    memory: str
    kind: str
    created_at: str
    updated_at: str
    valid_at: str
    invalid_at: str | None
    metadata: dict[str, Any]
    sources: list[str]
    user_id: str | None = None
    agent_id: str | None = None
    run_id: str | None = None
    app_id: str | None = None


class Record(Memory):
    """One record with all that is known of it."""

    strength: float
    used: str | None
    origin: str | None
    closed: str | None
    retired: str | None
    retired_why: str | None
    half_life_days: float
    due: str | None


class Found(Memory):
    """A record that a search found; with `Prefer: return=representation`, with all that is known of it."""

    score: float
    why: str
    channels: dict[str, float]
    strength: float | None = None
    used: str | None = None
    origin: str | None = None
    closed: str | None = None
    retired: str | None = None
    retired_why: str | None = None
    half_life_days: float | None = None
    due: str | None = None


class Hits(BaseModel):
    """What a search found, best first."""

    results: list[Found]
    trace: dict[str, Any]


class Records(BaseModel):
    """Records in order."""

    results: list[Record]


class Outcome(BaseModel):
    """What became of one item: ADD, NONE (known already), UPDATE, or HELD (kept apart, with the reason)."""

    id: str
    memory: str
    event: str
    reason: str


class Added(BaseModel):
    """What became of what was given."""

    results: list[Outcome]
    op: str | None
    counts: dict[str, int]
    seconds: float
    notes: list[str]


class Changed(BaseModel):
    """The changes of an operation; `op` is what `undo` takes, null for a dry run or where nothing changed."""

    results: list[dict[str, Any]]
    op: str | None
    counts: dict[str, int]
    seconds: float
    notes: list[str]


class Context(BaseModel):
    """Text for a prompt: `text` by itself, `prompt` marked as data."""

    text: str
    prompt: str
    tokens: int
    sources: list[str]
    left_out: list[str]
    hits: list[Found] | None = Field(None, description="with `Prefer: return=representation`")
    spare: list[Found] | None = Field(None, description="what was left out, likewise")


class Answer(BaseModel):
    """A short answer from what is remembered, or none."""

    answer: str
    abstained: bool
    why: str
    ungrounded: str
    tokens: int
    cited: list[Found]


class Line(BaseModel):
    """A line of the journal."""

    op: str
    operation: str
    verb: str
    id: str
    reason: str
    sources: list[str]
    before: dict[str, Any]
    after: dict[str, Any]
    links: list[list[Any]]
    unlinks: list[list[Any]]
    recorded: str
    system: str
    model: str


class Lines(BaseModel):
    """Lines of the journal, in order."""

    results: list[Line]


class Operation(Lines):
    """One operation: its lines, its calls of a model, what was turned down."""

    calls: list[dict[str, Any]]
    rejected: list[dict[str, Any]]


class Rows(BaseModel):
    """Rows of what was asked for."""

    results: list[dict[str, Any]]


class Erased(BaseModel):
    """The receipt of an erasure."""

    at: str
    scope: dict[str, str]
    ids: list[str]
    counts: dict[str, int]
    files: dict[str, int]
    needles: int
    found: list[str]
    open: str
    clean: bool
    adapters: list[str] = []
    unlearned: list[str] = []
    sha256: str


class JobState(BaseModel):
    """Long work, and how far it is."""

    id: str
    verb: str
    scope: dict[str, str]
    by: str
    arguments: dict[str, Any]
    state: str = Field(description="waiting, running, done, failed or cancelled")
    stage: str
    done: int
    total: int
    created: str
    started: str | None
    ended: str | None
    result: dict[str, Any] | None
    error: Failure | None


class JobStates(BaseModel):
    """Jobs, newest first."""

    results: list[JobState]


class KeyState(BaseModel):
    """A key; never its secret."""

    id: str
    name: str
    scopes: list[dict[str, str]]
    verbs: list[str]
    limits: dict[str, int]
    created: str
    expires: str | None
    revoked: str | None


class KeyMade(KeyState):
    """A new key, with the only sight of its secret."""

    key: str


class KeyStates(BaseModel):
    """Every key there ever was."""

    results: list[KeyState]


class HeldState(BaseModel):
    """What is kept apart, and why."""

    id: str
    scope: dict[str, str]
    text: str
    reason: str
    recorded: str
    decided: str | None
    decision: str


class HeldStates(BaseModel):
    """What is kept apart, newest first."""

    results: list[HeldState]


class Arrived(BaseModel):
    """What an import found and did."""

    path: str
    format: str
    dry_run: bool
    counts: dict[str, int]
    conflicts: list[str]
    ops: list[str]
    notes: list[str]
    audit: dict[str, Any]
    seconds: float


def record(engram: Engram) -> dict[str, Any]:
    """A record as JSON values: mem0's fields, and all that is known besides."""
    whole = engram.to_dict()
    more = ("sources", "strength", "used", "origin", "closed", "retired", "retired_why", "half_life_days", "due")
    return {**engram.to_result(), **{name: whole[name] for name in more}}


def line(entry: Entry) -> dict[str, Any]:
    """A line of the journal as JSON values."""
    ties = {"links": entry.links, "unlinks": entry.unlinks}
    return {
        "op": entry.op, "operation": entry.operation, "verb": entry.verb, "id": entry.engram, "reason": entry.reason,
        "sources": list(entry.sources), "before": dict(entry.before), "after": dict(entry.after),
        **{name: [[t.source, t.relation, t.target, t.weight] for t in some] for name, some in ties.items()},
        "recorded": entry.recorded.isoformat(), "system": entry.system, "model": entry.model,
    }  # fmt: skip


def held(one: Held) -> dict[str, Any]:
    """What is kept apart as JSON values."""
    return {
        "id": one.id, "scope": one.scope.to_dict(), "text": one.text, "reason": one.reason,
        "recorded": one.recorded.isoformat(), "decided": one.decided.isoformat() if one.decided else None,
        "decision": one.decision,
    }  # fmt: skip
