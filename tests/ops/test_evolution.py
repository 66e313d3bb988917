"""Notes that change one another: by id and never by rank, each change with its sources, nothing invented."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from slowwave.models.fakes import FakeChat
from slowwave.models.llm import LLM
from slowwave.ops.annotation import Annotation
from slowwave.ops.evolution import Note, evolve, is_note, read_note
from slowwave.ops.made import Made
from slowwave.records import Engram, Scope

AT = datetime(2024, 3, 1, tzinfo=UTC)
NOW = datetime(2024, 4, 1, tzinfo=UTC)


def note(n: int, text: str, *tags: str) -> Note:
    turn = Engram(f"T{n:025d}", "episode", text, Scope(user_id="u"), AT, AT, attrs={"speaker": "Ana"})
    return Note(turn, Annotation(("word",), "", tags))


@pytest.fixture
def new() -> Note:
    return note(9, "I row on the lake with Clara.", "sport")


@pytest.fixture
def older() -> list[tuple[Note, float]]:
    """The nearest first; their ranks have nothing to do with the order in which they were stored."""
    return [
        (note(7, "I row every Tuesday.", "rowing"), 0.8),
        (note(3, "Clara plays the cello.", "music"), 0.5),
        (note(5, "I like tea.", "drinks"), 0.2),
    ]


def decided(**value: Any) -> LLM:
    return LLM(FakeChat([{"links": [], "tags": [], "updates": [], **value}]))


def test_by_rule_near_notes_are_tied_and_nearer_ones_share_tags(new: Note, older: list[tuple[Note, float]]) -> None:
    evolve(new, older, None, Made(), tie=0.4, kin=0.6)
    assert new.ties == [(older[0][0].turn.id, 0.8), (older[1][0].turn.id, 0.5)]
    assert older[0][0].annotation.tags == ("rowing", "sport")
    assert new.annotation.tags == ("sport", "rowing")
    assert older[1][0].annotation.tags == ("music",)
    assert older[0][0].annotation.rests_on == (new.turn.id,)
    assert older[0][0].turn.id in new.annotation.rests_on


def test_without_rewriting_notes_are_tied_alone(new: Note, older: list[tuple[Note, float]]) -> None:
    evolve(new, older, None, Made(), 0.4, 0.6, rewriting=False)
    assert len(new.ties) == 2
    assert older[0][0].annotation.tags == ("rowing",)
    told = decided(links=["1"], updates=[{"id": "1", "context": "Ana rows.", "tags": ["lake"]}])
    again = note(8, "I row with Clara.")
    evolve(again, older, told, Made(), 0.4, 0.6, rewriting=False)
    assert again.ties == [(older[0][0].turn.id, 0.8)]
    assert older[0][0].annotation.tags == ("rowing",)


def test_a_model_s_numbers_lead_to_the_neighbours_shown_under_them(new: Note, older: list[tuple[Note, float]]) -> None:
    """The original took a neighbour's rank for its index in the store, and edited the first notes ever made."""
    llm = decided(links=["2"], updates=[{"id": "2", "context": "Clara rows and plays the cello.", "tags": ["rowing"]}])
    evolve(new, older, llm, Made(), 0.4, 0.6)
    assert [id_ for id_, _ in new.ties] == [older[1][0].turn.id]
    assert older[1][0].annotation.context == "Clara rows and plays the cello."
    assert older[1][0].annotation.tags == ("music", "rowing")
    assert older[0][0].annotation == Annotation(("word",), "", ("rowing",))
    assert new.turn.id in older[1][0].annotation.rests_on


@pytest.mark.parametrize("bad", ["0", "4", "T0000000000000000000000003", ""])
def test_an_id_that_was_not_shown_is_no_answer(new: Note, older: list[tuple[Note, float]], bad: str) -> None:
    made = Made()
    llm = LLM(FakeChat([{"links": [bad], "tags": [], "updates": []}]), retries=0)
    evolve(new, older, llm, made, 0.4, 0.6)
    assert made.rejected
    assert [id_ for id_, _ in new.ties] == [older[0][0].turn.id, older[1][0].turn.id], "the rules decide instead"


def test_what_a_model_invents_changes_nothing(new: Note, older: list[tuple[Note, float]]) -> None:
    made = Made()
    updates = [{"id": "1", "context": "Zorblax swims 42 miles.", "tags": ["Zorblax"]}]
    evolve(new, older, decided(tags=["Brontolph", "rowing"], updates=updates), made, 0.4, 0.6)
    assert older[0][0].annotation == Annotation(("word",), "", ("rowing",))
    assert new.annotation.tags == ("sport", "rowing"), "a tag that a neighbour has may be taken up"
    assert len(made.rejected) == 3


def test_without_neighbours_nobody_is_asked(new: Note) -> None:
    asked = FakeChat([{"links": [], "tags": [], "updates": []}])
    evolve(new, [], LLM(asked), Made(), 0.4, 0.6)
    assert not asked.asked


def test_a_note_reads_back_and_its_next_version_counts_on(new: Note) -> None:
    stored = new.engram(NOW, 30)
    assert is_note(stored)
    assert stored.sources == (new.turn.id,)
    assert stored.attrs["version"] == 1
    again = read_note(new.turn, stored)
    assert again.annotation == new.annotation
    assert not again.changed
    again.annotation = again.annotation.with_tags(["lake"], ["other"])
    assert again.changed
    later = again.engram(NOW, 30)
    assert later.attrs["version"] == 2
    assert later.sources == (new.turn.id, "other")
    assert "lake" in later.text


def test_a_note_with_nothing_to_say_is_not_written() -> None:
    empty = Note(note(1, "Wow!").turn, Annotation())
    assert not empty.changed
