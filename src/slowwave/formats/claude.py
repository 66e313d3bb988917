"""Claude's data export: the zip, its folder, or one of its files.

    conversations.json                chats: uuid, name, chat_messages (uuid, sender, text, content blocks, created_at)
    projects.json, projects/*.json    projects: uuid, name, description, docs (filename, content), prompt_template
    memories.json, memories/*.json    what Claude remembers: conversations_memory, project_memories, memory_files
    design_chats/*.json               chats with role and content.contentBlocks

An export may come as several zips; put them in one folder. Messages name their parent since 2025: the branch that ends
in the newest message is read, the others come out as Junk. Blocks other than text (thinking, tool use and results) are
not kept. The layout was read from public importers and schemas of 2024 to 2026; users.json and the like are not opened.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Any

from slowwave.formats.base import Junk, Reader, clean, clean_values, digest, unreadable
from slowwave.formats.bundle import Skipped, parts
from slowwave.formats.decode import json_records
from slowwave.formats.peek import has_key
from slowwave.formats.split import pieces
from slowwave.formats.times import instant
from slowwave.records import Item

FILE = re.compile(
    r"(?:^|[/!])(?:(?:conversations(?:-\d+)?|projects|memories)\.json|(?:projects|memories|design_chats)/[^/]+\.json)$",
    re.IGNORECASE,
)
KEYS = ("chat_messages", "conversations_memory", "project_memories", "memory_files", "prompt_template")


class Claude(Reader):
    """Reader of Claude's data export; one conversation in memory at a time."""

    name = "claude"
    what = "a Claude data export (zip, folder, conversations.json, projects.json or memories.json)"

    def _looks(self, path: Path) -> bool:
        return any(has_key(path, key, _wanted) for key in KEYS)

    def _read(self, path: Path, zone: tzinfo) -> Iterator[Item | Junk]:
        for part in parts(path, _wanted):
            if isinstance(part, Skipped):
                yield unreadable(part.name, "", part.reason)
                continue
            for where, value in json_records(part):
                if isinstance(value, Junk):
                    yield value
                elif not isinstance(value, dict):
                    yield unreadable(where, value, "no object")
                elif isinstance(value.get("chat_messages"), list):
                    yield from _chat(where, value, zone)
                elif isinstance(value.get("messages"), list) and "uuid" in value:
                    yield from _chat(where, _as_chat(value), zone)
                elif value.keys() & {"conversations_memory", "project_memories", "memory_files"}:
                    yield from _memories(where, value, zone)
                elif "docs" in value or "prompt_template" in value:
                    yield from _project(where, value, zone)
                else:
                    yield unreadable(where, value, "no chat, project or memory")


def _wanted(name: str) -> bool:
    return bool(FILE.search(name))


def _chat(where: str, chat: Mapping[str, Any], zone: tzinfo) -> Iterator[Item | Junk]:
    identity = clean(str(chat.get("uuid") or digest(chat.get("name"), chat.get("created_at"))))
    title = clean(str(chat.get("name") or "").strip())
    session = f"{title or 'Untitled'} [{identity[:8]}]"
    began = instant(chat.get("created_at"), zone)
    attrs: dict[str, Any] = {"title": title, "conversation": identity}
    project = chat.get("project")
    if isinstance(project, dict) and project.get("name"):
        attrs["project"] = project["name"]
    messages = chat["chat_messages"]
    followed = _followed(messages)
    last = began
    for index, message in enumerate(messages):
        place = f"{where}.chat_messages[{index}]"
        if not isinstance(message, dict) or not isinstance(message.get("sender"), str):
            yield unreadable(place, message, "no message with a sender")
            continue
        sender = message["sender"]
        text, others = _text(message)
        at = instant(message.get("created_at"), zone)
        origin = f"claude:{clean(str(message.get('uuid') or f'{identity}:{index}'))}"
        if followed is not None and message.get("uuid") not in followed:
            yield Junk(place, text, "a branch not followed (edited or regenerated)")
            continue
        own = attrs | {"role": "user" if sender == "human" else sender}
        if at is None and last is not None:
            own["dated_by"] = "the message before"
        at = last = at or last
        if files := _names(message):
            own["attachments"] = files
        if text:
            yield Item(text, "episode", sender, at, None, session, origin, clean_values(own))
        else:
            yield Junk(place, "", f"no text, only {', '.join(others)}" if others else "no text")
        yield from _attached(message, sender, at, session, origin, bool(text))


def _text(message: Mapping[str, Any]) -> tuple[str, list[str]]:
    """The text of the text blocks, else the flat field, which shows placeholders for tools; and other block types."""
    texts, others = [], set()
    blocks = message.get("content")
    for block in blocks if isinstance(blocks, list) else []:
        if isinstance(block, dict):
            if block.get("type") == "text" and isinstance(block.get("text"), str):
                texts.append(block["text"])
            elif block.get("type") != "text":
                others.add(str(block.get("type")))
    text = "\n".join(t for t in texts if t.strip())
    if not text and not others and isinstance(message.get("text"), str):
        text = message["text"]
    return clean(text.strip()), sorted(others)


