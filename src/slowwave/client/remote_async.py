"""AsyncRemoteMemory: the same verbs, awaited, without a thread."""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx2 as httpx

from slowwave.asynchronous import AsyncMemory
from slowwave.client import asks
from slowwave.client.asks import Ask
from slowwave.client.wire import Tries, Wire, arriving, check, counted, ended, json_of, passing, unreachable
from slowwave.errors import SlowwaveError
from slowwave.memory import Memory


class AsyncRemoteMemory(AsyncMemory):
    """`AsyncMemory("https://...", key=...)`: takes what `RemoteMemory` takes."""

    def __init__(
        self,
        url: Any,
        *,
        key: str | None = None,
        timeout_seconds: float = 60.0,
        retries: int = 3,
        transport: Any = None,
    ) -> None:
        self.path = str(url)
        self.wire = Wire(self.path, key or os.environ.get("SLOWWAVE_API_KEY"), timeout_seconds, retries)
        self._http = httpx.AsyncClient(
            headers=self.wire.headers(), timeout=httpx.Timeout(timeout_seconds, connect=10.0), transport=transport,
            trust_env=False,
        )  # fmt: skip

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        raise AttributeError(f"a memory on a server has no {name!r}; it has Memory's verbs")

    def __repr__(self) -> str:
        return f"AsyncRemoteMemory({self.wire.url!r})"

    async def close(self) -> None:
        """Let the connections go."""
        await self._http.aclose()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def sleep_events(self, **scope: Any) -> AsyncIterator[dict[str, Any]]:
        """Sleep on the server, and yield each state of the job."""
        ask = Ask("POST", "/sleep/events", lambda job: job, body=asks.given_of("sleep", (), scope), slow=True)
        async for job in self._states(ask):
            yield job

    # -- the parts

    async def _do(self, verb: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        flow = asks.flow_of(verb, args, kwargs)
        try:
            ask = next(flow)
            while True:
                ask = flow.send(await self._ask(ask))
        except StopIteration as done:
            return done.value

    async def _ask(self, ask: Ask) -> Any:
        if ask.events is not None:
            last: dict[str, Any] = {}
            async for last in self._states(ask):
                if last["state"] == "running":
                    ask.events(last["stage"], last["done"], last["total"])
            return ended(last, ask)
        tries = Tries(self.wire, ask)
        while True:
            try:
                return await self._send(ask, tries.request)
            except SlowwaveError as error:
                pause = tries.pause(error)
            await asyncio.sleep(pause)

    async def _send(self, ask: Ask, request: dict[str, Any]) -> Any:
        if ask.slow:
            request = {**request, "timeout": httpx.Timeout(None, connect=10.0)}
        try:
            if ask.sent is not None:
                content = await asyncio.to_thread(ask.sent.read_bytes)
                answer = await self._http.request(**{**request, "content": content})
            elif ask.to is not None:
                return await self._fetch(request, ask.to)
            else:
                answer = await self._http.request(**request)
        except httpx.TransportError as problem:
            raise passing(unreachable(self.wire, problem)) from problem
        check(answer.status_code, answer.content, answer.headers)
        return ask.read(json_of(answer.content))

    async def _fetch(self, request: dict[str, Any], to: Path) -> int:
        with arriving(to) as part:
            async with self._http.stream(**request) as answer:
                if answer.status_code >= 400:
                    check(answer.status_code, await answer.aread(), answer.headers)
                with part.open("wb") as out:
                    async for piece in answer.aiter_bytes():
                        out.write(piece)
            return counted(part)

    async def _states(self, ask: Ask) -> AsyncIterator[dict[str, Any]]:
        tries = Tries(self.wire, ask)
        while True:
            problem: Exception | None = None
            try:
                request = {**tries.request, "timeout": httpx.Timeout(None, connect=10.0)}
                async with self._http.stream(**request) as answer:
                    if answer.status_code >= 400:
                        check(answer.status_code, await answer.aread(), answer.headers)
                    async for line in answer.aiter_lines():
                        if job := tries.heard(line):
                            yield job
                            if tries.over:
                                return
            except httpx.TransportError as broken:
                problem = broken
            await asyncio.sleep(tries.broken(problem))


def _verb(name: str) -> Callable[..., Any]:
    @functools.wraps(getattr(Memory, name))
    async def verb(self: AsyncRemoteMemory, *args: Any, **kwargs: Any) -> Any:
        return await self._do(name, args, kwargs)

    return verb


for _name in (*asks.FLOWS, *asks.HERE_ONLY):
    setattr(AsyncRemoteMemory, _name, _verb(_name))
