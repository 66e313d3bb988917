"""The server killed (kill -9) in the middle of writes: what it acknowledged is there, and it starts again."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import httpx2
import pytest

from slowwave import Memory


def start(path: Path) -> tuple[subprocess.Popen[str], str]:
    """A server of its own process, and its address."""
    words = [sys.executable, "-m", "slowwave", "serve", "--db", str(path), "--embedder", "fake", "--port", "0"]
    process = subprocess.Popen([*words, "--log-level", "error"], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    line = process.stderr.readline()
    found = re.search(r"http://\S+", line)
    assert found, line + process.stderr.read()
    return process, found[0]


class Writers:
    """Threads that write until the server goes, and keep what was acknowledged."""

    def __init__(self, url: str, threads: int, enough: int, round_: int) -> None:
        self.kept: list[tuple[str, str]] = []
        self.enough = threading.Event()
        self._least = enough
        self.url, self.round = url, round_
        self.threads = [threading.Thread(target=self.write, args=(n,)) for n in range(threads)]
        for thread in self.threads:
            thread.start()

    def write(self, n: int) -> None:
        with httpx2.Client(base_url=self.url, timeout=20) as client:
            for turn in range(100_000):
                text = f"writer {n} says {turn} in round {self.round}"
                try:
                    answer = client.post("/v1/memories", json={"content": text, "user_id": f"u{n % 2}"})
                except httpx2.HTTPError:
                    return
                if answer.status_code != 200:
                    return  # it is ending
                self.kept.append((f"u{n % 2}", text))
                if len(self.kept) >= self._least:
                    self.enough.set()


def stop(process: subprocess.Popen[str], number: int) -> str:
    """End it by a signal; what it still said."""
    process.send_signal(number)
    said = process.stderr.read() if process.stderr else ""
    process.wait(20)
    if process.stderr:
        process.stderr.close()
    return said


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no kill -9 here")
def test_what_was_acknowledged_survives_a_kill_and_an_end(path: Path) -> None:
    kept: list[tuple[str, str]] = []
    for round_, number in enumerate((signal.SIGKILL, signal.SIGTERM)):
        process, url = start(path)
        try:
            writers = Writers(url, 4, 40, round_)
            assert writers.enough.wait(60)
        finally:
            said = stop(process, number)
        for thread in writers.threads:
            thread.join()
        assert "Traceback" not in said
        kept += writers.kept
    with Memory(path, embedder="fake") as memory:
        assert memory.check() == []
        there = {(engram.scope.user_id, engram.text) for user in ("u0", "u1")
                 for engram in memory.list(user_id=user, limit=None)}  # fmt: skip
        lost = [one for one in kept if one not in there]
        assert not lost, f"{len(lost)} of {len(kept)} acknowledged writes are gone"
        assert len(there) >= len(kept) >= 80
        counted = sum(one.amount for one in memory.store.usage("2000-01-01") if one.what == "records")
        assert counted >= 40, "the counts of a server that ended in peace are not written"
