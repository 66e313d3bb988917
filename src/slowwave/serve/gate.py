"""What stands before every request: who asks and from where, how much comes, the answer's headers, one log line."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from slowwave.errors import AccessError, QuotaError, SlowwaveError, UnknownKeyError
from slowwave.serve.access import Access
from slowwave.serve.answers import Json
from slowwave.serve.failures import status_of, told, told_as
from slowwave.serve.service import Service, log
from slowwave.store.base import Key
from slowwave.store.ids import new_id

COOKIE = "slowwave_key"  # the page keeps its key in it; HttpOnly, SameSite=Strict
OPEN = ("/healthz", "/readyz", "/openapi.json")  # without a key
STATIC = "/page/static/"  # style and script of the page, the same for everybody
DOORS = ("/v1/", "/mcp", "/metrics")  # where a key is needed before anything else; pages say so themselves
LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]", "::1", "testserver")
FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip", "via")
DRAINED = 4  # times as much as a request may have is read of one that has too much, and thrown away
HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "content-security-policy": "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; "
    "form-action 'self'; object-src 'none'",
}


class _TooLarge(Exception):
    pass


class Gate:
    """ASGI middleware around the whole application.

    max_body_bytes  of a request; imports may have ten times as many
    """

    def __init__(self, app: ASGIApp, service: Service, max_body_bytes: int) -> None:
        self.app = app
        self.service = service
        self.max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        state = scope.setdefault("state", {})
        state["request_id"] = request_id = new_id()
        start, status, telemetry = time.perf_counter(), 0, self.service.telemetry

        async def sending(message: Message) -> None:
            nonlocal status
            if state.get("too_large") and not status:
                raise _TooLarge  # whoever read the body may have taken its end for a broken one
            if message["type"] == "http.response.start":
                status = message["status"]
                out = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    if name not in out:
                        out[name] = value
                out["x-request-id"] = request_id
            await send(message)

        telemetry.running.inc()
        try:
            try:
                self._admit(scope, headers, state)
                await self.app(scope, self._counted(scope, headers, receive), sending)
            except _TooLarge:
                most = f"{self.max_body_bytes:,}"
                telemetry.refused.labels("too-large").inc()
                if not status:
                    state["too_large"] = False
                    if state.get("more_body", True):
                        await self._drained(receive)
                    body = told_as("TooLarge", f"a request may have {most} bytes; send it in parts")
                    await Json(body, 413)(scope, receive, sending)
            except SlowwaveError as error:
                await self._refuse(error, scope, receive, sending)
            except Exception as error:
                log.exception("request %s failed", request_id)
                if status:
                    raise
                await Json(told(error), 500)(scope, receive, sending)
        finally:
            telemetry.running.dec()
            access: Access | None = state.get("access")
            telemetry.answered(
                {
                    "request": request_id, "door": door_of(scope["path"]), "method": scope["method"],
                    "route": route_of(scope), "status": status or 499, "key": access.key if access else "",
                    "ms": round(1000 * (time.perf_counter() - start), 2),
                }
            )  # fmt: skip

    def _admit(self, scope: Scope, headers: Headers, state: dict[str, Any]) -> None:
        """Put who asks into the request's state, or turn it down."""
        path = scope["path"]
        if path in OPEN or path.startswith(STATIC):
            return
        given = given_key(headers)
        if self.service.keys.exist:
            key: Key | None = None
            if given is not None:
                check_origin(scope, headers)
                try:
                    state["access"], key = self._access(given)
                except UnknownKeyError:
                    if path.startswith(DOORS):
                        raise
                    return  # the page asks for another one
                state["key"] = key
            elif path.startswith(DOORS):
                raise UnknownKeyError("a key is needed; send it as `Authorization: Bearer sw_...`")
            else:
                check_origin(scope, headers)
                return
        else:
            check_local(scope, headers)
            check_origin(scope, headers)
            state["access"] = Access("local", readonly=self.service.readonly)
            key = None
        self.service.limits.admit(key, self.service.memory.clock())

    def _access(self, given: str) -> tuple[Access, Key]:
        access, key = self.service.keys.access(given)
        return Access(access.key, access.scopes, access.verbs, self.service.readonly), key

    async def _refuse(self, error: SlowwaveError, scope: Scope, receive: Receive, send: Send) -> None:
        status = status_of(error)
        self.service.telemetry.refused.labels(type(error).__name__).inc()
        await self.service.note_refusal(error, scope)
        answer = Json(told(error), status, refusal_headers(error))
        await answer(scope, receive, send)

    async def _drained(self, receive: Receive) -> None:
        """Read on for a while: many clients hear an answer only when they have sent all they had to say."""
        left = DRAINED * self.max_body_bytes
        while left > 0:
            message = await receive()
            left -= len(message.get("body", b""))
            if not message.get("more_body"):
                return

    def _counted(self, scope: Scope, headers: Headers, receive: Receive) -> Receive:
        """The same body, cut off where it is too large."""
        most = self.max_body_bytes * (10 if scope["path"] in ("/v1/import", "/import") else 1)
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > most:
            raise _TooLarge
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            scope["state"]["more_body"] = bool(message.get("more_body"))
            if seen > most:
                scope["state"]["too_large"] = True
                raise _TooLarge
            return message

        return counted


