"""Importing: counted to the last item, a no-op when done again, edits supersede, a kill in between loses nothing."""

from __future__ import annotations

import json
import shutil

import pytest

from slowwave import Memory
from slowwave.errors import ConflictError, FormatError, InputError, ScopeError
from slowwave.formats import arrive, homecoming

SAMPLES = ("chatgpt.json", "claude", "diary.txt", "mem0.json", "memory.jsonl", "messages.jsonl", "vault")


def texts(memory, **scope):
    return sorted(engram.text for engram in memory.list(limit=None, **scope))


def note(folder, text, name="Porto.md"):
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"---\ndate: 2024-05-01\n---\n{text}\n", "utf-8")
    return folder


@pytest.mark.parametrize("name", SAMPLES)
def test_every_item_is_accounted_for_and_a_second_import_changes_nothing(memory, samples, name):
    scope = {"app_id": "old"}
    dry = memory.import_(samples / name, dry_run=True, **scope)
    assert memory.scopes() == []
    done = memory.import_(samples / name, **scope)
    assert done.added + done.known + done.edited == done.audit["items"] > 0
    assert (dry.added, dry.known, dry.edited, dry.junk) == (done.added, done.known, done.edited, done.junk)
    assert len(memory.list(limit=None, **scope)) == done.added
    state = memory.stats(**scope)
    again = memory.import_(samples / name, **scope)
    assert (again.added, again.edited, again.linked, again.ops) == (0, 0, 0, [])
    assert again.known == done.audit["items"]
    assert {**memory.stats(**scope), "bytes_on_disk": 0} == {**state, "bytes_on_disk": 0}
    json.dumps(done.to_dict())


def test_what_is_left_out_is_told_with_its_reason_and_examples(memory, samples):
    done = memory.import_(samples / "mem0.json", app_id="old")
    assert done.audit["junk"] == {"an empty memory": 1, "unreadable: no row with id and memory": 1}
    assert done.to_dict()["counts"]["junk"] == 2
    assert "an empty memory" in done.summary()


def test_an_item_that_a_record_cannot_hold_is_left_out_with_the_reason(memory, tmp_path):
    rows = [{"id": "1", "memory": "fine"}, {"id": "2", "memory": "x", "metadata": {"deep": "y" * 70_000}}]
    (tmp_path / "dump.json").write_text(json.dumps(rows), "utf-8")
    done = memory.import_(tmp_path / "dump.json", user_id="ana")
    assert (done.added, done.junk) == (1, 1)
    (reason,) = done.audit["junk"]
    assert "larger than" in reason


@pytest.mark.parametrize("size", [1, 256])
def test_ties_hold_across_batches(memory, samples, size, monkeypatch):
    monkeypatch.setattr(arrive, "BATCH", size)
    done = memory.import_(samples / "memory.jsonl", user_id="ana")
    assert done.linked == memory.stats(user_id="ana")["links"]["about"] > 2


def test_an_edited_note_supersedes_the_old_one_and_history_shows_it(memory, tmp_path):
    vault = note(tmp_path / "vault", "Ana lives in Lisbon.")
    memory.import_(vault, user_id="ana")
    note(vault, "Ana lives in Porto.")
    done = memory.import_(vault, user_id="ana")
    assert (done.added, done.edited) == (0, 1)
    (now,) = memory.list(user_id="ana")
    assert now.text == "Ana lives in Porto."
    assert [entry.verb for entry in memory.history(now.id, user_id="ana")] == ["add", "update", "retire"]
    assert memory.import_(vault, user_id="ana").known == 1


def test_an_older_version_does_not_come_back(memory, tmp_path):
    vault = note(tmp_path / "vault", "Ana lives in Lisbon.")
    memory.import_(vault, user_id="ana")
    shutil.copytree(vault, tmp_path / "old")
    note(vault, "Ana lives in Porto.")
    memory.import_(vault, user_id="ana")
    assert memory.import_(tmp_path / "old", user_id="ana").known == 1
    assert texts(memory, user_id="ana") == ["Ana lives in Porto."]


def test_two_versions_in_one_batch_end_with_the_later_one(memory, tmp_path):
    rows = [{"id": "1", "memory": "Ana lives in Lisbon"}, {"id": "1", "memory": "Ana lives in Porto"}]
    (tmp_path / "dump.json").write_text(json.dumps(rows), "utf-8")
    done = memory.import_(tmp_path / "dump.json", user_id="ana")
    assert (done.added, done.edited) == (1, 1)
    assert texts(memory, user_id="ana") == ["Ana lives in Porto"]
    assert memory.import_(tmp_path / "dump.json", user_id="ana").known == 2


