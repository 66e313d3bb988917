"""A real HTTP server on the loopback that stands in for an OpenAI-compatible endpoint, and says what a test scripts."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Said = dict[str, Any] | tuple[int, dict[str, Any]] | tuple[int, dict[str, Any], dict[str, str]] | bytes


@dataclass
class StandIn:
    """The server's side of a test.

    script  a request's JSON -> what to answer: a body, (status, body), (status, body, headers), or raw bytes
    asked   the JSON of every request so far; `headers` likewise
    """

    url: str = ""
    script: Callable[[dict[str, Any]], Said] = lambda request: said("hello")
    asked: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)


def said(text: str | None, finish: str = "stop", usage: bool = True, **message: Any) -> dict[str, Any]:
    """A chat completion."""
    body: dict[str, Any] = {
        "id": "x", "object": "chat.completion", "created": 0, "model": "m",
        "choices": [
            {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": text, **message}}
        ],
    }  # fmt: skip
    if usage:
        body["usage"] = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
    return body


def failed(status: int, message: str, headers: dict[str, str] | None = None, **more: Any) -> Said:
    """An error as OpenAI words it."""
    return status, {"error": {"message": message, "type": "t", "param": None, "code": None, **more}}, headers or {}


@contextmanager
def standing_in() -> Iterator[StandIn]:
    """A stand-in that serves while the block runs."""
    there = StandIn()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            there.asked.append(request)
            there.headers.append({name.lower(): value for name, value in self.headers.items()})
            answer = there.script(request)
            status, headers = 200, {}
            if isinstance(answer, tuple):
                status, answer, headers = answer[0], answer[1], answer[2] if len(answer) > 2 else {}
            body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            try:
                self.send_response(status)
                for name, value in {"Content-Type": "application/json", **headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            except OSError:
                pass  # the client has given up

        def log_message(self, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    there.url = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        yield there
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
