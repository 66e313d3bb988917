"""Sleeping in the background by real processes: never two at once, killed and stopped ones are taken over, no night is
done twice, and `slowwave sleep --watch` ends cleanly on a signal."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from slowwave import Memory

pytestmark = [pytest.mark.skipif(os.name != "posix", reason="signals and kill -9 of POSIX"), pytest.mark.any_store]
U: Any = {"user_id": "u"}
SOON = 60.0
HERE = Path(__file__).parent


class Process:
    """A process whose lines are heard as they come."""

    def __init__(self, *command: str, **env: str) -> None:
        path = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])
        self.running = subprocess.Popen(
            [sys.executable, *command], env={**os.environ, "PYTHONPATH": path, **env}, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        self.lines: list[str] = []
        self._heard: queue.Queue[str | None] = queue.Queue()
        self._listener = threading.Thread(target=self._listen)
        self._listener.start()

    def _listen(self) -> None:
        assert self.running.stdout is not None
        for line in self.running.stdout:
            self._heard.put(line)
        self._heard.put(None)

    def line(self, timeout_seconds: float = SOON) -> str | None:
        """The next line; None if it has ended."""
        line = self._heard.get(timeout=timeout_seconds)
        if line is not None:
            self.lines.append(line)
        return line

    def until(self, word: str) -> list[Any]:
        """The words of the next line that says this."""
        while (line := self.line()) is not None:
            words: list[Any] = json.loads(line)
            if words[1] == word:
                return words
        raise AssertionError(
            f"it ended without {word}: {self.lines}, {self.running.stderr and self.running.stderr.read()}"
        )

    def end(self) -> tuple[int, str]:
        """Its exit code and what it said to standard error, when it has ended."""
        assert self.running.stderr is not None
        code, error = self.running.wait(SOON), self.running.stderr.read()
        while self.line() is not None:
            pass
        self._listener.join()
        return code, error

    def close(self) -> None:
        if self.running.poll() is None:
            self.running.send_signal(signal.SIGCONT)
            self.running.kill()
        self.running.wait()
        self._listener.join()
        for stream in (self.running.stdin, self.running.stdout, self.running.stderr):
            if stream is not None:
                stream.close()

    def words(self) -> list[list[Any]]:
        return [json.loads(line) for line in self.lines]


@pytest.fixture
def start() -> Iterator[Callable[..., Process]]:
    """Starts processes, and kills those that are left."""
    started: list[Process] = []

    def one(*command: str, **env: str) -> Process:
        started.append(Process(*command, **env))
        return started[-1]

    yield one
    for process in started:
        process.close()


@pytest.fixture
def sleeper(start: Callable[..., Process], path: Path | str, go: Path) -> Callable[..., Process]:
    """Starts `sleeper.py` on the store."""
    return lambda **given: start(str(HERE / "sleeper.py"), str(path), json.dumps({"go": str(go), **given}))


@pytest.fixture
def go(tmp_path: Path) -> Path:
    """Where a file lets a sleeper that waits go on."""
    return tmp_path / "go"


def finish(process: Process) -> None:
    assert process.running.stdin is not None
    process.running.stdin.write("\n")
    process.running.stdin.flush()
    assert process.end() == (0, "")


def facts(memory: Memory) -> list[str]:
    return sorted(engram.text for engram in memory.list(kinds=["fact"], limit=None, **U))


def test_two_processes_never_sleep_at_once(sleeper: Callable[..., Process], path: Path | str) -> None:
    with Memory(path, embedder="fake") as memory:
        memory.add([f"first {n}" for n in range(5)], **U)
        both = [sleeper(lease_seconds=1.0) for _ in range(2)]
        for process in both:
            process.until("ready")
        for turn in range(10):
            memory.add([f"thing {turn} {n}" for n in range(6)], **U)
            end = time.monotonic() + SOON
            while len(facts(memory)) < 5 + 6 * (turn + 1):
                assert time.monotonic() < end
                time.sleep(0.01)
        for process in both:
            finish(process)
        nights = []
        for process in both:
            words = process.words()
            begun = [moment for moment, word, *_ in words if word == "begin"]
            ended = [moment for moment, word, *_ in words if word == "end"]
            nights += list(zip(begun, ended, strict=True))
            assert not [word for word in words if word[1] == "trouble"], words
        nights.sort()
        assert all(end <= begin for (_, end), (begin, _) in pairwise(nights)), nights
        told = [words[2] for process in both for words in process.words() if words[1] == "slept" and words[2]]
        rows = memory.log(verb="sleep", limit=1000, **U)
        assert sorted(told) == sorted(row["op"] for row in rows), (
            "the journal knows each night, and each was one's alone"
        )
        assert sum(row["changes"] for row in rows) == len(facts(memory)) == len(set(facts(memory))) == 65
        assert memory.check() == []


@pytest.mark.parametrize("stranger", [False, True], ids=["of this machine", "of another"])
def test_a_killed_sleeper_is_taken_over_and_the_night_is_done_once(
    sleeper: Callable[..., Process], path: Path | str, stranger: bool
) -> None:
    with Memory(path, embedder="fake") as memory:
        memory.add([f"thing {n}" for n in range(6)], **U)
        killed = sleeper(stop_at=3, stranger=stranger, lease_seconds=3.0 if stranger else 600.0)
        begun = killed.until("begin")[0]
        killed.until("waiting")
        killed.running.send_signal(signal.SIGKILL)
        killed.running.wait()
        assert facts(memory) == []
        after = sleeper(stranger=stranger)
        moment, _ = after.until("begin")
        if stranger:
            assert moment - begun >= 2.5, "it was not waited for until its lease had expired"
        slept = after.until("slept")
        finish(after)
        assert slept[3] == 3, "three questions were answered before the kill, and three after it"
        (row,) = memory.log(verb="sleep", **U)
        assert (row["op"], row["changes"], row["calls"]) == (slept[2], 6, 6)
        assert len(facts(memory)) == 6
        assert memory.check() == []


def test_a_sleeper_that_stood_still_writes_nothing_over_who_took_over(
    sleeper: Callable[..., Process], path: Path | str, go: Path
) -> None:
    with Memory(path, embedder="fake") as memory:
        memory.add([f"thing {n}" for n in range(6)], **U)
        stopped = sleeper(stop_at=3, lease_seconds=2.0)
        stopped.until("waiting")
        stopped.until("renewed")  # half a second before it would write again
        stopped.running.send_signal(signal.SIGSTOP)
        other = sleeper()
        slept = other.until("slept")
        go.touch()
        stopped.running.send_signal(signal.SIGCONT)
        trouble = stopped.until("trouble")
        assert trouble[2].startswith("ConflictError: ")
        for process in (stopped, other):
            finish(process)
        (row,) = memory.log(verb="sleep", **U)
        assert (row["op"], row["changes"]) == (slept[2], 6)
        assert len(facts(memory)) == 6


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_watches_until_a_signal_and_ends_cleanly(
    start: Callable[..., Process], path: Path | str, number: signal.Signals
) -> None:
    env = {"SLOWWAVE_DB": str(path), "SLOWWAVE_EMBED_MODEL": "fake"}
    words = ("-m", "slowwave", "sleep", "--watch", "--idle-seconds", "0", "--user-id", "u")
    with Memory(path, embedder="fake") as memory:
        people, machine = start(*words, **env), start(*words, "--json", **env)
        for process in (people, machine):
            assert process.running.stderr is not None
            assert process.running.stderr.readline() == f"slowwave: watching user_id=u in {memory.path}\n"
        for text in ("I live in Porto", "I live in Faro", "I live in Braga"):
            count = len(memory.log(verb="sleep", **U))
            memory.add(text, speaker="Ana", **U)
            end = time.monotonic() + SOON
            while len(memory.log(verb="sleep", **U)) == count:
                assert time.monotonic() < end
                time.sleep(0.02)
        for process in (people, machine):
            process.running.send_signal(number)
            assert process.end() == (0, "")
        ops = {row["op"] for row in memory.log(verb="sleep", **U)}
        printed = {line.split()[-1] for line in people.lines if "nothing to change" not in line}
        listed = {night["op"] for night in map(json.loads, machine.lines) if night["op"]}
        assert printed | listed == ops
        assert not printed & listed
        assert all("  user_id=u  " in line for line in people.lines)
        assert memory.store.held_lease(memory.scopes()[0][0], "sleep") is None
