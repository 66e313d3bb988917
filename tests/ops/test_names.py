"""Names and terms of a text, found by capitals."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slowwave.ops.names import aliases, names, terms


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Anna lives in New York City.", ["Anna", "New York City"]),
        ("Her sister works at the Bank of England.", ["Bank of England"]),
        ("We saw Anna's dog Rex at O'Brien's.", ["Anna", "Rex", "O'Brien"]),
        ("Yesterday I met P. M. Harker and Dr. Seward.", ["P. M. Harker", "Dr. Seward"]),
        ("I use GPT-4 for the LGBTQ group.", ["GPT-4", "LGBTQ"]),
        ('I read "The Alchemist" with @tom.', ["The Alchemist", "tom"]),
        ("She stayed at Stanford Graduate School of Business.", ["Stanford Graduate School of Business"]),
    ],
)
def test_names_are_found_whole(text: str, expected: list[str]) -> None:
    assert names(text) == expected


@pytest.mark.parametrize(
    "text", ["Hey Caroline! Good to see you.", "Caroline, could you help?", "That's cool, Caroline!"]
)
def test_someone_called_by_name_is_found(text: str) -> None:
    assert names(text) == ["Caroline"]


@pytest.mark.parametrize(
    "text",
    [
        "Cooking is fun. Yoga helps. Thanks! I'm fine, I've slept.",
        "On Monday in May. Left at 8:35 P. M. on Tues.",
        "Absolutely. Sounds great. What happened?",
        "",
        "... 123 \x00 émile",
    ],
)
def test_sentence_starts_days_and_chatter_are_no_names(text: str) -> None:
    assert names(text) == []


def test_a_word_seen_capitalised_inside_a_sentence_counts_at_a_start_too() -> None:
    assert names("Whitby. We went to Whitby by train.") == ["Whitby"]
    assert names("Mina sings. Nobody else.", known=["Mina Murray"]) == ["Mina Murray"]
    assert names("Mina sings. Nobody else.") == []


def test_a_short_form_becomes_the_name_that_explains_it() -> None:
    assert names("We met Van Helsing, that is Abraham Van Helsing.") == ["Abraham Van Helsing"]
    assert names("We wrote to Helsing.", known=["Abraham Van Helsing"]) == ["Abraham Van Helsing"]


def test_a_short_form_of_two_people_stays_what_it_is() -> None:
    assert aliases(["Mina", "Mina Murray", "Mina Harker"])["Mina"] == "Mina"
    assert aliases(["Mina", "Mina Murray"])["Mina"] == "Mina Murray"


def test_titles_join_what_they_may_and_part_husband_and_wife() -> None:
    joined = aliases(["Dr. Van Helsing", "Van Helsing", "Abraham Van Helsing", "Mr. Harker", "Mrs. Harker"])
    assert joined["Dr. Van Helsing"] == joined["Van Helsing"] == "Abraham Van Helsing"
    assert joined["Mr. Harker"] == "Mr. Harker"
    assert joined["Mrs. Harker"] == "Mrs. Harker"


def test_a_longer_name_of_another_person_explains_nothing() -> None:
    assert aliases(["Paul", "Paula", "Ann", "Ann-Marie"]) == {n: n for n in ("Paul", "Paula", "Ann", "Ann-Marie")}


def test_terms_are_content_words() -> None:
    assert terms("I really love pottery, and the pottery workshop in Whitby!") == ["pottery", "workshop", "whitby"]
    assert len(terms("alpha beta gamma delta epsilon zeta", most=3)) == 3


@given(st.text(max_size=300))
def test_any_text_is_read_and_names_are_words_of_it(text: str) -> None:
    for name in names(text):
        assert name
        assert name == name.strip()
