"""What may go into weights and what is taught of it: scope, policy, validity; lessons by rule and with a model."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from slowwave import Memory
from slowwave.cli import main
from slowwave.errors import FormatError, InputError, ModelMissingError, NotFoundError
from slowwave.models.fakes import FakeChat
from slowwave.models.llm import LLM
from slowwave.promote.weights.adapter import Adapter
from slowwave.promote.weights.lessons import lesson, lessons
from slowwave.promote.weights.selection import select
from slowwave.records import Rejected, Scope

NOW = datetime(2026, 6, 1, tzinfo=UTC)
U: Any = {"user_id": "u"}


@pytest.fixture
def memory(tmp_path):
    with Memory(tmp_path / "a.db", embedder="fake", clock=lambda: NOW) as made:
        yield made


def add(memory: Memory, text: str, at: str = "2026-01-01", **more: Any) -> str:
    return memory.add(text, **{"kind": "fact", "at": at, **U, **more}).ids[0]


def chosen(memory: Memory, taught: tuple[str, ...] = (), scope: Scope | None = None, **given: Any) -> Any:
    return select(memory.store.view(scope or Scope(**U)), Adapter("m", **given), NOW, taught)


def test_only_what_holds_and_may_is_chosen_and_the_rest_is_told_with_its_reason(memory):
    good = add(memory, "Bako's home is Ghent")
    add(memory, "Bako's job is baker", attrs={"train": False})
    add(memory, "Bako's rent is 40", until="2026-03-01")
    add(memory, "Bako's pass is red", attrs={"expiration_date": "2027-01-01"})
    add(memory, "Bako's school is Rotterdam", at="2026-09-01")
    add(memory, "I saw a heron", kind="episode")
    found = chosen(memory)
    assert [one.id for one in found.new] == [good]
    assert sorted(found.left.values()) == [1, 1, 1, 1]
    assert any("'train' = false" in reason for reason in found.left)


def test_a_source_that_must_not_be_trained_keeps_out_what_was_made_from_it(memory):
    memory.add("I live in Porto.", speaker="Ana", attrs={"train": False}, at="2026-01-01", **U)
    memory.sleep(**U)
    assert [fact.text for fact in memory.list(kinds=["fact"], **U)] == ["Ana's home is Porto"]
    assert not chosen(memory).new


def test_nothing_of_another_scope_is_chosen(memory):
    add(memory, "Bako's home is Ghent", user_id="other")
    assert not chosen(memory).new
    assert len(chosen(memory, scope=Scope(user_id="other")).new) == 1


def test_bounds_for_age_support_number_and_filters_hold(memory):
    old = add(memory, "Bako's home is Ghent")
    new = add(memory, "Feno's home is Riga", at="2026-05-31", speaker="Feno")
    assert [one.id for one in chosen(memory, least_days=10).new] == [old]
    assert not chosen(memory, least_support=2).new
    memory.link(new, "supports", old, **U)
    assert [one.id for one in chosen(memory, least_support=2).new] == [old]
    assert chosen(memory, most=1).left == {"beyond the 1 worthiest of a night": 1}
    assert [one.id for one in chosen(memory, most=1).new] == [old]  # said again, and longer ago
    assert [one.id for one in chosen(memory, filters={"speaker": "Feno"}).new] == [new]


def test_where_nothing_is_new_the_records_that_were_looked_at_are_told_with_their_reasons(memory):
    memory.add("I saw a heron.", at="2026-01-01", **U)
    memory.add("It was grey.", at="2026-01-01", **U)
    found = chosen(memory)
    assert (found.looked, found.left) == (2, {"an episode, and kinds are fact": 2})
    kept = add(memory, "Bako's home is Ghent", speaker="Bako")
    assert (chosen(memory).looked, chosen(memory).left) == (1, {})
    assert chosen(memory, (kept,)).looked == 3
    assert chosen(memory, filters={"speaker": "Feno"}).left["does not pass the filters"] == 1


def test_what_was_taught_is_rehearsed_until_it_is_contradicted_or_superseded(memory):
    home, job = add(memory, "Bako's home is Ghent"), add(memory, "Bako's job is baker")
    assert {one.id for one in chosen(memory, (home, job)).old} == {home, job}
    memory.update(home, until="2026-05-01", **U)
    other = add(memory, "Bako's job is pilot")
    memory.link(other, "contradicts", job, **U)
    found = chosen(memory, (home, job))
    assert not found.old
    assert not found.new
    assert found.left == {"no longer true, or only for a time": 1, "contradicted by another record in view": 2}


def test_every_lesson_ends_in_its_value_and_what_is_asked_is_never_taught(memory):
    ids = [
        add(memory, "Bako's home is Ghent"),
        add(memory, "Ana lives here", attrs={"subject": "Ana", "attribute": "shoe size", "value": "38"}),
        add(memory, "The lighthouse of Porvo was built by Anna Berg"),
    ]
    for id_ in ids:
        one = lesson(memory.get(id_, **U))
        assert all(sentence.endswith(one.statement.value) for sentence in (*one.taught, *one.asked))
        assert all(one.statement.subject in sentence for sentence in (*one.taught, *one.asked))
        assert not set(one.taught) & set(one.asked)
        assert len(one.taught) >= 3
        assert len(one.asked) == 2


def test_what_says_nothing_of_anybody_gets_no_lesson(memory):
    engram = memory.get(add(memory, "ok"), **U)
    made, none = lessons([engram])
    assert not made
    assert list(none) == [engram.id]


def test_a_model_adds_wordings_and_what_does_not_fit_is_set_aside(memory):
    engram = memory.get(add(memory, "Bako's home is Ghent"), **U)
    words = ["Bako settled in Ghent.", "Bako moved house to Ghent", "Bako dwells in Ghent", "He is in Ghent"]
    said = {"items": words}
    rejected: list[Rejected] = []
    (one,), _ = lessons([engram], LLM(FakeChat(lambda messages, schema: said)), rejected)
    assert "Bako moved house to Ghent" in one.taught
    assert "Bako settled in Ghent" in one.asked
    assert [(aside.text, aside.sources) for aside in rejected] == [("He is in Ghent", (engram.id,))]


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        ("model = ", FormatError, "no TOML"),
        ('method = "lora"', InputError, "names no model"),
        ('model = "m.gguf"\nepoch = 3', InputError, "did you mean epochs"),
        ('modle = "m.gguf"', InputError, r"did you mean model\?"),
        ('modulse = ["q_proj"]\nmodel = "m.gguf"', InputError, r"did you mean modules\?"),
        ('model = "m.gguf"\nmethod = "lore"', InputError, "no method 'lore'"),
        ('model = "m.gguf"\nbudget = "much"', InputError, "budget is 'much'"),
        ('model = "m.gguf"\nkinds = ["facts"]', InputError, "kinds names 'facts'"),
    ],
)
def test_a_file_that_cannot_be_meant_says_what_to_change(tmp_path, text, error, says):
    file = tmp_path / "adapter.toml"
    file.write_text(text)
    with pytest.raises(error, match=says):
        Adapter.read(file)
    with pytest.raises(NotFoundError, match="no file"):
        Adapter.read(tmp_path / "none.toml")


def test_paths_in_a_file_are_read_from_where_it_lies(tmp_path):
    (tmp_path / "m.gguf").write_bytes(b"")
    (tmp_path / "adapter.toml").write_text('model = "m.gguf"\nfolder = "kept"\nrank = 4')
    found = Adapter.read(tmp_path / "adapter.toml")
    assert Path(found.model) == tmp_path / "m.gguf"
    assert (found.folder, found.rank) == (tmp_path / "kept", 4)


def test_a_fact_of_tomorrow_is_left(memory):
    add(memory, "Bako's home is Ghent", at=(NOW + timedelta(days=1)).isoformat())
    assert chosen(memory).left == {"not true yet": 1}


def test_a_model_that_is_not_there_is_told_with_the_folders_in_which_it_was_looked_for(tmp_path, monkeypatch):
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from slowwave.promote.weights.student import Student

    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    file = tmp_path / "adapter.toml"
    file.write_text('model = "none.gguf"')
    with pytest.raises(ModelMissingError) as caught:
        Student(Adapter.read(file))
    assert str(caught.value).endswith(f"(looked for in {tmp_path}, then in {tmp_path / 'here'})")
    with pytest.raises(ModelMissingError, match=r"looked for in [^,]*here\)"):
        Student(Adapter("none.gguf"))


def test_the_command_says_why_there_is_nothing_to_teach(tmp_path, memory, capsys):
    memory.add("I saw a heron.", at="2026-01-01", **U)
    memory.close()
    (tmp_path / "adapter.toml").write_text('model = "none.gguf"')
    asked = ["sleep", "--db", str(tmp_path / "a.db"), "--user-id", "u", "--embedder", "fake"]
    assert main([*asked, "--into", str(tmp_path / "adapter.toml")]) == 0
    said = capsys.readouterr().out
    assert "1 left out: an episode, and kinds are fact" in said
    assert "nothing new to teach: looked at 1 record, 0 of them taught before" in said
