"""The gate: this machine alone until there is a key; keys checked, limited, revoked; nothing secret in logs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from doors import Door
from fastapi.testclient import TestClient

from slowwave import Memory
from slowwave.store.base import AUDIT
from ticking import Clock

ANA = {"user_id": "ana"}


def test_without_a_key_this_machine_may_do_everything(door: Door) -> None:
    assert door.post("/v1/memories", {"content": "hi", **ANA}).status_code == 200
    assert door.get("/metrics").status_code == 200


@pytest.mark.parametrize(
    "headers",
    [{"host": "evil.example"}, {"host": "localhost.evil.example:80"}, {"x-forwarded-for": "1.2.3.4"}, {"via": "1.1 p"}],
)
def test_without_a_key_nobody_comes_through_a_proxy_or_by_another_name(door: Door, headers: dict[str, str]) -> None:
    answer = door.get("/v1/stats", params=ANA, headers=headers)
    assert (answer.status_code, answer.json()["error"]["type"]) == (403, "AccessError")


def test_without_a_key_another_machine_is_turned_away(door: Door) -> None:
    far = TestClient(door.app, client=("192.0.2.7", 5000))
    for path in ("/v1/stats?user_id=ana", "/mcp", "/metrics"):
        assert far.get(path).status_code == 403
    assert far.get("/healthz").status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"origin": "http://a:b"},
    ],
)
def test_no_page_of_another_origin_may_ask(door: Door, headers: dict[str, str]) -> None:
    for keyed in (False, True):
        key = door.key(ANA) if keyed else {}
        answer = door.post("/v1/memories", {"content": "hi", **ANA}, headers={**headers, **key})
        assert answer.status_code == 403, answer.text
        assert "access-control-allow-origin" not in answer.headers
    assert door.memory.list(**ANA) == []


def test_cors_is_closed(door: Door) -> None:
    asked = {"origin": "https://evil.example", "access-control-request-method": "POST"}
    answer = door.client.options("/v1/memories", headers=asked)
    assert answer.status_code in (403, 405)
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_from_the_first_key_on_every_door_needs_one_even_when_all_are_revoked(door: Door) -> None:
    key = door.key(ANA)
    assert door.get("/v1/stats", headers=key).status_code == 200
    for path in ("/v1/stats?user_id=ana", "/mcp", "/metrics", "/v1/models"):
        answer = door.get(path)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer"), path
    for secret in ("", "sw_x", "Bearer", key["authorization"][:-1] + ("A" if key["authorization"][-1] != "A" else "B")):
        assert door.get("/v1/stats", headers={"authorization": secret}).status_code == 401
    door.service.keys.revoke(door.service.keys.list()[0].id)
    assert door.get("/v1/stats", headers=key).status_code == 401
    assert door.get("/v1/stats", params=ANA).status_code == 401


def test_a_key_comes_in_either_header(door: Door) -> None:
    secret = door.key(ANA)["authorization"].removeprefix("Bearer ")
    assert door.get("/v1/stats", headers={"x-api-key": secret}).status_code == 200
    assert door.get("/v1/stats", headers={"authorization": f"Token {secret}"}).status_code == 200


def test_a_key_ends_at_its_time(door: Door, clock: Clock) -> None:
    key = door.key(ANA, expires=clock() + timedelta(hours=1))
    assert door.get("/v1/stats", headers=key).status_code == 200
    clock.now += timedelta(hours=2)
    assert door.get("/v1/stats", headers=key).status_code == 401


def test_a_key_does_what_its_verbs_say_and_no_more(door: Door) -> None:
    door.memory.add("hi", **ANA)
    reader = door.key(ANA, verbs=["read"])
    assert door.post("/v1/search", {"query": "hi"}, headers=reader).status_code == 200
    refused = [
        door.post("/v1/memories", {"content": "x"}, headers=reader),
        door.post("/v1/forget", {"all": True}, headers=reader),
        door.post("/v1/erase", {"all": True}, headers=reader),
        door.post("/v1/sleep", headers=reader),
        door.post("/v1/jobs", headers=reader),
        door.get("/v1/keys", headers=reader),
        door.get("/v1/held", headers=reader),
        door.get("/v1/scopes", headers=reader),
        door.get("/metrics", headers=reader),
    ]
    assert {answer.status_code for answer in refused} == {403}
    everyday = door.key(ANA)
    trusting = {"content": "x", "trusted": True}
    assert door.post("/v1/memories", trusting, headers=everyday).status_code == 403
    assert door.post("/v1/erase", {"all": True}, headers=everyday).status_code == 403


def test_only_a_key_of_everything_makes_keys(door: Door) -> None:
    narrow = door.key(ANA, verbs=["all"])
    wide = {"name": "wider", "verbs": ["all"]}
    for answer in (door.post("/v1/keys", wide, headers=narrow), door.get("/v1/keys", headers=narrow)):
        assert answer.status_code == 403
    whole = door.key(verbs=["all"])
    made = door.post("/v1/keys", {"scopes": [ANA], "verbs": ["read"]}, headers=whole).json()
    assert made["key"].startswith(f"sw_{made['id']}_")
    listed = door.get("/v1/keys", headers=whole)
    assert made["key"] not in listed.text
    assert door.client.delete(f"/v1/keys/{made['id']}", headers=whole).json()["revoked"]
    assert door.get("/v1/stats", headers={"x-api-key": made["key"]}).status_code == 401


def test_the_journal_knows_who_made_keys_and_who_wrote(door: Door) -> None:
    key = door.key(ANA)
    id_ = door.service.keys.list()[0].id
    door.post("/v1/memories", {"content": "hi"}, headers=key)
    assert door.memory.log(**ANA)[0]["params"]["by"] == id_
    audit = door.memory.store.view(AUDIT).operations()
    assert [(row["verb"], row["params"]["key"]) for row in audit] == [("add-key", id_)]


def test_a_refusal_is_in_the_journal_once_a_minute(door: Door) -> None:
    reader = door.key(ANA, verbs=["read"])
    for _ in range(3):
        door.post("/v1/memories", {"content": "x"}, headers=reader)
        door.post("/v1/search", {"query": "x", "user_id": "ben"}, headers=reader)
    door.get("/v1/stats", headers={"authorization": "Bearer wrong"})
    rows = [row["params"] for row in door.memory.store.view(AUDIT).operations(verb="refuse")]
    assert sorted((row["reason"], row["by"]) for row in rows) == [
        ("AccessError", door.service.keys.list()[0].id),
        ("UnknownKeyError", ""),
    ]


def test_a_rate_and_a_quota_hold_and_say_when_to_come_back(door: Door) -> None:
    slow = door.key(ANA, limits={"requests_per_minute": 2})
    codes = [door.get("/v1/stats", headers=slow).status_code for _ in range(4)]
    assert codes == [200, 200, 429, 429]
    few = door.key(ANA, limits={"records_per_day": 3})
    assert door.post("/v1/memories", {"content": ["a", "b"]}, headers=few).status_code == 200
    answer = door.post("/v1/memories", {"content": ["c", "d"]}, headers=few)
    assert (answer.status_code, int(answer.headers["retry-after"]) > 0) == (429, True)
    assert door.post("/v1/memories", {"content": "c"}, headers=few).status_code == 200
    assert door.call("add_memory", {"content": "d"}, **few)["isError"]
    assert sorted(engram.text for engram in door.memory.list(**ANA)) == ["a", "b", "c"]


def test_what_was_used_today_is_known_after_a_restart(open_door: Callable[..., Door], open_memory: Any) -> None:
    door = open_door()
    few = door.key(ANA, limits={"requests_per_day": 3})
    assert [door.get("/v1/stats", headers=few).status_code for _ in range(2)] == [200, 200]
    door.service.limits.flush(force=True)
    again = open_door(open_memory())
    assert [again.get("/v1/stats", headers=few).status_code for _ in range(2)] == [200, 429]
    used = again.memory.store.usage("2000-01-01")
    assert ("requests", 2) in [(one.what, one.amount) for one in used]


def test_a_key_sees_its_own_use(door: Door) -> None:
    one, two = door.key(ANA), door.key({"user_id": "ben"})
    door.get("/v1/stats", headers=two)
    day = door.memory.clock().strftime("%Y-%m-%d")
    rows = door.get("/v1/usage", params={"since": day}, headers=one).json()["results"]
    assert {row["key"] for row in rows} == {door.service.keys.list()[0].id}


def test_too_large_a_request_is_turned_down_with_or_without_its_length(open_door: Callable[..., Door]) -> None:
    door = open_door(max_body_bytes=1000)
    body = b'{"user_id": "ana", "content": "' + b"x" * 2000 + b'"}'
    kind = {"content-type": "application/json"}
    assert door.client.post("/v1/memories", content=body, headers=kind).status_code == 413
    parts = (body[n : n + 100] for n in range(0, len(body), 100))
    assert door.client.post("/v1/memories", content=parts, headers=kind).status_code == 413
    assert door.client.post("/mcp/ana", content=body, headers=kind).status_code == 413
    assert door.memory.list(**ANA) == []


@pytest.mark.parametrize(
    ("chunks", "length", "heard"), [(20, True, 20), (1000, True, 40), (20, False, 20), (11, False, 11)]
)
def test_who_says_too_much_is_heard_out_for_a_while_before_the_answer(
    open_door: Callable[..., Door], chunks: int, length: bool, heard: int
) -> None:
    door = open_door(max_body_bytes=1000)
    left, answered = [*[True] * (chunks - 1), False], list[Any]()
    headers = [(b"host", b"localhost"), (b"content-type", b"application/json")]
    headers += [(b"content-length", str(100 * chunks).encode())] if length else []
    scope = {
        "type": "http", "http_version": "1.1", "method": "POST", "path": "/v1/memories", "raw_path": b"/v1/memories",
        "query_string": b"", "headers": headers, "client": ("127.0.0.1", 1), "server": ("localhost", 80),
        "scheme": "http", "root_path": "", "state": {},
    }  # fmt: skip

    async def receive() -> Any:
        assert left, "it waits for what never comes"
        return {"type": "http.request", "body": b"x" * 100, "more_body": left.pop(0)}

    async def send(message: Any) -> None:
        answered.append(message.get("status"))

    asyncio.run(door.app(scope, receive, send))
    assert answered[0] == 413
    assert chunks - len(left) == heard


def test_every_answer_has_its_headers(door: Door) -> None:
    for path in ("/healthz", "/v1/stats?user_id=ana", "/nowhere", "/v1/stats", "/openapi.json"):
        headers = door.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert len(headers["x-request-id"]) == 26
        assert "server" not in headers


def test_neither_secrets_nor_texts_are_logged(door: Door, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    key = door.key(ANA)
    door.post("/v1/memories", {"content": "Zanzibar"}, headers=key)
    door.post("/v1/search", {"query": "Quokka"}, headers=key)
    door.call("search_memories", {"query": "Wombat"}, **key)
    door.get("/v1/stats?user_id=Narwhal", headers=key)
    secret = key["authorization"].rsplit("_", 1)[-1]
    text = "\n".join(record.getMessage() for record in caplog.records if record.name != "httpx2")
    assert '"route": "/v1/memories"' in text
    for word in (secret, "Zanzibar", "Quokka", "Wombat", "Narwhal"):
        assert word not in text


def test_an_unforeseen_error_says_nothing_of_itself(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("the secret of the house")

    monkeypatch.setattr(door.memory.store, "view", broken)
    answer = door.get("/v1/stats", params=ANA)
    assert answer.status_code == 500
    assert "secret" not in answer.text


def test_a_readonly_server_changes_nothing(open_door: Callable[..., Door], open_memory: Callable[..., Memory]) -> None:
    memory = open_memory()
    memory.add("hi", **ANA)
    door = open_door(memory, readonly=True)
    assert door.post("/v1/search", {"query": "hi", **ANA}).status_code == 200
    for path, body in (("/v1/memories", {"content": "x"}), ("/v1/forget", {"all": True}), ("/v1/erase", {"all": True})):
        assert door.post(path, {**body, **ANA}).status_code == 403
    assert [tool["name"] for tool in door.rpc("tools/list", {}, "/mcp/ana")["result"]["tools"]] == [
        "search_memories", "recall_context", "get_memory", "memory_history",
    ]  # fmt: skip


def test_health_says_whether_the_store_answers(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    assert door.get("/readyz").json() == {"status": "ok"}
    door.memory.store.close()
    assert door.get("/readyz").status_code == 503
    assert door.get("/healthz").status_code == 200
