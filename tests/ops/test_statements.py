"""Statements read off plain English: what is found, what must not be, and where it stands."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slowwave.ops.statements import statements

FOUND = [
    ("My name is Ana.", ("Ana", "name", "Ana")),
    ("I'm 32 years old.", ("Ana", "age", "32")),
    ("I just turned 33!", ("Ana", "age", "33")),
    ("I'm from Sweden.", ("Ana", "origin", "Sweden")),
    ("We live in New York City.", ("Ana", "home", "New York City")),
    ("I’ve moved to Lisbon last year.", ("Ana", "home", "Lisbon")),
    ("Beth lives in Oslo.", ("Beth", "home", "Oslo")),
    ("I work at Google.", ("Ana", "employer", "Google")),
    ("I'm working as a pastry chef at the moment.", ("Ana", "job", "pastry chef")),
    ("I got a job as a nurse.", ("Ana", "job", "nurse")),
    ("I've recently been promoted to senior engineer.", ("Ana", "job", "senior engineer")),
    ("My wife's name is Anna.", ("Ana", "wife", "Anna")),
    ("We went there with my daughter Beth.", ("Ana", "daughter", "Beth")),
    ("Tom married Lucy.", ("Tom", "spouse", "Lucy")),
    ("I have a boxer dog named Rex.", ("Ana", "dog", "Rex")),
    ("I have two kids.", ("Ana", "number of kids", "two kids")),
    ("My favourite colour is dark blue.", ("Ana", "favourite colour", "dark blue")),
    ("Harry Potter is my favorite book.", ("Ana", "favourite book", "Harry Potter")),
    ("Beth's phone number is 555-1234.", ("Beth", "phone number", "555-1234")),
    ("My email is a.b@example.com.", ("Ana", "email", "a.b@example.com")),
    ("My office is on the third floor.", ("Ana", "office", "third floor")),
    ("I drive a blue Honda Civic.", ("Ana", "car", "blue Honda Civic")),
    ("I am vegetarian now.", ("Ana", "diet", "vegetarian")),
    ("I'm allergic to peanuts.", ("Ana", "allergy", "peanuts")),
    ("The team meeting was moved to Friday at 3 pm.", ("Ana", "team meeting", "Friday at 3 pm")),
    ("My dentist appointment has been rescheduled to 12 May.", ("Ana", "dentist appointment", "12 May")),
    ("I started learning Spanish.", ("Ana", "activity", "learning Spanish")),
]


@pytest.mark.parametrize(("text", "expected"), FOUND)
def test_statements_are_read_with_subject_attribute_and_value(text: str, expected: tuple[str, str, str]) -> None:
    found = statements(text, "Ana")
    assert [(s.subject, s.attribute, s.value) for s in found] == [expected]
    assert found[0].polarity
    assert not found[0].about_past


@pytest.mark.parametrize(
    "text",
    [
        "Do you think I live in Paris?",
        "If I lived in Paris, I would be happy.",
        "I wish I lived in Paris.",
        "I want to live in Paris, and maybe I work at Google then.",
        "She said I live in Paris.",
        'He wrote: "I live in Paris and I work at Google."',
        "I'm planning to say that I moved to Rome.",
        "My phone is dead.",
        "My schedule is crazy.",
        "I'm a terrible cook.",
        "I started thinking about it.",
        "I am happy.",
        "One of my favorite things is tea.",
        "I live with my brother.",
        "",
        "\x00 …",
    ],
)
def test_questions_wishes_quotes_and_moods_state_nothing(text: str) -> None:
    assert statements(text, "Ana") == []


@pytest.mark.parametrize(
    ("text", "attribute", "value", "polarity", "about_past"),
    [
        ("I don't live in Berlin.", "home", "Berlin", False, False),
        ("I'm not vegetarian.", "diet", "vegetarian", False, False),
        ("I stopped smoking last month.", "activity", "smoking", False, False),
        ("I no longer eat meat.", "activity", "eat meat", False, False),
        ("I don't drink coffee anymore.", "activity", "drink coffee", False, False),
        ("I quit my job at Acme.", "employer", "Acme", False, False),
        ("I used to live in Rome.", "home", "Rome", True, True),
        ("I worked at Acme.", "employer", "Acme", True, True),
    ],
)
def test_denials_and_the_past_are_marked(
    text: str, attribute: str, value: str, polarity: bool, about_past: bool
) -> None:
    (found,) = statements(text)
    assert (found.subject, found.attribute, found.value) == ("I", attribute, value)
    assert (found.polarity, found.about_past) == (polarity, about_past)


def test_several_statements_come_in_order_with_spans_into_the_text() -> None:
    text = "Hi! I used to live in Rome, but now I live in Oslo. My sister Anna works at Acme."
    found = statements(text, "Ben")
    assert [(s.attribute, s.value) for s in found] == [
        ("home", "Rome"),
        ("home", "Oslo"),
        ("sister", "Anna"),
        ("employer", "Acme"),
    ]
    assert [s.subject for s in found] == ["Ben", "Ben", "Ben", "Anna"]
    assert all(s.value in text[slice(*s.span)] for s in found)


def test_what_one_may_have_several_of_is_not_single_valued() -> None:
    single = {s.attribute: s.single_valued for text, _ in FOUND for s in statements(text)}
    assert single["home"]
    assert single["wife"]
    assert single["favourite colour"]
    assert not single["daughter"]
    assert not single["allergy"]
    assert not single["activity"]


@given(st.text(max_size=200))
def test_any_text_is_read_and_spans_lie_in_it(text: str) -> None:
    for found in statements(text):
        assert 0 <= found.span[0] < found.span[1] <= len(text)