def test_an_import_is_undone_and_comes_back_when_done_again(memory, tmp_path):
    vault = note(tmp_path / "vault", "Ana lives in Lisbon.")
    memory.import_(vault, user_id="ana")
    note(vault, "Ana lives in Porto.")
    (op,) = memory.import_(vault, user_id="ana").ops
    memory.undo(op, user_id="ana")
    assert texts(memory, user_id="ana") == ["Ana lives in Lisbon."]
    assert memory.import_(vault, user_id="ana").restored == 1
    assert texts(memory, user_id="ana") == ["Ana lives in Porto."]


def test_what_was_forgotten_stays_forgotten(memory, samples):
    memory.import_(samples / "diary.txt", user_id="ana")
    memory.forget(all=True, user_id="ana")
    assert memory.import_(samples / "diary.txt", user_id="ana").added == 0
    assert texts(memory, user_id="ana") == []


def test_what_belongs_to_somebody_else_is_left_out_unless_rehomed(memory, tmp_path):
    rows = [{"id": "1", "memory": "mine", "user_id": "ana"}, {"id": "2", "memory": "his", "user_id": "bob"}]
    (tmp_path / "dump.json").write_text(json.dumps(rows), "utf-8")
    done = memory.import_(tmp_path / "dump.json", user_id="ana")
    assert (done.added, done.audit["junk"]) == (1, {"belongs to another scope (user_id=bob)": 1})
    assert texts(memory, user_id="ana") == ["mine"]
    memory.import_(tmp_path / "dump.json", user_id="ana", rehome=True)
    assert texts(memory, user_id="ana") == ["his", "mine"]


class Killed(BaseException):
    """As if the process had ended: nothing catches it."""


@pytest.mark.parametrize("nth", [1, 2, 5])
def test_an_import_that_was_killed_goes_on_where_it_was(open_memory, tmp_path, monkeypatch, nth):
    monkeypatch.setattr(arrive, "BATCH", 3)
    rows = [{"id": str(n), "memory": f"fact number {n}"} for n in range(20)]
    (tmp_path / "dump.json").write_text(json.dumps(rows), "utf-8")
    memory = open_memory()
    calls = 0
    index = memory.system.index

    def dying(*args):
        nonlocal calls
        calls += 1
        if calls == nth:
            raise Killed
        return index(*args)

    monkeypatch.setattr(memory.system, "index", dying)
    with pytest.raises(Killed):
        memory.import_(tmp_path / "dump.json", user_id="ana")
    assert len(memory.list(user_id="ana")) == 3 * (nth - 1)
    done = memory.import_(tmp_path / "dump.json", user_id="ana")
    assert (done.known, done.added) == (3 * (nth - 1), 20 - 3 * (nth - 1))
    assert len(memory.list(user_id="ana")) == 20


def test_markdown_that_we_wrote_is_known_again_and_an_edit_in_it_supersedes(memory, tmp_path):
    memory.add(["Ana lives in Lisbon", "Ana likes tea"], at="2024-05-01", user_id="ana")
    memory.export(tmp_path / "notes", format="markdown", user_id="ana")
    assert memory.import_(tmp_path / "notes", user_id="ana").known == 2
    (file,) = (tmp_path / "notes").glob("*.md")
    file.write_text(file.read_text("utf-8").replace("> Ana lives in Lisbon", "> Ana lives in Porto"), "utf-8")
    done = memory.import_(tmp_path / "notes", user_id="ana")
    assert (done.known, done.edited) == (1, 1)
    assert texts(memory, user_id="ana") == ["Ana likes tea", "Ana lives in Porto"]


# -- slowwave's own export


