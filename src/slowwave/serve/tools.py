"""The tools that a model sees over MCP: eight, each one verb, described for a reader that has nothing but that.

What a tool gives back from the memory is marked as data in its text. A tool that the access does not allow is not
listed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field, ValidationError

from slowwave.errors import InputError
from slowwave.ops.marking import as_data
from slowwave.ops.packing import line as told
from slowwave.ops.quarantine import suspicious
from slowwave.records import SCOPE_FIELDS, Scope
from slowwave.serve.access import Access, named
from slowwave.serve.answers import line, record
from slowwave.serve.service import Service
from slowwave.serve.shapes import Request

Text = Annotated[str, Field(min_length=1, max_length=200_000)]
Id = Annotated[str, Field(min_length=1, max_length=64, description="id of a memory, as a search shows it")]
When = Annotated[str | None, Field(description="ISO 8601 date or time, such as 2024-05-08")]
Made = tuple[str, dict[str, Any]]  # text for the model, and the same as JSON
Run = Callable[[Service, Access, Scope, dict[str, Any]], Made]


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool: what the model is told, what it takes, which verb a key needs, and what is done."""

    name: str
    says: str
    takes: type[Request]
    verb: str
    run: Run
    title: str = ""
    destructive: bool = False
    idempotent: bool = False
    slow: bool = False

    @property
    def readonly(self) -> bool:
        """Whether it changes nothing."""
        return self.verb in ("search", "context", "get", "history", "list")

    def schema(self, scoped: bool) -> dict[str, Any]:
        """The JSON schema of its arguments; with the scope's fields where the connection does not say whose memory."""
        schema = self.takes.model_json_schema(by_alias=True)
        schema.pop("title", None)
        schema.pop("description", None)
        if scoped:
            for name in SCOPE_FIELDS:
                schema["properties"][name] = {"type": "string", "maxLength": 256, "description": "whose memory"}
        return schema

    def arguments(self, given: Mapping[str, Any] | None) -> tuple[dict[str, Any], dict[str, Any]]:
        """(arguments, scope fields) of a call; InputError says what is wrong with them."""
        rest = dict(given or {})
        scope = {name: rest.pop(name) for name in SCOPE_FIELDS if name in rest}
        if any(not isinstance(value, str) for value in scope.values() if value is not None):
            raise InputError(f"a scope's field is a text; got {scope!r:.100}")
        try:
            checked = self.takes.model_validate(rest)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(map(str, first["loc"])) or "the arguments"
            raise InputError(f"{self.name}: {place}: {first['msg']}") from None
        return checked.model_dump(exclude_unset=True, by_alias=False), scope


class AddMemory(Request):
    content: Annotated[Text, Field(description="what to remember, in a full sentence that stands alone")]
    speaker: Annotated[str | None, Field(max_length=256, description="who said it")] = None
    at: Annotated[When, Field(description="when it happened; left out, now")] = None
    session: Annotated[str | None, Field(max_length=256, description="the conversation or document it is from")] = None
    metadata: Annotated[dict[str, Any] | None, Field(description="anything else worth keeping")] = None


class SearchMemories(Request):
    query: Annotated[Text, Field(description="a question or some words")]
    top_k: Annotated[int, Field(ge=1, le=100, description="at most so many")] = 10
    at: Annotated[When, Field(description="only what was true at that moment")] = None
    as_of: Annotated[When, Field(description="only what was known at that moment")] = None
    kinds: Annotated[list[str] | None, Field(description="episode, fact, summary, note, event, skill")] = None
    filters: Annotated[
        dict[str, Any] | None, Field(description='such as {"speaker": "Ana"} or {"at": {"gte": "2024-01-01"}}')
    ] = None


class RecallContext(Request):
    query: Annotated[Text, Field(description="what the next answer is about")]
    max_tokens: Annotated[int, Field(ge=50, le=100_000, description="the budget")] = 1000
    at: Annotated[When, Field(description="only what was true at that moment")] = None


class OneMemory(Request):
    id: Id


class UpdateMemory(Request):
    id: Id
    text: Annotated[str | None, Field(max_length=200_000, description="the corrected text")] = None
    until: Annotated[When, Field(description="it stopped being true then")] = None
    reason: Annotated[str, Field(max_length=2000, description="why, for its history")] = ""


class ForgetMemory(Request):
    id: Annotated[list[Id], Field(min_length=1, max_length=100, description="ids of the memories to forget")]
    reason: Annotated[str, Field(max_length=2000, description="why, for their history")] = ""


class Sleep(Request):
    dry_run: Annotated[bool, Field(description="only say what would change")] = False


