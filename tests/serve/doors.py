"""Applications asked in this process, and one behind a real socket."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from fastapi.testclient import TestClient

from slowwave import Memory, Scope


class Door:
    """A client of one application; `key` makes a key, `as_` is a client that sends it."""

    def __init__(self, client: TestClient, app: Any, memory: Memory) -> None:
        self.client, self.app, self.memory = client, app, memory
        self.service = app.state.service

    def key(self, *scopes: dict[str, str], **more: Any) -> dict[str, str]:
        """A new key, as the header that carries it."""
        _, secret = self.service.keys.add("test", scopes=[Scope(**scope) for scope in scopes], **more)
        return {"authorization": f"Bearer {secret}"}

    def get(self, path: str, **more: Any) -> Any:
        return self.client.get(path, **more)

    def post(self, path: str, body: Any = None, **more: Any) -> Any:
        return self.client.post(path, json={} if body is None else body, **more)

    def call(self, tool: str, arguments: Any = None, path: str = "/mcp", **headers: str) -> dict[str, Any]:
        """The result of an MCP tool, or {"error": ...}."""
        answer = self.rpc("tools/call", {"name": tool, "arguments": arguments or {}}, path, **headers)
        return answer.get("result") or answer

    def rpc(self, method: str, params: Any, path: str = "/mcp", **headers: str) -> dict[str, Any]:
        """The answer to an MCP request."""
        sent = {"accept": "application/json, text/event-stream", "mcp-protocol-version": "2025-06-18", **headers}
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        out: dict[str, Any] = self.client.post(path, json=body, headers=sent).json()
        return out


@contextmanager
def listening(app: Any) -> Iterator[str]:
    """The application behind a socket of this machine; its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        probe.listen(128)
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="on", timeout_graceful_shutdown=2))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [probe]}, daemon=True)
        thread.start()
        try:
            while not server.started:
                assert thread.is_alive(), "the server did not start"
            yield f"http://127.0.0.1:{probe.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()
