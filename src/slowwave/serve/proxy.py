"""An OpenAI-compatible endpoint with a memory: what bears on the question goes into the prompt, the turn is remembered.

    client = OpenAI(base_url="http://127.0.0.1:8765/v1", api_key="sw_...")

What is recalled stands in a message of its own before the last one of the user, marked as data. The user's last message
and the reply are added as episodes (the reply as the assistant's) before a reply goes out, or at the end of a stream;
what the caller sends besides is passed on as it is.

The scope is the key's, or the request's `user` as user_id, or the headers X-Slowwave-User-Id, -Agent-Id, -Run-Id and
-App-Id. `X-Slowwave-Memory: off` passes a request on and touches nothing.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx2
from anyio import CancelScope
from fastapi import APIRouter
from starlette.requests import Request as Http
from starlette.responses import Response, StreamingResponse

from slowwave.errors import InputError, ModelBusyError, ModelError, SlowwaveError
from slowwave.ops.marking import as_data
from slowwave.records import SCOPE_FIELDS, Scope
from slowwave.serve.access import Access
from slowwave.serve.answers import Json
from slowwave.serve.service import Service, log

MOST_REPLY = 200_000  # characters of a reply that are remembered


@dataclass(frozen=True, slots=True)
class Upstream:
    """Where requests go on to.

    base_url    of an OpenAI-compatible endpoint, such as http://127.0.0.1:8080/v1
    api_key     for it; never the caller's key, which is slowwave's
    max_tokens  of memories that are put into a prompt
    timeout_seconds  for the whole of a reply
    """

    base_url: str
    api_key: str = ""
    max_tokens: int = 1000
    timeout_seconds: float = 600.0


@dataclass(slots=True)
class Turn:
    """One request: whose it is, what was asked, what came back so far."""

    access: Access
    scope: Scope
    question: str
    body: dict[str, Any]
    reply: str = ""
    failed: bool = False


class Proxy:
    """The routes /v1/chat/completions and /v1/models."""

    def __init__(self, service: Service, upstream: Upstream) -> None:
        self.service = service
        self.upstream = upstream
        self.client = httpx2.AsyncClient(timeout=upstream.timeout_seconds)
        self.router = APIRouter(prefix="/v1", include_in_schema=False)
        self.router.add_api_route("/chat/completions", self.complete, methods=["POST"])
        self.router.add_api_route("/models", self.models, methods=["GET"])

    async def models(self, http: Http) -> Response:
        """What the endpoint offers, as it says it."""
        self.service.access(http).need("search")
        try:
            got = await self.client.get(self._url("/models"), headers=self._headers())
        except httpx2.HTTPError as error:
            raise self._unreachable(error) from None
        return Response(got.content, got.status_code, media_type=got.headers.get("content-type"))

    async def complete(self, http: Http) -> Response:
        """One turn."""
        access = self.service.access(http)
        body = await self._body(http)
        if http.headers.get("x-slowwave-memory", "").lower() == "off":
            access.need("search")
            return await self._forward(body, None)
        access.need("context")
        remembers = access.may("add")
        scope = access.scope(scope_asked(http.headers, body))
        question = last_question(body["messages"])
        if question.strip():
            body["messages"] = await self._with_memories(access, scope, body["messages"], question)
        turn = Turn(access, scope, question, body)
        return await self._forward(body, turn if remembers and question.strip() else None)

    async def _body(self, http: Http) -> dict[str, Any]:
        try:
            body = json.loads(await http.body())
        except (ValueError, RecursionError) as error:
            raise InputError(f"the body is no JSON ({error}); send what the chat completions API takes") from None
        messages = body.get("messages") if isinstance(body, dict) else None
        if not isinstance(messages, list) or not messages or not all(isinstance(m, dict) for m in messages):
            raise InputError('the body has no "messages"; send what the chat completions API takes')
        return dict(body)

    async def _with_memories(
        self, access: Access, scope: Scope, messages: Sequence[dict[str, Any]], question: str
    ) -> list[dict[str, Any]]:
        """The messages with what is remembered before the user's last one; unchanged where nothing bears on it."""
        given = {"max_tokens": self.upstream.max_tokens, **scope.to_dict()}
        with self.service.telemetry.span("context", scope):
            made = await self.service.call(access, self.service.memory.context, question, **given)
        if not made.text:
            return list(messages)
        place = max(n for n, message in enumerate(messages) if message.get("role") == "user")
        recalled = {"role": "system", "content": as_data(made.text)}
        return [*messages[:place], recalled, *messages[place:]]

    async def _forward(self, body: dict[str, Any], turn: Turn | None) -> Response:
        request = self.client.build_request("POST", self._url("/chat/completions"), headers=self._headers(), json=body)
        try:
            got = await self.client.send(request, stream=True)
        except httpx2.TimeoutException as error:
            raise ModelBusyError(f"{self.upstream.base_url} did not answer in time ({type(error).__name__})") from None
        except httpx2.HTTPError as error:
            raise self._unreachable(error) from None
        kind = got.headers.get("content-type", "application/json")
        if kind.startswith("text/event-stream"):
            return StreamingResponse(self._streamed(got, turn), got.status_code, media_type="text/event-stream")
        try:
            content = await got.aread()
        except httpx2.HTTPError as error:
            raise self._unreachable(error) from None
        finally:
            await got.aclose()
        if turn is not None:
            turn.failed = got.status_code >= 400
            turn.reply = reply_of(content)
            self._count(content)
            await self._remember(turn)  # before the reply goes out: whoever has it can count on it
        return Response(content, got.status_code, media_type=kind)

    async def _streamed(self, got: httpx2.Response, turn: Turn | None) -> AsyncIterator[bytes]:
        """The events as they come; what they say is put together on the way."""
        held = b""
        try:
            async for part in got.aiter_bytes():
                held += part
                *lines, held = held.split(b"\n")
                if turn is not None and len(turn.reply) < MOST_REPLY:
                    turn.reply += "".join(map(said_in, lines))
                yield part
        except httpx2.HTTPError as error:
            if turn is not None:
                turn.failed = True
            log.warning("the stream from %s broke off: %s", self.upstream.base_url, type(error).__name__)
            broken = {"error": {"type": "ModelError", "message": "the endpoint broke off its reply"}}
            yield f"data: {json.dumps(broken)}\n\n".encode()
        finally:
            with CancelScope(shield=True):  # also where the caller has gone
                await got.aclose()
                if turn is not None:
                    turn.reply += said_in(held)
                    await self._remember(turn)

    async def _remember(self, turn: Turn) -> None:
        """Add the turn: what was asked, and what was answered. A reply that failed leaves the question alone."""
        messages = [{"role": "user", "content": turn.question}]
        if turn.reply.strip() and not turn.failed:
            messages.append({"role": "assistant", "content": turn.reply[:MOST_REPLY]})
        given = {"trusted": False, **turn.scope.to_dict()}
        try:
            self.service.admit_records(turn.access, len(messages))
            with self.service.telemetry.span("add", turn.scope):
                report = await self.service.call(turn.access, self.service.memory.add, messages, **given)
            for event, count in report.counts.items():
                self.service.telemetry.records.labels(event).inc(count)
        except SlowwaveError as error:  # the reply is out; what is lost is told in the log and in the metrics
            self.service.telemetry.refused.labels("turn-not-remembered").inc()
            log.error("a turn of the proxy was not remembered: %s", type(error).__name__)

    def _count(self, content: bytes) -> None:
        used = parsed(content).get("usage")
        for name, direction in (("prompt_tokens", "in"), ("completion_tokens", "out")):
            if isinstance(used, dict) and isinstance(used.get(name), int):
                self.service.telemetry.tokens.labels("proxy", direction).inc(max(0, used[name]))

    def _url(self, path: str) -> str:
        return self.upstream.base_url.rstrip("/") + path

    def _headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.upstream.api_key}"} if self.upstream.api_key else {}

    def _unreachable(self, error: Exception) -> ModelError:
        return ModelError(f"{self.upstream.base_url} cannot be reached ({type(error).__name__}); is it running?")


