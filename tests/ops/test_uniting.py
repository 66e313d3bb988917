"""Merging thoughts of one head and relation: nothing dropped, nothing added, and the way back to who said what."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from slowwave.models.fakes import FakeChat
from slowwave.models.llm import LLM
from slowwave.ops.extraction import Draft
from slowwave.ops.made import Made
from slowwave.ops.standing import Standing, sentence
from slowwave.ops.uniting import MOST, fold, unite, united_with
from slowwave.records import Engram, Scope
from slowwave.store import open_store
from slowwave.store.ids import new_id

DAY = datetime(2024, 1, 1, tzinfo=UTC)
ANA = Scope(user_id="ana")


def thought(value: str, attribute: str = "language", day: int = 0) -> Engram:
    turn = Engram(new_id(), "episode", f"I speak {value}.", ANA, DAY, DAY)
    draft = Draft(f"Ana's {attribute} is {value}", (turn.id,), DAY + timedelta(days=day), "Ana", attribute, value)
    return sentence(draft, [turn], DAY, 30.0, "tim")


@pytest.fixture
def standing() -> Any:
    store = open_store(":memory:")
    yield Standing(store.view(ANA))
    store.close()


def grown(standing: Standing, values: list[str], made: Made, llm: LLM | None = None) -> list[Engram]:
    """What holds after thoughts came one by one."""
    for day, value in enumerate(values):
        new = thought(value, day=day)
        standing.add(new, None)
        parts = united_with(new, standing)
        if len(parts) > 1:
            merged = unite(parts, llm, made, DAY, "tim")
            fold(merged, new, standing, made, DAY)
            standing.add(merged, None)
    return standing.same_slot(new)


def test_the_merged_thought_says_all_values_and_names_the_thoughts_it_is_of(standing: Standing) -> None:
    made = Made()
    left = grown(standing, ["French", "Dutch", "Greek"], made)
    assert [engram.text for engram in left] == ["Ana's language is French, Dutch and Greek"]
    parts = standing.get(left[0].sources)
    assert sorted(part.attrs["value"] for part in parts.values()) == ["Dutch", "French", "Greek"]
    assert all(part.sources for part in parts.values())
    merges = [change for change in made.changes if change.verb == "merge"]
    assert len(merges) == 4, "two thoughts, then the merged one and the third"
    assert all(change.fields["until"] >= DAY for change in merges)


def test_what_holds_one_value_or_happens_once_is_not_merged(standing: Standing) -> None:
    for attribute in ("home", "trip", "plan", "whatever"):
        for value in ("Rome", "Oslo"):
            new = thought(value, attribute)
            standing.add(new, None)
        assert united_with(new, standing) == []


def test_a_merged_thought_does_not_grow_for_ever(standing: Standing) -> None:
    left = grown(standing, [f"language{n}" for n in range(2 * MOST + 1)], Made())
    assert [engram.attrs.get("parts", 1) for engram in left] == [MOST, MOST, 1]


@pytest.mark.parametrize(
    ("said", "taken"),
    [
        ("Ana speaks both French and Dutch.", True),
        ("Ana speaks French.", False),
        ("Ana speaks French, Dutch and Klingon.", False),
        ("Ana speaks French and Dutch to 40 people.", False),
    ],
)
def test_a_model_s_sentence_is_taken_where_it_drops_nothing_and_adds_nothing(
    standing: Standing, said: str, taken: bool
) -> None:
    made = Made()
    left = grown(standing, ["French", "Dutch"], made, LLM(FakeChat([{"thought": said}])))
    assert left[0].text == (said if taken else "Ana's language is French and Dutch")
    assert len(made.rejected) == (0 if taken else 1)
