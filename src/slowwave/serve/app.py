"""The application: every door around one memory, behind the gate."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from slowwave import __version__
from slowwave.errors import SlowwaveError
from slowwave.memory import Memory
from slowwave.serve import admin
from slowwave.serve.answers import Json
from slowwave.serve.failures import status_of, told, told_as
from slowwave.serve.gate import Gate, refusal_headers
from slowwave.serve.jobs import Jobs
from slowwave.serve.mcp_server import HttpDoor
from slowwave.serve.once import Once
from slowwave.serve.proxy import Proxy, Upstream, absent
from slowwave.serve.rest import Rest
from slowwave.serve.service import Service

SAYS = (
    "Memory for AI agents. Every request names a scope (user_id, agent_id, run_id, app_id) or has a key that reaches "
    "one alone; fields are the arguments of the Python class `slowwave.Memory`."
)


def create_app(
    memory: Memory,
    *,
    readonly: bool = False,
    workers: int = 4,
    max_body_bytes: int = 4_000_000,
    jobs: Jobs | None = None,
    upstream: Upstream | None = None,
    close_memory: bool = False,
) -> FastAPI:
    """An ASGI application that serves a memory: REST, MCP, the page, the proxy.

    readonly        nothing can be changed through it
    workers         threads for what takes milliseconds
    max_body_bytes  of a request; an import may have ten times as many
    jobs            what runs long work; None keeps it in this process
    upstream        the endpoint to which /v1/chat/completions forwards
    close_memory    close the memory when the application ends

    `app.state.service` is what all doors share, see `slowwave.serve.service`.
    """
    service = Service(memory, readonly=readonly, workers=workers, jobs=jobs)

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for enter in app.state.lives:
                await stack.enter_async_context(enter())
            yield
        service.close()
        if close_memory:
            memory.close()

    app = FastAPI(
        title="slowwave", version=__version__, description=SAYS, lifespan=life, docs_url=None, redoc_url=None,
        default_response_class=Json,
    )  # fmt: skip
    app.state.service, app.state.lives = service, []
    app.include_router(Rest(service).router)
    app.include_router(admin.routes(service))
    _health(app, service)
    _proxy(app, service, upstream)
    door = HttpDoor(service, max_body_bytes)
    app.state.lives.append(door.life)
    app.router.routes += [Route("/mcp", endpoint=door), Mount("/mcp", app=door)]
    _page(app, service)
    _errors(app, service)
    app.add_middleware(Once)
    app.add_middleware(Gate, service=service, max_body_bytes=max_body_bytes)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return app


def _health(app: FastAPI, service: Service) -> None:
    @app.get("/healthz", include_in_schema=False)
    async def healthz() -> Response:
        return Json({"status": "ok", "version": __version__})

    @app.get("/readyz", include_in_schema=False)
    async def readyz() -> Response:
        problem = await service.trouble()
        return Json({"status": problem or "ok"}, 503 if problem else 200)

    @app.get("/metrics", include_in_schema=False)
    async def metrics(request: Request) -> Response:
        service.access(request).need("metrics")
        return Response(service.telemetry.page(), media_type="text/plain; version=0.0.4")


def _proxy(app: FastAPI, service: Service, upstream: Upstream | None) -> None:
    if upstream is None:
        app.include_router(absent(service))
        return
    proxy = Proxy(service, upstream)
    app.include_router(proxy.router)

    @asynccontextmanager
    async def life() -> AsyncIterator[None]:
        async with proxy.client:
            yield

    app.state.lives.append(life)


def _page(app: FastAPI, service: Service) -> None:
    """The page, where it is: `slowwave.serve.page.routes(service)` gives its routes."""
    if find_spec("slowwave.serve.page") is not None:
        app.router.routes.extend(import_module("slowwave.serve.page").routes(service))


def _errors(app: FastAPI, service: Service) -> None:
    async def ours(request: Request, error: Exception) -> Response:
        await service.note_refusal(error, request.scope)
        return Json(told(error), status_of(error), refusal_headers(error))

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"] if part != "body")
        return Json(told_as("InputError", f"{place or 'the body'}: {first['msg']}; see /openapi.json"), 422)

    async def plain(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return Json(told_as("HTTPError", f"{request.method} {request.url.path}: {error.detail}"), error.status_code,
                    error.headers)  # fmt: skip

    handlers: list[tuple[type[Exception], Callable[[Request, Exception], Awaitable[Response]]]] = [
        (SlowwaveError, ours), (RequestValidationError, invalid), (HTTPException, plain),
    ]  # fmt: skip
    for kind, handler in handlers:
        app.add_exception_handler(kind, handler)


def _openapi(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        schema = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        schema["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        schema["security"] = [{"key": []}, {}]
        for path in schema["paths"].values():
            for operation in path.values():
                operation["responses"].pop("422", None)
        for name in ("HTTPValidationError", "ValidationError"):
            schema["components"]["schemas"].pop(name, None)
        app.openapi_schema = schema
    return app.openapi_schema
