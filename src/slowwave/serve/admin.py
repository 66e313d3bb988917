"""REST for what goes on around the verbs: jobs and their events, quarantine, export and import, keys and their use."""

from __future__ import annotations

import asyncio
import json
import re
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path as File
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import Field
from starlette.background import BackgroundTask
from starlette.concurrency import iterate_in_threadpool
from starlette.requests import Request as Http
from starlette.responses import FileResponse, Response, StreamingResponse

from slowwave.errors import AccessError, InputError, NotFoundError
from slowwave.formats import FORMATS
from slowwave.records import Scope
from slowwave.serve import answers
from slowwave.serve.access import EVERYDAY, Access
from slowwave.serve.answers import Json
from slowwave.serve.jobs import Job
from slowwave.serve.keys import values
from slowwave.serve.rest import FAILURES
from slowwave.serve.service import Service
from slowwave.serve.shapes import Request, request_of
from slowwave.serve.uploads import without

Id = Annotated[str, Path(max_length=200)]
Field_ = Annotated[str | None, Query(max_length=256)]
SUFFIX = re.compile(r"[A-Za-z0-9._ -]{0,100}")
EVENT = {
    "type": "object",
    "required": ["event", "data"],
    "properties": {"event": {"type": "string"}, "data": {"type": "string", "description": "a job as JSON"}},
}
EVENTS: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/event-stream": {"schema": EVENT}}, "description": "a server-sent event for each change"}
}


class ScopeFields(Request):
    """A scope."""

    user_id: Annotated[str | None, Field(max_length=256)] = None
    agent_id: Annotated[str | None, Field(max_length=256)] = None
    run_id: Annotated[str | None, Field(max_length=256)] = None
    app_id: Annotated[str | None, Field(max_length=256)] = None


class KeyRequest(Request):
    """A new key."""

    name: Annotated[str, Field(max_length=200)] = ""
    scopes: Annotated[list[ScopeFields], Field(max_length=1000, default_factory=list)]
    verbs: Annotated[list[str], Field(default_factory=lambda: list(EVERYDAY))]
    limits: Annotated[dict[str, Annotated[int, Field(ge=0, lt=2**53)]], Field(default_factory=dict)]
    expires: str | None = None


def routes(service: Service) -> APIRouter:
    """All of them."""
    router = APIRouter(prefix="/v1", responses=FAILURES)
    _jobs(router, service)
    _quarantine(router, service)
    _transfer(router, service)
    _keys(router, service)
    return router


