"""A backup while others write: of one moment, whole, never half of one; restored, it is the same memory."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from slowwave import Memory
from slowwave.cli import main
from slowwave.errors import InputError, StoreError
from slowwave.store import backups

ANA = {"user_id": "ana"}


def test_a_backup_while_others_write_is_whole_and_of_one_moment(
    open_memory: Callable[..., Memory], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backups, "PAGES", 3)  # so that writes fall in between
    memory = open_memory()
    before = [memory.add([f"first {n} {m}" for m in range(20)], **ANA)[0].id for n in range(5)]
    memory.sleep(**ANA)
    stop, pairs = threading.Event(), [0]

    def write() -> None:
        while not stop.is_set():
            memory.add([f"left {pairs[0]}", f"right {pairs[0]}"], **ANA)
            pairs[0] += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        while pairs[0] < 3:
            pass
        acknowledged = pairs[0]
        size = memory.backup(tmp_path / "copy.db")
    finally:
        stop.set()
        writer.join()
    assert size == (tmp_path / "copy.db").stat().st_size
    copy = open_memory(tmp_path / "copy.db")
    assert copy.check() == []
    texts = {engram.text for engram in copy.list(limit=None, retired=True, **ANA)}
    left, right = ({text.split()[1] for text in texts if text.startswith(side)} for side in ("left", "right"))
    assert left == right, "half a transaction is in it"
    assert len(left) >= acknowledged
    assert {copy.get(id_, **ANA).id for id_ in before} == set(before)


def test_what_is_restored_is_what_was_backed_up(open_memory: Callable[..., Memory], path: Path, tmp_path: Path) -> None:
    memory = open_memory()
    memory.add(["I live in Porto", "I moved to Lisbon"], speaker="Ana", **ANA)
    memory.sleep(**ANA)
    memory.backup(tmp_path / "copy.db")
    view = memory.store.view(memory.list(**ANA)[0].scope)
    was = (memory.list(retired=True, **ANA), view.journal(), view.operations())
    memory.erase(all=True, **ANA)
    memory.close()
    for file in path.parent.glob(f"{path.name}-*"):
        file.unlink()
    shutil.copy(tmp_path / "copy.db", path)
    again = open_memory()
    view = again.store.view(was[0][0].scope)
    assert (again.list(retired=True, **ANA), view.journal(), view.operations()) == was
    assert again.search("I moved to Lisbon", threshold=0, **ANA)


def test_a_backup_takes_no_files_place_and_leaves_no_half(
    open_memory: Callable[..., Memory], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = open_memory()
    memory.add("hi", **ANA)
    target = tmp_path / "deep" / "copy.db"
    memory.backup(target)
    with pytest.raises(InputError, match="is there already"):
        memory.backup(target)
    with pytest.raises(InputError, match="no file"):
        open_memory(":memory:").backup(tmp_path / "x.db")

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.link", full)
    with pytest.raises(StoreError, match="cannot be written"):
        memory.backup(tmp_path / "deep" / "other.db")
    assert [file.name for file in target.parent.iterdir()] == ["copy.db"]


def test_the_command_backs_up(
    open_memory: Callable[..., Memory], path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    open_memory().add("hi", **ANA)
    assert main(["backup", str(tmp_path / "copy.db"), "--db", str(path), "--embedder", "fake"]) == 0
    assert "bytes to" in capsys.readouterr().out
    assert [engram.text for engram in open_memory(tmp_path / "copy.db").list(**ANA)] == ["hi"]
