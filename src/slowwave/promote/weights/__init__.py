"""Text -> weights: a night picks what is worth keeping, teaches it to a language model, and counts if it did no harm.

`night` is the whole way in one function; before it come `selection` and `lessons`, in it `training` and `gate`, after
it `snapshots`. `adapter` and `snapshots` need no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from slowwave.promote.weights.adapter import Adapter
    from slowwave.promote.weights.night import load
    from slowwave.promote.weights.snapshots import Snapshot, Snapshots

_PLACES = {"Adapter": "adapter", "Snapshot": "snapshots", "Snapshots": "snapshots", "load": "night"}
__all__ = ["Adapter", "Snapshot", "Snapshots", "load"]


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        return getattr(import_module(f"slowwave.promote.weights.{_PLACES[name]}"), name)
    raise AttributeError(f"slowwave.promote.weights has no {name!r}; it has {', '.join(__all__)}")
