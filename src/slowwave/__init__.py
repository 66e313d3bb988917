"""slowwave: a memory engine for AI. Start with Memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slowwave.records import Change, Engram, Hit, Hits, Item, Link, Outcome, Receipt, Report, Scope

if TYPE_CHECKING:
    from slowwave.asynchronous import AsyncMemory
    from slowwave.memory import Memory

__version__ = "0.1.0"
__all__ = [
    "AsyncMemory",
    "Change",
    "Engram",
    "Hit",
    "Hits",
    "Item",
    "Link",
    "Memory",
    "Outcome",
    "Receipt",
    "Report",
    "Scope",
    "__version__",
]


def __getattr__(name: str) -> Any:
    """Memory is loaded at its first use: it brings NumPy and SQLite, the records alone do not."""
    if name == "Memory":
        from slowwave.memory import Memory

        return Memory
    if name == "AsyncMemory":
        from slowwave.asynchronous import AsyncMemory

        return AsyncMemory
    raise AttributeError(f"module 'slowwave' has no attribute {name!r}")
