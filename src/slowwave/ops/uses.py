"""Recalls, noted in memory and written now and then: a search need not wait for the disk."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime

from slowwave.errors import StoreError
from slowwave.ops.fading import half_life_after_use
from slowwave.ops.intake import later
from slowwave.records import Hit
from slowwave.store.base import Store
from slowwave.store.forks import guard

KEPT = 512  # recalls noted before they are written


class Uses:
    """What was recalled since the last `flush`: when, and the half-life and due moment that follow from it.

    A use is a hint, not a record: one that is lost with the process, or that cannot be written, costs nothing but a
    little of the forgetting curve.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self._noted: dict[str, tuple[datetime, float, datetime | None]] = {}
        self._lock = guard(threading.Lock())

    def note(self, hits: Iterable[Hit], now: datetime) -> None:
        """Note that these were recalled now; writes when many have come together."""
        with self._lock:
            for hit in hits:
                engram = hit.engram
                half_life = half_life_after_use(engram.half_life_days, engram.used or engram.recorded, now)
                self._noted[engram.id] = (now, half_life, later(now, half_life))
            full = len(self._noted) >= KEPT
        if full:
            self.flush()

    def flush(self) -> None:
        """Write what was noted; what the store refuses is let go."""
        with self._lock:
            noted, self._noted = self._noted, {}
        if noted and not self.store.readonly:
            with suppress(StoreError):
                self.store.touch(noted)

    def clear(self) -> None:
        """Forget what was noted."""
        with self._lock:
            self._noted = {}
