"""The facts that a question asks for, and what may have overtaken them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from slowwave.ops.slots import asked_facts, attributes_in, overtaking
from slowwave.records import Engram, Scope
from slowwave.store.base import Row
from slowwave.store.clock import to_micros

SAID = datetime(2024, 1, 1, tzinfo=UTC)
HOME = Engram(
    "f", "fact", "Anna's home is Rome", Scope(user_id="a"), SAID, SAID,
    attrs={"subject": "Anna", "attribute": "home", "value": "Rome"},
)  # fmt: skip


def row(text, days, speaker="Anna", **more):
    values = dict.fromkeys(Row._fields, 0) | {
        "kind": "episode", "text": text, "at": to_micros(SAID + timedelta(days=days)), "until": None,
        "speaker": speaker, "n": days,
    }  # fmt: skip
    return Row(**(values | more))


@pytest.mark.parametrize(
    ("question", "attributes"),
    [
        ("What is Clara's favorite book?", ["favourite book"]),
        ("In which room does she sit?", ["office"]),
        ("Whom does Clara work for now?", ["employer", "job", "job status"]),
        ("What does Anna like?", []),
        ("When did Melanie paint a sunrise?", []),
        ("What is Ana's phone?", ["phone number"]),
        ("", []),
    ],
)
def test_a_question_speaks_of_attributes_by_name_or_by_telling_words(question, attributes):
    assert attributes_in(question) == attributes


def test_a_question_asks_for_facts_of_whom_it_names():
    assert asked_facts("Where is Anna's office?", ["Anna"]) == ["fact:anna|office"]
    assert asked_facts("Where is the office?", []) == []


def test_a_later_turn_on_the_same_matter_may_have_overtaken_a_fact():
    found = overtaking(
        HOME, [row("My flat is in Oslo.", 5), row("Anna moved to Bern.", 9, "Ben"), row("I like it.", 12)]
    )
    assert found is not None
    assert found.text == "Anna moved to Bern."


@pytest.mark.parametrize(
    "later",
    [
        row("My flat is in Oslo.", -5),
        row("My flat in Rome is lovely.", 5),
        row("I would love to live in Oslo.", 5),
        row("I visited Oslo.", 5),
        row("We stayed in a flat in Oslo last week.", 5),
        row("Anna, my flat is in Oslo.", 5, "Ben", until=to_micros(SAID)),
        row("My flat is in Oslo.", 5, "Ben"),
        row("Where is my flat?", 5),
    ],
)
def test_what_is_earlier_unreal_past_of_another_or_says_the_same_overtakes_nothing(later):
    assert overtaking(HOME, [later]) is None