def _followed(messages: list[Any]) -> set[str] | None:
    """The ids on the branch that ends in the newest message; None if the messages do not name their parents."""
    parents = {
        message["uuid"]: message.get("parent_message_uuid")
        for message in messages
        if isinstance(message, dict) and isinstance(message.get("uuid"), str)
    }
    if not any(parent in parents for parent in parents.values()):
        return None
    leaf: Any = max(
        (m for m in messages if isinstance(m, dict) and m.get("uuid") in parents),
        key=lambda m: str(m.get("created_at") or ""),
    )["uuid"]
    branch: set[str] = set()
    while leaf in parents and leaf not in branch:
        branch.add(leaf)
        leaf = parents[leaf]
    return branch


def _names(message: Mapping[str, Any]) -> list[str]:
    found = [*(message.get("attachments") or []), *(message.get("files") or [])]
    return [str(file["file_name"]) for file in found if isinstance(file, dict) and file.get("file_name")]


def _attached(
    message: Mapping[str, Any], sender: str, at: datetime | None, session: str, origin: str, spoken: bool
) -> Iterator[Item]:
    """The text that Claude drew from files, as notes about the message they came with."""
    for index, file in enumerate(message.get("attachments") or []):
        content = file.get("extracted_content") if isinstance(file, dict) else None
        for number, piece in enumerate(pieces(clean(content)) if isinstance(content, str) else []):
            attrs = {"file": clean(str(file.get("file_name") or "")), "piece": number}
            links = (("about", origin),) if spoken else ()
            yield Item(piece, "note", sender, at, None, session, f"{origin}:{index}:{number}", attrs, {}, links)


def _as_chat(value: Mapping[str, Any]) -> dict[str, Any]:
    """A design chat in the shape of a chat."""
    messages = []
    for message in value["messages"]:
        if not isinstance(message, dict) or not isinstance(content := message.get("content"), dict):
            messages.append(message)
            continue
        messages.append(
            {
                "uuid": message.get("uuid"),
                "sender": "assistant" if message.get("role") == "assistant" else "human",
                "created_at": message.get("created_at") or content.get("timestamp"),
                "content": content.get("contentBlocks") or [],
                "text": content.get("content"),
            }
        )
    return {**value, "name": value.get("title"), "chat_messages": messages}


def _project(where: str, project: Mapping[str, Any], zone: tzinfo) -> Iterator[Item | Junk]:
    name = clean(str(project.get("name") or "Untitled"))
    origin = f"claude:{clean(str(project.get('uuid') or digest(name)))}"
    at = instant(project.get("created_at"), zone)
    if str(project.get("prompt_template") or "").strip():
        yield Junk(f"{where}.prompt_template", clean(str(project["prompt_template"])), "a system prompt")
    description = clean(str(project.get("description") or "").strip())
    if description:
        yield Item(description, "note", None, at, None, name, origin, {"project": name})
    docs = project.get("docs")
    for index, doc in enumerate(docs if isinstance(docs, list) else []):
        if not isinstance(doc, dict) or not isinstance(doc.get("content"), str):
            yield unreadable(f"{where}.docs[{index}]", doc, "no document with content")
            continue
        key = f"{origin}:{clean(str(doc.get('uuid') or doc.get('filename') or index))}"
        attrs = {"project": name, "file": clean(str(doc.get("filename") or ""))}
        for number, piece in enumerate(pieces(clean(doc["content"]))):
            when = instant(doc.get("created_at"), zone) or at
            yield Item(piece, "note", None, when, None, name, f"{key}:{number}", attrs | {"piece": number})


def _memories(where: str, value: Mapping[str, Any], zone: tzinfo) -> Iterator[Item | Junk]:
    """What Claude has kept, in pieces; named by their words, so that a later export adds only what is new."""
    account = clean(str(value.get("account_uuid") or ""))
    told = [("conversations", value.get("conversations_memory"), value.get("updated_at"))]
    projects, files = value.get("project_memories"), value.get("memory_files")
    if isinstance(projects, dict):
        told += [(f"project {key}", text, value.get("updated_at")) for key, text in projects.items()]
    for file in files if isinstance(files, list) else []:
        if isinstance(file, dict):
            told.append((str(file.get("path")), file.get("content"), file.get("updated_at")))
    for source, text, updated in told:
        if not isinstance(text, str) or not text.strip():
            if text is not None:
                yield Junk(f"{where}.{source}", str(text), "an empty memory")
            continue
        for piece in pieces(clean(text), max_chars=600):
            origin = f"claude:memory:{digest(account, source, piece)}"
            yield Item(
                piece, "note", "assistant", instant(updated, zone), None, None, origin, {"memory": clean(source)}
            )
