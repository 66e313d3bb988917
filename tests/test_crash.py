"""kill -9 at random moments: what was acknowledged is there, a batch is there whole or not at all, the file is sound.

A child process is forked for each round, since importing takes longer than a round. It says after each call that the
call has returned; the parent kills it after a random pause, opens the file, and compares.
"""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from slowwave import Memory
from slowwave.errors import ModelMismatchError
from slowwave.models.base import FakeEmbedder

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and kill -9"),
    pytest.mark.filterwarnings("ignore:This process:DeprecationWarning"),  # NumPy's idle threads are no harm here
]
BATCH = 7
OTHER = FakeEmbedder(48)
OTHER.name = "other"


def killed(work: Callable[[Callable[..., None]], None], after: float) -> list[list[Any]]:
    """Run `work(say)` in a forked child, kill it after so many seconds (from its first word on), return its words."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)

        def say(*words: Any) -> None:
            os.write(write, json.dumps(words).encode() + b"\n")

        try:
            work(say)
            say("done")
        except BaseException as error:  # noqa: BLE001  # the parent has to hear of it
            say("error", repr(error))
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as heard:
        first = heard.readline()
        time.sleep(after)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        lines = [first, *heard.readlines()]
    words = [json.loads(line) for line in lines if line.endswith(b"\n")]
    errors = [word for word in words if word[0] == "error"]
    assert not errors, errors
    return words


def batch(number: int) -> list[str]:
    return [f"batch {number} item {item} about wine" for item in range(BATCH)]


def wholes(memory: Memory) -> set[int]:
    """The numbers of the batches that are there; none may be there in part."""
    held: dict[int, int] = {}
    for engram in memory.list(user_id="u", kinds="episode", limit=None, retired=True):
        number = int(engram.text.split()[1])
        held[number] = held.get(number, 0) + 1
    assert set(held.values()) <= {BATCH}, held
    return set(held)


def open_(path: Path, **options: Any) -> Memory:
    return Memory(path, **{"embedder": "fake", **options})


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> random.Random:
    return random.Random(request.node.name)


@pytest.fixture
def slow(store_kind: str) -> int:
    """How many times as long a call takes as in a file: so many times fewer rounds, each so many times longer."""
    return 6 if store_kind == "postgres" else 1


@pytest.mark.parametrize("durable", [True, False])
@pytest.mark.any_store
def test_writers_lose_nothing_that_was_acknowledged(path: Path, durable: bool, rng: random.Random, slow: int) -> None:
    number = 0
    acknowledged: set[int] = set()
    hidden: dict[int, bool] = {}
    rounds = 0
    while rounds < 75 // slow or (number <= 20 // slow and rounds < 400):  # more, and longer, where the machine is slow
        rounds += 1

        def work(say: Callable[..., None], start: int = number) -> None:
            memory = open_(path, durable=durable)
            say("open")
            for this in range(start, start + 40):
                report = memory.add(batch(this), user_id="u", session=f"s{this % 3}")
                say("added", this)
                if this % 3 == 1:
                    memory.forget(report.ids, user_id="u")
                    say("forgot", this)
                if this % 9 == 4:
                    memory.undo(user_id="u")
                    say("restored", this)
                if this % 5 == 2:
                    memory.sleep(user_id="u")
                    say("slept", this)

        for word, *rest in killed(work, rng.uniform(0, 0.06 * slow * max(1, rounds * slow / 75))):
            if word == "added":
                acknowledged.add(rest[0])
                hidden[rest[0]] = False
            elif word in ("forgot", "restored"):
                hidden[rest[0]] = word == "forgot"
        with open_(path, durable=durable) as memory:
            there = wholes(memory)
            assert acknowledged <= there
            assert len(there - acknowledged) <= 1  # the one under way when the kill came
            acknowledged |= there
            number = max(there, default=-1) + 1
    with open_(path) as memory:
        assert memory.check() == []
        shown = {int(e.text.split()[1]) for e in memory.list(user_id="u", kinds="episode", limit=None)}
        assert {n for n, gone in hidden.items() if not gone} - {n for n in hidden if n % 3 == 1} <= shown
        assert number > 20 // slow, "the rounds were too short to write anything"


@pytest.mark.any_store
def test_adding_again_completes_what_a_kill_cut_short(path: Path, rng: random.Random, slow: int) -> None:
    whole = [f"line {n} of a long list" for n in range(1500)]
    for _ in range(25 // slow):

        def work(say: Callable[..., None]) -> None:
            memory = open_(path, durable=False)
            say("open")
            memory.add(whole, user_id="u", progress=lambda *_: None)

        killed(work, rng.uniform(0, 0.15 * slow))
        with open_(path) as memory:
            held = memory.list(user_id="u", limit=None)
            assert len(held) in (*range(0, 1500, 256), 1500)
    with open_(path) as memory:
        memory.add(whole, user_id="u")
        assert sorted(e.text for e in memory.list(user_id="u", limit=None)) == sorted(whole)
        assert memory.add(whole, user_id="u").counts == {"NONE": 1500}
        assert memory.check() == []


@pytest.mark.any_store
def test_undo_is_whole_or_not_done(path: Path, rng: random.Random, slow: int) -> None:
    with open_(path) as memory:
        memory.add(batch(0), user_id="u")
    for _ in range(40 // slow):

        def work(say: Callable[..., None]) -> None:
            memory = open_(path, durable=False)
            say("open")
            for turn in range(30):
                report = memory.forget(user_id="u", all=True)
                say("forgot", turn)
                memory.undo(report.op, user_id="u")
                say("undone", turn)

        words = killed(work, rng.uniform(0, 0.04 * slow))
        with open_(path) as memory:
            shown = len(memory.list(user_id="u"))
            assert shown in (0, BATCH)
            last = words[-1][0]
            if shown == 0:
                assert last in ("open", "undone", "forgot")
                memory.undo(user_id="u")
            assert len(memory.list(user_id="u")) == BATCH
    with open_(path) as memory:
        assert memory.check() == []


def test_a_new_file_is_made_whole_or_again(tmp_path: Path, rng: random.Random) -> None:
    for turn in range(40):
        path = tmp_path / f"{turn}.db"

        def work(say: Callable[..., None], path: Path = path) -> None:
            say("begin")
            memory = open_(path)
            memory.add("first", user_id="u")
            say("added")

        words = killed(work, rng.uniform(0, 0.012))
        with open_(path) as memory:
            held = [e.text for e in memory.list(user_id="u")]
            assert held == ["first"] or (held == [] and ["added"] not in words)
            assert memory.check() == []


@pytest.mark.any_store
def test_reembedding_goes_on_after_kills_and_the_swap_is_whole(path: Path, rng: random.Random, slow: int) -> None:
    with open_(path) as memory:
        memory.add([f"text number {n} about wine" for n in range(2000 // slow)], user_id="u")
    rounds = done = 0
    while not done and rounds < 400:
        rounds += 1

        def work(say: Callable[..., None]) -> None:
            memory = open_(path, durable=False)
            say("open")
            memory.reembed(OTHER)

        killed(work, rng.uniform(0, (0.01 if slow == 1 else 0.02) * rounds))  # longer and longer
        embedder: Any
        for embedder in ("fake", OTHER):  # exactly one of the two serves, and with every vector
            memory = open_(path, embedder=embedder)
            try:
                found = memory.search("wine", user_id="u", top_k=3, threshold=0)
            except ModelMismatchError:
                memory.close()
                continue
            assert len(found) == 3
            assert memory.check() == []
            done = embedder is OTHER
            memory.close()
    assert done, "it never came to the swap"
    assert rounds > 1, "no kill fell into it"


@pytest.mark.any_store
def test_rebuilding_goes_on_after_kills(path: Path, rng: random.Random, slow: int) -> None:
    with open_(path) as memory:
        memory.add([f"text number {n} about wine" for n in range(1500)], user_id="u")
        query = {"query": "wine number 77", "user_id": "u", "top_k": 5, "threshold": 0, "note_use": False}
        before = [hit.id for hit in memory.search(**query)]
    for _ in range(15 // slow):

        def work(say: Callable[..., None]) -> None:
            memory = open_(path, durable=False)
            say("open")
            memory.rebuild()

        killed(work, rng.uniform(0, 0.2))
        with open_(path) as memory:
            assert memory.check() == []
            assert [hit.id for hit in memory.search(**query)] == before
    with open_(path) as memory:
        assert memory.rebuild() >= 1500
        assert [hit.id for hit in memory.search(**query)] == before


def test_an_erasure_is_whole_and_is_finished_when_next_opened(tmp_path: Path, rng: random.Random) -> None:
    canary = "zanzibarcanary"
    gone = kept = turn = 0
    while turn < 40 or (not (gone and kept) and turn < 400):  # more, and longer, where the machine is slow
        turn += 1
        path = tmp_path / f"{turn}.db"
        with open_(path, durable=False) as memory:
            memory.add([f"{canary} {n} said in secret" for n in range(20)], user_id="u")
            memory.add([f"plain {n}" for n in range(200)], user_id="u")

        def work(say: Callable[..., None], path: Path = path) -> None:
            memory = open_(path, durable=False)
            say("open")
            assert memory.erase(filters={"text": {"contains": canary}}, user_id="u").clean
            say("erased")

        words = killed(work, rng.uniform(0, 0.03 * max(1, turn / 40)))
        with open_(path) as memory:
            left = len(memory.list(filters={"text": {"contains": canary}}, user_id="u", retired=True))
            assert left in (0, 20)
            assert memory.check() == []
            if ["erased"] in words:
                assert left == 0
            assert len(memory.list(user_id="u", limit=None)) == 200 + left
        found = [file.name for file in tmp_path.glob(f"{turn}.db*") if canary.encode() in file.read_bytes()]
        assert bool(found) == bool(left), f"{left} records left, their words in {found}"
        gone, kept = gone + (not left), kept + bool(left)
    assert gone
    assert kept, "the kills fell all on one side of the commit"


def test_the_harness_would_see_a_lost_write(path: Path) -> None:
    def work(say: Callable[..., None]) -> None:
        say("open")
        say("added", 0)  # acknowledged, never written
        time.sleep(5)

    words = killed(work, 0.01)
    with open_(path) as memory:
        assert {word[1] for word in words if word[0] == "added"} - wholes(memory) == {0}
