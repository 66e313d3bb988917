"""Many processes and threads on one file: no write is lost, nobody is told that the file is locked, forks are safe."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from slowwave import Memory
from slowwave.errors import ConflictError, StoreError

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
WORKER = """
import json, random, sys, time
from slowwave import Memory
path, role, me, seconds = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
rng = random.Random(me)
print("ready", flush=True)
sys.stdin.readline()
memory = Memory(path, embedder="fake", durable=False)
end, turn, told = time.monotonic() + seconds, 0, []
while time.monotonic() < end or turn == 0:
    if role == "adder":
        texts = [f"{me} said {turn} {n}" for n in range(rng.randint(1, 30))]
        told += memory.add(texts, user_id="u", session=f"s{me}").ids
    elif role == "ingester":
        memory.add([f"shared line {n}" for n in range(300)], user_id="u")
    elif role == "updater":
        memory.update(sys.argv[5], attrs={f"k{me}-{turn}": turn}, user_id="u")
        told.append(f"k{me}-{turn}")
    elif role == "sleeper":
        memory.sleep(user_id="u")
        if turn % 3 == 0:
            memory.check()
    elif role == "searcher":
        memory.search("what was said", user_id="u", threshold=0)
        memory.list(user_id="u", limit=5, newest_first=True)
        memory.stats(user_id="u")
    turn += 1
