"""REST under /v1: a route for each verb of Memory, its fields the verb's own arguments, its answer the verb's result.

Each route names the verb that a key needs, takes the effective scope from `Access.scope` and from nowhere else, and
runs the verb in a thread.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Path
from starlette.requests import Request as Http
from starlette.responses import Response

from slowwave.errors import InputError
from slowwave.memory import Memory
from slowwave.ops.quarantine import reason_of
from slowwave.records import RELATIONS, Item, Scope
from slowwave.serve import answers, whole
from slowwave.serve.access import Access
from slowwave.serve.answers import Json, line, record
from slowwave.serve.service import Service
from slowwave.serve.shapes import Request, query_parameters, request_of
from slowwave.store.base import Lines

Do = Callable[[Access, Scope, dict[str, Any]], Awaitable[Any]]
Id = Annotated[str, Path(max_length=200)]
FAILURES: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": answers.Failed, "description": "what was asked cannot be done; the message says why"},
}


class Rest:
    """The routes of the plain verbs; `router` holds them."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.memory: Memory = service.memory
        self.router = APIRouter(prefix="/v1", responses=FAILURES)
        self._reads()
        self._writes()
        self._removes()

    # -- the two kinds of route

    def post(
        self, path: str, verb: str, model: type[Request], answer: type, do: Do, says: str, method: str = "POST",
        id_in_path: bool = False, needs: str = "",
    ) -> None:  # fmt: skip
        """A route with a JSON body of the verb's arguments."""

        async def endpoint(http: Http, body: Request, id: str = "") -> Response:
            access = self.service.access(http)
            access.need(needs or verb)
            whole.prefer(http)
            given = body.arguments() | ({"id": id} if id_in_path else {})
            scope = access.scope(body.scope())
            with self.service.telemetry.span(verb, scope):
                return Json(await do(access, scope, given))

        parameters = [_parameter("http", Http), _parameter("body", model)]
        if id_in_path:
            parameters.append(_parameter("id", Id))
        self._route(path, method, verb, endpoint, parameters, answer, says)

    def get(
        self, path: str, verb: str, answer: type, do: Do, says: str, method: Callable[..., Any] | None,
        skip: tuple[str, ...] = (), id_in_path: str = "", operation: str = "",
    ) -> None:  # fmt: skip
        """A route whose arguments are in the URL."""
        asked = query_parameters(method, (*skip, id_in_path)) if method else query_parameters(lambda: None)
        fields = ("user_id", "agent_id", "run_id", "app_id")

        async def endpoint(http: Http, **given: Any) -> Response:
            access = self.service.access(http)
            access.need(verb)
            scope = access.scope({name: given.pop(name) for name in fields})
            if isinstance(given.get("filters"), str):
                given["filters"] = object_of("filters", given["filters"])
            return Json(await do(access, scope, given))

        parameters = [_parameter("http", Http), *asked]
        if id_in_path:
            parameters.insert(1, _parameter(id_in_path, Id))
        self._route(path, "GET", operation or verb, endpoint, parameters, answer, says)

    def _route(
        self, path: str, method: str, operation: str, endpoint: Any, parameters: Any, answer: type, says: str
    ) -> None:
        endpoint.__signature__ = inspect.Signature(parameters)
        endpoint.__name__ = operation
        self.router.add_api_route(
            path, endpoint, methods=[method], operation_id=operation, summary=says, response_class=Json,
            responses={200: {"model": answer}},
        )  # fmt: skip

    # -- reading

    def _reads(self) -> None:
        memory, call = self.memory, self.service.call
        telemetry = self.service.telemetry

        async def search(access: Access, scope: Scope, given: dict[str, Any]) -> Any:
            hits = await call(access, memory.search, **given, **scope.to_dict())
            telemetry.hits.inc(len(hits))
            return whole.hits(hits)

        async def context(access: Access, scope: Scope, given: dict[str, Any]) -> Any:
            made = await call(access, memory.context, **given, **scope.to_dict())
            return whole.context(made)

        async def answer(access: Access, scope: Scope, given: dict[str, Any]) -> Any:
            said = await self.service.call_slow(access, memory.answer, **given, **scope.to_dict())
            return whole.answer(said)

        async def get(access: Access, scope: Scope, given: dict[str, Any]) -> Any:
            return record(await call(access, memory.get, **given, **scope.to_dict()))

        async def list_(access: Access, scope: Scope, given: dict[str, Any]) -> Any:
            found = await call(access, memory.list, **given, **scope.to_dict())
            return {"results": [record(engram) for engram in found]}

        async def history(access: Access, scope: Scope, given: dict[str, Any]) -> Any:
            return {"results": [line(e) for e in await call(access, memory.history, **given, **scope.to_dict())]}

        async def log(access: Access, scope: Scope, given: dict[str, Any]) -> Any:
            rows = await call(access, memory.log, **given, **scope.to_dict())
            return {"results": [row if isinstance(row, dict) else _aside(row) for row in rows]}

        async def operation(access: Access, scope: Scope, given: dict[str, Any]) -> Any:
            lines = await call(access, memory.log, **given, **scope.to_dict())
            assert isinstance(lines, Lines)
            more = {"calls": [c.to_dict() for c in lines.calls], "rejected": [r.to_dict() for r in lines.rejected]}
            return {"results": [line(entry) for entry in lines], **more}

        async def stats(access: Access, scope: Scope, given: dict[str, Any]) -> Any:
            values = await call(access, memory.stats, **scope.to_dict())
            if access.scopes:  # where the file lies is its owner's business
                values.pop("path", None)
            return values

        self.post("/search", "search", request_of("search"), answers.Hits, search, "What bears on a query, best first")
        self.post("/context", "context", request_of("context", "search"), answers.Context, context,
                  "Prompt-ready text within a token budget")  # fmt: skip
        self.post("/answer", "answer", request_of("answer", "search", skip=("query",)), answers.Answer, answer,
                  "A short answer by the language model, with what it cites")  # fmt: skip
        self.get(
            "/memories", "list", answers.Records, list_, "Records in the order in which they happened", Memory.list
        )
        self.get("/memories/{id}", "get", answers.Record, get, "One record", Memory.get, id_in_path="id")
        self.get("/memories/{id}/history", "history", answers.Lines, history, "Every change to a record, oldest first",
                 Memory.history, id_in_path="id")  # fmt: skip
        self.get("/log", "log", answers.Rows, log, "Operations, newest first", Memory.log, skip=("op",))
        self.get("/log/{op}", "log", answers.Operation, operation, "One operation: its lines, calls and rejections",
                 Memory.get, skip=("id",), id_in_path="op", operation="operation")  # fmt: skip
        self.get("/stats", "stats", dict, stats, "Counts, times and bytes of the scope", Memory.stats)

        @self.router.get("/scopes", operation_id="scopes", summary="Every scope and its number of records",
                         responses={200: {"model": answers.Rows}})  # fmt: skip
        async def scopes(http: Http) -> Response:
            access = self.service.access(http)
            access.need("scopes")
            rows = await call(access, memory.scopes)
            seen = [(scope, count) for scope, count in rows if access.reaches(scope)]
            return Json({"results": [{"scope": scope.to_dict(), "records": count} for scope, count in seen]})

    # -- writing

    def _writes(self) -> None:
        memory, call = self.memory, self.service.call

        async def add(access: Access, scope: Scope, given: dict[str, Any]) -> Any:
            given["content"] = content = whole.content_of(given.get("content"), scope)
            given["trusted"] = self.service.trusted(access, given.get("trusted", False))
            self.service.admit_records(access, len(content) if isinstance(content, list) else 1)
            report = await call(access, memory.add, **given, **scope.to_dict())
            for event, count in report.counts.items():
                self.service.telemetry.records.labels(event).inc(count)
            return whole.report(report)

        async def update(access: Access, scope: Scope, given: dict[str, Any]) -> Any:
            if not access.may("trust") or access.key == "local":
                for text in (given.get("text") or "", given.get("attrs")):
                    if reason := reason_of(Item("", attrs={"": text})):
                        raise InputError(
                            f"the new text {reason}; give it to add, which keeps such text apart for review"
                        )
            report = await call(access, memory.update, **given, **scope.to_dict())
            return whole.report(report)

        async def link(access: Access, scope: Scope, given: dict[str, Any]) -> Any:
            given["relation"] = _relation(given["relation"])
            report = await call(access, memory.link, **given, **scope.to_dict())
            return whole.report(report)

        async def sleep(access: Access, scope: Scope, given: dict[str, Any]) -> Any:
            report = await self.service.call_slow(access, memory.sleep, **given, **scope.to_dict())
            return whole.report(report)

        async def undo(access: Access, scope: Scope, given: dict[str, Any]) -> Any:
            report = await call(access, memory.undo, **given, **scope.to_dict())
            return whole.report(report)

        self.post("/memories", "add", request_of("add"), answers.Added, add, "Take in a text, a message, or a list")
        self.post("/memories/{id}", "update", request_of("update", skip=("id",)), answers.Added, update,
                  "Correct a record; the old text stays in its history", "PATCH", id_in_path=True)  # fmt: skip
        self.post("/links", "link", request_of("link"), answers.Changed, link, "Tie two records")
        self.post(
            "/sleep", "sleep", request_of("sleep"), answers.Changed, sleep, "Consolidate, or propose to (dry_run)"
        )
        self.post("/undo", "undo", request_of("undo"), answers.Changed, undo, "Take back an operation")

    # -- forgetting

    def _removes(self) -> None:
        memory, call = self.memory, self.service.call

        async def forget(access: Access, scope: Scope, given: dict[str, Any]) -> Any:
            report = await call(access, memory.forget, **given, **scope.to_dict())
            return whole.report(report)

        async def erase(access: Access, scope: Scope, given: dict[str, Any]) -> Any:
            receipt = await self.service.call_slow(access, memory.erase, **given, **scope.to_dict())
            return receipt.to_dict()

        self.post("/forget", "forget", request_of("forget"), answers.Changed, forget, "Take records out of view")
        self.post(
            "/erase", "erase", request_of("erase"), answers.Erased, erase, "Remove records for good, with a receipt"
        )


def object_of(name: str, text: str) -> Mapping[str, Any]:
    """A JSON object in an URL; InputError if it is none."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{name} is {text!r:.80}, which is not JSON ({error})") from None
    if not isinstance(value, dict):
        raise InputError(f"{name} is {text!r:.80}; it must be a JSON object")
    return value


def _parameter(name: str, annotation: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation)


def _relation(name: str) -> str:
    if name not in RELATIONS:
        raise InputError(f"relation is {name!r:.60}; it must be one of {', '.join(RELATIONS)}")
    return name


def _aside(row: Any) -> dict[str, Any]:
    """A call of a model or what was turned down, with its operation."""
    told = row.call if hasattr(row, "call") else row.rejected
    return {"op": row.op, "recorded": row.recorded.isoformat(), **told.to_dict()}
