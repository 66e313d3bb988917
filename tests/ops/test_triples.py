"""Triples: who did what, by the order of words; nothing where the subject cannot be named; no model's inventions."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from slowwave.models.fakes import FakeChat
from slowwave.models.llm import LLM
from slowwave.ops.made import Made
from slowwave.ops.triples import by_rule, triples
from slowwave.records import Engram, Scope

AT = datetime(2024, 3, 1, tzinfo=UTC)


def turn(text: str, speaker: str | None = "Ana", n: int = 1) -> Engram:
    attrs = {"speaker": speaker} if speaker else {}
    return Engram(f"{n:026d}", "episode", text, Scope(user_id="u"), AT, AT, attrs=attrs)


@pytest.mark.parametrize(
    ("said", "due"),
    [
        ("I joined the rowing club.", ["(Ana; joined; rowing club)"]),
        ("I really love hiking in the Alps!", ["(Ana; love; hiking in the Alps)"]),
        ("I'm thinking about a new job.", ["(Ana; am thinking about; new job)"]),
        ("We have two dogs.", ["(Ana; have; two dogs)"]),
        ("My sister plays the cello.", ["(Ana's sister; plays; cello)"]),
        ("Clara moved to Porto, and I visited her.", ["(Clara; moved to; Porto)", "(Ana; visited; her)"]),
        ("I'm so thankful.", ["(Ana; am; thankful)"]),
        ("I've been to Rome.", ["(Ana; have been to; Rome)"]),
    ],
)
def test_plain_clauses_give_their_triples(said: str, due: list[str]) -> None:
    assert [triple.text for triple in by_rule(turn(said))] == due


@pytest.mark.parametrize(
    "said",
    ["Do I like tea?", "He sold it.", "Wow, great!", "", "They are nice.", "It was fun.", "Thanks Clara!", "Running."],
)
def test_no_triple_where_nobody_is_named_or_nothing_stated(said: str) -> None:
    assert by_rule(turn(said)) == []


def test_an_unknown_speaker_says_nothing_of_i() -> None:
    assert by_rule(turn("I sold my car.", None)) == []
    assert by_rule(turn("My car is old.", None)) == []


def test_every_triple_names_the_turn_that_states_it() -> None:
    said = [turn("I sold my car.", "Ana", 1), turn("I bought a bike.", "Ben", 2)]
    found = triples(said, None, Made())
    assert [(triple.subject, triple.source) for triple in found] == [("Ana", said[0].id), ("Ben", said[1].id)]


def test_a_model_s_triples_are_kept_where_the_turn_says_them() -> None:
    items = [
        {"said_in": "2", "subject": "I", "relation": "bought", "object": "a bike"},
        {"said_in": "1", "subject": "Ana", "relation": "sold", "object": "her car"},
        {"said_in": "1", "subject": "Zorblax", "relation": "sold", "object": "the moon"},
        {"said_in": "2", "subject": "Ben", "relation": "bought", "object": "9 horses"},
    ]
    made = Made()
    said = [turn("I sold my car.", "Ana", 1), turn("I bought a bike.", "Ben", 2)]
    found = triples(said, LLM(FakeChat([{"items": items}])), made)
    assert [triple.text for triple in found] == ["(Ana; sold; her car)", "(Ben; bought; a bike)"]
    assert len(made.rejected) == 2


@pytest.mark.parametrize("reply", ["", "no", '{"items": 3}'])
def test_a_model_that_fails_leaves_the_rules(reply: str) -> None:
    made = Made()
    said = [turn("I sold my car.")]
    assert triples(said, LLM(FakeChat([reply]), retries=0), made) == by_rule(said[0])
    assert made.rejected
