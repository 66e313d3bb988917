"""A move between stores loses nothing, goes on after a kill, and says when the two sides differ."""

from __future__ import annotations

import os
import signal
import time
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from postgres_server import Server
from slowwave import Memory, Scope
from slowwave.errors import ConflictError, InputError, StoreCorruptError
from slowwave.models.base import FakeEmbedder
from slowwave.store import open_store, transfer
from slowwave.store.base import Want
from slowwave.store.migrations import STEPS
from slowwave.store.postgres_schema import STEPS as POSTGRES_STEPS
from slowwave.store.transfer import LEFT, TABLES, checksum, migrate
from ticking import Clock

ANA, BEN, RUN = Scope(user_id="ana"), Scope(user_id="ben"), Scope(user_id="ana", run_id="r")


def fill(where: Path | str) -> None:
    with Memory(where, embedder="fake", clock=Clock(), durable=False) as memory:
        memory.add(["I live in Porto.", "My sister Clara plays the cello.", "We met on 5 May 2023."], speaker="Ana",
                   at="2023-02-01", user_id="ana")  # fmt: skip
        memory.add("I moved to Lisbon last week.", speaker="Ana", at="2024-05-06T09:00+02:00", user_id="ana")
        memory.add([f"turn {n} of the run, naïve 🙂" for n in range(30)], session="s", user_id="ana", run_id="r")
        memory.add("Ben likes wine", attrs={"n": 0.1, "tags": ["a", None]}, user_id="ben")
        ids = [engram.id for engram in memory.list(user_id="ana", limit=2)]
        memory.link(ids[0], "about", ids[1], user_id="ana")
        memory.sleep(user_id="ana")
        memory.forget(ids[1], user_id="ana")
        memory.undo(user_id="ana")
        memory.update(memory.list(user_id="ben")[0].id, "Ben likes red wine", user_id="ben")


def told(where: Path | str) -> dict[str, Any]:
    """What the two sides have to agree on, as a memory tells it."""
    row = FakeEmbedder().embed(["wine in Lisbon"])[0]
    with Memory(where, embedder="fake", clock=Clock()) as memory:
        out: dict[str, Any] = {"scopes": memory.scopes()}
        for scope in (ANA, BEN, RUN):
            view = memory.store.view(scope)
            found = view.dense(row, 10, Want(retired=True))
            names = {n: engram.id for n, engram in view.engrams(found.ids.tolist()).items()}
            out[str(scope)] = [
                view.select(Want(retired=True)), view.journal(), view.operations(), view.stats(),
                [(names[n], round(float(s), 5)) for n, s in zip(found.ids.tolist(), found.scores, strict=True)],
                [(view.engrams([n])[n].id, round(s, 6)) for n, s in view.lexical(["wine", "turn"], 50, Want())],
                view.bookmarks(),
            ]  # fmt: skip
        assert memory.check() == []
    return out


@pytest.fixture
def places(tmp_path: Path, server: Server) -> tuple[Path, str, Path]:
    file = tmp_path / "a.db"
    fill(file)
    return file, server.tenant(), tmp_path / "b.db"


def move(source: Path | str, target: Path | str) -> transfer.Moved:
    with closing(open_store(source, readonly=True)) as one, closing(open_store(target)) as other:
        return migrate(one, other)  # type: ignore[arg-type]


def test_there_and_back_is_the_same(places: tuple[Path, str, Path]) -> None:
    file, url, back = places
    there, due = move(file, url), told(file)
    assert told(url) == due
    # A tenant that has rows before its own: numbers are moved.
    second = move(file, f"{url}-second")
    assert second.checksum == there.checksum
    assert told(f"{url}-second") == due
    move(f"{url}-second", back)
    assert told(back) == due
    with Memory(back, embedder="fake") as memory:
        assert memory.add("and it goes on", user_id="ana").counts == {"ADD": 1}
        memory.sleep(user_id="ana")
        assert memory.erase(all=True, user_id="ana").clean


def test_every_table_is_moved_or_said_to_stay() -> None:
    for steps in (STEPS, POSTGRES_STEPS):
        made = [line.split()[2] for step in steps for line in step.splitlines() if line.startswith("CREATE TABLE")]
        assert set(made) - {table.name for table in TABLES} - set(LEFT) == set()


def step(write: int, stage: str, done: int, total: int) -> None:
    os.write(write, b".")
    time.sleep(0.002)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and kill -9")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_move_that_was_killed_goes_on(places: tuple[Path, str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    file, url, _ = places
    monkeypatch.setattr(transfer, "BATCH", 7)
    for turn in range(4):
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                with closing(open_store(file, readonly=True)) as one, closing(open_store(url)) as other:
                    migrate(one, other, partial(step, write))  # type: ignore[arg-type]
            finally:
                os._exit(0)
        os.close(write)
        with os.fdopen(read, "rb", buffering=0) as heard:
            for _ in range(5 + 4 * turn):
                heard.read(1)
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    moved = move(file, url)
    assert moved.rows["engrams"] >= 35
    assert told(url) == told(file)


def test_what_does_not_fit_is_refused(places: tuple[Path, str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    file, url, back = places
    move(file, url)
    with pytest.raises(InputError, match="not empty"):
        move(file, url)
    with pytest.raises(InputError, match="into itself"):
        move(file, file)

    def cut(*given: Any) -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(transfer, "_copy", cut)
        with pytest.raises(KeyboardInterrupt):
            move(file, back)
    with Memory(file, embedder="fake") as memory:
        memory.add("written meanwhile", user_id="ana")
    with pytest.raises(ConflictError, match="written to since"):
        move(file, back)


def test_a_difference_is_found(places: tuple[Path, str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    file, url, _ = places
    insert = transfer._insert

    def wrong(target: Any, session: Any, table: Any, rows: Any, scopes: Any) -> None:
        if table.name == "links":
            rows = [[*row[:-1], 0.123] for row in rows]
        insert(target, session, table, rows, scopes)

    monkeypatch.setattr(transfer, "_insert", wrong)
    with pytest.raises(StoreCorruptError, match="links of"):
        move(file, url)


def test_the_checksum_sees_each_table(places: tuple[Path, str, Path]) -> None:
    file, _, _ = places
    with closing(open_store(file)) as store:
        before = checksum(store, {})  # type: ignore[arg-type]
        assert set(before) == {table.name for table in TABLES}
        with store.connections.write() as session:  # type: ignore[attr-defined]
            session.execute("UPDATE engrams SET strength = 0.5 WHERE n = 1")
            session.execute("UPDATE vectors SET vector = zeroblob(length(vector)) WHERE engram = 1")
        after = checksum(store, {})  # type: ignore[arg-type]
        assert {name for name in before if before[name] != after[name]} == {"engrams", "vectors"}
        assert np.all([len(value) == 64 for value in after.values()])
