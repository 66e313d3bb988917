"""Replies in a file: they survive the process that got them, are shared, and go when their sources do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from slowwave.bench.reply_file import FileCache
from slowwave.errors import StoreCorruptError, StoreError
from slowwave.models.chat import Reply, Token
from slowwave.models.fakes import FakeChat, fake_garbage
from slowwave.models.llm import LLM, Prompt, choice, obj

SCHEMA = obj("pet", kind=choice(["dog", "cat"]))


def prompt(number: int, **more: object) -> Prompt:
    return Prompt("pet", "Which pet?", {"n": number}, SCHEMA, **more)  # type: ignore[arg-type]


def test_a_job_goes_on_where_it_stopped(tmp_path: Path) -> None:
    cache = FileCache(tmp_path / "deep" / "replies.sqlite")
    first = FakeChat([{"kind": "dog"}])
    LLM(first, cache=cache, max_calls=3).ask_all([prompt(number) for number in range(5)])
    cache.close()
    cache = FileCache(tmp_path / "deep" / "replies.sqlite")
    second = FakeChat([{"kind": "dog"}])
    answers = LLM(second, cache=cache).ask_all([prompt(number) for number in range(5)])
    assert all(answer.ok for answer in answers)
    assert (len(first.asked), len(second.asked), len(cache)) == (3, 2, 5)
    cache.close()


def test_a_reply_comes_back_whole(tmp_path: Path) -> None:
    cache = FileCache(tmp_path / "r")
    reply = Reply("half \ud83d", 3, 4, "length", (Token("a", -0.5, (("a", -0.5), ("b", -1.5))), Token("b", -0.1)))
    cache.put("k", prompt(0), "m", reply)
    assert cache.get("k") == replace(reply, text="half ?")
    assert cache.get("other") is None
    cache.close()


def test_replies_of_no_use_are_not_kept(tmp_path: Path) -> None:
    cache = FileCache(tmp_path / "r")
    llm = LLM(fake_garbage(), cache=cache)
    assert not any(answer.ok for answer in llm.ask_all([prompt(number) for number in range(10)]))
    assert len(cache) == 0
    cache.close()


def test_a_reply_survives_a_kill_at_any_moment(tmp_path: Path) -> None:
    script = f"""
from slowwave.bench.reply_file import FileCache
from slowwave.models.chat import Reply
from slowwave.models.prompt import Prompt
cache = FileCache({str(tmp_path / "r")!r})
for n in range(100_000):
    cache.put(str(n), Prompt("x", "", {{}}), "m", Reply("said " * 50, 1, 1))
    print(n, flush=True)
"""
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    said = [int(process.stdout.readline()) for _ in range(200)]
    os.kill(process.pid, signal.SIGKILL)
    said += [int(line) for line in process.stdout.read().split()]
    process.stdout.close()
    process.wait()
    cache = FileCache(tmp_path / "r")
    assert all(cache.get(str(n)) for n in said)
    cache.close()


def test_an_erased_source_leaves_no_byte_of_its_replies(tmp_path: Path) -> None:
    cache = FileCache(tmp_path / "r")
    cache.put("a", prompt(0, sources=("one", "two")), "m", Reply("the harbour master", 1, 1))
    cache.put("b", prompt(1, sources=("three",)), "m", Reply("the lighthouse", 1, 1))
    assert cache.erase(["two", "four"]) == 1
    assert cache.get("a") is None
    assert cache.get("b") is not None
    held = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert b"lighthouse" in held
    assert b"harbour" not in held
    cache.close()


def test_threads_and_other_openings_share_one_file(tmp_path: Path) -> None:
    caches = [FileCache(tmp_path / "r") for _ in range(2)]

    def fill(which: int) -> None:
        for number in range(50):
            caches[which % 2].put(f"{which}-{number}", prompt(number), "m", Reply("x", 1, 1))

    threads = [threading.Thread(target=fill, args=(which,)) for which in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [len(cache) for cache in caches] == [200, 200]
    for cache in caches:
        cache.close()


def test_a_file_that_is_no_cache_and_a_closed_one_are_said_to_be(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("this is not a database, and it is long enough to tell" * 20)
    with pytest.raises(StoreCorruptError, match=r"notes\.txt"):
        FileCache(tmp_path / "notes.txt")
    cache = FileCache(tmp_path / "r")
    cache.close()
    with pytest.raises(StoreError, match="closed"):
        cache.get("k")
