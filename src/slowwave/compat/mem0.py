"""mem0's Memory and AsyncMemory with slowwave beneath: `from slowwave.compat.mem0 import Memory`, the rest stays.

What is different, on purpose:
- No language model is called and nothing is sent anywhere. `add` keeps what was said; `infer` changes nothing.
- The same text of the same speaker in the same scope is kept once (event NONE).
- `update` keeps the old text in the history; `delete`, `delete_all` and `reset` take out of view, and
  `memory.undo(...)` brings back. To remove for good: `memory.erase(...)`.
- A scope may be named as an argument and in `filters`, everywhere.

The id of a memory stays the same through its updates, as mem0's users expect; `.memory` is slowwave's own Memory.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from types import TracebackType
from typing import Any

import slowwave.memory
from slowwave.compat.mem0_config import settings
from slowwave.errors import InputError
from slowwave.records import SCOPE_FIELDS, Engram, Item, Scope, scope_of
from slowwave.store.base import Entry, View

IDENTITY = (*SCOPE_FIELDS, "actor_id")  # never set through metadata
SHOWN_APART = ("role", "actor_id", "expiration_date")  # beside the metadata, not in it
UNSET: Any = object()


class Memory:
    """mem0's verbs over a slowwave memory.

    config  mem0's config as a dictionary, or its MemoryConfig
    memory  an open slowwave Memory to use instead
    notes   what of the config and of later arguments means nothing here

    >>> m = Memory.from_config({"vector_store": {"config": {"path": ":memory:"}}, "embedder": {"provider": "mock"}})
    >>> m.add("I love hiking", user_id="alex")["results"][0]["event"]
    'ADD'
    >>> m.search("hiking", filters={"user_id": "alex"})["results"][0]["memory"]
    'I love hiking'
    """

    def __init__(self, config: Any = None, *, memory: slowwave.memory.Memory | None = None) -> None:
        chosen = settings(config)
        self.config = config
        self.notes: list[str] = chosen.notes
        self.memory = memory or slowwave.memory.Memory(chosen.path, embedder=chosen.embedder)

    @classmethod
    def from_config(cls, config_dict: Mapping[str, Any]) -> Memory:
        """As mem0's; what it names and has no place here is in `notes`."""
        return cls(config_dict)

    # -- write

    def add(
        self,
        messages: Any,
        *,
        user_id: Any = None,
        agent_id: Any = None,
        run_id: Any = None,
        app_id: Any = None,
        metadata: Mapping[str, Any] | None = None,
        timestamp: Any = None,
        expiration_date: Any = None,
        infer: bool = True,
        memory_type: str | None = None,
        prompt: str | None = None,
    ) -> dict[str, Any]:
        """Keep a text, a message or a list of messages, each as it was said; system messages are left out.

        timestamp        when it was said: seconds since 1970 or ISO text
        expiration_date  YYYY-MM-DD; after that day it is found only with show_expired=True
        infer, prompt    without effect: no language model is called
        memory_type      None, or "procedural_memory", which is kept as a skill
        """
        scope = self._scope({"user_id": user_id, "agent_id": agent_id, "run_id": run_id, "app_id": app_id}, None)
        if memory_type not in (None, "procedural_memory"):
            raise InputError(f"memory_type is {memory_type!r}; it must be None or 'procedural_memory'")
        if prompt is not None:
            self._note("prompt: nothing is extracted by a prompt")
        attrs = self._metadata(metadata)
        if (expires := _day(expiration_date)) is not None:
            attrs["expiration_date"] = expires
        kind = "skill" if memory_type else "episode"
        items = [_item(message, attrs, kind, timestamp) for message in _messages(messages)]
        if not items:
            return {"results": []}
        report = self.memory.add(items, **_named(scope))
        results = [
            {
                "id": outcome.id,
                "memory": outcome.memory,
                "event": outcome.event,
                "actor_id": item.attrs.get("actor_id"),
                "role": item.attrs.get("role"),
            }
            for item, outcome in zip(items, report, strict=True)
        ]
        return {"results": results}

    def update(
        self,
        memory_id: str,
        text: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        expiration_date: Any = UNSET,
        data: str | None = None,
    ) -> dict[str, Any]:
        """Correct a memory; its id stays, the old text stays in its history. `data` is the older word for `text`."""
        text = data if text is None else text
        if text is None and metadata is None and expiration_date is UNSET:
            raise InputError("there is nothing to update; give text, metadata or expiration_date")
        view, engram = self._present(memory_id)
        attrs = self._metadata(metadata)
        if expiration_date is not UNSET:
            attrs["expiration_date"] = _day(expiration_date)
        if attrs or (text is not None and text != engram.text):
            self.memory.update(engram.id, text, attrs=attrs, **_named(view.scope))
        return {"message": "Memory updated successfully!"}

    def delete(self, memory_id: str) -> dict[str, Any]:
        """Take a memory out of view, with what was derived from it alone."""
        view, engram = self._present(memory_id)
        self.memory.forget(engram.id, reason="deleted", **_named(view.scope))
        return {"message": "Memory deleted successfully!"}

    def delete_all(
        self, user_id: Any = None, agent_id: Any = None, run_id: Any = None, app_id: Any = None
    ) -> dict[str, Any]:
        """Take everything of a scope out of view."""
        scope = self._scope({"user_id": user_id, "agent_id": agent_id, "run_id": run_id, "app_id": app_id}, None)
        self.memory.forget(all=True, reason="deleted with all", **_named(scope))
        return {"message": "Memories deleted successfully!"}

    def reset(self) -> dict[str, Any]:
        """Take everything in the file out of view. mem0 wipes; here nothing is lost until it is erased."""
        for scope, _ in self.memory.scopes():
            self.memory.forget(all=True, reason="reset", **_named(scope))
        return {"message": "All memories are out of view; memory.undo() brings back, memory.erase() removes for good"}

    # -- read

    def get(self, memory_id: str) -> dict[str, Any] | None:
        """The memory of this id in its present version; None if there is none in view."""
        try:
            view, engram = self._present(memory_id)
        except InputError:
            return None
        return self._shown(view, [engram])[0]

    def get_all(
        self,
        *,
        filters: Mapping[str, Any] | None = None,
        top_k: int = 20,
        show_expired: bool = False,
        limit: int | None = None,
        **scope: Any,
    ) -> dict[str, Any]:
        """What is in view, newest first. `limit` is the older word for `top_k`."""
        own = self._scope(scope, filters)
        top_k = top_k if limit is None else limit
        if not top_k:
            return {"results": []}
        found = self.memory.list(
            filters=_conditions(filters, own, show_expired), limit=top_k, newest_first=True, **_named(own)
        )
        return {"results": self._shown(self.memory.store.view(own), found)}

    def search(
        self,
        query: str,
        *,
        top_k: int = 20,
        filters: Mapping[str, Any] | None = None,
        threshold: float | None = 0.0,
        rerank: bool = False,
        explain: bool = False,
        reference_date: Any = None,
        show_expired: bool = False,
        limit: int | None = None,
        **scope: Any,
    ) -> dict[str, Any]:
        """What bears on the query, best first.

        threshold       least score in [0, 1]; None takes slowwave's own, so that nonsense gets nothing
        rerank          without effect: what is found is ranked by several channels already
        explain         adds `score_details`, each channel's part of the score, and `why`
        reference_date  the moment of asking, by which "last summer" is read
        """
        own = self._scope(scope, filters)
        top_k = top_k if limit is None else limit
        if rerank:
            self._note("rerank: no reranker is loaded")
        if not top_k:
            return {"results": []}
        hits = self.memory.search(
            query,
            top_k=top_k,
            threshold=threshold,
            filters=_conditions(filters, own, show_expired),
            now=reference_date,
            explain=explain,
            **_named(own),
        )
        results = self._shown(self.memory.store.view(own), [hit.engram for hit in hits])
        for result, hit in zip(results, hits, strict=True):
            result["score"] = round(hit.score, 4)
            if explain:
                result |= {"score_details": dict(hit.channels), "why": hit.why}
        return {"results": results}

    def history(self, memory_id: str) -> list[dict[str, Any]]:
        """What happened to a memory, oldest first: ADD, UPDATE and DELETE with the texts before and after."""
        scope = self.memory.store.owner(memory_id)
        if scope is None:
            return []
        view = self.memory.store.view(scope)
        entries = self.memory.history(memory_id, **_named(scope))
        versions = _versions(view, memory_id)
        lines = [_event(entry, versions, memory_id) for entry in entries if entry.engram in versions]
        return [line for line in lines if line is not None]

    def chat(self, query: str) -> Any:
        """Not in mem0 either."""
        raise NotImplementedError("chat is not implemented, as in mem0; use search or .memory.context")

    def close(self) -> None:
        """Let the file go."""
        self.memory.close()

    def __enter__(self) -> Memory:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- the parts

    def _scope(self, given: Mapping[str, Any], filters: Mapping[str, Any] | None) -> Scope:
        """The scope from the arguments, else from the filters; numbers are taken as texts, as mem0 does."""
        named = {name: value for name, value in given.items() if value is not None}
        unknown = [name for name in named if name not in SCOPE_FIELDS]
        if unknown:
            raise InputError(
                f"there is no argument {', '.join(unknown)}; a scope is named by {', '.join(SCOPE_FIELDS)}"
            )
        for name, value in _scopes_in(filters):
            named.setdefault(name, value)
        return scope_of({name: str(value).strip() for name, value in named.items()})

    def _present(self, memory_id: str) -> tuple[View, Engram]:
        """The present version of a memory, in its own scope. InputError if there is none in view."""
        scope = self.memory.store.owner(memory_id) if isinstance(memory_id, str) else None
        if scope is None:
            raise InputError(f"Memory with id {memory_id} not found")
        view = self.memory.store.view(scope)
        engram = view.get([memory_id])[memory_id]
        while engram.retired is not None:
            links = view.links([engram.id], ("supersedes",))
            newer = view.get([link.source for link in links if link.target == engram.id])
            if engram.retired_why not in ("corrected", "merged") or not newer:
                raise InputError(f"Memory with id {memory_id} not found: it is out of view ({engram.retired_why})")
            engram = newer[max(newer)]
        return view, engram

    def _shown(self, view: View, engrams: Sequence[Engram]) -> list[dict[str, Any]]:
        """mem0's shape; the id and the time of creation are those of the first version."""
        first = _first_versions(view, engrams)
        return [_result(engram, first.get(engram.id, engram)) for engram in engrams]

    def _metadata(self, metadata: Mapping[str, Any] | None) -> dict[str, Any]:
        out = dict(metadata or {})
        for name in IDENTITY:
            if out.pop(name, None) is not None:
                self._note(f"metadata[{name!r}]: a scope is not set through metadata")
        return out

    def _note(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)


