"""Long work that goes on after its request: start a night, look at it, follow its events, cancel it.

`ThreadJobs` is for one process: what a kill cuts short is gone from the list, and the next night does the work again
(nothing is lost: a night is one transaction, and what a model has answered is kept). A store that several machines
share brings an implementation of `Jobs` whose list survives.
"""

from __future__ import annotations

import queue
import threading
import time
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from slowwave.errors import ConflictError, NotFoundError, SlowwaveError
from slowwave.memory import Memory
from slowwave.ops.acting import acting
from slowwave.records import Scope
from slowwave.serve.failures import told
from slowwave.serve.whole import whole_report
from slowwave.store.ids import new_id

State = Literal["waiting", "running", "done", "failed", "cancelled"]
ENDED = ("done", "failed", "cancelled")
KEPT = 500  # ended jobs that are still told of


@dataclass(frozen=True, slots=True)
class Job:
    """A piece of long work.

    verb      what is done, such as "sleep"; `arguments` are the verb's own
    by        the key that started it
    stage, done, total  how far it is
    result    what the verb gave, as JSON values; `error` what went wrong, as {"type": ..., "message": ...}
    """

    id: str
    verb: str
    scope: Scope
    by: str
    created: datetime
    arguments: Mapping[str, Any] = field(default_factory=dict)
    state: State = "waiting"
    stage: str = ""
    done: int = 0
    total: int = 0
    started: datetime | None = None
    ended: datetime | None = None
    result: Mapping[str, Any] | None = None
    error: Mapping[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "id": self.id,
            "verb": self.verb,
            "scope": self.scope.to_dict(),
            "by": self.by,
            "arguments": dict(self.arguments),
            "state": self.state,
            "stage": self.stage,
            "done": self.done,
            "total": self.total,
            "created": self.created.isoformat(),
            "started": self.started.isoformat() if self.started else None,
            "ended": self.ended.isoformat() if self.ended else None,
            "result": self.result,
            "error": self.error,
        }


class Jobs(ABC):
    """Where long work is done. Every call is from a thread and may wait."""

    @abstractmethod
    def start(self, verb: Literal["sleep"], scope: Scope, arguments: Mapping[str, Any], by: str) -> Job:
        """Begin, or stand in line; where the same is waiting or running already, that job."""

    @abstractmethod
    def get(self, id: str) -> Job | None:
        """One job as it is now."""

    @abstractmethod
    def list(self, limit: int = 100) -> list[Job]:
        """Jobs, newest first."""

    @abstractmethod
    def cancel(self, id: str) -> Job:
        """End it: at once if it waits, at its next step if it runs; nothing of it is written then.

        raises  NotFoundError if there is no such job, ConflictError if it has ended
        """

    @abstractmethod
    def close(self) -> None:
        """Cancel what waits, let what runs come to an end."""

    def events(self, id: str, seconds: float = 0.2) -> Iterator[Job]:
        """The job each time that it has changed, until it has ended."""
        last = None
        while (job := self.get(id)) is not None:
            if job != last:
                yield job
                last = job
            if job.state in ENDED:
                return
            time.sleep(seconds)


class _Cancelled(Exception):
    pass


class ThreadJobs(Jobs):
    """Jobs in threads of this process: scopes side by side, one night at a time in each.

    threads  how many work at once
    """

    def __init__(self, memory: Memory, threads: int = 2) -> None:
        self.memory = memory
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._cancelled: set[str] = set()
        self._line: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._most = threads

    def start(self, verb: Literal["sleep"], scope: Scope, arguments: Mapping[str, Any], by: str) -> Job:
        with self._lock:
            for job in self._jobs.values():
                same = (job.verb, job.scope, dict(job.arguments)) == (verb, scope, dict(arguments))
                if same and job.state not in ENDED and job.id not in self._cancelled:
                    return job
            job = Job(new_id(), verb, scope, by, self.memory.clock(), dict(arguments))
            self._jobs[job.id] = job
            ended = [id_ for id_, one in self._jobs.items() if one.state in ENDED]
            for id_ in ended[: max(0, len(ended) - KEPT)]:
                del self._jobs[id_]
            if len(self._threads) < self._most:
                thread = threading.Thread(target=self._work, name="slowwave-job", daemon=True)
                self._threads.append(thread)
                thread.start()
        self._line.put(job.id)
        return job

    def get(self, id: str) -> Job | None:
        with self._lock:
            return self._jobs.get(id)

    def list(self, limit: int = 100) -> list[Job]:
        with self._lock:
            return list(reversed(self._jobs.values()))[:limit]

    def cancel(self, id: str) -> Job:
        with self._lock:
            job = self._jobs.get(id)
            if job is None:
                raise NotFoundError(f"there is no job {id!r:.60}; see GET /v1/jobs")
            if job.state in ENDED:
                raise ConflictError(f"the job {id} is {job.state} already")
            self._cancelled.add(id)
            if job.state == "waiting":
                job = self._set(id, state="cancelled", ended=self.memory.clock())
            return job

    def events(self, id: str, seconds: float = 0.2) -> Iterator[Job]:
        last: Job | None = None
        while True:
            with self._changed:
                self._changed.wait_for(lambda last=last: self._jobs.get(id) is not last, timeout=5.0)  # type: ignore[misc]
                job = self._jobs.get(id)
            if job is None:
                return
            if job is not last:
                yield job
                last = job
            if job.state in ENDED:
                return

    def close(self) -> None:
        with self._lock:
            waiting = [job.id for job in self._jobs.values() if job.state == "waiting"]
            for id_ in waiting:
                self._set(id_, state="cancelled", ended=self.memory.clock())
            threads, self._threads = self._threads, []
        for _ in threads:
            self._line.put(None)
        for thread in threads:
            thread.join()

    def _set(self, id: str, **fields: Any) -> Job:
        """Change a job; the lock is held."""
        old = self._jobs[id]
        given = {name: getattr(old, name) for name in Job.__slots__} | fields
        self._jobs[id] = Job(**given)
        self._changed.notify_all()
        return self._jobs[id]

    def _work(self) -> None:
        while (id_ := self._line.get()) is not None:
            with self._lock:
                job = self._jobs[id_]
                if job.state != "waiting":
                    continue
                job = self._set(id_, state="running", started=self.memory.clock())
            self._do(job)

    def _do(self, job: Job) -> None:
        def progress(stage: str, done: int, total: int) -> None:
            with self._lock:
                if job.id in self._cancelled and stage != "write":
                    raise _Cancelled
                self._set(job.id, stage=stage, done=done, total=total)

        ended: dict[str, Any]
        try:
            with acting(job.by):
                given: dict[str, Any] = {**job.arguments, **job.scope.to_dict()}
                report = self.memory.sleep(progress=progress, **given)
            ended = {"state": "done", "result": whole_report(report)}
        except _Cancelled:
            ended = {"state": "cancelled"}
        except (SlowwaveError, OSError) as error:
            ended = {"state": "failed", "error": told(error)["error"]}
        with self._lock:
            self._set(job.id, **ended, ended=self.memory.clock())
            self._cancelled.discard(job.id)