def refusal_headers(error: Exception) -> Mapping[str, str]:
    """What HTTP wants beside the status."""
    if isinstance(error, QuotaError):
        return {"retry-after": str(max(1, round(error.retry_seconds)))}
    if isinstance(error, UnknownKeyError):
        return {"www-authenticate": "Bearer"}
    return {}


def given_key(headers: Headers) -> str | None:
    """The key that a request brings: as a bearer, in X-API-Key, or in the page's cookie."""
    scheme, _, value = headers.get("authorization", "").partition(" ")
    if scheme.lower() in ("bearer", "token") and value.strip():
        return value.strip()
    if plain := headers.get("x-api-key"):
        return plain
    return cookie_parser(headers.get("cookie", "")).get(COOKIE) or None


def check_local(scope: Scope, headers: Headers) -> None:
    """Without keys, only this machine may ask: by its own name, since a page on the web can have its name point here;
    and not through a proxy, behind which everybody looks local."""
    client = scope.get("client")
    host = headers.get("host", "").rsplit(":", 1)[0] if not headers.get("host", "").endswith("]") else headers["host"]
    local = client is None or client[0] == "testclient" or _is_loopback(client[0])
    if not local or host.lower() not in LOCAL_NAMES or any(name in headers for name in FORWARDED):
        raise AccessError(
            "without keys this server answers this machine alone; make one with: slowwave keys add, and send it as "
            "`Authorization: Bearer sw_...`"
        )


def check_origin(scope: Scope, headers: Headers) -> None:
    """No page of another origin may ask: CORS is closed, and so are requests that browsers send without asking it."""
    origin = headers.get("origin")
    foreign = origin is not None and (
        origin == "null" or urlsplit(origin).netloc.lower() != headers.get("host", "").lower()
    )
    if foreign or headers.get("sec-fetch-site", "none") in ("cross-site", "same-site"):
        if scope["method"] in ("GET", "HEAD") and headers.get("sec-fetch-mode") == "navigate" and not foreign:
            return  # a link from elsewhere to a page; SameSite=Strict leaves the cookie out
        raise AccessError("this server answers no page of another origin")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def door_of(path: str) -> str:
    """rest, proxy, mcp or page."""
    if path.startswith(("/v1/chat/", "/v1/models")):
        return "proxy"
    return "rest" if path.startswith("/v1/") else "mcp" if path.startswith("/mcp") else "page"


def route_of(scope: Scope) -> str:
    """The route's pattern, so that ids make no metric of their own."""
    route = scope.get("route")
    pattern = getattr(route, "path", None)
    if isinstance(pattern, str):
        return pattern
    return "/mcp" if scope["path"].startswith("/mcp") else "other"