@pytest.fixture
def lived(open_memory, tmp_path) -> Memory:
    """A memory with a past: an edit, a forgotten record, a link, an undo, a night; exported to ana.jsonl."""
    memory = open_memory(zone="Europe/London")
    memory.add(["I live in Lisbon", "I like tea"], at="2024-05-01T10:00", speaker="Ana", user_id="ana", run_id="r1")
    memory.add(["I live in Porto", "My dog is Rex"], at="2024-08-01T10:00", speaker="Ana", user_id="ana")
    ids = [engram.id for engram in memory.list(user_id="ana")]
    memory.update(ids[1], "I like green tea", user_id="ana")
    memory.link(ids[0], "causes", ids[2], weight=0.5, user_id="ana")
    memory.forget(ids[3], user_id="ana")
    memory.undo(user_id="ana")
    memory.sleep(user_id="ana")
    memory.search("Where does Ana live?", threshold=0, user_id="ana")
    memory.export(tmp_path / "ana.jsonl", user_id="ana")
    return memory


def lines(path):
    """The lines of an export but for the moment it was made."""
    out = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    del out[0]["created"], out[-1]["sha256"]
    return out


def test_an_export_comes_back_to_the_last_field(lived, open_memory, tmp_path):
    other = open_memory(tmp_path / "other.db")
    done = other.import_(tmp_path / "ana.jsonl", user_id="ana")
    assert done.added == len(lived.list(user_id="ana", retired=True, limit=None))
    other.export(tmp_path / "again.jsonl", user_id="ana")
    assert lines(tmp_path / "again.jsonl") == lines(tmp_path / "ana.jsonl")
    assert other.check() == []
    again = other.import_(tmp_path / "ana.jsonl", user_id="ana")
    assert (again.added, again.known, again.audit["operations"]) == (0, done.added, 0)
    other.export(tmp_path / "third.jsonl", user_id="ana")
    assert lines(tmp_path / "third.jsonl") == lines(tmp_path / "ana.jsonl")


def test_what_came_back_is_found_slept_on_and_undone_like_the_original(lived, open_memory, tmp_path):
    other = open_memory(tmp_path / "other.db", zone="Europe/London")
    other.import_(tmp_path / "ana.jsonl", user_id="ana")
    asked = {"threshold": 0, "now": "2024-09-01", "user_id": "ana", "note_use": False}
    found = [(hit.id, hit.score) for hit in lived.search("Where does Ana live?", **asked)]
    assert [(hit.id, hit.score) for hit in other.search("Where does Ana live?", **asked)] == found
    assert list(other.sleep(dry_run=True, user_id="ana")) == list(lived.sleep(dry_run=True, user_id="ana")) == []
    night = next(row["op"] for row in lived.log(user_id="ana") if row["verb"] == "sleep")
    for memory in (lived, other):
        memory.undo(night, user_id="ana")
    assert texts(other, user_id="ana") == texts(lived, user_id="ana")


def test_a_dry_run_of_an_export_writes_nothing(lived, open_memory, tmp_path):
    other = open_memory(tmp_path / "other.db")
    dry = other.import_(tmp_path / "ana.jsonl", dry_run=True, user_id="ana")
    assert other.scopes() == []
    assert dry.added == other.import_(tmp_path / "ana.jsonl", user_id="ana").added
    assert other.import_(tmp_path / "ana.jsonl", dry_run=True, user_id="ana").known == dry.added


def test_a_later_export_is_followed_and_local_changes_are_kept(lived, open_memory, tmp_path):
    other = open_memory(tmp_path / "other.db")
    other.import_(tmp_path / "ana.jsonl", user_id="ana")
    dog, lisbon = (
        next(e.id for e in lived.list(user_id="ana") if word in e.text) for word in ("Rex", "live in Lisbon")
    )
    lived.update(dog, "My dog is Max", user_id="ana")
    lived.forget(lisbon, user_id="ana")
    other.update(lisbon, until="2024-07-15", attrs={"sure": True}, user_id="ana")
    lived.export(tmp_path / "later.jsonl", user_id="ana")
    done = other.import_(tmp_path / "later.jsonl", user_id="ana")
    assert "My dog is Max" in texts(other, user_id="ana")
    assert "My dog is Rex" not in texts(other, user_id="ana")
    assert other.get(lisbon, user_id="ana").attrs["sure"] is True
    assert done.added == 1


