"""Holding a lease for as long as work goes on: a thread renews it, and whoever has lost it is told to stop."""

from __future__ import annotations

import os
import platform
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType

from slowwave.errors import ConflictError, LeaseHeldError, StoreError
from slowwave.records import Scope
from slowwave.store.base import Lease, Store

SECONDS = 60.0  # for which a lease holds without a sign of life; there are four in that time


class Holding:
    """A lease on a scope within a `with`: LeaseHeldError if somebody has it, renewed until the end.

    name     what it is for, such as "sleep"
    seconds  after which another may take it over, if this process stands still

    The lease ends with the operation that names it (`Operation.lease`); call `written` then. Else it is given back.
    """

    def __init__(self, store: Store, scope: Scope, name: str, seconds: float = SECONDS) -> None:
        self.store, self.scope, self.name, self.seconds = store, scope, name, seconds
        self.lost = False
        self._lease: Lease | None = None
        self._done = threading.Event()
        self._beat = threading.Thread(target=self._renew, name=f"slowwave-{name}-lease", daemon=True)

    @property
    def lease(self) -> Lease:
        """The lease, for an operation. ConflictError if it was lost."""
        if self.lost or self._lease is None:
            raise ConflictError(
                f"the lease to {self.name} on {self.scope} was lost: this process stood still for more than "
                f"{self.seconds:.0f} s, or the records were erased; nothing was written; begin again"
            )
        return self._lease

    def watching(self, progress: Callable[[str, int, int], None]) -> Callable[[str, int, int], None]:
        """The same progress, which ends work whose lease was lost."""

        def watched(stage: str, done: int, total: int) -> None:
            progress(stage, done, total)
            assert self.lease

        return watched

    def written(self) -> None:
        """The lease has ended with its operation."""
        self._done.set()
        self._lease = None

    def __enter__(self) -> Holding:
        holder = f"process {os.getpid()} on {platform.node() or 'this machine'}"
        self._lease = self.store.take_lease(self.scope, self.name, holder, self.seconds)
        if self._lease is None:
            raise LeaseHeldError(self._taken())
        self._beat.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        if self._lease is not None and not self.lost:
            with suppress(StoreError):  # it ends by itself; what went wrong before matters more
                self.store.release_lease(self._lease)
        self._beat.join()

    def _taken(self) -> str:
        held = self.store.held_lease(self.scope, self.name)
        who = "another" if held is None else f"{held.holder} on {held.scope}, since {held.taken:%Y-%m-%d %H:%M:%S} UTC"
        until = "" if held is None else f" (or until {held.expires:%H:%M:%S} UTC, if it is dead)"
        return (
            f"asked to {self.name} on {self.scope}, where {who} does so already; one at a time: wait until it is "
            f"done{until}, and try again"
        )

    def _renew(self) -> None:
        while not self._done.wait(self.seconds / 4):
            lease = self._lease
            if lease is None:
                return
            with suppress(StoreError):  # the file is locked, full or closed: there is time for further tries
                if self.store.renew_lease(lease, self.seconds) is None:
                    self.lost = not self._done.is_set()
                    return