def _add(service: Service, access: Access, scope: Scope, given: dict[str, Any]) -> Made:
    service.admit_records(access, 1)
    report = service.memory.add(**given, trusted=False, **named(scope))
    outcome = report[0]
    service.telemetry.records.labels(outcome.event).inc()
    text = {
        "ADD": f"remembered as {outcome.id}",
        "UPDATE": f"remembered again as {outcome.id}",
        "NONE": f"known already, as {outcome.id}",
        "HELD": f"kept apart for a person to review, since it {outcome.reason}",
    }[outcome.event]
    return text, report.to_dict()


def _search(service: Service, access: Access, scope: Scope, given: dict[str, Any]) -> Made:
    hits = service.memory.search(**given, **named(scope))
    service.telemetry.hits.inc(len(hits))
    lines = [f"{told(hit.engram)}  score {hit.score:.2f}" for hit in hits]
    return as_data("\n".join(lines)) if lines else "nothing on that is remembered", hits.to_dict()


def _context(service: Service, access: Access, scope: Scope, given: dict[str, Any]) -> Made:
    made = service.memory.context(**given, **named(scope))
    return as_data(made.text) if made.text else "nothing on that is remembered", made.to_dict()


def _get(service: Service, access: Access, scope: Scope, given: dict[str, Any]) -> Made:
    engram = service.memory.get(**given, **named(scope))
    state = f"\nno longer in view: {engram.retired_why}" if engram.retired else ""
    return as_data(f"{told(engram)}{state}"), record(engram)


def _update(service: Service, access: Access, scope: Scope, given: dict[str, Any]) -> Made:
    if reason := suspicious(given.get("text") or ""):
        raise InputError(f"the new text {reason}; a person has to correct this memory")
    report = service.memory.update(**given, **named(scope))
    return f"{report[0].event.lower()}: {report[0].id}", report.to_dict()


def _forget(service: Service, access: Access, scope: Scope, given: dict[str, Any]) -> Made:
    report = service.memory.forget(**given, **named(scope))
    return f"forgotten: {', '.join(report.ids) or 'nothing'}; a person can undo it", report.to_dict()


def _history(service: Service, access: Access, scope: Scope, given: dict[str, Any]) -> Made:
    entries = [line(entry) for entry in service.memory.history(**given, **named(scope))]
    lines = [f"{entry['recorded'][:16]} {entry['verb']} {entry['id']}: {entry['reason']}" for entry in entries]
    return as_data("\n".join(lines)), {"results": entries}


def _sleep(service: Service, access: Access, scope: Scope, given: dict[str, Any]) -> Made:
    report = service.memory.sleep(**given, **named(scope))
    lines = [f"{change.verb} {change.id}: {change.reason}" for change in list(report)[:50]]
    done = "would change" if given.get("dry_run") else "changed"
    return as_data("\n".join(lines)) if lines else f"nothing {done}", report.to_dict()


TOOLS: tuple[Tool, ...] = (
    Tool(
        "add_memory",
        "Remember something about the user or the task for later conversations: a fact, a wish, a decision, an event. "
        "Write one full sentence with names instead of pronouns. Adding the same text again changes nothing.",
        AddMemory, "add", _add, "Remember", idempotent=True,
    ),
    Tool(
        "search_memories",
        "Find memories that bear on a question, best first, each with its date, id and score. Use it before answering "
        "anything that earlier conversations may have settled. An empty result means that nothing is known.",
        SearchMemories, "search", _search, "Search memories",
    ),
    Tool(
        "recall_context",
        "All that is remembered on a topic as one block of text within a token budget, oldest first. Use it at the "
        "start of a task; search_memories is for single questions.",
        RecallContext, "context", _context, "Recall context",
    ),
    Tool("get_memory", "One memory by its id, with its dates and sources.", OneMemory, "get", _get, "Get a memory"),
    Tool(
        "update_memory",
        "Correct a memory that is wrong or no longer true. The old text stays in its history. Give `until` when "
        "something has ended instead of deleting it.",
        UpdateMemory, "update", _update, "Correct a memory",
    ),
    Tool(
        "forget_memory",
        "Take memories out of view, when the user asks for it. They can be brought back by a person.",
        ForgetMemory, "forget", _forget, "Forget", destructive=True, idempotent=True,
    ),
    Tool(
        "memory_history",
        "Every change to a memory, oldest first: when, what and why, with the texts before and after it.",
        OneMemory, "history", _history, "History of a memory",
    ),
    Tool(
        "sleep",
        "Consolidate what came since the last sleep: merge repeats, let newer values supersede older ones, write down "
        "facts. Seldom needed; the server may do it by itself. `dry_run` only shows what would change.",
        Sleep, "sleep", _sleep, "Consolidate", slow=True,
    ),
)  # fmt: skip
