"""Leaving: an export read back and written again is the same; a failure leaves what was there."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slowwave import Memory, Scope
from slowwave.errors import ConflictError, InputError, NotFoundError
from slowwave.formats import leave

WORDS = (
    "I live in Lisbon",
    "I live in Porto",
    "My dog is Rex",
    "I like tea",
    "I work at Acme",
    "Tea is fine, Ana said",
)
PLACE = st.integers(0, 7)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.sampled_from(WORDS), st.sampled_from([None, "r1", "r2"]), st.integers(0, 400)),
        st.tuples(st.just("update"), PLACE, st.sampled_from([*WORDS, None])),
        st.tuples(st.just("forget"), PLACE),
        st.tuples(st.just("link"), PLACE, st.sampled_from(["causes", "about"]), PLACE),
        st.tuples(st.just("undo")),
        st.tuples(st.just("sleep")),
        st.tuples(st.just("search"), st.sampled_from(WORDS)),
        st.tuples(st.just("erase"), PLACE),
    ),
    max_size=14,
)


class Life:
    """Does the steps of a history; a step that the memory refuses is passed over."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory

    def do(self, step) -> None:
        verb, *args = step
        with suppress(ConflictError, NotFoundError, InputError):
            getattr(self, verb)(*args)

    def id(self, place: int) -> str:
        held = self.memory.list(user_id="ana", limit=None)
        if not held:
            raise NotFoundError("none yet")
        return held[place % len(held)].id

    def add(self, text: str, run_id: str | None, day: int) -> None:
        at = datetime(2023, 1, 1, tzinfo=UTC) + timedelta(days=day)
        self.memory.add(text, at=at.isoformat(), speaker="Ana", run_id=run_id, user_id="ana")

    def update(self, place: int, text: str | None) -> None:
        more = {} if text else {"attrs": {"sure": place % 2 == 0}, "until": "2030-01-01"}
        self.memory.update(self.id(place), text, user_id="ana", **more)

    def forget(self, place: int) -> None:
        self.memory.forget(self.id(place), user_id="ana")

    def link(self, source: int, relation: str, target: int) -> None:
        self.memory.link(self.id(source), relation, self.id(target), user_id="ana")

    def undo(self) -> None:
        self.memory.undo(user_id="ana")

    def sleep(self) -> None:
        self.memory.sleep(user_id="ana")

    def search(self, text: str) -> None:
        self.memory.search(text, threshold=0, user_id="ana")

    def erase(self, place: int) -> None:
        self.memory.erase(self.id(place), user_id="ana")


def lines(path):
    out = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    del out[0]["created"], out[-1]["sha256"]
    return out


@given(STEPS)
def test_any_history_survives_export_and_import(tmp_path_factory, steps):
    folder = tmp_path_factory.mktemp("life")
    moment = datetime(2024, 1, 1, tzinfo=UTC)

    def clock():
        nonlocal moment
        moment += timedelta(hours=7)
        return moment

    with (
        Memory(":memory:", embedder="fake", clock=clock, zone="Europe/Lisbon") as one,
        Memory(":memory:", embedder="fake", clock=clock) as two,
    ):
        life = Life(one)
        for step in steps:
            life.do(step)
        count = one.export(folder / "one.jsonl", user_id="ana")
        assert count == len(one.list(user_id="ana", retired=True, limit=None))
        two.import_(folder / "one.jsonl", user_id="ana")
        two.export(folder / "two.jsonl", user_id="ana")
        assert lines(folder / "two.jsonl") == lines(folder / "one.jsonl")
        assert two.check() == []


@given(STEPS, STEPS)
def test_a_file_that_follows_another_ends_where_that_one_is(tmp_path_factory, before, after):
    folder = tmp_path_factory.mktemp("life")
    with Memory(":memory:", embedder="fake") as one, Memory(":memory:", embedder="fake") as two:
        life = Life(one)
        for part in (before, [step for step in after if step[0] != "erase"]):  # an erasure does not travel
            for step in part:
                life.do(step)
            one.export(folder / "one.jsonl", user_id="ana")
            assert two.import_(folder / "one.jsonl", user_id="ana").conflicts == []
        states = []
        for memory in (one, two):
            held = memory.list(user_id="ana", retired=True, limit=None)
            ties = memory.store.view(Scope(user_id="ana")).links([e.id for e in held]) if held else []
            states.append(
                (
                    {(e.id, e.text, e.until, e.retired, e.retired_why, str(dict(e.attrs))) for e in held},
                    {(tie.source, tie.relation, tie.target) for tie in ties},
                    [(row["op"], row["undone_by"], row["changes"]) for row in memory.log(user_id="ana", limit=1000)],
                )
            )
        assert states[1] == states[0]


