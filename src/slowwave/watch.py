"""Sleeping in the background: when there is something new and nobody writes, or at set hours; one sleeper a scope.

`Memory.sleep_every` makes a Watch, which looks every few seconds whether a night is due (`ops/due.py`) and sleeps in a
thread of its own. Nights of others on the same records, in whatever process, are waited for (`store/holding.py`).
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from slowwave.errors import ConflictError, InputError, LeaseHeldError, ModelBusyError, StoreBusyError, StoreFullError
from slowwave.ops.due import Plan, plan_of
from slowwave.records import SCOPE_FIELDS, Report, Scope, scope_of
from slowwave.store.base import Pulse

if TYPE_CHECKING:
    from slowwave.memory import Memory

LOOK_SECONDS = 10.0  # between two looks at most
FIRST_PAUSE, LONGEST_PAUSE = 30.0, 3600.0  # seconds after a night that failed, or that got nowhere; doubling
COUNTED = 10_000  # fresh records are counted up to here
PASSING = (StoreBusyError, StoreFullError, ModelBusyError, ConflictError)  # what may be better at the next try


@dataclass(frozen=True, slots=True)
class Slept:
    """A night that was slept in the background; `began` is in the memory's zone."""

    scope: Scope
    began: datetime
    report: Report

    def line(self) -> str:
        """The night in one line."""
        counts = ", ".join(f"{count} {verb}" for verb, count in sorted(self.report.counts.items()))
        op = f"  {self.report.op}" if self.report.op else ""
        took = f"({self.report.seconds:.2f} s)"
        return f"{self.began:%Y-%m-%d %H:%M}  {self.scope}  {counts or 'nothing to change'}  {took}{op}"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"scope": self.scope.to_dict(), "began": self.began.isoformat(), **self.report.to_dict()}


@dataclass(slots=True)
class _Standing:
    """How a scope stands: when its last night began, and until when it is left alone after one that got nowhere.

    left  fresh records that such a night left behind: more of them are a reason to try again; None after an error
    """

    last: datetime | None = None
    pause: float = 0.0
    until: datetime | None = None
    left: int | None = None

    def leave_alone(self, now: datetime, left: int | None = None) -> None:
        """For a while, and for twice as long each time."""
        self.pause = min(LONGEST_PAUSE, 2 * self.pause or FIRST_PAUSE)
        self.until, self.left = now + timedelta(seconds=self.pause), left

    def went_well(self) -> None:
        """The next night may begin as soon as it is due."""
        self.pause, self.until, self.left = 0.0, None, None

    def against(self, now: datetime, fresh: int) -> str:
        """What stands against a night, of earlier ones."""
        if self.until is None or now >= self.until or (self.left is not None and fresh > self.left):
            return ""
        return f"left alone for {(self.until - now).total_seconds():.0f} s"


class _Stop(BaseException):
    """Ends a night that is under way; no `except Exception` on its way can take it for a fault."""