def scope_asked(headers: Mapping[str, str], body: Mapping[str, Any]) -> dict[str, Any]:
    """The scope that a request names: in headers, else its `user`."""
    named = {name: headers.get(f"x-slowwave-{name.replace('_', '-')}") for name in SCOPE_FIELDS}
    if not any(named.values()) and isinstance(body.get("user"), str) and body["user"]:
        named["user_id"] = body["user"]
    return named


def last_question(messages: Sequence[Mapping[str, Any]]) -> str:
    """The words of the user's last message; "" if there is none."""
    for message in reversed(messages):
        if message.get("role") == "user":
            return words_of(message.get("content"))
    return ""


def words_of(content: Any) -> str:
    """The text of a message, also where it comes in parts with pictures among them."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    texts = [part.get("text") for part in parts if isinstance(part, dict) and part.get("type") == "text"]
    return "\n".join(text for text in texts if isinstance(text, str))


def parsed(content: bytes) -> dict[str, Any]:
    """A JSON object; empty if it is none."""
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def reply_of(content: bytes) -> str:
    """What the first choice of a reply says."""
    return _choice(parsed(content), "message")


def said_in(line: bytes) -> str:
    """What one line of a stream adds to the first choice."""
    return _choice(parsed(line[5:]), "delta") if line.startswith(b"data:") else ""


def _choice(value: Mapping[str, Any], name: str) -> str:
    choices = value.get("choices")
    first = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
    if first.get("index", 0) != 0 or not isinstance(first.get(name), dict):
        return ""
    return words_of(first[name].get("content"))


def absent(service: Service) -> APIRouter:
    """The same routes where no endpoint was named: they say how to name one."""
    router = APIRouter(prefix="/v1", include_in_schema=False)

    async def complete(http: Http) -> Response:
        service.access(http)
        error = InputError("this server forwards to no model; start it with: slowwave serve --upstream URL")
        return Json({"error": {"type": "InputError", "message": str(error)}}, 501)

    router.add_api_route("/chat/completions", complete, methods=["POST"])
    return router