def test_a_change_made_on_both_sides_is_a_conflict_and_stays_as_it_is_here(lived, open_memory, tmp_path):
    other = open_memory(tmp_path / "other.db")
    other.import_(tmp_path / "ana.jsonl", user_id="ana")
    (dog,) = (engram.id for engram in lived.list(user_id="ana", kinds=["episode"]) if "Rex" in engram.text)
    lived.update(dog, attrs={"breed": "poodle"}, user_id="ana")
    other.update(dog, attrs={"breed": "beagle"}, user_id="ana")
    lived.export(tmp_path / "later.jsonl", user_id="ana")
    assert other.import_(tmp_path / "later.jsonl", user_id="ana").conflicts == [dog]
    assert other.get(dog, user_id="ana").attrs["breed"] == "beagle"


def test_an_export_outside_the_scope_is_refused_whole(lived, open_memory, tmp_path):
    other = open_memory(tmp_path / "other.db")
    with pytest.raises(ScopeError, match="user_id=ana"):
        other.import_(tmp_path / "ana.jsonl", user_id="bob")
    with pytest.raises(ScopeError, match="rehome"):
        other.import_(tmp_path / "ana.jsonl", user_id="ana", run_id="r1")
    assert other.scopes() == []


def test_an_export_is_rehomed_when_that_is_asked(lived, open_memory, tmp_path):
    other = open_memory(tmp_path / "other.db")
    other.import_(tmp_path / "ana.jsonl", user_id="bob", rehome=True)
    assert {scope.user_id for scope, _ in other.scopes()} == {"bob"}
    assert texts(other, user_id="bob") == texts(lived, user_id="ana")
    assert len(other.log(user_id="bob")) == len(lived.log(user_id="ana"))
    with pytest.raises(ConflictError, match="another scope"):
        lived.import_(tmp_path / "ana.jsonl", user_id="bob", rehome=True)
    assert texts(lived, user_id="bob") == []


def test_the_same_item_under_another_id_is_known_and_its_ties_lead_to_it(open_memory, tmp_path):
    one, other = open_memory(tmp_path / "one.db"), open_memory(tmp_path / "other.db")
    for memory in (one, other):
        memory.add("I live in Lisbon", origin="chat:1", at="2024-01-01", user_id="ana")
    here = other.list(user_id="ana")[0].id
    there = one.list(user_id="ana")[0].id
    new = one.add("The rent is low", at="2024-01-02", user_id="ana").ids[0]
    one.link(there, "causes", new, user_id="ana")
    one.export(tmp_path / "one.jsonl", user_id="ana")
    done = other.import_(tmp_path / "one.jsonl", user_id="ana")
    assert (done.added, done.known) == (1, 1)
    (tie,) = other.store.view(other.get(here, user_id="ana").scope).links([here])
    assert (tie.source, tie.target) == (here, new)
    assert other.check() == []


@pytest.mark.parametrize("nth", [1, 2, 3, 6])
def test_a_restore_that_was_killed_is_completed(lived, open_memory, tmp_path, monkeypatch, nth):
    monkeypatch.setattr(homecoming, "BATCH", 2)
    other = open_memory(tmp_path / "other.db")
    restore, calls = other.store.restore, 0

    def dying(*args):
        nonlocal calls
        calls += 1
        if calls == nth:
            raise Killed
        restore(*args)

    monkeypatch.setattr(other.store, "restore", dying)
    with pytest.raises(Killed):
        other.import_(tmp_path / "ana.jsonl", user_id="ana")
    done = other.import_(tmp_path / "ana.jsonl", user_id="ana")
    assert done.conflicts == []
    other.export(tmp_path / "again.jsonl", user_id="ana")
    assert lines(tmp_path / "again.jsonl") == lines(tmp_path / "ana.jsonl")


def test_a_damaged_export_is_refused_before_anything_is_written(lived, open_memory, tmp_path):
    other = open_memory(tmp_path / "other.db")
    source = (tmp_path / "ana.jsonl").read_text("utf-8")
    for broken in (source.replace("Lisbon", "London"), source[: len(source) // 2], source.replace('"end"', '"stop"')):
        (tmp_path / "broken.jsonl").write_text(broken, "utf-8")
        with pytest.raises(FormatError):
            other.import_(tmp_path / "broken.jsonl", format="jsonl", user_id="ana")
    assert other.scopes() == []


def test_a_path_that_is_not_there_and_a_format_that_is_not_known_are_said(memory, tmp_path):
    with pytest.raises(InputError, match=r"nothing\.json"):
        memory.import_(tmp_path / "nothing.json", user_id="ana")
    with pytest.raises(FormatError, match="there is no format 'xml'"):
        memory.import_(tmp_path, format="xml", user_id="ana")