class AsyncMemory:
    """The same verbs, awaited; each runs in a thread."""

    VERBS = ("add", "update", "delete", "delete_all", "reset", "get", "get_all", "search", "history", "chat")

    def __init__(self, config: Any = None, *, memory: slowwave.memory.Memory | None = None) -> None:
        self._sync = Memory(config, memory=memory)

    @classmethod
    def from_config(cls, config_dict: Mapping[str, Any]) -> AsyncMemory:
        """As mem0's; what it names and has no place here is in `notes`."""
        return cls(config_dict)

    @property
    def memory(self) -> slowwave.memory.Memory:
        """slowwave's own Memory."""
        return self._sync.memory

    @property
    def notes(self) -> list[str]:
        """What of the config and of later arguments means nothing here."""
        return self._sync.notes

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        if name not in self.VERBS:
            raise AttributeError(f"AsyncMemory has no attribute {name!r}; its verbs are {', '.join(self.VERBS)}")
        method = getattr(self._sync, name)

        @functools.wraps(method)
        async def call(*args: Any, **kwargs: Any) -> Any:
            return await asyncio.to_thread(method, *args, **kwargs)

        return call

    def close(self) -> None:
        """Let the file go."""
        self._sync.close()

    async def __aenter__(self) -> AsyncMemory:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.close)


