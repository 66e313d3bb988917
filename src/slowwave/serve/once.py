"""A request that is sent twice is done once: whoever names it (`Idempotency-Key`) gets the first answer again.

A client that heard nothing, for the network failed or it was too slow, can send the same again without fear. Answers
are kept in this process for ten minutes; after a restart the verbs' own rules hold: adding again is a no-op.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import OrderedDict
from dataclasses import dataclass, field

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from slowwave.serve.answers import Json
from slowwave.serve.failures import told_as

HEADER = "idempotency-key"
KEPT_SECONDS, MOST, MOST_BYTES = 600.0, 5_000, 32_000_000
LARGE = 2_000_000  # an answer of more bytes is not kept
AGAIN = (429, 500, 502, 503, 504)  # the next try may go better


@dataclass
class _Answer:
    """An answer that is under way or kept: `messages` as ASGI has them; none where it was not worth keeping."""

    body: str
    since: float
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    messages: list[Message] = field(default_factory=list)
    size: int = 0


class Once:
    """ASGI middleware, inside the gate: by then it is known who asks, and nobody gets another's answer."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._kept: OrderedDict[tuple[str, ...], _Answer] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        name = Headers(scope=scope).get(HEADER, "") if scope["type"] == "http" else ""
        path = scope.get("path", "")
        if not name or scope["method"] not in ("POST", "PATCH", "DELETE") or not path.startswith("/v1/"):
            await self.app(scope, receive, send)
            return
        if path == "/v1/import":  # taking the same file in again is a no-op
            await self.app(scope, receive, send)
            return
        access = scope.get("state", {}).get("access")
        query = scope.get("query_string", b"").decode("latin-1")
        key = (access.key if access else "", scope["method"], path, query, name[:200])
        body = await _whole(receive)
        digest = hashlib.sha256(body).hexdigest()
        while (kept := self._kept.get(key)) is not None:
            if kept.body != digest:
                said = told_as("InputError", f"the {HEADER} {name:.60} was used for another request; take a new one")
                await Json(said, 422)(scope, receive, send)
                return
            await kept.ready.wait()
            if kept.messages:
                for message in kept.messages:
                    await send(message)
                return
            if self._kept.get(key) is kept:
                del self._kept[key]
        await self._first(key, _Answer(digest, time.monotonic()), body, scope, receive, send)

    async def _first(
        self, key: tuple[str, ...], answer: _Answer, body: bytes, scope: Scope, receive: Receive, send: Send
    ) -> None:
        self._kept[key] = answer
        messages: list[Message] = []
        whole = False

        async def sending(message: Message) -> None:
            nonlocal whole
            messages.append(message)
            answer.size += len(message.get("body", b""))
            if answer.size > LARGE:
                messages.clear()
            if message["type"] == "http.response.body" and not message.get("more_body"):
                whole = True
            await send(message)

        try:
            await self.app(scope, _again(body, receive), sending)
        finally:
            start = messages[0] if messages else {}
            kind = Headers(raw=start.get("headers", [])).get("content-type", "")
            if whole and start.get("status", 500) not in AGAIN and "event-stream" not in kind:
                answer.messages = messages
            else:
                self._kept.pop(key, None)
            answer.ready.set()
            self._clear()

    def _clear(self) -> None:
        now = time.monotonic()
        size = sum(answer.size for answer in self._kept.values())
        for key, answer in list(self._kept.items()):
            old = now - answer.since > KEPT_SECONDS
            if not (old or len(self._kept) > MOST or size > MOST_BYTES):
                return
            if answer.ready.is_set():
                size -= answer.size
                del self._kept[key]


async def _whole(receive: Receive) -> bytes:
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if message["type"] != "http.request" or not message.get("more_body"):
            return b"".join(parts)


def _again(body: bytes, receive: Receive) -> Receive:
    """The body that was read already, then what else comes."""
    given = False

    async def receiving() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receiving
