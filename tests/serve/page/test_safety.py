"""Nobody sees through the page what is not theirs, sends its forms from elsewhere, or runs a script on it."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from page_client import ALL, VIEWS, Markup, Page, key_for

from slowwave import Memory, Scope
from slowwave.serve.page import frame

Make = Callable[..., Page]
HOSTILE = [
    "<script>document.title='owned'</script>",
    '"><img src=x onerror="document.title=\'owned\'">',
    "'onmouseover='alert(1)",
    '<a href="javascript:alert(1)">click</a>',
    "{{ 7 * 7 }} {% for x in y %}",
    "</textarea></title><svg onload=alert(1)>",
    "<style>body{display:none}</style><meta http-equiv=refresh content='0;url=//evil'>",
]
POSTS = ("/nights", "/nights/{op}/undo", "/memory/{id}/correct", "/memory/{id}/forget", "/memory/{id}/erase", "/import",
         "/import/x", "/held/x", "/keys", "/keys/x/revoke", "/logout", "/theme", "/login")  # fmt: skip


def hostile(memory: Memory) -> str:
    """Records with markup in every place that a record has; the id of one."""
    for text in HOSTILE:
        plain = text.replace('"', "")[:60]
        memory.add(text, speaker=text[:200], session=text, origin=text, attrs={"note": text, plain: 1},
                   user_id="<b>ana</b>")  # fmt: skip
    ids = [engram.id for engram in memory.list(user_id="<b>ana</b>")]
    memory.update(ids[0], HOSTILE[1], reason=HOSTILE[0], user_id="<b>ana</b>")
    memory.link(ids[2], "causes", ids[3], user_id="<b>ana</b>")
    memory.sleep(user_id="<b>ana</b>")
    return ids[2]


def check_clean(html: str) -> None:
    shown = Markup(html)
    for tag, attrs in shown.tags:
        assert tag != "style"
        assert tag != "img"
        assert not [name for name in attrs if name.startswith("on") or name == "style"], (tag, attrs)
        assert not attrs.get("href", "").strip().lower().startswith(("javascript:", "data:"))
        if tag == "script":
            assert attrs.get("src", "").startswith("/page/static/")
        if tag == "svg":
            assert "onload" not in attrs
    assert " 49 " not in shown.text


def test_hostile_records_are_text_and_nothing_else(memory: Memory, page_of: Make) -> None:
    id_ = hostile(memory)
    page = page_of(memory)
    ops = [row["op"] for row in memory.log(user_id="<b>ana</b>")]
    addresses = [*VIEWS, f"/memory/{id_}", *(f"/nights/{op}" for op in ops[:12]), "/"]
    for path in addresses:
        for more in (
            {},
            {"query": HOSTILE[1], "kind": HOSTILE[0], "until": HOSTILE[2], "only": HOSTILE[0], "weak": "yes"},
        ):
            answer = page.get(path, user_id="<b>ana</b>", **more)
            assert answer.status_code in (200, 303, 400), (path, answer.status_code)
            check_clean(answer.text)
    assert "&lt;script&gt;" in page.get("/timeline", user_id="<b>ana</b>", kind="all").text
    for path in ("/memory/" + HOSTILE[0].replace("/", ""), "/nights/<script>", "/login?next=%22%3E%3Cscript%3E"):
        check_clean(page.client.get(path, params={"user_id": "ana"} if "?" not in path else None).text)


def test_scripts_and_styles_come_from_here_alone(memory: Memory, page_of: Make) -> None:
    answer = page_of(memory).get("/timeline", user_id="ana")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-frame-options"] == "DENY"
    assert not re.findall(r"(?:src|href)=\"(?:https?:)?//", answer.text)
    static = Path(frame.HERE / "static")
    assert {file.name for file in static.iterdir()} >= {"htmx.min.js", "htmx.LICENSE.txt", "page.css", "page.js"}
    assert "http" not in (static / "page.css").read_text("utf-8")
    assert page_of(memory).get("/page/static/../frame.py").status_code == 404


@pytest.mark.parametrize("form", POSTS)
def test_a_form_that_the_page_did_not_send_does_nothing(memory: Memory, page_of: Make, form: str) -> None:
    op = memory.add("I live in Porto.", user_id="ana").op
    id_ = memory.list(user_id="ana")[0].id
    page = page_of(memory)
    page.token()
    address = form.format(op=op, id=id_)
    given = {"user_id": "ana", "text": "changed", "word": "erase", "everyone": "yes", "may_read": "yes"}
    for token in ({}, {"form_token": ""}, {"form_token": "0" * 64}):
        assert page.client.post(address, data={**given, **token}).status_code == 403
    page.client.cookies.clear()
    assert page.client.post(address, data={**given, "form_token": frame.token_of("")}).status_code == 403
    assert [e.text for e in memory.list(user_id="ana")] == ["I live in Porto."]
    assert not page.app.state.service.keys.exist


def test_another_origin_is_turned_away(memory: Memory, page_of: Make) -> None:
    page = page_of(memory)
    data = {"form_token": page.token(), "user_id": "ana"}
    for headers in ({"origin": "https://evil.example"}, {"origin": "null"}, {"sec-fetch-site": "cross-site"}):
        assert page.client.post("/nights", data=data, headers=headers).status_code == 403
    assert page.client.get("/timeline?user_id=ana", headers={"host": "evil.example"}).status_code == 403


def test_the_views_are_told_apart_from_files_of_the_machine(memory: Memory, page_of: Make) -> None:
    page = page_of(memory)
    for path in ("/page/static/%2e%2e/frame.py", "/page/static/../../gate.py", "/page/static/"):
        assert page.client.get(path).status_code in (404, 405), path


def test_signing_in_and_out(memory: Memory, page_of: Make) -> None:
    secret = key_for(memory, Scope(user_id="ana"))
    page = page_of(memory)
    for path in VIEWS:
        assert page.get(path, user_id="ana").headers["location"].startswith("/login?next=%2F")
    wrong = page.post("/login", key="sw_" + "a" * 12 + "_" + "b" * 43)
    assert wrong.status_code == 401
    assert "That key opens nothing" in wrong.text
    assert secret not in page.post("/login", key=secret[:-1]).text
    answer = page.post("/login", key=secret, next="/search?user_id=ana")
    assert answer.headers["location"] == "/search?user_id=ana"
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert page.follow(page.get("/")).url.path == "/timeline"
    for bad in ("//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)"):
        assert page.post("/login", key=secret, next=bad).headers["location"] == "/"
        assert page.post("/theme", back=bad).headers["location"] == "/"
    page.post("/logout")
    assert page.get("/timeline", user_id="ana").status_code == 303


def test_a_key_that_was_revoked_leads_to_the_door_again(memory: Memory, page_of: Make) -> None:
    secret = key_for(memory, Scope(user_id="ana"))
    page = page_of(memory, secret)
    assert page.get("/timeline", user_id="ana").status_code == 200
    keys = page.app.state.service.keys
    keys.revoke(keys.list()[0].id)
    assert page.get("/timeline", user_id="ana").headers["location"].startswith("/login")
    assert page.get("/login").status_code == 200
    assert page.get("/page/static/page.css").status_code == 200


def test_no_view_shows_what_belongs_to_another(memory: Memory, page_of: Make) -> None:
    memory.add("Ana's secret garden", speaker="Ana", user_id="ana")
    ben = memory.add("Ben's hidden treasure", speaker="Ben", session="treasure map", user_id="ben")
    memory.add("Ben's second treasure", speaker="Ben", user_id="ben")
    night = memory.sleep(user_id="ben").op or ben.op
    other = ben.ids[0]
    memory.link(other, "causes", memory.list(user_id="ben")[1].id, user_id="ben")
    page = page_of(memory, key_for(memory, Scope(user_id="ana")))
    seen = ""
    for path in (*VIEWS, "/export", f"/memory/{other}", f"/nights/{ben.op}", f"/nights/{night}", "/"):
        for scope in ({}, {"user_id": "ana"}, {"user_id": "ana", "run_id": "x"}):
            answer = page.get(path, query="treasure", weak="yes", retired="yes", kind="all", verb="all", **scope)
            seen += page.follow(answer).text
        for scope in ({"user_id": "ben"}, {"run_id": "x", "user_id": "ben"}):
            answer = page.get(path, query="treasure", **scope)
            assert answer.status_code == 403 or path in ("/",), path
            assert "reasure" not in answer.text.replace("query=treasure", "").replace('value="treasure"', "")
    assert "secret garden" in seen
    assert "hidden treasure" not in seen
    assert "second treasure" not in seen
    for path in (
        f"/memory/{other}/correct",
        f"/memory/{other}/forget",
        f"/memory/{other}/erase",
        f"/nights/{ben.op}/undo",
    ):
        answer = page.post(path, user_id="ana", text="stolen", word="erase")
        assert answer.status_code in (400, 404), path
        assert page.post(path, user_id="ben", text="stolen", word="erase").status_code == 403
    job = page.app.state.service.jobs.start("sleep", Scope(user_id="ben"), {"dry_run": True}, "local")
    assert page.get(f"/nights/job/{job.id}", user_id="ana").status_code == 404
    assert {e.text for e in memory.list(user_id="ben")} >= {"Ben's hidden treasure"}


def test_a_file_that_waits_is_taken_in_by_whom_and_where_it_was_looked_at(memory: Memory, page_of: Make) -> None:
    ana = page_of(memory, key_for(memory, Scope(user_id="ana")))
    eve = page_of(memory, key_for(memory, Scope(user_id="eve")))
    looked = ana.post("/import", {"file": ("a.txt", b"2024-01-01 Ana: I live in Porto.")}, user_id="ana")
    token = re.search(r'action="/import/([\w-]+)"', looked.text)[1]  # type: ignore[index]
    assert eve.post(f"/import/{token}", user_id="eve").status_code == 400
    assert ana.post(f"/import/{token}", user_id="ana", run_id="other").status_code == 400
    assert memory.list(user_id="eve") == []


def test_a_key_that_may_only_read_sees_no_button_and_can_press_none(memory: Memory, page_of: Make) -> None:
    op = memory.add("I live in Porto.", user_id="ana").op
    id_ = memory.list(user_id="ana")[0].id
    page = page_of(memory, key_for(memory, Scope(user_id="ana"), verbs=("read",)))
    for path in ("/nights", f"/memory/{id_}", f"/nights/{op}", "/move"):
        actions = [a["action"] for tag, a in Markup(page.get(path, user_id="ana").text).tags if tag == "form"]
        assert set(actions) <= {"/theme", "/logout"}, path
    for path in POSTS[:8]:
        address = path.format(op=op, id=id_)
        assert page.post(address, user_id="ana", text="x", word="erase", may_read="yes").status_code in (403, 404)
    assert page.get("/keys").status_code == 403
    assert page.get("/held", user_id="ana").status_code == 403
    assert [e.text for e in memory.list(user_id="ana")] == ["I live in Porto."]


def test_a_server_that_is_read_only_changes_nothing(memory: Memory, page_of: Make) -> None:
    from slowwave.serve import create_app

    memory.add("I live in Porto.", user_id="ana")
    page = page_of(memory)
    page.app.state.service.close()
    page.app = create_app(memory, readonly=True)
    page.client.app = page.app
    from starlette.testclient import TestClient

    page.client = TestClient(page.app, follow_redirects=False)
    assert "read-only" in page.get("/timeline", user_id="ana").text
    assert page.post("/nights", user_id="ana").status_code == 403


def test_every_view_of_the_page_names_its_verb() -> None:
    free: Any = {one.path for one in frame.VIEWS if one.verb is None}
    assert free == {"/login", "/logout", "/theme"}
    assert set(ALL) <= {"read", "write", "sleep", "forget", "erase", "review", "admin"}


def test_a_key_that_reaches_two_scopes_is_asked_which(memory: Memory, page_of: Make) -> None:
    memory.add("Ana's own", user_id="ana")
    memory.add("The team's", app_id="team")
    memory.add("Ben's own", user_id="ben")
    page = page_of(memory, key_for(memory, Scope(user_id="ana"), Scope(app_id="team")))
    text = page.get("/").text
    assert "user ana" in text
    assert "app team" in text
    assert "ben" not in text
    assert page.get("/timeline").headers["location"] == "/"
    assert "The team&#39;s" in page.get("/timeline", app_id="team").text
    assert "Ben&#39;s" not in page.get("/timeline", user_id="ben").text, "within the team there is nothing of Ben's"
    assert page.get("/timeline", agent_id="a", run_id="r", app_id="other", user_id="ben").status_code == 403


WORDS = st.text(max_size=30) | st.sampled_from(
    ["all", "yes", "-1", "9" * 30, "2024-13-45", "%00", "\x00", "../..", "0.5"]
)


@settings(max_examples=40)
@given(
    st.sampled_from([*VIEWS, "/", "/login", "/memory/x", "/nights/x", "/nights/job/x", "/export"]),
    st.dictionaries(
        st.sampled_from(
            [
                "query",
                "at",
                "as_of",
                "kind",
                "until",
                "offset",
                "level",
                "only",
                "verb",
                "retired",
                "weak",
                "q",
                "next",
                "decided",
                "format",
                "run_id",
            ]
        ),
        WORDS,
        max_size=4,
    ),
)
def test_no_address_brings_the_page_down(view: str, params: dict[str, str]) -> None:
    page, memory = _standing()
    answer = page.get(view, user_id="ana", **params)
    assert answer.status_code < 500, answer.text
    assert memory.list(user_id="ana")


@cache
def _standing() -> tuple[Page, Memory]:
    memory = Memory(":memory:", embedder="fake", durable=False)
    memory.add(["I live in Porto.", "I moved to Lisbon."], speaker="Ana", user_id="ana")
    memory.sleep(user_id="ana")
    return Page(memory), memory


def teardown_module() -> None:
    if _standing.cache_info().currsize:
        page, memory = _standing()
        page.close()
        memory.close()