def _named(scope: Scope) -> dict[str, Any]:
    return dict(scope.to_dict())


def _messages(messages: Any) -> list[Any]:
    if isinstance(messages, (str, Mapping)):
        messages = [messages]
    if not isinstance(messages, Sequence):
        raise InputError(f"messages is a {type(messages).__name__}; give a text, a message, or a list of messages")
    given = [{"role": "user", "content": one} if isinstance(one, str) else one for one in messages]
    wrong = [one for one in given if not isinstance(one, Mapping)]
    if wrong:
        raise InputError(f"a message is {wrong[0]!r:.60}; give a dictionary with role and content")
    return [one for one in given if one.get("role") != "system" and one.get("content")]


def _item(message: Mapping[str, Any], attrs: Mapping[str, Any], kind: str, timestamp: Any) -> Item:
    content, role, name = message["content"], message.get("role"), message.get("name")
    if isinstance(content, Sequence) and not isinstance(content, str):  # parts, of which the texts can be kept
        parts = [part.get("text") if isinstance(part, Mapping) else part for part in content]
        content = "\n".join(part for part in parts if isinstance(part, str)) or "[no text]"
    own = {**attrs, **({"role": role} if role else {}), **({"actor_id": name} if name else {})}
    speaker = name or own.get("speaker") or role
    return Item(content, kind, None if speaker is None else str(speaker), timestamp, attrs=own)


