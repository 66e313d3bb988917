"""Writers that wait for each other are written together: one wait for the disk, and each its own result or error."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from slowwave import Memory
from slowwave.errors import ConflictError, StoreError

U = {"user_id": "u"}


def gathered(memory: Memory, calls: list[Callable[[], Any]]) -> list[Any]:
    """What these give or raise, asked in threads while somebody else has the turn, so that all wait for it.

    Something was added before: the first record of all names the embedder, in a transaction of its own.
    """
    together = memory.store._together  # type: ignore[attr-defined]
    out: list[Any] = [None] * len(calls)

    def run(place: int) -> None:
        try:
            out[place] = calls[place]()
        except BaseException as error:  # noqa: BLE001 - told
            out[place] = error

    with memory.store.connections.turn():  # type: ignore[attr-defined]
        threads = [threading.Thread(target=run, args=(place,)) for place in range(len(calls))]
        for place, thread in enumerate(threads):
            thread.start()
            while len(together._jobs) <= place:  # one after the other, so that their order is known
                assert thread.is_alive()
    for thread in threads:
        thread.join()
    return out


def count_commits(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one at each transaction."""
    connections: Any = memory.store.connections  # type: ignore[attr-defined]
    begun: list[int] = []
    patiently = connections._patiently

    def counting(connection: sqlite3.Connection, statement: str) -> None:
        begun.append(1)
        patiently(connection, statement)

    monkeypatch.setattr(connections, "_patiently", counting)
    return begun


def test_those_that_wait_are_written_in_one_transaction(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    memory.add("first", **U)
    begun = count_commits(memory, monkeypatch)
    reports = gathered(memory, [lambda n=n: memory.add(f"text {n}", **U) for n in range(8)])
    assert len(begun) == 1
    assert [report.counts for report in reports] == [{"ADD": 1}] * 8
    assert len({report.op for report in reports}) == 8
    assert [memory.get(report[0].id, **U).text for report in reports] == [f"text {n}" for n in range(8)]
    assert len(memory.log(verb="add", **U)) == 9
    assert memory.check() == []


def test_the_same_item_of_two_is_kept_once_and_both_are_told_its_id(memory: Memory) -> None:
    memory.add("before", **U)
    one, two = gathered(memory, [lambda: memory.add("same", **U), lambda: memory.add("same", **U)])
    assert one.ids == two.ids
    assert [engram.text for engram in memory.list(**U)] == ["before", "same"]


def test_one_that_fails_takes_none_along_and_leaves_nothing(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    id_ = memory.add("before", **U).ids[0]
    op = memory.update(id_, attrs={"x": 1}, **U).op
    memory.update(id_, attrs={"x": 2}, **U)
    begun = count_commits(memory, monkeypatch)
    calls = [lambda: memory.add("a", **U), lambda: memory.undo(op, **U), lambda: memory.add("b", **U)]
    first, refused, last = gathered(memory, calls)
    assert len(begun) == 1
    assert isinstance(refused, ConflictError)
    assert first.counts == last.counts == {"ADD": 1}
    assert sorted(engram.text for engram in memory.list(**U)) == ["a", "b", "before"]
    assert dict(memory.get(id_, **U).attrs) == {"x": 2}
    assert [row["verb"] for row in memory.log(**U)] == ["add", "add", "update", "update", "add"]
    assert memory.check() == []


def test_where_the_whole_fails_each_tries_by_itself(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    memory.add("before", **U)
    connections: Any = memory.store.connections  # type: ignore[attr-defined]
    write, turns = connections.write, []

    def failing(scope: Any = None) -> Any:
        turns.append(scope)
        if len(turns) in (1, 3):  # the one of all, and that of the second by itself
            raise StoreError("the disk went away")
        return write(scope)

    monkeypatch.setattr(connections, "write", failing)
    one, two, three = gathered(memory, [lambda n=n: memory.add(f"text {n}", **U) for n in range(3)])
    assert (one.counts, three.counts) == ({"ADD": 1}, {"ADD": 1})
    assert str(two) == "the disk went away"
    assert [engram.text for engram in memory.list(**U)] == ["before", "text 0", "text 2"]


def test_who_is_interrupted_leaves_the_others_to_do_theirs(memory: Memory) -> None:
    memory.add("before", **U)
    together: Any = memory.store._together  # type: ignore[attr-defined]
    ends = threading.current_thread()

    def work(session: Any) -> None:
        if threading.current_thread() is ends:
            raise KeyboardInterrupt
        session.execute("INSERT INTO meta (key, value) VALUES ('late', 'yes')")

    other = threading.Thread(target=together.write, args=(work,))
    with memory.store.connections.turn():  # type: ignore[attr-defined]
        other.start()
        while not together._jobs:
            assert other.is_alive()
        with pytest.raises(KeyboardInterrupt):
            together.write(work)
    other.join()
    assert memory.store.read("SELECT value FROM meta WHERE key = 'late'", []) == [("yes",)]  # type: ignore[attr-defined]


def test_what_is_acknowledged_is_in_the_file(memory: Memory, path: Path) -> None:
    memory.add("before", **U)
    seen: list[int] = []

    def add(n: int) -> None:
        id_ = memory.add(f"text {n}", **U).ids[0]
        with sqlite3.connect(path) as other:  # another connection sees what is committed, and nothing else
            seen.append(other.execute("SELECT count(*) FROM engrams WHERE id = ?", (id_,)).fetchone()[0])
        other.close()

    gathered(memory, [lambda n=n: add(n) for n in range(8)])
    assert seen == [1] * 8
