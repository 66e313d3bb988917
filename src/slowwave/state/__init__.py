"""State-form memory systems, one file each. To add one: its file, and its line in PLACES. Needs the extra `state`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from slowwave.errors import ExtraMissingError, NotFoundError

if TYPE_CHECKING:
    from slowwave.state.attached import Attached
    from slowwave.state.base import StateModule

PLACES: dict[str, str] = {
    "titans": "titans:Titans",
    "mom": "mom:MoM",
    "rmc": "rmc:RMC",
    "hcam": "hcam:HCAM",
    "memo": "memo:MEMO",
    "memory-prompt": "memory_prompt:MemoryPrompt",
    "em-llm": "em_llm:EMLLM",
    "memory-llm": "memory_llm:MemoryLLM",
    "m-plus": "m_plus:MPlus",
    "memory-3": "memory_3:Memory3",
}


class _Register(Mapping[str, "type[StateModule[Any]]"]):
    """Name -> class; a file is imported when it is asked for, so that this package loads no torch."""

    def __getitem__(self, name: str) -> type[StateModule[Any]]:
        if name not in PLACES:
            raise NotFoundError(f"no state system {name!r}; there are {', '.join(PLACES)}")
        module, _, attribute = PLACES[name].partition(":")
        try:
            found: type[StateModule[Any]] = getattr(import_module(f"slowwave.state.{module}"), attribute)
        except ModuleNotFoundError as error:
            if error.name == "torch":
                raise ExtraMissingError(f"the state system {name!r}", "state") from error
            raise
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(PLACES)

    def __len__(self) -> int:
        return len(PLACES)


SYSTEMS: Mapping[str, type[StateModule[Any]]] = _Register()


def attach(model: Any, system: Any = "em-llm", tokenizer: Any = None, **settings: Any) -> Attached:
    """A pretrained model with a memory beside it; see `slowwave.state.attached`, imported when called."""
    try:
        module = import_module("slowwave.state.attached")
    except ModuleNotFoundError as error:
        if error.name == "torch":
            raise ExtraMissingError("a memory around a pretrained model", "state") from error
        raise
    found: Attached = module.attach(model, system, tokenizer, **settings)
    return found


__all__ = ["SYSTEMS", "attach"]
