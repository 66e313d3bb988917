"""Jobs on PostgreSQL: one sleeper a scope, nothing lost with a worker, tried again, cancelled, seen."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest

from postgres_server import Server
from slowwave import Memory, Scope
from slowwave.cli import main
from slowwave.errors import ConflictError, InputError, NotFoundError, StoreBusyError
from slowwave.serve.jobs import Job

pytest.importorskip("procrastinate", reason="needs the extra [postgres]")
from slowwave.serve.postgres_jobs import ATTEMPTS, PostgresJobs, Worker

ANA, BEN = Scope(user_id="ana"), Scope(user_id="ben")
SLOW = """
import sys, time
from slowwave import Memory
from slowwave.serve.postgres_jobs import Worker
from slowwave.text.default import DefaultMemory
class Slow(DefaultMemory):
    name = "default"
    def sleep(self, night):
        print("begins", flush=True)
        if sys.argv[2] != "quick":
            for n in range(1000):
                night.progress("dawdle", n, 1000)
                time.sleep(0.05)
        dream = super().sleep(night)
        print("ends", flush=True)
        return dream
memory = Memory(sys.argv[1], embedder="fake", system=Slow())
Worker(memory, 1, heartbeat_seconds=0.3, stalled_seconds=1.0).run(wait=sys.argv[2] != "quick")
memory.close()
"""


@pytest.fixture(scope="module")
def database(server: Server) -> str:
    """The queue is one a database, so that these tests have one to themselves."""
    return server.database()


@pytest.fixture
def url(database: str, request: pytest.FixtureRequest) -> str:
    return f"{database}{'&' if '?' in database else '?'}tenant={request.node.name}"


@pytest.fixture
def memory(url: str) -> Iterator[Memory]:
    with Memory(url, embedder="fake", durable=False) as made:
        made.add(["I live in Porto.", "I moved to Lisbon last week."], speaker="Ana", user_id="ana")
        yield made


def worker(url: str, pace: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "error", "-c", SLOW, url, pace]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def until(holds: Callable[[], Any], seconds: float = 30.0) -> Any:
    end = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.05)
    return found


def test_a_worker_does_what_stands_in_line(memory: Memory) -> None:
    jobs, ended = PostgresJobs(memory), list[Job]()
    job = jobs.start("sleep", ANA, {}, "nightly")
    assert (job.state, job.verb, job.scope, job.by) == ("waiting", "sleep", ANA, "nightly")
    assert jobs.start("sleep", ANA, {}, "other").id == job.id, "the same stands in line once"
    Worker(memory, on_job=ended.append).run(wait=False)
    done = jobs.get(job.id)
    assert done is not None
    assert (done.state, done.error) == ("done", None)
    assert [one.id for one in ended] == [job.id]
    assert done.result is not None
    (line,) = memory.log(verb="sleep", user_id="ana")
    assert done.result["op"] == line["op"]
    assert line["params"]["by"] == "nightly"
    assert jobs.start("sleep", ANA, {}, "").id != job.id, "what has ended can be started again"
    assert [one.verb for one in jobs.list()] == ["sleep", "sleep"]


def test_two_workers_on_one_scope_never_both_sleep(url: str, memory: Memory) -> None:
    jobs = PostgresJobs(memory)
    for n in range(6):  # the store's own lease guards what the queue's lock does not: another scope of the same records
        jobs.start("sleep", ANA if n % 2 else Scope(user_id="ana", run_id=f"r{n}"), {"since": "2000-01-01"}, "")
    both = [worker(url, "quick") for _ in range(2)]
    for one in both:
        out, err = one.communicate(timeout=60)
        assert one.returncode == 0, err
        assert out.split() == ["begins", "ends"] * (len(out.split()) // 2)
    told = jobs.list()
    assert {one.state for one in told} == {"done"}
    spans = sorted((one.started, one.ended) for one in told)
    assert all(before[1] <= after[0] for before, after in pairwise(spans)), spans  # type: ignore[operator]


def test_a_killed_workers_job_is_taken_over_and_nothing_is_lost(url: str, memory: Memory) -> None:
    jobs = PostgresJobs(memory)
    job = jobs.start("sleep", ANA, {}, "")
    first = worker(url, "slow")
    assert first.stdout is not None
    assert first.stdout.readline() == "begins\n"
    until(lambda: (one := jobs.get(job.id)) and one.state == "running" and one.stage == "dawdle")
    before = [engram.id for engram in memory.list(user_id="ana", limit=None)]
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    assert [engram.id for engram in memory.list(user_id="ana", limit=None)] == before
    with Memory(url, embedder="fake") as other:
        taking = Worker(other, 1, heartbeat_seconds=0.2, stalled_seconds=1.0)

        def taken() -> bool:
            taking.run(wait=False)
            one = jobs.get(job.id)
            return one is not None and one.state == "done"

        until(taken)
    assert len(memory.log(verb="sleep", user_id="ana")) == 1
    assert memory.check() == []


def test_a_job_is_cancelled_in_line_and_at_work(url: str, memory: Memory) -> None:
    jobs = PostgresJobs(memory)
    waiting = jobs.start("sleep", BEN, {}, "")
    assert jobs.cancel(waiting.id).state == "cancelled"
    running = jobs.start("sleep", ANA, {}, "")
    at_work = worker(url, "slow")
    assert at_work.stdout is not None
    assert at_work.stdout.readline() == "begins\n"
    jobs.cancel(running.id)
    until(lambda: (one := jobs.get(running.id)) and one.state == "cancelled")
    at_work.send_signal(signal.SIGTERM)
    at_work.communicate(timeout=30)
    assert memory.log(verb="sleep", user_id="ana") == []
    with pytest.raises(ConflictError, match="cancelled already"):
        jobs.cancel(running.id)
    with pytest.raises(NotFoundError):
        jobs.cancel("none")


def test_what_fails_is_tried_again_and_then_told(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    import procrastinate

    real, calls = procrastinate.RetryStrategy.get_retry_decision, []

    def at_once(self: Any, *, exception: BaseException, job: Any) -> Any:
        decision = real(self, exception=exception, job=job)
        return procrastinate.RetryDecision(retry_in={"seconds": 0}) if decision else None

    monkeypatch.setattr(procrastinate.RetryStrategy, "get_retry_decision", at_once)

    def fails(**given: Any) -> Any:
        calls.append(given)
        raise StoreBusyError("somebody is in the way; wait")

    monkeypatch.setattr(memory, "sleep", fails)
    jobs = PostgresJobs(memory)
    job = jobs.start("sleep", ANA, {}, "")
    working = Worker(memory)

    def failed() -> bool:
        working.run(wait=False)
        one = jobs.get(job.id)
        return one is not None and one.state == "failed"

    until(failed)
    assert len(calls) == ATTEMPTS
    told = jobs.get(job.id)
    assert told is not None
    assert told.error is not None
    assert told.error["message"] == "somebody is in the way; wait"


def test_reembedding_is_a_job(url: str, memory: Memory) -> None:
    jobs = PostgresJobs(memory)
    with pytest.raises(InputError):
        jobs.start("reembed", ANA, {}, "")
    job = jobs.start("reembed", None, {"embedder": "fake"}, "")
    Worker(memory).run(wait=False)
    done = jobs.get(job.id)
    assert done is not None
    assert (done.state, done.result) == ("done", {"records": 2, "embedder": memory.embedder.name})


def test_the_command_line_starts_does_and_shows_them(
    url: str, memory: Memory, capsys: pytest.CaptureFixture[str]
) -> None:
    own = ["--db", url, "--embedder", "fake"]
    assert main(["jobs", "sleep", "--user-id", "ana", "--json", *own]) == 0
    (started,) = json.loads(capsys.readouterr().out)["results"]
    assert main(["worker", "--once", "--json", *own]) == 0
    assert json.loads(capsys.readouterr().out)["state"] == "done"
    assert main(["jobs", *own]) == 0
    assert f"{started['id']}  " in capsys.readouterr().out
    assert main(["jobs", "show", started["id"], *own]) == 0
    assert "done  sleep" in capsys.readouterr().out
    assert main(["jobs", "cancel", started["id"], *own]) == 1
    assert main(["jobs", "cancel", *own]) == 2


def test_an_erasure_takes_the_jobs_that_name_whom_it_is_about(memory: Memory) -> None:
    jobs = PostgresJobs(memory)
    jobs.start("sleep", ANA, {}, "")
    memory.add("Ben likes wine", user_id="ben")
    jobs.start("sleep", BEN, {}, "")
    Worker(memory).run(wait=False)
    memory.erase(all=True, user_id="ana")
    assert [one.scope for one in jobs.list()] == [BEN]


def test_a_file_has_no_jobs_that_workers_share(tmp_path: Any) -> None:
    with Memory(tmp_path / "a.db", embedder="fake") as file, pytest.raises(InputError, match="PostgreSQL"):
        PostgresJobs(file)