def _day(value: Any) -> str | None:
    if value is None:
        return None
    try:
        return (value if isinstance(value, date) else date.fromisoformat(value)).isoformat()[:10]
    except (TypeError, ValueError) as error:
        raise InputError(f"expiration_date is {value!r}; it must be a date such as 2026-12-31") from error


def _scopes_in(filters: Any) -> list[tuple[str, Any]]:
    """Scope fields that the filter requires: at its top, or in an AND."""
    if not isinstance(filters, Mapping):
        return []
    found = [
        (name, value)
        for name, value in filters.items()
        if name in SCOPE_FIELDS and isinstance(value, (str, int)) and value != "*"
    ]
    inner = filters.get("AND")
    return found + [pair for part in (inner if isinstance(inner, (list, tuple)) else []) for pair in _scopes_in(part)]


def _conditions(filters: Mapping[str, Any] | None, scope: Scope, show_expired: bool) -> dict[str, Any]:
    """The filter without the scope at its top, which is an argument of its own, and without what has expired."""
    rest = {name: value for name, value in (filters or {}).items() if getattr(scope, name, None) != str(value)}
    if show_expired:
        return rest
    return {"AND": [rest, {"NOT": {"expiration_date": {"lt": datetime.now(UTC).date().isoformat()}}}]}


def _first_versions(view: View, engrams: Sequence[Engram]) -> dict[str, Engram]:
    """For each that was corrected, the version with which it began; the corrected ones are no longer in view."""
    first: dict[str, Engram] = {}
    edge = {engram.id: engram.id for engram in engrams}  # version -> the present one
    while edge:
        links = [link for link in view.links(list(edge), ("supersedes",)) if link.source in edge]
        older = view.get([link.target for link in links])
        step = {}
        for link in links:
            old = older.get(link.target)
            if old is not None and old.retired_why == "corrected" and old.id not in step:
                step[old.id] = edge[link.source]
                first[edge[link.source]] = old
        edge = step
    return first


def _versions(view: View, memory_id: str) -> dict[str, Engram]:
    """All versions of one memory by id. What a night has superseded is another memory, and stays in view."""
    known = view.get([memory_id])
    edge = list(known)
    while edge:
        links = view.links(edge, ("supersedes",))
        ends = view.get(list({end for link in links for end in (link.source, link.target)}))
        edge = []
        for link in links:
            if ends[link.target].retired_why == "corrected":
                edge += [end for end in (link.source, link.target) if end not in known]
                known |= {end: ends[end] for end in (link.source, link.target)}
    return known


def _result(engram: Engram, first: Engram) -> dict[str, Any]:
    role, actor = engram.attrs.get("role"), engram.attrs.get("actor_id")
    hidden = {*SHOWN_APART, *(["speaker"] if engram.speaker in (role, actor) else [])}
    metadata = {name: value for name, value in engram.attrs.items() if name not in hidden}
    return {
        "id": first.id,
        "memory": engram.text,
        "hash": hashlib.md5(engram.text.encode(), usedforsecurity=False).hexdigest(),
        "metadata": metadata or None,
        "created_at": first.recorded.isoformat(),
        "updated_at": engram.recorded.isoformat(),
        **engram.scope.to_dict(),
        **{name: engram.attrs[name] for name in SHOWN_APART if name in engram.attrs},
    }


def _event(entry: Entry, versions: Mapping[str, Engram], memory_id: str) -> dict[str, Any] | None:
    """A line of the journal as mem0's history has it; None for what mem0 does not know, such as fading."""
    engram = versions[entry.engram]
    old: str | None = None
    new: str | None = engram.text
    event = ""
    if entry.after.get("added"):
        replaced = [link.target for link in entry.links if link.relation == "supersedes" and link.target in versions]
        event, old = ("UPDATE", versions[replaced[0]].text) if replaced else ("ADD", None)
    elif "attrs" in entry.after:
        event, old = "UPDATE", engram.text
    elif "retired" in entry.after and entry.after["retired"] is None:
        event = "ADD"
    elif "retired" in entry.after and entry.after.get("retired_why") != "corrected":
        event, old, new = "DELETE", engram.text, None
    if not event:
        return None
    return {
        "id": f"{entry.op}:{entry.engram}",
        "memory_id": memory_id,
        "old_memory": old,
        "new_memory": new,
        "event": event,
        "created_at": engram.recorded.isoformat(),
        "updated_at": entry.recorded.isoformat(),
        "is_deleted": event == "DELETE",
        "actor_id": engram.attrs.get("actor_id"),
        "role": engram.attrs.get("role"),
    }
