"""RemoteMemory: Memory's verbs over a server. Records, reports and errors are the same."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from slowwave.client import asks
from slowwave.client.asks import Ask
from slowwave.client.wire import Tries, Wire, arriving, check, counted, ended, json_of, passing, unreachable
from slowwave.errors import ExtraMissingError, SlowwaveError
from slowwave.memory import Memory

try:
    import httpx2 as httpx
except ImportError as missing:
    raise ExtraMissingError("a memory on a server", "client") from missing


class RemoteMemory(Memory):
    """A memory that another process serves: `Memory("http://localhost:8765", key="sw_...")`.

    url              where `slowwave serve` listens
    key              what opens it
    timeout_seconds  for an answer; nights, erasures, imports and exports are waited for
    retries          tries after the first one, of what failed on the way; each is done once, however often it is sent
    transport        instead of the network: httpx2's, for tests

    What belongs to the process that holds the file (`reembed`, `rebuild`, `check`, ...) says where to do it.
    """

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
        self.readonly = False
        self._http = httpx.Client(
            headers=self.wire.headers(), timeout=httpx.Timeout(timeout_seconds, connect=10.0), transport=transport,
            trust_env=False,
        )  # fmt: skip

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise AttributeError(f"a memory on a server has no {name!r}; it has Memory's verbs")

    def __repr__(self) -> str:
        return f"RemoteMemory({self.wire.url!r})"

    def close(self) -> None:
        """Let the connections go."""
        self._http.close()

    def sleep_events(self, **scope: Any) -> Iterator[dict[str, Any]]:
        """Sleep on the server, and yield each state of the job: stage, done, total, and the result at the end."""
        ask = Ask("POST", "/sleep/events", lambda job: job, body=asks.given_of("sleep", (), scope), slow=True)
        yield from self._states(ask)

    # -- the parts

    def _do(self, verb: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        flow = asks.flow_of(verb, args, kwargs)
        try:
            ask = next(flow)
            while True:
                ask = flow.send(self._ask(ask))
        except StopIteration as done:
            return done.value

    def _ask(self, ask: Ask) -> Any:
        if ask.events is not None:
            return self._watched(ask)
        tries = Tries(self.wire, ask)
        while True:
            try:
                return self._send(ask, tries.request)
            except SlowwaveError as error:
                pause = tries.pause(error)
            time.sleep(pause)

    def _send(self, ask: Ask, request: dict[str, Any]) -> Any:
        if ask.slow:
            request = {**request, "timeout": httpx.Timeout(None, connect=10.0)}
        try:
            if ask.sent is not None:
                with ask.sent.open("rb") as file:
                    answer = self._http.request(**{**request, "content": file})
            elif ask.to is not None:
                return self._fetch(request, ask.to)
            else:
                answer = self._http.request(**request)
        except httpx.TransportError as problem:
            raise passing(unreachable(self.wire, problem)) from problem
        check(answer.status_code, answer.content, answer.headers)
        return ask.read(json_of(answer.content))

    def _fetch(self, request: dict[str, Any], to: Path) -> int:
        """Write the answer into a file; returns how many records it holds."""
        with arriving(to) as part, self._http.stream(**request) as answer:
            if answer.status_code >= 400:
                check(answer.status_code, answer.read(), answer.headers)
            with part.open("wb") as out:
                for piece in answer.iter_bytes():
                    out.write(piece)
            return counted(part)

    def _watched(self, ask: Ask) -> Any:
        last: dict[str, Any] = {}
        for last in self._states(ask):
            if last["state"] == "running" and ask.events is not None:
                ask.events(last["stage"], last["done"], last["total"])
        return ended(last, ask)

    def _states(self, ask: Ask) -> Iterator[dict[str, Any]]:
        """The states of a job; where the stream breaks off, it is taken up again."""
        tries = Tries(self.wire, ask)
        while True:
            problem: Exception | None = None
            try:
                with self._http.stream(**{**tries.request, "timeout": httpx.Timeout(None, connect=10.0)}) as answer:
                    if answer.status_code >= 400:
                        check(answer.status_code, answer.read(), answer.headers)
                    for line in answer.iter_lines():
                        if job := tries.heard(line):
                            yield job
                            if tries.over:
                                return
            except httpx.TransportError as broken:
                problem = broken
            time.sleep(tries.broken(problem))


def _verb(name: str) -> Callable[..., Any]:
    @functools.wraps(getattr(Memory, name))
    def verb(self: RemoteMemory, *args: Any, **kwargs: Any) -> Any:
        return self._do(name, args, kwargs)

    return verb


for _name in (*asks.FLOWS, *asks.HERE_ONLY):
    setattr(RemoteMemory, _name, _verb(_name))
