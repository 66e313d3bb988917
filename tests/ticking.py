"""A clock for tests: a present moment that moves when it is looked at, or as far as it is told."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta


@dataclass
class Clock:
    """One second later at each look, from the beginning of 2024."""

    now: datetime = datetime(2024, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now

    def pass_(self, **units: float) -> None:
        self.now += timedelta(**units)
