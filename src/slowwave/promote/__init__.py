"""From one form of memory to another: `kv` turns text into keys and values that a model attends to (text -> state),
`weights` into a few trained parameters (text -> weights).

The only part where text meets torch. `files` and `weights.snapshots` know what is on disk without it, so that an
erasure needs no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from slowwave.promote.kv import Attended, KeyValues
    from slowwave.promote.weights import Adapter, Snapshot, Snapshots, load

_PLACES = {
    "Attended": "kv",
    "KeyValues": "kv",
    **dict.fromkeys(("Adapter", "Snapshot", "Snapshots", "load"), "weights"),
}
__all__ = ["Adapter", "Attended", "KeyValues", "Snapshot", "Snapshots", "load"]


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        return getattr(import_module(f"slowwave.promote.{_PLACES[name]}"), name)
    raise AttributeError(f"slowwave.promote has no {name!r}; it has {', '.join(__all__)}")