memory.close()
print(json.dumps({"role": role, "told": told, "turns": turn}), flush=True)
"""


def run_together(path: Path, roles: list[str], seconds: float, *more: str) -> list[dict[str, object]]:
    """Start a process for each role, let them begin at once, and return what they said."""
    command = [sys.executable, "-W", "error", "-c", WORKER, str(path)]
    workers = [
        subprocess.Popen(
            [*command, role, str(me), str(seconds), *more],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for me, role in enumerate(roles)
    ]  # fmt: skip
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    said = []
    for worker in workers:
        out, err = worker.communicate(timeout=120)
        assert worker.returncode == 0, err
        said.append(json.loads(out))
    return said


@pytest.mark.any_store
def test_eight_processes_open_a_new_file_and_take_in_the_same(path: Path) -> None:
    said = run_together(path, ["ingester"] * 8, 0.0)
    assert [one["turns"] for one in said] == [1] * 8
    with Memory(path, embedder="fake") as memory:
        texts = [engram.text for engram in memory.list(user_id="u", limit=None)]
        assert sorted(texts) == sorted(f"shared line {n}" for n in range(300))
        assert memory.check() == []


@pytest.mark.any_store
def test_eight_processes_of_all_kinds_lose_nothing(path: Path) -> None:
    with Memory(path, embedder="fake") as memory:
        target = memory.add("the record that all update", kind="note", user_id="u").ids[0]
    roles = ["adder", "adder", "ingester", "ingester", "updater", "updater", "sleeper", "searcher"]
    said = run_together(path, roles, 4.0, target)
    with Memory(path, embedder="fake") as memory:
        held = {engram.id: engram for engram in memory.list(user_id="u", limit=None, retired=True)}
        told = {str(id_) for one in said if one["role"] == "adder" for id_ in one["told"]}  # type: ignore[attr-defined]
        assert told
        assert told <= set(held), "acknowledged records are lost"
        shared = [e.text for e in held.values() if e.text.startswith("shared line") and e.kind == "episode"]
        assert sorted(shared) == sorted(f"shared line {n}" for n in range(300))
        keys = {str(key) for one in said if one["role"] == "updater" for key in one["told"]}  # type: ignore[attr-defined]
        assert keys
        assert keys <= set(held[target].attrs), "acknowledged updates are lost"
        assert len(memory.history(target, user_id="u")) > len(keys)
        assert memory.check() == []


@pytest.mark.any_store
def test_threads_share_one_memory(memory: Memory) -> None:
    errors: list[BaseException] = []

    def guarded(work: Callable[[], object]) -> Callable[[], None]:
        def run() -> None:
            try:
                work()
            except BaseException as error:  # noqa: BLE001  # shown below
                errors.append(error)

        return run

    def add(me: int) -> None:
        for turn in range(10):
            memory.add([f"{me} said {turn} {n}" for n in range(5)], user_id="u")

    def search() -> None:
        for _ in range(20):
            memory.search("what was said", user_id="u", threshold=0)
            assert all(engram.text for engram in memory.list(user_id="u", limit=None))

    works = [guarded(lambda me=me: add(me)) for me in range(4)] + [guarded(search) for _ in range(3)]
    threads = [threading.Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(memory.list(user_id="u", limit=None)) == 200
    assert memory.check() == []


def test_a_passing_memory_is_shared_by_threads_and_none_sees_half_a_write(
    open_memory: Callable[..., Memory],
) -> None:
    memory = open_memory(":memory:")
    seen: set[int] = set()
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            seen.add(len(memory.list(user_id="u", limit=None)) % 50)

    reader = threading.Thread(target=read)
    reader.start()
    for turn in range(30):
        memory.add([f"{turn} {n}" for n in range(50)], user_id="u")
    stop.set()
    reader.join()
    assert seen == {0}


def test_connections_of_ended_threads_are_closed(memory: Memory, path: Path) -> None:
    if not Path("/proc/self/fd").exists():
        pytest.skip("counts open files under /proc")
    memory.add("a", user_id="u")

    def opened() -> int:
        return sum(os.path.realpath(f"/proc/self/fd/{fd}").startswith(str(path)) for fd in os.listdir("/proc/self/fd"))

    for _ in range(50):
        thread = threading.Thread(target=lambda: memory.list(user_id="u"))
        thread.start()
        thread.join()
    assert opened() < 15


@forks
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
@pytest.mark.any_store
def test_a_forked_child_writes_on_after_its_parent_has_closed(path: Path) -> None:
    memory = Memory(path, embedder="fake")
    memory.add("before the fork", user_id="u")
    go, told = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            memory.add("by the child", user_id="u")
            os.read(go, 1)
            memory.add("by the child, later", user_id="u")
            assert len(memory.list(user_id="u")) == 4
            memory.close()
            os._exit(0)
        except BaseException:  # noqa: BLE001  # the exit code tells
            os._exit(1)
    memory.add("by the parent", user_id="u")
    time.sleep(0.2)
    memory.close()
    os.write(told, b"x")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    os.close(go)
    os.close(told)
    with Memory(path, embedder="fake") as again:
        texts = {engram.text for engram in again.list(user_id="u")}
        assert texts == {"before the fork", "by the child", "by the parent", "by the child, later"}
        assert again.check() == []


@forks
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
@pytest.mark.any_store
def test_forks_while_other_threads_write_and_search(path: Path) -> None:
    memory = Memory(path, embedder="fake", durable=False)
    memory.add("first", user_id="u")
    memory.search("first", user_id="u")  # what is imported lazily is: Python's import locks do not survive a fork
    stop = threading.Event()

    def busy() -> None:
        turn = 0
        while not stop.is_set():
            turn += 1
            memory.add(f"{turn} by thread {threading.get_ident()}", user_id="u")
            memory.search("first", user_id="u", threshold=0)

    threads = [threading.Thread(target=busy) for _ in range(2)]
    for thread in threads:
        thread.start()
    children = []
    for number in range(10):
        child = os.fork()
        if child == 0:
            try:
                memory.add(f"child {number}", user_id="u")
                assert memory.search(f"child {number}", user_id="u", threshold=0)
                os._exit(0)
            except BaseException:  # noqa: BLE001  # the exit code tells
                os._exit(1)
        children.append(child)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    stop.set()
    for thread in threads:
        thread.join()
    assert codes == [0] * 10
    texts = {engram.text for engram in memory.list(user_id="u", limit=None)}
    assert {f"child {number}" for number in range(10)} <= texts
    assert memory.check() == []
    memory.close()


@pytest.mark.any_store
def test_of_two_corrections_of_one_record_one_is_told(open_memory: Callable[..., Memory]) -> None:
    one, two = open_memory(), open_memory()
    id_ = one.add("Ana lives in Porto", user_id="u").ids[0]
    stale = two.get(id_, user_id="u")
    one.update(id_, "Ana lives in Lisbon", user_id="u")
    two._view = lambda scope: _Stale(one._view(scope), stale)  # type: ignore[assignment, method-assign]
    with pytest.raises(ConflictError):
        two.update(id_, "Ana lives in Faro", user_id="u")
    assert [engram.text for engram in one.list(user_id="u")] == ["Ana lives in Lisbon"]


class _Stale:
    """A view that still shows a record as it was."""

    def __init__(self, view: object, engram: object) -> None:
        self._view, self._engram = view, engram

    def __getattr__(self, name: str) -> object:
        return getattr(self._view, name)

    def get(self, ids: list[str]) -> dict[str, object]:
        return dict.fromkeys(ids, self._engram)


def test_a_writer_waits_and_then_says_who_is_in_the_way(path: Path, open_memory: Callable[..., Memory]) -> None:
    import sqlite3

    memory = open_memory(timeout_seconds=0.2)
    memory.add("a", user_id="u")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="timeout_seconds"):
        memory.add("b", user_id="u")
    assert [engram.text for engram in memory.list(user_id="u")] == ["a"]
    other.execute("ROLLBACK")
    memory.add("b", user_id="u")
    other.close()
