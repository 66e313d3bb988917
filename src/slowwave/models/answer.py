"""What came of a prompt: a value that fits the schema, or the reason why there is none."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NoReturn

from slowwave.models.chat import Reply, Token, encodable
from slowwave.records import Call

_THOUGHTS = re.compile(r"\A\s*<think>.*?</think>", re.DOTALL)
_FENCED = re.compile(r"```[a-zA-Z]*\s*\n(.*?)(?:```|\Z)", re.DOTALL)
_ITEMS = re.compile(r'\s*\{\s*"items"\s*:\s*\[\s*')
_APART = re.compile(r"\s*,\s*")


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a prompt.

    value    the parsed reply, true to the schema; the text itself where there is no schema; None if there is none
    problem  why there is no value: "no reply: ...", "refused: ...", "not JSON: ...", "does not fit the schema: ..."
    text     the reply's words as they came
    tokens   with their probabilities, where the prompt asked for them and the model offers them
    """

    value: Any
    problem: str
    text: str
    call: Call
    tokens: tuple[Token, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether there is a value."""
        return not self.problem


def read(reply: Reply, schema: Mapping[str, Any] | None) -> tuple[Any, str]:
    """(value, problem) of a reply: parsed and checked where there is a schema, its words where there is none.

    Of a list that was cut off at max_tokens, as small models' lists often are, the items before the cut are taken.
    """
    text = _THOUGHTS.sub("", encodable(reply.text)).strip()
    if reply.finish == "refused":
        return None, f"refused: {text[:200] or 'the content filter took the reply'}"
    if not text:
        return None, "the reply is empty"
    if schema is None:
        return text, ""
    try:
        value = parsed(text)
    except (ValueError, RecursionError) as error:
        if reply.finish == "length" and (whole := _whole_items(text, schema)):
            return {"items": whole}, ""
        cut = " (cut off at max_tokens)" if reply.finish == "length" else ""
        return None, f"not JSON{cut}: {error}"
    from fastjsonschema import JsonSchemaException

    try:
        _checker(json.dumps(schema, sort_keys=True))(value)
    except JsonSchemaException as error:
        return None, f"does not fit the schema: {error.message}"
    return value, ""


def _whole_items(text: str, schema: Mapping[str, Any]) -> list[Any]:
    """The items that fit, before the place where {"items": [...]} was cut off; [] for any other schema."""
    fields = schema.get("properties", {})
    item = fields["items"].get("items") if list(fields) == ["items"] else None
    start = _ITEMS.match(text)
    if item is None or start is None:
        return []
    out: list[Any] = []
    place, decoder = start.end(), json.JSONDecoder(parse_constant=_no_number)
    check = _checker(json.dumps(item, sort_keys=True))
    while True:
        try:
            value, place = decoder.raw_decode(text, place)
            out.append(json.loads(json.dumps(check(value), ensure_ascii=False).encode("utf-8", "replace")))
        except (ValueError, RecursionError):  # the cut; JsonSchemaException is a ValueError
            return out
        apart = _APART.match(text, place)
        if apart is None:
            return out
        place = apart.end()


def parsed(text: str) -> Any:
    """The JSON value in a reply, also where it stands in a Markdown fence or between other words; else ValueError.

    Numbers that JSON does not know (NaN, Infinity) are errors; half a surrogate pair becomes a question mark, since no
    store could keep it.
    """
    try:
        value = json.loads(text, parse_constant=_no_number)
    except ValueError:
        inner = unfenced(text)
        if inner == text:
            raise
        value = json.loads(inner, parse_constant=_no_number)
    return json.loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))


def unfenced(text: str) -> str:
    """What stands in a reply's Markdown fence, else from its first bracket to its last."""
    if fenced := _FENCED.search(text):
        return fenced.group(1).strip()
    starts = [place for mark in "{[" if (place := text.find(mark)) >= 0]
    end = max(text.rfind("}"), text.rfind("]"))
    return text[min(starts) : end + 1] if starts and end > min(starts) else text


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


@lru_cache(maxsize=256)
def _checker(schema: str) -> Callable[[Any], Any]:
    import fastjsonschema

    check: Callable[[Any], Any] = fastjsonschema.compile(json.loads(schema), use_default=False)
    return check
