"""Repeats: what is dropped, and what no cosine drops: another value, another day, another voice."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from slowwave.ops.deduplicate import by_cosine_alone, same_occasion, says_again
from slowwave.records import Engram, Scope

START = datetime(2024, 1, 1, 9, tzinfo=UTC)


def said(text: str, day: float = 0, speaker: str = "Ana", session: str = "a", kind: str = "episode") -> Engram:
    at = START + timedelta(days=day)
    attrs = {"speaker": speaker, "session": session}
    return Engram(f"{text}{day}", kind, text, Scope(user_id="a"), at, at, attrs=attrs)


def test_the_same_words_are_a_repeat_whatever_leads_in() -> None:
    old = said("My sister's name is Anna.")
    assert says_again(old, said("My sister's name is Anna", 7, session="b"), 0.99)
    assert says_again(old, said("As I said, my sister's name is Anna.", 7, session="b"), 0.93)


@pytest.mark.parametrize(
    "text",
    ["I bought a blue car.", "I bought two red cars.", "I did not buy a red car.", "Clara bought a red car."],
)
def test_near_texts_that_differ_in_a_value_are_both_kept(text: str) -> None:
    assert says_again(said("I bought a red car."), said(text), 0.96) == ""


def test_what_is_not_near_is_not_compared_and_other_voices_and_kinds_say_their_own() -> None:
    old, new = said("I like tea."), said("I like tea.", 1)
    assert says_again(old, new, 0.95)
    assert says_again(old, new, 0.89) == ""
    assert says_again(old, said("I like tea.", 1, speaker="Ben"), 0.99) == ""
    assert says_again(old, said("I like tea.", 1, kind="note"), 0.99) == ""
    assert says_again(old.with_(until=START + timedelta(days=1)), new, 0.99) == "", "it is so again"


def test_an_event_told_on_two_days_is_two_events() -> None:
    old = said("I ran ten kilometres yesterday.")
    assert says_again(old, said("I ran ten kilometres yesterday.", 7, session="b"), 1.0) == ""
    assert says_again(old, said("I ran ten kilometres yesterday."), 1.0), "within a sitting it is told again"
    assert not same_occasion(said("See you on Monday"), said("See you on Monday", 7, session="b"))


def test_by_cosine_alone_takes_another_value_for_a_repeat() -> None:
    rows = np.array([[1, 0], [0.96, 0.28], [0, 1]], dtype=np.float32)
    assert by_cosine_alone(rows, 0.9) == {1: 0}
    assert by_cosine_alone(rows, 0.97) == {}