def test_a_narrower_export_holds_its_own_part_alone_and_comes_back(open_memory, tmp_path):
    memory = open_memory()
    memory.add(["I live in Lisbon", "I live in Porto"], user_id="ana", run_id="r1")
    memory.add("A secret of another run", user_id="ana", run_id="r2")
    memory.sleep(user_id="ana")
    memory.export(tmp_path / "r1.jsonl", user_id="ana", run_id="r1")
    assert "secret" not in (tmp_path / "r1.jsonl").read_text("utf-8")
    other = open_memory(tmp_path / "other.db")
    other.import_(tmp_path / "r1.jsonl", user_id="ana", run_id="r1")
    other.export(tmp_path / "again.jsonl", user_id="ana", run_id="r1")
    assert lines(tmp_path / "again.jsonl") == lines(tmp_path / "r1.jsonl")
    assert other.history(other.list(user_id="ana")[0].id, user_id="ana")


def test_a_failure_leaves_the_earlier_export_and_no_rest(memory, tmp_path, monkeypatch):
    memory.add("I live in Lisbon", user_id="ana")
    memory.export(tmp_path / "ana.jsonl", user_id="ana")
    before = (tmp_path / "ana.jsonl").read_bytes()
    memory.add("I live in Porto", user_id="ana")

    def failing(view):
        yield next(iter(leave_records(view)))
        raise OSError(28, "No space left on device")

    leave_records = leave.records
    monkeypatch.setattr(leave, "records", failing)
    with pytest.raises(OSError, match="No space"):
        memory.export(tmp_path / "ana.jsonl", user_id="ana")
    assert (tmp_path / "ana.jsonl").read_bytes() == before
    assert not list(tmp_path.glob(".*partial"))


def test_an_export_is_of_one_moment(open_memory, tmp_path, monkeypatch):
    memory, writer = open_memory(), open_memory()
    memory.add([f"record {n}" for n in range(10)], user_id="ana")
    monkeypatch.setattr(leave, "BATCH", 2)
    kept = leave.kept_record

    def interrupted(record):
        writer.add(f"while it was written: {record.engram.id}", user_id="ana")
        return kept(record)

    monkeypatch.setattr(leave, "kept_record", interrupted)
    assert memory.export(tmp_path / "ana.jsonl", user_id="ana") == 10
    assert "while it was" not in (tmp_path / "ana.jsonl").read_text("utf-8")
    assert len(memory.list(user_id="ana", limit=None)) == 20


def test_files_of_others_are_not_run_over(memory, tmp_path, path):
    memory.add("I live in Lisbon", user_id="ana")
    (tmp_path / "thesis.txt").write_text("years of work", "utf-8")
    for target in (tmp_path / "thesis.txt", path, tmp_path):
        with pytest.raises(InputError):
            memory.export(target, user_id="ana")
    assert (tmp_path / "thesis.txt").read_text("utf-8") == "years of work"
    with pytest.raises(InputError, match="no folder"):
        memory.export(tmp_path / "nowhere" / "ana.jsonl", user_id="ana")
    with pytest.raises(InputError, match="jsonl or markdown"):
        memory.export(tmp_path / "x", format="parquet", user_id="ana")


def test_a_folder_with_anything_else_in_it_is_refused(memory, tmp_path):
    memory.add("I live in Lisbon", user_id="ana")
    vault = tmp_path / "vault"
    vault.mkdir()
    (vault / "Own.md").write_text("# Mine\n", "utf-8")
    with pytest.raises(InputError, match=r"Own\.md"):
        memory.export(vault, format="markdown", user_id="ana")
    assert os.listdir(vault) == ["Own.md"]
    with pytest.raises(InputError, match="is a file"):
        memory.export(vault / "Own.md", format="markdown", user_id="ana")


def test_a_folder_exported_again_drops_what_left_and_keeps_what_is_hidden(memory, tmp_path):
    first = memory.add("I live in Lisbon", session="one", user_id="ana").ids[0]
    memory.add("I live in Porto", session="two", user_id="ana")
    notes = tmp_path / "notes"
    assert memory.export(notes, format="markdown", user_id="ana") == 2
    (notes / ".git").mkdir()
    memory.forget(first, user_id="ana")
    assert memory.export(notes, format="markdown", user_id="ana") == 1
    assert sorted(os.listdir(notes)) == [".git", "two.md"]


def test_an_empty_scope_is_an_export_too(memory, open_memory, tmp_path):
    assert memory.export(tmp_path / "none.jsonl", user_id="nobody") == 0
    assert open_memory(tmp_path / "b.db").import_(tmp_path / "none.jsonl", user_id="nobody").added == 0
