"""What every door shares: the memory, its keys and limits, its jobs, and the threads in which its verbs run."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from starlette.requests import HTTPConnection

from slowwave.errors import AccessError, QuotaError, SlowwaveError, UnknownKeyError
from slowwave.memory import Memory
from slowwave.ops.acting import acting
from slowwave.serve.access import Access
from slowwave.serve.jobs import Jobs, ThreadJobs
from slowwave.serve.keys import Keys
from slowwave.serve.limits import Limits
from slowwave.serve.telemetry import Telemetry
from slowwave.store.base import AUDIT, Operation
from slowwave.store.ids import new_id

T = TypeVar("T")
REFUSAL_SECONDS = 60.0
log = logging.getLogger("slowwave.serve")


class Service:
    """A memory with what a server needs around it; `app.state.service` of the application.

    memory     whose verbs are served; closing it is its owner's business
    readonly   nothing can be changed through this server
    workers    threads for what takes milliseconds; more of them get in each other's way, as Python runs one at a time.
               Two others are for nights, imports, exports and erasures
    jobs       what runs long work; None keeps it in this process
    """

    def __init__(self, memory: Memory, *, readonly: bool = False, workers: int = 4, jobs: Jobs | None = None) -> None:
        self.memory = memory
        self.readonly = readonly or memory.readonly
        self.keys = Keys(memory)
        self.limits = Limits(memory.store)
        self.telemetry = Telemetry(self)
        self.jobs: Jobs = jobs or ThreadJobs(memory)
        self._refused: dict[tuple[str, str], float] = {}
        self._threads = {"quick": workers, "slow": 2}
        self._pools: dict[str, ThreadPoolExecutor] = {}

    def access(self, connection: HTTPConnection) -> Access:
        """What the one who asks may do; UnknownKeyError where a key is needed and there is none."""
        found: Access | None = connection.scope.get("state", {}).get("access")
        if found is None:
            raise UnknownKeyError(
                "this needs a key; send it as `Authorization: Bearer sw_...`, or make one with: slowwave keys add"
            )
        return found

    async def call(self, access: Access, function: Callable[..., T], /, *args: Any, **kwargs: Any) -> T:
        """Run a verb in a thread, on behalf of a key; the loop goes on meanwhile."""
        return await self._run("quick", access, function, args, kwargs)

    async def call_slow(self, access: Access, function: Callable[..., T], /, *args: Any, **kwargs: Any) -> T:
        """The same for what takes seconds or minutes."""
        return await self._run("slow", access, function, args, kwargs)

    async def _run(
        self, pool: str, access: Access, function: Callable[..., T], args: Any, kwargs: Any
    ) -> T:
        def run() -> T:
            with acting(access.key):
                return function(*args, **kwargs)

        context = contextvars.copy_context()
        return await asyncio.get_running_loop().run_in_executor(self._pool(pool), context.run, run)

    def admit_records(self, access: Access, records: int) -> None:
        """Count records that are about to be added against the key's quota; QuotaError if they are too many."""
        key = self.keys.known(access.key)
        self.limits.admit(key, self.memory.clock(), records)

    async def note_refusal(self, error: Exception, request: Mapping[str, Any]) -> None:
        """Journal that somebody was turned away: once a minute for each key and kind, so that it cannot be flooded."""
        if not isinstance(error, AccessError) or isinstance(error, QuotaError) or self.readonly:
            return
        access: Access | None = request.get("state", {}).get("access")
        params = {"reason": type(error).__name__, "by": access.key if access else ""}
        told, now = (params["reason"], params["by"]), time.monotonic()
        if now - self._refused.get(told, float("-inf")) < REFUSAL_SECONDS:
            return
        self._refused[told] = now
        memory = self.memory
        operation = Operation(new_id(), "refuse", AUDIT, memory.clock(), params=params, noted=True)
        try:
            await self._run("quick", Access("local"), memory.store.apply, (operation, [], {}), {})
        except SlowwaveError:  # it is turned down all the same
            log.exception("a refusal could not be journalled")

    def trusted(self, access: Access, asked: bool) -> bool:
        """Whether what is given is kept without being looked at: only where that is asked for, by who may ask it."""
        if asked:
            access.need("trust")
        return asked

    async def trouble(self) -> str:
        """Why the store cannot answer; "" if it can."""
        try:
            await self._run("quick", Access("local"), self.memory.store.usage, ("9999",), {})
        except (SlowwaveError, OSError) as error:
            return str(error)
        return ""

    def _pool(self, name: str) -> ThreadPoolExecutor:
        if name not in self._pools:  # only the loop's thread comes here
            self._pools[name] = ThreadPoolExecutor(self._threads[name], thread_name_prefix=f"slowwave-{name}")
        return self._pools[name]

    def close(self) -> None:
        """Let running work come to its end, and write the counts; what is asked afterwards begins anew."""
        while self._pools:
            self._pools.popitem()[1].shutdown(wait=True)
        self.jobs.close()
        self.limits.flush(force=True)
