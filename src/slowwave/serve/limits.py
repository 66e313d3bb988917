"""Quotas and rates of a key: what it has used today, and how fast."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from datetime import datetime

from slowwave.errors import InputError, QuotaError
from slowwave.store.base import Key, Store, Usage

LIMITS = {
    "requests_per_minute": "requests in any minute, evenly: a bucket of that many, refilled all the time",
    "requests_per_day": "requests in a day (UTC)",
    "records_per_day": "records added in a day (UTC)",
}
FLUSH_SECONDS = 5.0


def limits_of(given: Mapping[str, int]) -> dict[str, int]:
    """Quotas by name, checked."""
    for name, value in given.items():
        if name not in LIMITS:
            raise InputError(f"there is no limit {name!r:.60}; there are {', '.join(LIMITS)}")
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**53:
            raise InputError(f"the limit {name} is {value!r:.60}; it must be a whole number from 0")
    return dict(given)


class Limits:
    """Counts what keys use: in memory, written to the store every few seconds and at the end.

    Several processes on one store each let through the rate by itself; what is used in a day is shared, with a delay of
    some seconds. What a kill takes with it are counts of the last few seconds, never records.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self._lock = threading.Lock()
        self._buckets: dict[str, tuple[float, float]] = {}  # key -> (tokens left, when)
        self._new: dict[tuple[str, str, str], int] = {}
        self._today: dict[tuple[str, str], int] = {}
        self._day = ""
        self._flushed = time.monotonic()

    def admit(self, key: Key | None, now: datetime, records: int = 0) -> None:
        """Let one request through, or `records` more records; QuotaError says which limit stands against it, and
        after how many seconds it helps to try again (`retry_seconds`)."""
        name, limits = (key.id, key.limits) if key else ("local", {})
        with self._lock:
            self._turn(now)
            if records:
                self._check(name, limits, "records", records, now)
            else:
                self._bucket(name, limits)
                self._check(name, limits, "requests", 1, now)
            self._count(name, "records" if records else "requests", records or 1)

    def count(self, key: str, what: str, amount: int = 1) -> None:
        """Note a use that no limit stands against, such as tokens."""
        with self._lock:
            self._count(key, what, amount)

    def used(self, since: str) -> list[Usage]:
        """What keys have used from this day on, all that is counted so far."""
        self.flush(force=True)
        return self.store.usage(since)

    def flush(self, force: bool = False) -> None:
        """Write the counts, if the last time was some seconds ago; not in the event loop."""
        with self._lock:
            if not self._new or (not force and time.monotonic() - self._flushed < FLUSH_SECONDS):
                return
            used = [Usage(*key, amount) for key, amount in self._new.items()]
            self._new.clear()
            self._flushed = time.monotonic()
        if not self.store.readonly:
            self.store.note_usage(used)
            with self._lock:
                self._read()

    def _count(self, key: str, what: str, amount: int) -> None:
        at = (key, self._day, what)
        self._new[at] = self._new.get(at, 0) + amount
        self._today[key, what] = self._today.get((key, what), 0) + amount

    def _turn(self, now: datetime) -> None:
        day = now.strftime("%Y-%m-%d")
        if day != self._day:
            self._day = day
            self._read()

    def _read(self) -> None:
        self._today = {(u.key, u.what): u.amount for u in self.store.usage(self._day) if u.day == self._day}
        for (key, day, what), amount in self._new.items():
            if day == self._day:
                self._today[key, what] = self._today.get((key, what), 0) + amount

    def _check(self, key: str, limits: Mapping[str, int], what: str, amount: int, now: datetime) -> None:
        most = limits.get(f"{what}_per_day")
        if most is not None and self._today.get((key, what), 0) + amount > most:
            left = 86_400 - (now.hour * 3600 + now.minute * 60 + now.second)
            raise QuotaError(f"the key {key} may use {most} {what} a day (UTC); that many were used", left)

    def _bucket(self, key: str, limits: Mapping[str, int]) -> None:
        rate = limits.get("requests_per_minute")
        if rate is None:
            return
        moment = time.monotonic()
        tokens, then = self._buckets.get(key, (float(rate), moment))
        tokens = min(float(rate), tokens + (moment - then) * rate / 60)
        if tokens < 1:
            self._buckets[key] = (tokens, moment)
            wait = 60.0 if not rate else (1 - tokens) * 60 / rate
            raise QuotaError(f"the key {key} may make {rate} requests a minute; wait {wait:.1f} s", wait)
        self._buckets[key] = (tokens - 1, moment)
