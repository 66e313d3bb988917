"""The OpenAPI description is what the signatures say, and no request that it allows (or nearly) breaks the server."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import schemathesis
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance

from slowwave import Memory, Scope
from slowwave.records import SCOPE_FIELDS
from slowwave.serve import create_app
from slowwave.serve.shapes import Request, request_of


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with Memory(tmp_path_factory.mktemp("schema") / "a.db", embedder="fake", durable=False) as memory:
        memory.add(["I live in Porto", "I moved to Lisbon"], speaker="Ana", user_id="ana")
        with TestClient(create_app(memory), raise_server_exceptions=False) as client:
            yield client
        assert memory.check() == []


@pytest.fixture(scope="module")
def app(client: TestClient) -> Any:
    return client.app


EXAMPLES = 6  # of each kind for each operation


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_no_request_that_the_description_allows_or_nearly_breaks_the_server(
    client: TestClient, app: Any, mode: GenerationMode
) -> None:
    schema = schemathesis.openapi.from_asgi("/openapi.json", app)
    checks = [not_a_server_error, content_type_conformance, response_schema_conformance]
    _, secret = app.state.service.keys.add("fuzz", scopes=[Scope(user_id="ana")], verbs=["all"])
    key = {"authorization": f"Bearer {secret}"}  # reaches one scope, which need not be named: so most requests get far
    tried = far = 0
    for result in schema.get_all_operations():
        operation = result.ok()

        @given(case=operation.as_strategy(generation_mode=mode))
        @settings(
            max_examples=EXAMPLES, deadline=None, derandomize=True, phases=(Phase.generate,), database=None,
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        def asks(case: schemathesis.Case) -> None:
            nonlocal tried, far
            answer = case.call_and_validate(session=client, checks=checks, headers=key)
            tried, far = tried + 1, far + (answer.status_code < 400)

        try:
            asks()
        except Unsatisfiable:
            continue  # nothing nearly right can be made of an operation without arguments
    assert tried > 100
    assert mode is GenerationMode.NEGATIVE or far > 30


ARGUMENTS = {
    "search": "search", "add": "add", "update": "update", "link": "link", "sleep": "sleep", "undo": "undo",
    "forget": "forget", "erase": "erase",
}  # fmt: skip
OWN = {"self", "progress", "scope", "id", "count_tokens", "form", "model", "into", "adapters"}


def test_every_verb_is_there_and_its_fields_are_its_arguments(app: Any) -> None:
    described = app.openapi()
    operations = {
        operation["operationId"]: operation for path in described["paths"].values() for operation in path.values()
    }
    verbs = {"add", "search", "context", "answer", "get", "list", "update", "link", "history", "log", "sleep", "undo",
             "forget", "erase", "stats", "scopes", "export", "import", "held", "release", "drop"}  # fmt: skip
    assert verbs <= set(operations)
    for verb in ARGUMENTS:
        body = operations[verb]["requestBody"]["content"]["application/json"]["schema"]["$ref"].rsplit("/", 1)[-1]
        fields = described["components"]["schemas"][body]["properties"]
        given = inspect.signature(getattr(Memory, verb)).parameters
        assert set(fields) - {"id"} == (set(given) - OWN) | set(SCOPE_FIELDS), verb
    listed = {parameter["name"] for parameter in operations["list"]["parameters"]}
    assert listed == (set(inspect.signature(Memory.list).parameters) - OWN) | set(SCOPE_FIELDS)
    assert described["components"]["securitySchemes"]["key"]["scheme"] == "bearer"


def test_defaults_are_those_of_the_signature_but_for_trust() -> None:
    model = request_of("search")
    given = inspect.signature(Memory.search).parameters
    for name, field in model.model_fields.items():
        if name in given and not field.is_required():
            assert field.default == given[name].default, name
    assert request_of("add").model_fields["trusted"].default is False


def test_an_argument_that_there_is_not_is_an_error() -> None:
    with pytest.raises(ValueError, match="Extra inputs"):
        request_of("search")(query="x", userid="ana")
    assert issubclass(request_of("add"), Request)


def test_what_is_not_sent_is_not_passed() -> None:
    assert request_of("search")(query="x", user_id="ana").arguments() == {"query": "x"}