def _jobs(router: APIRouter, service: Service) -> None:
    sleep_request = request_of("sleep")

    def seen(http: Http, id: str) -> Job:
        access = service.access(http)
        access.need("sleep")
        job = service.jobs.get(id)
        if job is None or not access.reaches(job.scope):
            raise NotFoundError(f"there is no job {id!r:.60}; see GET /v1/jobs")
        return job

    def told_of(job: Job) -> dict[str, Any]:
        return job.to_dict()

    def start(http: Http, body: Any) -> Job:
        access = service.access(http)
        access.need("sleep")
        scope = access.scope(body.scope())
        return service.jobs.start("sleep", scope, body.arguments(), access.key)

    async def sleep_events(http: Http, body: Any) -> Response:
        job = await asyncio.to_thread(start, http, body)
        return _events(service.jobs.events(job.id))

    async def start_job(http: Http, body: Any) -> Response:
        job = await asyncio.to_thread(start, http, body)
        return Json(told_of(job), 202, {"location": f"/v1/jobs/{job.id}"})

    for endpoint in (sleep_events, start_job):
        endpoint.__annotations__ = {"http": Http, "body": sleep_request, "return": Response}
    router.add_api_route("/sleep/events", sleep_events, methods=["POST"], operation_id="sleep_events",
                         summary="Sleep, and tell how far it is", responses=EVENTS)  # fmt: skip
    router.add_api_route(
        "/jobs",
        start_job,
        methods=["POST"],
        operation_id="start_job",
        status_code=202,
        summary="Start a night that goes on by itself",
        responses={202: {"model": answers.JobState}},
    )

    @router.get(
        "/jobs", operation_id="jobs", summary="Jobs, newest first", responses={200: {"model": answers.JobStates}}
    )
    async def jobs(http: Http, limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> Response:
        access = service.access(http)
        access.need("sleep")
        found = [job for job in await asyncio.to_thread(service.jobs.list, 1000) if access.reaches(job.scope)]
        return Json({"results": [told_of(job) for job in found[:limit]]})

    @router.get("/jobs/{id}", operation_id="job", summary="One job", responses={200: {"model": answers.JobState}})
    async def job(http: Http, id: Id) -> Response:
        return Json(told_of(await asyncio.to_thread(seen, http, id)))

    @router.delete("/jobs/{id}", operation_id="cancel_job", summary="Cancel a job; what it did so far is not written",
                   responses={200: {"model": answers.JobState}})  # fmt: skip
    async def cancel(http: Http, id: Id) -> Response:
        await asyncio.to_thread(seen, http, id)
        return Json(told_of(await asyncio.to_thread(service.jobs.cancel, id)))

    @router.get("/jobs/{id}/events", operation_id="job_events", summary="Follow a job", responses=EVENTS)
    async def events(http: Http, id: Id) -> Response:
        await asyncio.to_thread(seen, http, id)
        return _events(service.jobs.events(id))


def _events(jobs: Iterator[Job]) -> Response:
    """Each change of a job as a server-sent event: `progress` until it has ended, then its state."""

    async def lines() -> AsyncIterator[bytes]:
        async for job in iterate_in_threadpool(jobs):
            name = "progress" if job.state in ("waiting", "running") else job.state
            yield f"event: {name}\ndata: {json.dumps(job.to_dict(), default=str)}\n\n".encode()

    return StreamingResponse(lines(), media_type="text/event-stream")


def _quarantine(router: APIRouter, service: Service) -> None:
    memory = service.memory

    def asked(http: Http, fields: dict[str, Any]) -> tuple[Access, Scope]:
        access = service.access(http)
        access.need("review")
        return access, access.scope(fields)

    @router.get("/held", operation_id="held", summary="What is kept apart, and why",
                responses={200: {"model": answers.HeldStates}})  # fmt: skip
    async def held(
        http: Http, limit: Annotated[int, Query(ge=1, le=1000)] = 100, decided: bool = False,
        user_id: Field_ = None, agent_id: Field_ = None, run_id: Field_ = None, app_id: Field_ = None,
    ) -> Response:  # fmt: skip
        fields = {"user_id": user_id, "agent_id": agent_id, "run_id": run_id, "app_id": app_id}
        access, scope = asked(http, fields)
        found = await service.call(access, memory.held, limit=limit, decided=decided, **scope.to_dict())
        return Json({"results": [answers.held(one) for one in found]})

    def decision(name: str, does: Callable[..., Any], says: str) -> None:
        async def decide(http: Http, id: Id, body: ScopeFields) -> Response:
            access, scope = asked(http, body.scope())
            report = await service.call(access, does, id, **scope.to_dict())
            return Json(report.to_dict())

        router.add_api_route(f"/held/{{id}}/{name}", decide, methods=["POST"], operation_id=name, summary=says,
                             responses={200: {"model": answers.Added}})  # fmt: skip

    decision("release", memory.release, "What was kept apart becomes a record")
    decision("drop", memory.drop, "What was kept apart goes for good")


def _transfer(router: APIRouter, service: Service) -> None:
    memory = service.memory

    @router.get("/export", operation_id="export", summary="The scope's records as JSON lines; nothing is left out",
                responses={200: {"content": {"application/jsonl": {"schema": {"type": "string"}}}}})  # fmt: skip
    async def export(
        http: Http, user_id: Field_ = None, agent_id: Field_ = None, run_id: Field_ = None, app_id: Field_ = None
    ) -> Response:
        access = service.access(http)
        access.need("export")
        scope = access.scope({"user_id": user_id, "agent_id": agent_id, "run_id": run_id, "app_id": app_id})
        folder = tempfile.TemporaryDirectory(prefix="slowwave-export-")
        file = File(folder.name) / "memory.jsonl"
        try:
            await service.call_slow(access, memory.export, file, **scope.to_dict())
        except BaseException:
            folder.cleanup()
            raise
        return FileResponse(file, media_type="application/jsonl", filename="memory.jsonl",
                            background=BackgroundTask(folder.cleanup))  # fmt: skip

    @router.post("/import", operation_id="import", summary="Take in a file of another system, or an export",
                 responses={200: {"model": answers.Arrived}},
                 openapi_extra={"requestBody": {"required": True, "content": {"application/octet-stream": {
                     "schema": {"type": "string", "format": "binary"}}}}})  # fmt: skip
    async def import_(
        http: Http,
        filename: Annotated[str, Query(max_length=100, description="its name, such as conversations.json")] = "",
        format: Annotated[str | None, Query(description=f"one of {', '.join(FORMATS)}; else the data tells")] = None,
        dry_run: bool = False, rehome: bool = False, trusted: bool = False,
        user_id: Field_ = None, agent_id: Field_ = None, run_id: Field_ = None, app_id: Field_ = None,
    ) -> Response:  # fmt: skip
        access = service.access(http)
        access.need("import")
        scope = access.scope({"user_id": user_id, "agent_id": agent_id, "run_id": run_id, "app_id": app_id})
        chosen = {"format": format, "dry_run": dry_run, "rehome": rehome, "trusted": service.trusted(access, trusted)}
        if not SUFFIX.fullmatch(filename) or filename in (".", ".."):
            raise InputError(f"filename is {filename!r:.60}; give a plain name such as conversations.json")
        with tempfile.TemporaryDirectory(prefix="slowwave-import-") as folder:
            file = File(folder) / (filename or "upload")
            with file.open("wb") as out:
                async for part in http.stream():
                    out.write(part)
            with without(folder):
                arrival = await service.call_slow(access, memory.import_, file, **chosen, **scope.to_dict())
        out_ = arrival.to_dict()
        return Json({**out_, "path": filename})


def _keys(router: APIRouter, service: Service) -> None:
    @router.get(
        "/keys", operation_id="keys", summary="Every key there ever was", responses={200: {"model": answers.KeyStates}}
    )
    async def keys(http: Http) -> Response:
        access = _over_all(service, http)
        return Json({"results": [values(key) for key in await service.call(access, service.keys.list)]})

    @router.post("/keys", operation_id="add_key", summary="Make a key; this is the only time that its secret is shown",
                 responses={200: {"model": answers.KeyMade}})  # fmt: skip
    async def add_key(http: Http, body: KeyRequest) -> Response:
        access = _over_all(service, http)
        scopes = [Scope(**{k: v for k, v in scope.scope().items() if v is not None}) for scope in body.scopes]
        key, secret = await service.call(
            access, service.keys.add, body.name, scopes=scopes, verbs=body.verbs, limits=body.limits,
            expires=body.expires, by=access.key,
        )  # fmt: skip
        return Json({**values(key), "key": secret})

    @router.delete("/keys/{id}", operation_id="revoke_key", summary="From now on the key opens nothing",
                   responses={200: {"model": answers.KeyState}})  # fmt: skip
    async def revoke_key(http: Http, id: Id) -> Response:
        access = _over_all(service, http)
        return Json(values(await service.call(access, service.keys.revoke, id, by=access.key)))

    @router.get("/usage", operation_id="usage", summary="What keys have used, by day; of one's own key, or of all",
                responses={200: {"model": answers.Rows}})  # fmt: skip
    async def usage(http: Http, since: Annotated[str | None, Query(pattern=r"^\d{4}-\d\d-\d\d$")] = None) -> Response:
        access = service.access(http)
        rows = await service.call(access, service.limits.used, since or datetime.now(UTC).strftime("%Y-%m-%d"))
        everything = access.may("keys") and not access.scopes
        return Json({"results": [row._asdict() for row in rows if everything or row.key == access.key]})


def _over_all(service: Service, http: Http) -> Access:
    """Access to keys: only one that reaches every scope may make others."""
    access = service.access(http)
    access.need("keys")
    if access.scopes:
        raise AccessError(f"the key {access.key} reaches some scopes alone; only one that reaches all may see to keys")
    return access
