"""The forms in which an endpoint can be told of a JSON schema, from the strictest to plain words."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

Form = Literal["schema", "lean", "object", "words"]

# schema  response_format json_schema, as it is
# lean    the same without limits on the length of texts, which some turn down (OpenAI's strict mode among them)
# object  response_format json_object, and the schema in words
# words   the schema in words alone
FORMS: tuple[Form, ...] = ("schema", "lean", "object", "words")
LIMITS = ("minLength", "maxLength")


def first_form(at_openai: bool) -> Form:
    """Where to begin."""
    return "lean" if at_openai else "schema"


def response_format(form: Form, schema: Mapping[str, Any]) -> dict[str, Any]:
    """The request's parameter for a form; nothing for plain words."""
    if form == "words":
        return {}
    if form == "object":
        return {"response_format": {"type": "json_object"}}
    name = re.sub(r"[^a-zA-Z0-9_-]", "_", str(schema.get("title") or "reply"))[:64]
    sent = _without_limits(schema) if form == "lean" else schema
    return {"response_format": {"type": "json_schema", "json_schema": {"name": name, "schema": sent, "strict": True}}}


def in_words(messages: Sequence[Mapping[str, str]], schema: Mapping[str, Any]) -> list[dict[str, str]]:
    """The messages, with the schema told at the end of the system message."""
    told = (
        "Reply with one JSON value that fits this JSON schema, and with nothing else: no Markdown, no explanation.\n"
        + json.dumps(schema, ensure_ascii=False)
    )
    out = [dict(message) for message in messages]
    if out and out[0]["role"] == "system":
        out[0]["content"] += f"\n\n{told}"
        return out
    return [{"role": "system", "content": told}, *out]


def _without_limits(schema: Any) -> Any:
    """The schema without limits on the length of texts; a property may well be named like one."""
    if isinstance(schema, list):
        return [_without_limits(item) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    return {
        key: {name: _without_limits(part) for name, part in value.items()} if key == "properties" else
        _without_limits(value)
        for key, value in schema.items()
        if key not in LIMITS
    }  # fmt: skip