@dataclass
class Watch:
    """Nights in the background, until `stop`. Made by `Memory.sleep_every`.

    memory      whose clock, zone, system and language model are used
    scopes      what to sleep on; asked again at each look, since scopes come and go
    on_night    called in the watching thread after each night
    on_trouble  called there with what went wrong and will be tried again; its scope is None where it was no one's

    `state` says what goes on; `last` is the last night, `nights` their number; `error` is what went wrong last and has
    not gone well since. A fault that will not pass ends the watch, and `wait` and `stop` raise it.
    """

    memory: Memory
    scopes: Callable[[], Sequence[Scope]]
    plan: Plan
    on_night: Callable[[Slept], None] = lambda slept: None
    on_trouble: Callable[[Scope | None, Exception], None] = lambda scope, error: None
    state: str = field(default="not begun", init=False)
    last: Slept | None = field(default=None, init=False)
    nights: int = field(default=0, init=False)
    error: Exception | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._standing: dict[Scope, _Standing] = {}
        self._ending, self._ended = threading.Event(), threading.Event()
        self._fatal: Exception | None = None
        self._budget_of: date | None = None
        self._asleep = 0.0  # seconds of this look that went into nights
        self._thread = threading.Thread(target=self._run, name="slowwave-watch", daemon=True)

    # -- for its owner

    def start(self) -> Watch:
        """Begin to watch; returns itself."""
        self._thread.start()
        return self

    @property
    def running(self) -> bool:
        """Whether it watches."""
        return self._thread.is_alive()

    def stop(self, timeout_seconds: float | None = None) -> Slept | None:
        """End it, and a night under way at its next step; what that had found is found again by the next night.

        A step that waits for a language model is waited for, `timeout_seconds` at most. Returns the last night.
        raises  what ended the watch before, if something did
        """
        self._ending.set()
        return self.wait(timeout_seconds)

    def wait(self, timeout_seconds: float | None = None) -> Slept | None:
        """Wait until it ends; returns the last night, or raises what ended it."""
        end = math.inf if timeout_seconds is None else time.monotonic() + timeout_seconds
        if self._thread is not threading.current_thread():
            # Not by `join`: an exception that a signal's handler raises in it marks a living thread as ended.
            while self.running and time.monotonic() <= end and not self._ended.wait(min(0.2, end - time.monotonic())):
                pass
            if self._ended.is_set():
                self._thread.join()
        if self._fatal is not None:
            raise self._fatal
        return self.last

    def to_dict(self) -> dict[str, Any]:
        """How it stands, as plain JSON values."""
        return {
            "running": self.running,
            "state": self.state,
            "nights": self.nights,
            "last": None if self.last is None else self.last.to_dict(),
            "error": None if self.error is None else f"{type(self.error).__name__}: {self.error}",
        }

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    # -- what it does

    def look(self) -> float:
        """Look at every scope once, and sleep where a night is due; seconds until one should look again."""
        began, self._asleep = time.monotonic(), 0.0
        for scope in self.scopes():
            if self._ending.is_set():
                break
            self._look_at(scope, self._standing.setdefault(scope, _Standing()))
        looked, idle = time.monotonic() - began - self._asleep, self.plan.idle_seconds
        return max(LOOK_SECONDS if idle is None else min(LOOK_SECONDS, idle / 2), 0.1, 10 * looked)

    def _look_at(self, scope: Scope, standing: _Standing) -> None:
        now = self.memory.clock().astimezone(self.memory.zone)  # `hours` are the zone's
        if not self._is_due(scope, standing, now):
            return
        before = self._cursor(scope)
        began = time.monotonic()
        try:
            self._sleep(scope, now)
        except LeaseHeldError as error:  # somebody was first, a moment ago
            self.state = f"{scope}: {error}"
            return
        except PASSING as error:
            standing.leave_alone(now)
            self._trouble(scope, error)
            return
        finally:
            self._asleep += time.monotonic() - began
        standing.last = now
        if self.plan.new_records and self._cursor(scope) == before:
            # A budget is spent, a model is gone, or what is there is too little: the next would get nowhere either.
            standing.leave_alone(now, self._pulse(scope).fresh)
        else:
            standing.went_well()

    def _is_due(self, scope: Scope, standing: _Standing, now: datetime) -> bool:
        pulse = self._pulse(scope)
        if why := self.plan.against(pulse, now, standing.last) or standing.against(now, pulse.fresh):
            self.state = f"{scope}: {why}"
        return not why and not self._taken(scope)

    def _pulse(self, scope: Scope) -> Pulse:
        return self.memory.store.view(scope).pulse(self.memory.system.name, COUNTED)

    def _cursor(self, scope: Scope) -> int:
        """How far nights have looked."""
        return self.memory.store.view(scope).cursor(self.memory.system.name).last

    def _taken(self, scope: Scope) -> bool:
        """Whether somebody sleeps on records of the scope now."""
        held = self.memory.store.held_lease(scope, "sleep")
        if held is not None:
            self.state = f"{scope}: {held.holder} sleeps on {held.scope}"
        return held is not None

    def _sleep(self, scope: Scope, now: datetime) -> None:
        if self.memory.llm is not None and self._budget_of != now.date():
            self._budget_of = now.date()
            self.memory.llm.renew()

        def progress(stage: str, done: int, total: int) -> None:
            self.state = f"{scope}: sleeping, {stage} {done} of {total}"
            if self._ending.is_set() and stage != "write":  # what is written has to be told
                raise _Stop

        named: Any = scope.to_dict()
        report = self.memory.sleep(progress=progress, **named)
        self.nights += 1
        self.error = None
        self.last = Slept(scope, now, report)
        self.state = f"{scope}: slept at {now:%H:%M:%S}"
        self.on_night(self.last)

    def _trouble(self, scope: Scope | None, error: Exception) -> None:
        self.state = f"{scope or 'all'}: {error}"
        self.error = error
        self.on_trouble(scope, error)

    def _run(self) -> None:
        try:
            while not self._ending.is_set():
                try:
                    pause = self.look()
                except PASSING as error:
                    self._trouble(None, error)
                    pause = FIRST_PAUSE
                self._ending.wait(pause)
            self.state = "stopped"
        except _Stop:
            self.state = "stopped"
        except Exception as error:  # noqa: BLE001 - whoever waits for it hears of it
            self._fatal = self.error = error
            self.state = f"ended: {type(error).__name__}: {error}"
        finally:
            self._ended.set()


def watch(
    memory: Memory,
    minutes: float | None,
    idle_seconds: float | None,
    hours: str | None,
    new_records: int,
    each: str | None,
    within: Mapping[str, Any],
    **calls: Any,
) -> Watch:
    """A Watch that has not begun, of arguments as `Memory.sleep_every` takes them; each is checked."""
    plan = plan_of(minutes, idle_seconds, hours, new_records)
    if each is None:
        chosen = [scope_of(within)]
        return Watch(memory, lambda: chosen, plan, **calls)
    if each not in SCOPE_FIELDS:
        raise InputError(f"each is {each!r:.60}; it must be one of {', '.join(SCOPE_FIELDS)}")
    named = {name: value for name, value in within.items() if value is not None}
    if named:
        scope_of(named)
    if each in named:
        raise InputError(f"each {each} was asked for, and {each}={named[each]!r:.60} too; leave one of them out")
    return Watch(memory, lambda: _each(memory, each, named), plan, **calls)


def _each(memory: Memory, name: str, within: Mapping[str, Any]) -> list[Scope]:
    """The scope of every value that a field has among the records, such as every user's, within a scope or anywhere."""
    wide = Scope(**within) if within else None
    values = {getattr(scope, name) for scope, _ in memory.scopes() if wide is None or wide.covers(scope)}
    return [Scope(**{**within, name: value}) for value in sorted(values - {None})]


__all__ = ["Slept", "Watch", "watch"]
