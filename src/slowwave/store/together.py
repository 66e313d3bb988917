"""Group commit: who waits for the file's write lock is written by whoever has it, so that all wait for the disk once.

Nobody waits for more to come. While one transaction is being written, the next ones gather; then one thread writes them
all, each behind a savepoint of its own, and they are acknowledged when the one commit is on the disk.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from slowwave.store import forks
from slowwave.store.connection import SqliteConnections

T = TypeVar("T")
MOST = 64  # transactions written as one


@dataclass(eq=False, slots=True)
class _Job(Generic[T]):
    """What somebody waits for; `work` may be called again, on a transaction of its own."""

    work: Callable[[Any], T]
    result: T | None = None
    error: BaseException | None = None
    over: bool = False


class Together:
    """Transactions on one SQLite file, of any number of threads."""

    def __init__(self, connections: SqliteConnections) -> None:
        self.connections = connections
        self._jobs: deque[_Job[Any]] = deque()  # anyone appends; whoever has the turn takes
        _EVERY.add(self)

    def write(self, work: Callable[[Any], T]) -> T:
        """Run a transaction; returns, or raises, when it is written or was rolled back.

        work  called with the session, perhaps in another thread, and perhaps once more: what it makes outside the
              database it makes anew each time
        """
        job = _Job(work)
        self._jobs.append(job)
        with self.connections.turn():
            while not job.over:
                self._write_next(job)
        if job.error is not None:
            raise job.error
        return cast(T, job.result)

    def _write_next(self, own: _Job[Any]) -> None:
        jobs: list[_Job[Any]] = []
        while self._jobs and len(jobs) < MOST:
            jobs.append(self._jobs.popleft())
        try:
            if len(jobs) == 1 or not self._as_one(jobs):
                for job in jobs:
                    self._alone(job)
        except BaseException:  # this thread is to end; the others do theirs themselves
            self._jobs.extendleft(job for job in reversed(jobs) if not job.over and job is not own)
            raise

    def _alone(self, job: _Job[Any]) -> None:
        job.error = None
        try:
            with self.connections.write() as session:
                job.result = job.work(session)
        except Exception as error:  # noqa: BLE001 - it is raised where it belongs
            job.error = error
        job.over = True

    def _as_one(self, jobs: Sequence[_Job[Any]]) -> bool:
        """Write them in one transaction; False if nothing was written, so that each has to try by itself."""
        try:
            with self.connections.write() as session:
                for job in jobs:
                    session.execute("SAVEPOINT job")
                    try:
                        with self.connections.translated():
                            job.result = job.work(session)
                    except Exception as error:
                        if not session.in_transaction:  # SQLite gave up the whole, as it does on a full disk
                            raise
                        session.execute("ROLLBACK TO job")
                        job.error = error
                    session.execute("RELEASE job")
        except Exception:  # noqa: BLE001 - each will meet it, or not
            return False
        for job in jobs:
            job.over = True
        return True


_EVERY: weakref.WeakSet[Together] = weakref.WeakSet()


def _leave_to_parent() -> None:
    """In a forked child: who waited is not there."""
    for one in list(_EVERY):
        one._jobs.clear()


forks.at_fork(list, _leave_to_parent)
