"""No write, search or look-up walks through the whole store: SQLite's own plans say so."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from slowwave import Memory, Scope
from slowwave.store.base import Said

U = {"user_id": "u"}
ANA = Scope(**U)
SMALL = (
    "json_each",
    "leases",
    "scopes",
    "s",
    "j",
    "models",
    "meta",
    "CONSTANT",
    "pragma_",
    "sqlite_schema",
    "sqlite_sequence",
)
WHOLE = re.compile(r"^SCAN (?!\d+ CONSTANT)(\w+)(.*)$")
# A full-text match reads what matches.
ALLOWED = ("words", "w", "vocabulary", "l", "merged")  # the last two are what a subquery has found


def scans(memory: Memory, call: Callable[[], Any]) -> list[str]:
    """The statements of a call that walk through a table from end to end."""
    connection = memory.store.connections._held().connection  # type: ignore[attr-defined]
    seen: set[str] = set()
    connection.set_trace_callback(lambda sql: seen.add(sql))
    try:
        call()
    finally:
        connection.set_trace_callback(None)
    found = []
    for sql in sorted(seen):
        if not sql.startswith(("SELECT", "INSERT", "UPDATE", "DELETE", "WITH")):
            continue
        for *_, step in connection.execute(f"EXPLAIN QUERY PLAN {sql}"):
            match = WHOLE.match(step)
            if match and not match[1].startswith(SMALL) and match[1] not in ALLOWED:
                found.append(f"{step}: {sql[:300]}")
    return found


@pytest.fixture
def filled(memory: Memory) -> Memory:
    for user in ("u", "v"):
        memory.add(
            [f"I like wine number {n}, said on {n % 28 + 1} May" for n in range(600)], speaker="Ana", user_id=user
        )
        memory.add([f"in run {n}" for n in range(50)], user_id=user, run_id="r")
    return memory


CALLS: dict[str, Callable[[Memory, str], Any]] = {
    "add": lambda m, i: m.add(["new one", "I like wine number 5, said on 6 May"], session="s", origin="o", **U),
    "search": lambda m, i: m.search("What wine did Ana like in May?", threshold=0, **U),
    "search of a run": lambda m, i: m.search("wine in May", run_id="r", threshold=0, **U),
    "search with a filter": lambda m, i: m.search("wine", filters={"speaker": "Ana"}, threshold=0, **U),
    "search as of": lambda m, i: m.search("wine", as_of="2024-01-01T00:00:09", threshold=0, **U),
    "get": lambda m, i: m.get(i, **U),
    "history": lambda m, i: m.history(i, **U),
    "update": lambda m, i: m.update(i, "changed", **U),
    "update attrs": lambda m, i: m.update(i, attrs={"x": 1}, **U),
    "link": lambda m, i: m.link(i, "next", m.list(limit=2, newest_first=True, **U)[0].id, **U),
    "forget": lambda m, i: m.forget(i, **U),
    "undo": lambda m, i: m.undo(m.forget(i, **U).op, **U),
    "undo the last": lambda m, i: m.undo(**U),
    "log": lambda m, i: m.log(m.log(limit=5, **U)[0]["op"], **U),
    "log of calls": lambda m, i: m.log(calls=True, **U),
    "log of what was turned down": lambda m, i: m.log(rejected=True, **U),
    "log of one's calls": lambda m, i: m.log(m.log(limit=1, **U)[0]["op"], calls=True, **U),
    "pulse": lambda m, i: m.store.view(ANA).pulse("default", 100),
    "replies": lambda m, i: (
        m.store.replies(ANA).put("key", "model", Said("text", 1, 1), [i]),
        m.store.replies(ANA).get("key"),
    ),
    "lease": lambda m, i: m.store.release_lease(m.store.take_lease(ANA, "sleep", "whoever", 9)),  # type: ignore[arg-type]
    "list": lambda m, i: m.list(limit=10, **U),
    "notes of uses": lambda m, i: (
        m.search("wine", threshold=0, **U),
        m._flush_uses() if hasattr(m, "_flush_uses") else 0,
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_call_walks_through_no_table(filled: Memory, name: str) -> None:
    id_ = filled.list(limit=1, offset=7, **U)[0].id
    filled.search("wine", threshold=0, **U)  # reads the vectors once
    assert scans(filled, lambda: CALLS[name](filled, id_)) == []


def test_the_check_sees_a_scan(filled: Memory) -> None:
    found = scans(filled, lambda: filled.store.read("SELECT id FROM engrams WHERE text = 'x'", []))  # type: ignore[attr-defined]
    assert len(found) == 1
