"""ChatGPT's data export: the zip, its folder, or conversations.json (since 2026 also conversations-000.json and on).

Each conversation is a tree: `mapping` holds nodes with `message`, `parent` and `children`, and `current_node` is the
leaf of the branch that was last seen. That branch is read in order; answers that were regenerated and questions that
were edited lie on other branches and come out as Junk. Times are seconds since 1970 as floats, shown in the zone given.
What the owner wrote about himself for all chats (user_editable_context) becomes a note, once. The layout was read from
public importers and exports of 2023 to 2026.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Any

from slowwave.formats.base import Junk, Reader, clean, clean_values, digest, unreadable
from slowwave.formats.bundle import Skipped, parts
from slowwave.formats.decode import json_records
from slowwave.formats.peek import has_key
from slowwave.formats.times import instant
from slowwave.records import Item

FILE = re.compile(r"(?:^|[/!])conversations(?:-\d+)?\.json$", re.IGNORECASE)
NOT_SPOKEN = {
    "thoughts": "the model's reasoning",
    "reasoning_recap": "the model's reasoning",
    "execution_output": "output of a tool",
    "tether_quote": "output of a tool",
    "tether_browsing_display": "output of a tool",
    "sonic_webpage": "output of a tool",
    "computer_output": "output of a tool",
    "system_error": "an error message",
    "model_editable_context": "the model's own notes",
}
OWN_WORDS = (("user_profile", "about_user_message"), ("user_instructions", "about_model_message"))


@dataclass(frozen=True, slots=True)
class _Chat:
    identity: str
    title: str
    began: datetime | None
    model: str | None

    @property
    def session(self) -> str:
        """The title with the first digits of the id, as many chats are called alike."""
        return f"{self.title or 'Untitled'} [{self.identity[:8]}]"


class ChatGPT(Reader):
    """Reader of ChatGPT's data export; one conversation in memory at a time."""

    name = "chatgpt"
    what = "a ChatGPT data export (zip, folder or conversations.json)"

    def _looks(self, path: Path) -> bool:
        return has_key(path, "mapping", _wanted)

    def _read(self, path: Path, zone: tzinfo) -> Iterator[Item | Junk]:
        told: set[str] = set()  # the owner's own words, which every conversation repeats
        for part in parts(path, _wanted):
            if isinstance(part, Skipped):
                yield unreadable(part.name, "", part.reason)
                continue
            for where, value in json_records(part):
                if isinstance(value, Junk):
                    yield value
                elif isinstance(value, dict) and isinstance(value.get("mapping"), dict):
                    yield from _conversation(where, value, zone, told)
                else:
                    yield unreadable(where, value, "no conversation with a mapping")


def _wanted(name: str) -> bool:
    return bool(FILE.search(name))


def _conversation(where: str, value: dict[str, Any], zone: tzinfo, told: set[str]) -> Iterator[Item | Junk]:
    mapping: dict[str, Any] = value["mapping"]
    identity = value.get("conversation_id") or value.get("id") or digest(value.get("title"), value.get("create_time"))
    title = value.get("title")
    chat = _Chat(
        clean(str(identity)),
        clean(title.strip()) if isinstance(title, str) else "",
        instant(value.get("create_time"), zone),
        value.get("default_model_slug") if isinstance(value.get("default_model_slug"), str) else None,
    )
    branch = _branch(mapping, value.get("current_node"))
    last = chat.began
    for key in branch:
        for taken in _node(f"{where}.{key}", key, mapping[key], chat, last, zone, told):
            if isinstance(taken, Item) and taken.at is not None:
                last = taken.at
            yield taken
    followed = set(branch)
    for key, node in mapping.items():
        if key in followed:
            continue
        for taken in _node(f"{where}.{key}", key, node, chat, chat.began, zone, told):
            if isinstance(taken, Item):
                taken = Junk(f"{where}.{key}", taken.text, "a branch not followed (edited or regenerated)")
            yield taken


def _branch(mapping: Mapping[str, Any], leaf: Any) -> list[str]:
    """The keys from the root to the current node; without one, to the newest leaf. A loop of parents is cut."""
    if not isinstance(leaf, str) or leaf not in mapping:
        leaves = [key for key, node in mapping.items() if isinstance(node, dict) and not node.get("children")]
        leaf = max(leaves or mapping, key=lambda key: _created(mapping[key]), default=None)
    path: list[str] = []
    while isinstance(leaf, str) and leaf in mapping and leaf not in path:
        path.append(leaf)
        leaf = mapping[leaf].get("parent") if isinstance(mapping[leaf], dict) else None
    return path[::-1]


