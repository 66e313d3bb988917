"""Requests as pydantic models, read off the signatures of Memory's verbs: a field is an argument."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model

from slowwave.memory import Memory
from slowwave.records import SCOPE_FIELDS
from slowwave.signatures import WORDS, told

Moment = str | Annotated[float, Field(allow_inf_nan=False)]
Message = dict[str, Any]
KNOWN: dict[str, Any] = {
    "str": str,
    "int": int,
    "float": Annotated[float, Field(allow_inf_nan=False)],
    "bool": bool,
    "Moment": Moment,
    "Mapping[str, Any]": dict[str, Any],
    "Sequence[str]": list[str],
    "str | Iterable[str]": str | list[str],
    "Any": str | Message | list[str | Message],  # the content of `add`
}
SKIP = (  # what no request may say
    "self", "progress", "count_tokens", "form", "model", "joint", "scope", "search", "path", "into", "adapters",
)  # fmt: skip
MORE_WORDS = {
    "content": 'a text, a message {"role": "user", "content": "..."}, or a list of these',
    "text": "the new text",
    "source": "id of a record",
    "target": "id of a record",
    "relation": "causes, supports, contradicts, next, similar, about, ...",
    "query": "a question, or some words",
    "question": "a question",
    "id": "id of a record",
    "op": "id of an operation",
    "explain": "say how each was found",
    "user_id": "a scope field; name at least one, or leave them out where the key reaches one scope alone",
    "agent_id": "a scope field",
    "run_id": "a scope field",
    "app_id": "a scope field",
}


class Request(BaseModel):
    """A field that there is not is an error: a misspelt scope must not widen a search."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    def arguments(self) -> dict[str, Any]:
        """What was given, without the scope."""
        given = self.model_dump(exclude_unset=True)
        return {name: value for name, value in given.items() if name not in SCOPE_FIELDS}

    def scope(self) -> dict[str, Any]:
        """The scope fields that were given."""
        return {name: getattr(self, name, None) for name in SCOPE_FIELDS}


def request_of(verb: str, *also: str, skip: Sequence[str] = (), scoped: bool = True) -> type[Request]:
    """The model of a verb's arguments.

    also    further verbs whose arguments it passes on
    skip    arguments that come from elsewhere, such as the path of the URL
    scoped  whether it takes the scope's fields
    """
    fields: dict[str, Any] = {}
    for name in (verb, *also):
        function = getattr(Memory, name)
        words = {**WORDS, **MORE_WORDS, **told(function)}
        for parameter in inspect.signature(function).parameters.values():
            if parameter.name not in (*SKIP, *skip, *fields):
                fields[parameter.name] = _field(parameter, words.get(parameter.name, ""))
    if scoped:
        for name in SCOPE_FIELDS:
            fields[name] = (Annotated[str | None, Field(max_length=256, description=MORE_WORDS[name])], None)
    title = "".join(part.title() for part in verb.strip("_").split("_"))
    model: type[Request] = create_model(f"{title}Request", __base__=Request, **fields)
    return model


def query_parameters(function: Callable[..., Any], skip: Sequence[str] = ()) -> list[inspect.Parameter]:
    """A verb's keyword arguments as those of a GET: numbers, flags, times and lists of words; filters as JSON text."""
    from fastapi import Query

    out = []
    words = {**WORDS, **MORE_WORDS, **told(function)}
    names = [*inspect.signature(function).parameters.values(), *map(_scope_parameter, SCOPE_FIELDS)]
    for parameter in names:
        if parameter.name in (*SKIP, *skip):
            continue
        kind, default = _field(parameter, "")
        annotation = str(parameter.annotation)
        text = words.get(parameter.name, "") or None
        if "Mapping" in annotation:
            kind, text = str | None, f"{text or ''} (as JSON)"
        elif "Moment" in annotation:
            kind = str | None
        elif "Sequence" in annotation:
            kind = list[str] | None
        out.append(
            inspect.Parameter(
                parameter.name, inspect.Parameter.KEYWORD_ONLY, annotation=Annotated[kind, Query(description=text)],
                default=default,
            )
        )  # fmt: skip
    return out


def _scope_parameter(name: str) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation="str | None", default=None)


def _field(parameter: inspect.Parameter, text: str) -> tuple[Any, Any]:
    annotation = str(parameter.annotation)
    kind, optional = annotation.removesuffix(" | None"), annotation.endswith(" | None")
    if match := re.fullmatch(r"Literal\[(.*)\]", kind):
        base: Any = Literal[ast.literal_eval(f"({match[1]},)")]
    else:
        base = KNOWN[kind]
    if optional or kind == "Moment":
        base = base | None
    if parameter.name == "trusted":
        return Annotated[bool, Field(description=text or None)], False  # what comes from outside is looked at
    default = ... if parameter.default is inspect.Parameter.empty else parameter.default
    return Annotated[base, Field(description=text or None)], default
