"""What is stated as so, what is only wished, and what tells of a change."""

from __future__ import annotations

import pytest

from slowwave.ops.modality import is_state, is_unreal, tells_change


@pytest.mark.parametrize(
    "text",
    [
        "I would love to live in Oslo one day", "I'm thinking of moving", "Maybe I'll move", "We plan to go to Rome",
        "I had an interview at Acme", "Do you live in Oslo?", "If I lived in Oslo", "I dreamed of being a nurse",
    ],
)  # fmt: skip
def test_what_is_asked_wished_or_planned_is_unreal(text):
    assert is_unreal(text)
    assert not is_state(text)


@pytest.mark.parametrize(
    "text", ["I live in Oslo", "My planning session is on Monday", "May is my sister", "I run a bakery"]
)
def test_what_is_stated_is_not(text):
    assert not is_unreal(text)


def test_the_past_tells_how_things_stand_only_where_it_tells_of_a_change():
    assert is_state("I moved to Oslo")
    assert is_state("My office is now room 4")
    assert not is_state("I booked room 4")
    assert tells_change("I no longer work there")
    assert not tells_change("I work there")
