"""Seconds spent on learning, those of looking and saving aside."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Clock:
    """Counts the wall's and the processors' seconds while it runs.

    >>> clock = Clock()
    >>> with clock.running(), clock.paused():
    ...     time.sleep(0.01)
    >>> clock.wall < 0.01
    True
    """

    def __init__(self, wall: float = 0.0, cpu: float = 0.0) -> None:
        self.wall, self.cpu = wall, cpu
        self._since: tuple[float, float] | None = None

    @contextmanager
    def running(self) -> Iterator[None]:
        """It counts within."""
        self._begin()
        try:
            yield
        finally:
            self._end()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """It does not count within, and stands at what was counted."""
        self._end()
        try:
            yield
        finally:
            self._begin()

    def _begin(self) -> None:
        self._since = time.perf_counter(), time.process_time()

    def _end(self) -> None:
        if self._since is not None:
            self.wall += time.perf_counter() - self._since[0]
            self.cpu += time.process_time() - self._since[1]
        self._since = None
