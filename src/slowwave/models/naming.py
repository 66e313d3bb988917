"""Language models by their names, as users write them on a command line or into the environment."""

from __future__ import annotations

import os
import re
from pathlib import Path

from slowwave.errors import InputError
from slowwave.models.chat import ChatModel

VARIABLE = "SLOWWAVE_LLM_MODEL"
_NEXT = re.compile(r",\s*(?=[a-z][a-z0-9_-]*\s*=)")


def models_named(spec: str | Path) -> dict[str, ChatModel]:
    """Operation -> the model that a spec (see `slowwave.models.LLM_HELP`) or the environment names for it; "" -> main.

    Two operations with the same spec share one model.
    """
    specs = _parts(spec)
    if specs[""] == "env":
        given = os.environ.get(VARIABLE, "").strip()
        if not given:
            raise InputError(f'llm is "env", and {VARIABLE} is not set; set it to {_help()}')
        named = _parts(given)
        specs = {**{operation: _spelled(each) for operation, each in named.items()}, **specs, "": _spelled(named[""])}
    for variable, value in sorted(os.environ.items()):
        operation = variable.removeprefix(f"{VARIABLE}_").lower()
        if variable.startswith(f"{VARIABLE}_") and operation and value.strip():
            specs.setdefault(operation, _spelled(value.strip()))
    made = {each: _model(each) for each in dict.fromkeys(specs.values())}
    return {operation: made[each] for operation, each in specs.items()}


def _parts(spec: str | Path) -> dict[str, str]:
    """ "main,facts=other" -> {"": "main", "facts": "other"}; a path is one part, whatever is in it."""
    if isinstance(spec, Path):
        return {"": f"gguf:{spec}"}
    main, *others = _NEXT.split(spec.strip())
    if not main or re.match(r"[a-z][a-z0-9_-]*\s*=", main):
        raise InputError(f"llm is {spec!r}; name the main model first, then others as OPERATION=MODEL")
    out = {"": main.strip()}
    for part in others:
        operation, _, model = part.partition("=")
        if not model.strip():
            raise InputError(f"llm names no model for {operation.strip()!r}; give {_help()}")
        out[operation.strip()] = model.strip()
    return out


def _spelled(name: str) -> str:
    """What the environment names; a plain name there is that of an endpoint's model."""
    plain = not name.lower().endswith(".gguf") and name.partition(":")[0] not in ("openai", "gguf", "fake")
    return f"openai:{name}" if plain else name


def _model(name: str) -> ChatModel:
    kind, _, rest = name.partition(":")
    if kind == "openai" and rest:
        from slowwave.models.endpoint import EndpointModel

        return EndpointModel(rest)
    path = rest if kind == "gguf" else name if name.lower().endswith(".gguf") else ""
    if path:
        from slowwave.models.gguf import GgufModel

        return GgufModel(path)
    if kind == "fake":
        from slowwave.models.fakes import TROUBLEMAKERS, FakeChat

        if not rest:
            return FakeChat()
        if rest in TROUBLEMAKERS:
            return TROUBLEMAKERS[rest]()
        raise InputError(f"llm is {name!r}; a fake can be one of {', '.join(TROUBLEMAKERS)}")
    raise InputError(f"llm is {name!r}; give {_help()}")


def _help() -> str:
    from slowwave.models import LLM_HELP

    return LLM_HELP
