"""Messages in OpenAI's style as JSONL: a message a line, or a conversation a line under "messages".

    {"role": "user", "content": "I moved to Porto.", "timestamp": "2024-05-08T14:03:00+01:00", "id": "m1"}
    {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}], "id": "conv-7"}

A JSON array of either is read too. `content` is a text or a list of parts; known and optional are `name`, `id`, a time
(timestamp, created_at, create_time, created, date, time) and a conversation (conversation_id, thread_id, session_id).
System, developer and tool messages are Junk.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Any

from slowwave.errors import ScopeError
from slowwave.formats.base import Junk, Origins, Reader, clean, clean_values, scope_of, unreadable
from slowwave.formats.bundle import Skipped, parts
from slowwave.formats.decode import json_records
from slowwave.formats.peek import first_records, is_json
from slowwave.formats.times import instant
from slowwave.records import SCOPE_FIELDS, Item

TIMES = ("timestamp", "created_at", "createdAt", "create_time", "created", "date", "time")
CONVERSATIONS = ("conversation_id", "conversation", "thread_id", "session_id", "chat_id")
SILENT = {
    "system": "a system prompt",
    "developer": "a system prompt",
    "tool": "output of a tool",
    "function": "output of a tool",
}
KNOWN = {"role", "content", "name", "id", "messages", "metadata", *TIMES, *CONVERSATIONS, *SCOPE_FIELDS}


class Messages(Reader):
    """Reader of message JSONL, streaming."""

    name = "messages"
    what = "OpenAI-style messages (JSONL with role and content)"

    def _looks(self, path: Path) -> bool:
        return path.is_file() and any(map(_is_message, first_records(path)))

    def _read(self, path: Path, zone: tzinfo) -> Iterator[Item | Junk]:
        for part in parts(path, is_json):
            if isinstance(part, Skipped):
                yield unreadable(part.name, "", part.reason)
                continue
            origins = Origins(self.name)
            for where, value in json_records(part):
                yield from _record(where, value, zone, origins)


def _is_message(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    if isinstance(value.get("messages"), list):
        return any(map(_is_message, value["messages"]))
    return isinstance(value.get("role"), str) and ("content" in value or "tool_calls" in value)


def _record(where: str, value: Any, zone: tzinfo, origins: Origins) -> Iterator[Item | Junk]:
    if isinstance(value, Junk):
        yield value
    elif isinstance(value, dict) and isinstance(value.get("messages"), list):
        conversation = _first(value, (*CONVERSATIONS, "id"))
        began = instant(_first(value, TIMES), zone)
        shared = {name: value[name] for name in SCOPE_FIELDS if name in value}
        for index, message in enumerate(value["messages"]):
            yield _message(f"{where}.{index}", message, zone, origins, conversation, began, shared)
    else:
        yield _message(where, value, zone, origins, None, None, {})


def _message(
    where: str,
    value: Any,
    zone: tzinfo,
    origins: Origins,
    conversation: Any,
    began: datetime | None,
    shared: Mapping[str, Any],
) -> Item | Junk:
    if not isinstance(value, dict) or not isinstance(value.get("role"), str):
        return unreadable(where, value, "no message with a role")
    role = value["role"].strip().lower()
    text, media = _content(value.get("content"))
    text = clean(text.strip())
    if role in SILENT:
        return Junk(where, text, SILENT[role])
    if not text:
        if value.get("tool_calls") or value.get("function_call"):
            return Junk(where, "", "a call of a tool")
        return Junk(where, "", "no text" + (f", only {', '.join(sorted(set(media)))}" if media else ""))
    conversation = _first(value, CONVERSATIONS) or conversation
    session = clean(str(conversation)) if conversation is not None else None
    own_time = _first(value, TIMES)
    at = instant(own_time, zone) or began
    name = value.get("name")
    speaker = clean(name) if isinstance(name, str) and name.strip() else role
    attrs = {key: v for key, v in value.items() if key not in KNOWN and key not in ("tool_calls", "function_call")}
    if isinstance(metadata := value.get("metadata"), dict):
        attrs.update(metadata)
    attrs["role"] = role
    if media:
        attrs["media"] = media
    if own_time is not None and at is began:
        attrs["unread_time"] = own_time
    identity = value.get("id")
    if isinstance(identity, str | int) and str(identity).strip():
        origin = clean(f"{origins.prefix}:{session or ''}:{identity}")
    else:
        origin = origins.name(at, session, speaker, text)
    try:
        scope = scope_of({**shared, **value})
    except ScopeError as error:
        return unreadable(where, value, f"a scope that is not well formed ({error})")
    return Item(text, "episode", speaker, at, None, session, origin, clean_values(attrs), scope)


def _content(content: Any) -> tuple[str, list[str]]:
    """The text of a content field, and the kinds of its parts that are no text."""
    if isinstance(content, str):
        return content, []
    texts, media = [], []
    for part in content if isinstance(content, list) else [content] if isinstance(content, dict) else []:
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, dict):
            inner = part.get("text", part.get("transcript", part.get("refusal")))
            if isinstance(inner, dict):  # the Assistants API wraps it as {"value": ...}
                inner = inner.get("value")
            if isinstance(inner, str):
                texts.append(inner)
            else:
                media.append(str(part.get("type", "part")))
    return "\n".join(texts), media


def _first(value: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next((value[name] for name in names if value.get(name) not in (None, "")), None)
