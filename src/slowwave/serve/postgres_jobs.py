"""Jobs on PostgreSQL: any number of workers on any number of machines do what was put in line, each scope by one."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Literal

from slowwave.errors import ConflictError, ExtraMissingError, InputError, NotFoundError, SlowwaveError
from slowwave.memory import Memory
from slowwave.ops.acting import acting
from slowwave.records import Scope
from slowwave.serve.failures import told
from slowwave.serve.jobs import ENDED, Job, Jobs
from slowwave.store.postgres_queue import TASK, JobRow, Queue

ATTEMPTS = 5  # of a job before it has failed
VERBS = ("sleep", "reembed")
TOLD_SECONDS = 0.25  # between two looks at whether a job was cancelled


class PostgresJobs(Jobs):
    """The jobs of a memory in PostgreSQL: their list survives, and workers anywhere do them.

    Example (needs a server):
        PostgresJobs(Memory("postgresql://...")).start("sleep", Scope(user_id="ana"), {}, "nightly")
    """

    def __init__(self, memory: Memory) -> None:
        from slowwave.store.postgres import PostgresStore

        if not isinstance(memory.store, PostgresStore):
            raise InputError(f"{memory.path} is no PostgreSQL database; jobs that workers share need one")
        self.queue = Queue(memory.store)
        self.queue.prepare()

    def start(
        self, verb: Literal["sleep", "reembed"], scope: Scope | None, arguments: Mapping[str, Any], by: str
    ) -> Job:
        if verb not in VERBS:
            raise InputError(f"verb is {verb!r}; a job can be {', '.join(VERBS)}")
        if (scope is None) == (verb == "sleep"):
            raise InputError("a sleep needs a scope, and a reembed is of the whole memory")
        return job_of(self.queue.put(verb, scope, arguments, by))

    def get(self, id: str) -> Job | None:
        row = self.queue.get(id)
        return None if row is None else job_of(row)

    def list(self, limit: int = 100) -> list[Job]:
        return [job_of(row) for row in self.queue.newest(limit)]

    def cancel(self, id: str) -> Job:
        row = self.queue.cancel(id)
        if row is not None:
            return job_of(row)
        there = self.queue.get(id)
        if there is None:
            raise NotFoundError(f"there is no job {id!r:.60}; see slowwave jobs")
        raise ConflictError(f"the job {id} is {there.state} already")

    def close(self) -> None:
        """Nothing: what waits is done by whoever works."""


def job_of(row: JobRow) -> Job:
    """A job as the server tells it."""
    return Job(
        id=row.id, verb=row.verb, scope=row.scope or Scope(app_id="*"), by=row.actor, created=row.created,
        arguments=row.arguments, state=row.state, stage=row.stage, done=row.done, total=row.total,  # type: ignore[arg-type]
        started=row.started, ended=row.ended, result=row.result, error=row.error,
    )  # fmt: skip


class _Cancelled(Exception):
    pass


class Worker:
    """Does the jobs of a memory until it is stopped; as many may run as one likes, on as many machines.

    memory             in PostgreSQL; its embedder, language model and system are those that work
    threads            jobs at once, each of another user
    heartbeat_seconds  between signs of life
    stalled_seconds    without one, after which another worker takes a job over
    on_job             called with each job that has ended
    """

    def __init__(
        self,
        memory: Memory,
        threads: int = 2,
        heartbeat_seconds: float = 5.0,
        stalled_seconds: float = 30.0,
        on_job: Callable[[Job], None] = lambda job: None,
    ) -> None:
        try:
            import procrastinate  # noqa: F401
        except ImportError as error:
            raise ExtraMissingError("slowwave worker", "postgres") from error
        self.memory, self.threads = memory, threads
        self.heartbeat_seconds, self.stalled_seconds = heartbeat_seconds, stalled_seconds
        self.on_job = on_job
        self.jobs = PostgresJobs(memory)

    def run(self, wait: bool = True) -> None:
        """Work; with wait=False until the line is empty."""
        logging.getLogger("procrastinate").setLevel(
            logging.CRITICAL
        )  # it would log whole tracebacks; ours are in the list
        asyncio.run(self._work(wait))

    async def _work(self, wait: bool) -> None:
        from procrastinate import App, PsycopgConnector, RetryStrategy
        from procrastinate.job_context import JobContext

        connections = self.jobs.queue.store.connections
        app = App(
            connector=PsycopgConnector(
                conninfo=connections.conninfo, min_size=1, max_size=self.threads + 4,
                kwargs={"options": "-c search_path=slowwave,public"},
            )
        )  # fmt: skip

        def work(context: JobContext, tenant: str, id: str) -> None:
            self._do(id, context.job.attempts + 1)

        app.task(
            name=TASK, queue=self.jobs.queue.name, pass_context=True,
            retry=RetryStrategy(max_attempts=ATTEMPTS, exponential_wait=2),
        )(work)  # fmt: skip
        async with app.open_async():
            await self._take_over(app)
            watch = asyncio.create_task(self._watch(app))
            try:
                await app.run_worker_async(
                    queues=[self.jobs.queue.name], concurrency=self.threads, wait=wait, listen_notify=True,
                    update_heartbeat_interval=self.heartbeat_seconds, stalled_worker_timeout=10 * self.stalled_seconds,
                    delete_jobs="successful", install_signal_handlers=wait,
                )  # fmt: skip
            finally:
                watch.cancel()
                with suppress(asyncio.CancelledError):
                    await watch

    async def _watch(self, app: Any) -> None:
        while True:
            await asyncio.sleep(self.heartbeat_seconds)
            await self._take_over(app)

    async def _take_over(self, app: Any) -> None:
        """Put what a dead worker had in hand back into the line."""
        for job in await app.job_manager.get_stalled_jobs(
            queue=self.jobs.queue.name, task_name=TASK, seconds_since_heartbeat=self.stalled_seconds
        ):
            await app.job_manager.retry_job(job)

    def _do(self, id: str, attempt: int) -> None:
        queue = self.jobs.queue
        row = queue.begin(id)
        if row is None:
            return
        looked = 0.0

        def progress(stage: str, done: int, total: int) -> None:
            nonlocal looked
            now = time.monotonic()
            if stage != "write" and (now - looked > TOLD_SECONDS or not done):
                looked = now
                if not queue.step(id, stage, done, total):
                    raise _Cancelled

        try:
            with acting(row.actor):
                result = self._verb(row, progress)
            queue.end(id, "done", result, None)
        except _Cancelled:
            queue.end(id, "cancelled", None, None)
        except (SlowwaveError, OSError) as error:
            again = attempt < ATTEMPTS and not isinstance(error, InputError)
            queue.end(id, "waiting" if again else "failed", None, told(error)["error"])
            if again:
                raise  # procrastinate puts it back into the line
        ended = self.jobs.get(id)
        if ended is not None and ended.state in ENDED:
            self.on_job(ended)

    def _verb(self, row: JobRow, progress: Callable[[str, int, int], None]) -> dict[str, Any]:
        """What is kept of the outcome has no text of a record in it."""
        if row.verb == "reembed":
            chosen = row.arguments.get("embedder")
            return {"records": self.memory.reembed(chosen, progress=progress), "embedder": self.memory.embedder.name}
        assert row.scope is not None
        given: dict[str, Any] = {**row.arguments, **row.scope.to_dict()}
        report = self.memory.sleep(progress=progress, **given)
        return {"op": report.op, "changes": len(report), "seconds": round(report.seconds, 3)}
