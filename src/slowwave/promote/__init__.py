"""From one form of memory to another: `kv` turns text into keys and values that a model attends to (text -> state).

The only part where text meets torch. `files` knows what is on disk without it, so that an erasure needs no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from slowwave.promote.kv import Attended, KeyValues

__all__ = ["Attended", "KeyValues"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from slowwave.promote import kv

        return getattr(kv, name)
    raise AttributeError(f"slowwave.promote has no {name!r}; it has {', '.join(__all__)}")
