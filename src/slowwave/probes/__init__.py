"""Instruments on a model's memory, one file each. To add one: its file, and its line in PLACES."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from slowwave.probes.base import Probe

PLACES: dict[str, str] = {
    "acquisition": "acquisition:Acquisition",
    "cmr-heads": "cmr_heads:CmrHeads",
    "compare": "compare:Compare",
    "function-tokens": "function_tokens:FunctionTokens",
    "geometry": "geometry:Geometry",
    "holds": "holds:Holds",
    "paragraph-localiser": "paragraph_localiser:ParagraphLocaliser",
    "recognition": "recognition:Recognition",
}


class _Register(Mapping[str, "type[Probe]"]):
    """Name -> class; a file is imported when it is asked for, so that this package loads no torch."""

    def __getitem__(self, name: str) -> type[Probe]:
        module, _, attribute = PLACES[name].partition(":")
        found: type[Probe] = getattr(import_module(f"slowwave.probes.{module}"), attribute)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(PLACES)

    def __len__(self) -> int:
        return len(PLACES)


SYSTEMS: Mapping[str, type[Probe]] = _Register()

__all__ = ["SYSTEMS"]