def _created(node: Any) -> float:
    message = node.get("message") if isinstance(node, dict) else None
    created = message.get("create_time") if isinstance(message, dict) else None
    return float(created) if isinstance(created, int | float) else 0.0


def _node(
    where: str, key: str, node: Any, chat: _Chat, last: datetime | None, zone: tzinfo, told: set[str]
) -> Iterator[Item | Junk]:
    message = node.get("message") if isinstance(node, dict) else None
    if message is None and isinstance(node, dict):
        return  # the root, which only ties the tree together
    if not isinstance(message, dict) or not isinstance(message.get("content"), dict):
        yield unreadable(where, message, "no message with content")
        return
    content, metadata = message["content"], message.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    author = message.get("author")
    role = str(author.get("role")) if isinstance(author, dict) else "unknown"
    kind = str(content.get("content_type", "text"))
    if kind == "user_editable_context":
        yield from _own_words(where, content, metadata, chat, told)
        return
    text, media = _text(content)
    text = clean(text.strip())
    reason = NOT_SPOKEN.get(kind) or {"system": "a system prompt", "tool": "output of a tool"}.get(role)
    if reason is None and message.get("recipient") not in (None, "all"):
        reason = "a call of a tool"
    if reason is None and metadata.get("is_visually_hidden_from_conversation"):
        reason = "hidden from the conversation"
    if reason is None and not text:
        reason = "no text" + (f", only {', '.join(sorted(set(media)))}" if media else "")
    if reason is not None:
        yield Junk(where, text, reason)
        return
    at = instant(message.get("create_time"), zone)
    attrs: dict[str, Any] = {"role": role, "title": chat.title, "conversation": chat.identity}
    if model := metadata.get("model_slug") or (chat.model if role == "assistant" else None):
        attrs["model"] = model
    if media:
        attrs["media"] = media
    if isinstance(files := metadata.get("attachments"), list):
        attrs["attachments"] = [str(file.get("name")) for file in files if isinstance(file, dict)]
    if at is None and last is not None:
        attrs["dated_by"] = "the message before"
    origin = f"chatgpt:{clean(str(message.get('id') or f'{chat.identity}:{key}'))}"
    yield Item(text, "episode", role, at or last, None, chat.session, origin, clean_values(attrs))


def _text(content: Mapping[str, Any]) -> tuple[str, list[str]]:
    """The words of a content object, and the kinds of its parts that have none."""
    texts, media = [], []
    found = content.get("parts")
    for part in found if isinstance(found, list) else []:
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, dict):
            if isinstance(part.get("text"), str):  # such as audio_transcription
                texts.append(part["text"])
            else:
                media.append(str(part.get("content_type", "part")))
    for name in ("text", "result", "content"):
        if not texts and isinstance(content.get(name), str):
            texts.append(content[name])
    if isinstance(thoughts := content.get("thoughts"), list):
        texts += [str(t.get("content") or t.get("summary") or "") for t in thoughts if isinstance(t, dict)]
    text = "\n".join(t for t in texts if t.strip())
    if content.get("content_type") == "code" and text:
        language = content.get("language")
        text = f"```{language if isinstance(language, str) and language != 'unknown' else ''}\n{text}\n```"
    return text, media


def _own_words(
    where: str, content: Mapping[str, Any], metadata: Mapping[str, Any], chat: _Chat, told: set[str]
) -> Iterator[Item | Junk]:
    """What the owner wrote about himself and about how to be answered; the plain text is kept in the metadata."""
    plain = metadata.get("user_context_message_data")
    for field, plain_field in OWN_WORDS:
        text = plain.get(plain_field) if isinstance(plain, dict) else None
        if not isinstance(text, str):
            text = content.get(field)
            if isinstance(text, str) and (fenced := re.search(r"```(.*)```", text, re.DOTALL)):
                text = fenced[1]  # the rest is what the product wraps around it
        if not isinstance(text, str) or not text.strip():
            continue
        text = clean(text.strip())
        origin = f"chatgpt:{field}:{digest(text)}"
        if origin in told:
            yield Junk(where, text, "custom instructions again")
            continue
        told.add(origin)
        yield Item(text, "note", "user", chat.began, None, None, origin, {"role": "user", "about": field})
