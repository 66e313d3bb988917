"""The small part of YAML that stands at the head of Markdown notes, read without a YAML library and written so.

Understood: `key: value`, quoted texts, [a, b], lists of `- item` lines, true/false, numbers, comments, and JSON values.
Anything else stays the text that it is. Nothing is ever executed or resolved, so a note from anywhere is safe to read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

FENCE = re.compile(r"\A---[ \t]*\n(.*?)(?<=\n)(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)
KEY = re.compile(r"^(?P<key>[^\s:#\"'\[{-][^:\n]*?|\"[^\"]+\")\s*:(?:[ \t]+(?P<value>.*))?$")
NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?")


def split_note(text: str) -> tuple[dict[str, Any], str]:
    """The front matter of a note and the rest of it; an empty dictionary if there is none."""
    match = FENCE.match(text)
    if match is None:
        return {}, text
    return parse(match[1]), text[match.end() :]


def parse(source: str) -> dict[str, Any]:
    """The keys and values of a front matter block."""
    found: dict[str, Any] = {}
    key: str | None = None
    for line in source.split("\n"):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        if key is not None and stripped.startswith("- "):
            if not isinstance(found[key], list):
                found[key] = [] if found[key] in (None, "") else [found[key]]
            found[key].append(_value(stripped[2:]))
        elif key is not None and stripped != "-" and line[0] in " \t" and not isinstance(found[key], list):
            found[key] = f"{found[key] or ''}\n{stripped}".strip("|>-+ \n")  # a block text, or a map kept as its text
        elif match := KEY.match(line):
            key = match["key"].strip('"')
            found[key] = _value(match["value"] or "")
    return found


def _value(source: str) -> Any:
    text = source.strip()
    if text[:1] in ("{", '"', "["):
        try:
            return json.loads(text)
        except ValueError:
            pass
    if text[:1] in ("'", '"', "["):
        text = _without_comment(text)
    elif " #" in text:
        text = text[: text.index(" #")].rstrip()
    if len(text) > 1 and text[0] == text[-1] == '"':
        return text[1:-1]
    if len(text) > 1 and text[0] == text[-1] == "'":
        return text[1:-1].replace("''", "'")
    if text[:2] == "[[":  # an unquoted wikilink
        return text
    if text[:1] == "[" and text[-1:] == "]":
        return [_value(item) for item in _items(text[1:-1]) if item.strip()]
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if text.lower() in ("", "null", "~"):
        return None
    if NUMBER.fullmatch(text):
        return float(text) if "." in text else int(text)
    return text


def _without_comment(text: str) -> str:
    end = {"[": "]"}.get(text[0], text[0])
    last = text.rfind(end)
    return text[: last + 1] if last > 0 and text[last + 1 :].lstrip()[:1] in ("", "#") else text


def _items(text: str) -> list[str]:
    """Splits at commas that stand outside quotes and brackets."""
    out, depth, quote, start = [], 0, "", 0
    for index, character in enumerate(text):
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        elif character in "[{":
            depth += 1
        elif character in "]}":
            depth -= 1
        elif character == "," and not depth:
            out.append(text[start:index])
            start = index + 1
    return [*out, text[start:]]


def write(values: Mapping[str, Any]) -> str:
    """A front matter block; every value as JSON, which YAML understands too."""
    lines = [f"{key}: {json.dumps(value, ensure_ascii=False, default=str)}" for key, value in values.items()]
    return "\n".join(["---", *lines, "---", ""])
