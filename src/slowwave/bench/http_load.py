"""Load over HTTP: so many clients, each with a connection of its own, each asking again once it has been answered.

Requests and answers are plain HTTP/1.1 over asyncio streams, so that what is measured is the server and not a client
library; the clients run in this process, the server in its own.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import numpy as np

Ask = tuple[str, str, str, Any]  # what it is ("read" or "write"), method, path, JSON body
Next = Callable[[int, int], Ask]  # (client, its turn) -> what it asks


@dataclass(slots=True)
class Load:
    """What came of it: seconds by kind, what writes were acknowledged with, what failed."""

    seconds: float = 0.0
    took: dict[str, list[float]] = field(default_factory=lambda: {"read": [], "write": []})
    acknowledged: list[Any] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def numbers(self) -> dict[str, Any]:
        """Requests a second; median and 99th percentile of each kind in milliseconds."""
        total = sum(map(len, self.took.values()))
        out: dict[str, Any] = {"requests": total, "per_second": round(total / max(self.seconds, 1e-9), 1)}
        for kind, took in self.took.items():
            if took:
                p50, p99 = np.percentile(np.array(took) * 1000, [50, 99])
                out[kind] = {"count": len(took), "p50_ms": round(float(p50), 2), "p99_ms": round(float(p99), 2)}
        return {**out, "failed": len(self.failed)}


class Connection:
    """One keep-alive connection."""

    def __init__(self, url: str, headers: dict[str, str]) -> None:
        parts = urlsplit(url)
        self.host, self.port = parts.hostname or "127.0.0.1", parts.port or 80
        self.head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """(status, JSON) of one request; the plain text where the server failed."""
        if self._writer is None:
            self._reader, self._writer = await asyncio.open_connection(self.host, self.port, limit=1 << 24)
        assert self._reader is not None
        data = b"" if body is None else json.dumps(body).encode()
        kind = "content-type: application/json\r\n" if data else ""
        head = f"{method} {path} HTTP/1.1\r\nhost: {self.host}:{self.port}\r\n{self.head}{kind}"
        self._writer.write(f"{head}content-length: {len(data)}\r\n\r\n".encode() + data)
        status_line, *lines = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower().split("\r\n")
        fields = dict(line.split(": ", 1) for line in lines if ": " in line)
        if fields.get("transfer-encoding") == "chunked":
            raw = await self._chunks()
        else:
            raw = await self._reader.readexactly(int(fields.get("content-length", 0)))
        status = int(status_line.split(" ")[1])
        if status >= 500:
            return status, raw.decode("utf-8", "replace")
        return status, json.loads(raw) if raw else None

    async def _chunks(self) -> bytes:
        assert self._reader is not None
        out = b""
        while size := int(await self._reader.readline(), 16):
            out += (await self._reader.readexactly(size + 2))[:-2]
        await self._reader.readline()
        return out

    async def close(self) -> None:
        """Let it go."""
        if self._writer is not None:
            self._writer.close()


async def run(
    url: str, clients: int, next_: Next, requests: int, seconds: float, headers: dict[str, str] | None = None
) -> Load:
    """Let so many clients ask until that many requests were answered or the time is over."""
    load, left = Load(), iter(range(requests))
    end = time.perf_counter() + seconds

    async def one(client: int) -> None:
        connection, turn = Connection(url, headers or {}), 0
        try:
            while time.perf_counter() < end and next(left, None) is not None:
                kind, method, path, body = next_(client, turn)
                turn += 1
                start = time.perf_counter()
                status, answer = await connection.ask(method, path, body)
                took = time.perf_counter() - start
                if status >= 300:
                    load.failed.append(f"{status} {str(answer)[:200]}")
                    continue
                load.took[kind].append(took)
                if kind == "write":
                    load.acknowledged.append((body, answer))
        except (OSError, asyncio.IncompleteReadError) as error:
            load.failed.append(f"{type(error).__name__}: {error}")
        finally:
            await connection.close()

    start = time.perf_counter()
    await asyncio.gather(*(one(client) for client in range(clients)))
    load.seconds = time.perf_counter() - start
    return load
