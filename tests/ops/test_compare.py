"""What a newer statement does to an older one, pair by pair, and what must never be called a repeat."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slowwave.ops.compare import Comparison, compare

RESTATES = [
    ("I live in Paris.", "I live in Paris!"),
    ("My favourite colour is blue.", "By the way, blue is my favorite color."),
    ("I don't eat meat.", "I do not eat any meat."),
    ("I've got 3 cats", "I have three cats."),
    ("My sister's name is Anna.", "My sister is called Anna"),
    ("I work at Google.", "As I said, I'm working at Google."),
    ("The meeting is at 5 pm on Friday.", "On Friday the meeting is at 5:00 p.m."),
    ("Anna's 30 now.", "Anna is 30."),
    ("I bought a red car.", "I bought a red car"),
    ("What is my name?", "What's my name?"),
    ("I live in Oslo with my dog Rex.", "I'm living in Oslo with my dog Rex, you know."),
]
SUPERSEDES = [
    ("My favourite colour is red.", "My favourite colour is blue."),
    ("The office is on floor 3", "The office is on floor 5"),
    ("The office is on the third floor", "The office is now on the fifth floor"),
    ("I live in Paris.", "I live in Rome now."),
    ("I work at Google.", "I work for Acme now."),
    ("I work at Google.", "I now work at Microsoft."),
    ("I am 30 years old.", "I'm 31 years old."),
    ("My phone number is 555-1234.", "My phone number is 555-9876."),
    ("I eat meat.", "I no longer eat meat."),
    ("I smoke.", "I don't smoke anymore."),
    ("The meeting is on Monday.", "The meeting is on Thursday."),
    ("The meeting was moved to Tuesday.", "The meeting was moved to Friday."),
    ("I have 3 cats.", "I have 4 cats."),
    ("Anna lives in Oslo.", "Anna lives in Bergen."),
    ("Red is my favourite colour.", "My favourite colour is now green."),
    ("My wifi password is swordfish.", "My wifi password is hunter2."),
    ("I am vegetarian.", "I am vegan."),
    ("I am single.", "I am married."),
    ("My boss is Karen.", "My boss is Tom."),
    ("I moved to Paris.", "I moved to Berlin."),
    ("My car is red.", "My car is blue."),
    ("I drive a Honda.", "I drive a Tesla."),
    ("Our rent is $1,200 a month.", "Our rent is $1,350 a month."),
    ("I play tennis.", "I stopped playing tennis."),
    ("My daughter Anna is 5.", "My daughter Anna is 6."),
]
CONTRADICTS = [
    ("I like olives.", "I don't like olives."),
    ("My birthday is on May 5.", "My birthday is on June 7."),
    ("I love jazz.", "I hate jazz."),
    ("I am from Spain.", "I am from Italy."),
]
REFINES = [
    ("I have a dog.", "I have a dog named Rex."),
    ("I live in Paris.", "I live in Paris with my brother."),
    ("I work at Google.", "I work at Google as an engineer."),
]
NEW = [
    ("I bought a red car.", "I bought a blue car."),
    ("I went to Paris.", "I went to Rome."),
    ("My brother is a doctor.", "My sister is a doctor."),
    ("I ran 5 km.", "I ran 10 km."),
    ("I saw Anna on Monday.", "I saw Anna on Tuesday."),
    ("Anna lives in Oslo.", "Bob lives in Oslo."),
    ("My dog is called Rex.", "Her dog is called Rex."),
    ("I want to live in Paris.", "I want to live in Rome."),
    ("If I live in Paris I am happy.", "If I live in Rome I am happy."),
    ("I live in Paris.", "Do you live in Rome?"),
    ("I like tea.", "I like coffee."),
    ("I have a red bike.", "I have a blue bike."),
    ("My sister is Anna.", "My sister is Beth."),
    ("I play tennis.", "I play chess."),
    ("My brother is tall.", "My brother is kind."),
    ("I read 3 books last week.", "I read 5 books last week."),
    ("She said she lives in Paris.", "She said she lives in Rome."),
    ("My friend Anna works at Google.", "My friend Bob works at Microsoft."),
    ("I think I live in Rome.", "I live in Paris."),
    ("My left foot hurts.", "My right foot hurts."),
    ("The red team won 3 games.", "The blue team won 3 games."),
    ("I met Anna at the party.", "I met Beth at the party."),
    ("I paid $20 for lunch.", "I paid $30 for lunch."),
    ("My office is on floor 3.", "My flat is on floor 3."),
    ("I was in Paris in May.", "I was in Paris in June."),
    ("I have a meeting on Monday.", "I have a meeting on Tuesday."),
    ("I visited 3 museums in Rome", "I visited 3 museums in Paris"),
    ("My son is 5.", "My daughter is 5."),
    ("My daughter Anna is 5.", "My daughter Beth is 7."),
]
NO_MERGE = [
    ("Anna hired Bob.", "Bob hired Anna."),
    ("I flew from Oslo to Paris.", "I flew from Paris to Oslo."),
    ("I live in York.", "I live in New York."),
    ("I lived in Paris.", "I live in Paris."),
    ("My brother hates my sister.", "My sister hates my brother."),
    ("I have a dog.", "I have a dog house."),
    ("I like tea.", "I like tea less than coffee."),
    ("I eat meat.", "I would not eat meat."),
    ("I did not see the film.", "I saw the film."),
    ("I live in Paris.", "I moved out of Paris."),
    ("I take 2 pills in the morning.", "I take 3 pills in the morning."),
]


@pytest.mark.parametrize(("old", "new"), RESTATES)
def test_the_same_words_numbers_and_names_restate(old: str, new: str) -> None:
    assert compare(old, new, 0.9).outcome == "restates"


@pytest.mark.parametrize(("old", "new"), SUPERSEDES)
def test_another_value_of_what_can_change_supersedes(old: str, new: str) -> None:
    found = compare(old, new, 0.9)
    assert found.outcome == "supersedes"
    assert found.changed


@pytest.mark.parametrize(("old", "new"), CONTRADICTS)
def test_what_cannot_both_hold_and_has_not_changed_contradicts(old: str, new: str) -> None:
    assert compare(old, new, 0.9).outcome == "contradicts"


@pytest.mark.parametrize(("old", "new"), REFINES)
def test_the_same_with_more_refines(old: str, new: str) -> None:
    assert compare(old, new, 0.8).outcome == "refines"


@pytest.mark.parametrize(("old", "new"), NEW)
def test_another_event_person_or_wish_is_new(old: str, new: str) -> None:
    assert compare(old, new, 0.8).outcome == "new"


@pytest.mark.parametrize(("old", "new"), NO_MERGE)
def test_order_tense_and_compounds_are_no_repeat(old: str, new: str) -> None:
    assert compare(old, new, 0.99).outcome in {"new", "unsure", "supersedes"}


@pytest.mark.parametrize(("old", "new"), NEW + NO_MERGE + SUPERSEDES + CONTRADICTS)
def test_no_cosine_makes_a_repeat_of_two_different_statements(old: str, new: str) -> None:
    assert compare(old, new, 1.0).outcome != "restates"


def test_a_high_cosine_makes_only_what_holds_over_time_unsure() -> None:
    assert compare("I like tea.", "I like coffee.", 0.95).outcome == "unsure"
    assert compare("I like tea.", "I like coffee.", 0.5).outcome == "new"
    assert compare("I bought a red car.", "I bought a blue car.", 0.97).outcome == "new"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("That's awesome!", "Wow, that's awesome!"),
        ("Thanks, Caroline!", "Thanks, Caroline."),
        ("It was amazing.", "It was so amazing!"),
        ("She lives in Rome.", "She lives in Oslo."),
        ("Her phone number is 555-1234.", "Her phone number is 555-9876."),
        ("Your support means a ton to me.", "Your support and encouragement means a lot."),
    ],
)
def test_chatter_and_what_only_points_are_never_merged_nor_replaced(old: str, new: str) -> None:
    assert compare(old, new, 0.95).outcome in {"new", "unsure"}


@pytest.mark.parametrize(
    ("old", "new", "outcome"),
    [
        ("I live in Rome.", "I moved to Oslo.", "supersedes"),
        ("I moved to Rome.", "My home is in Rome.", "restates"),
        ("I live in Rome.", "My home is in Rome with a garden.", "unsure"),
        ("I work at Acme.", "I quit my job at Acme.", "supersedes"),
        ("I'm from Spain.", "I am originally from Italy.", "contradicts"),
        ("Anna called Tom yesterday.", "Anna called Bob yesterday.", "new"),
    ],
)
def test_other_words_for_one_attribute_are_understood(old: str, new: str, outcome: str) -> None:
    found = compare(old, new, 0.8).outcome
    assert found == outcome or (outcome == "unsure" and found == "new")


def test_the_changed_spans_are_the_two_values() -> None:
    found = compare("My favourite colour is red.", "My favorite color is now dark blue.", 0.9)
    assert found.changed == (("red", "dark blue"),)
    assert "'red' has become 'dark blue'" in found.reason


def test_a_correction_replaces_what_does_not_change() -> None:
    assert compare("My birthday is on 5 May.", "Correction: my birthday is on 6 May.", 0.9).outcome == "supersedes"


def test_nothing_said_is_new() -> None:
    for text in ("", "?!", "\x00", "the of"):
        assert compare(text, "I live in Paris.", 0.9) == Comparison("new", (), "one of them states nothing")


statements = st.builds(
    "{} {} {} {}.".format,
    st.sampled_from(["I have", "Anna owns", "We saw", "The office keeps", "My brother bought"]),
    st.integers(2, 99),
    st.sampled_from(["red", "blue", "old", "small"]),
    st.sampled_from(["cars", "books", "cats", "chairs"]),
)


@given(statements)
def test_every_statement_restates_itself_whatever_its_case_and_stops(text: str) -> None:
    assert compare(text, text.upper().rstrip(".") + "!", 1.0).outcome == "restates"


@given(statements, statements)
def test_two_that_differ_in_a_word_or_number_never_restate(old: str, new: str) -> None:
    assert (compare(old, new, 1.0).outcome == "restates") == (old == new)


@given(st.text(max_size=120), st.text(max_size=120))
def test_any_two_texts_get_an_answer(old: str, new: str) -> None:
    assert compare(old, new, 0.99).reason
