"""A model's choice: by number, among what it was shown, and without it nothing is lost."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from slowwave.models.fakes import FakeChat
from slowwave.models.llm import LLM
from slowwave.ops.choosing import choose, chosen_first
from slowwave.ops.thoughts import by_model, by_rule
from slowwave.records import Engram, Scope

AT = datetime(2024, 3, 1, tzinfo=UTC)
OFFERED = [
    Engram(f"{n:026d}", "episode", f"text {n}", Scope(user_id="u"), AT, AT, attrs={"speaker": "Ana"}) for n in range(5)
]


def test_numbers_lead_to_places() -> None:
    assert choose("q", OFFERED, LLM(FakeChat([{"ids": ["3", "1", "3"]}]))) == [2, 0]


def test_batches_are_asked_apart_and_stand_in_their_order() -> None:
    asked = FakeChat([{"ids": ["2"]}, {"ids": []}, {"ids": ["1"]}])
    assert choose("q", OFFERED, LLM(asked), batch=2) == [1, 4]
    assert len(asked.asked) == 3


@pytest.mark.parametrize("reply", ["", "maybe", '{"ids": ["9"]}', '{"ids": [1]}'])
def test_no_usable_answer_is_no_choice(reply: str) -> None:
    assert choose("q", OFFERED, LLM(FakeChat([reply]), retries=0)) == []


def test_what_is_not_chosen_stays_behind() -> None:
    assert chosen_first([5, 6, 7], [7]) == [7, 5, 6]
    assert chosen_first([5, 6], []) == [5, 6]


def test_a_thought_by_rule_is_what_the_finds_speak_of_and_widens() -> None:
    lake = [engram.with_(text="the rowing club") for engram in OFFERED]
    far = [engram.with_(text="a cello lesson") for engram in OFFERED] * 3
    assert by_rule(lake, 0) == "rowing club"
    assert "cello lesson" not in by_rule([*lake, *far], 0)
    assert "cello lesson" in by_rule([*lake, *far], 1)
    assert by_rule([], 0) == ""


def test_a_model_s_thought_or_none() -> None:
    assert by_model("q", OFFERED, LLM(FakeChat([{"thought": "Look for the lake."}]))) == "Look for the lake."
    assert by_model("q", OFFERED, LLM(FakeChat(["{"]), retries=0)) == ""
