"""AsyncMemory: the same verbs, awaited; each runs Memory's own method in a thread."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any

from slowwave.memory import Memory

VERBS = tuple(name for name in dir(Memory) if not name.startswith("_") and callable(getattr(Memory, name)))


class AsyncMemory:
    """Memory for asyncio: `await memory.search(...)`. Takes what Memory takes; the loop is never blocked.

    Every verb of Memory is here with the same arguments and results; each call runs in a worker thread, where SQLite
    and the encoder let go of the interpreter's lock. `sleep_every` gives back Memory's own Watch, which calls back in
    its thread; end it with `await asyncio.to_thread(watch.stop)`, or with the memory.
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> AsyncMemory:
        """Where the path is the address of a server, its client: see `slowwave.client`."""
        where = args[0] if args else kwargs.get("path")
        if cls is AsyncMemory and isinstance(where, str) and where.startswith(("http://", "https://")):
            from slowwave.client import AsyncRemoteMemory

            return object.__new__(AsyncRemoteMemory)
        return object.__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.memory = Memory(*args, **kwargs)

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        if name not in VERBS:
            raise AttributeError(f"AsyncMemory has no attribute {name!r}; its verbs are {', '.join(VERBS)}")
        method = getattr(self.memory, name)

        @functools.wraps(method)
        async def call(*args: Any, **kwargs: Any) -> Any:
            return await asyncio.to_thread(method, *args, **kwargs)

        return call

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *VERBS]

    async def __aenter__(self) -> AsyncMemory:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.memory.close)
