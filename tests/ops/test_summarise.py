"""Extractive summaries: what is taken, from where, within which limits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slowwave.errors import InputError
from slowwave.models.base import FakeEmbedder
from slowwave.ops.summarise import summarise
from slowwave.ops.words import sentences

TALK = [
    "Hey Mel! How are you?",
    "Good, thanks! Wow, what a week.",
    "I moved to Lisbon on 3 March for the new job at Acme. The flat is tiny.",
    "That's awesome! Tell me more?",
    "The job at Acme starts on Monday, and Anna from Lisbon is my new boss.",
    "I moved to Lisbon on 3 March for a new job at Acme.",
    "Cool!",
    "My sister Beth visits Lisbon in June, we booked the train for 45 euros.",
]


def test_informative_sentences_are_taken_and_chatter_is_left() -> None:
    taken = summarise(TALK, FakeEmbedder().embed(TALK), max_sentences=3).sentences
    assert {index for index, _ in taken} <= {2, 4, 5, 7}
    assert len(taken) == 3


def test_every_sentence_names_the_text_it_stands_in_and_order_is_kept() -> None:
    summary = summarise(TALK, max_sentences=4)
    assert all(sentence in TALK[index] for index, sentence in summary.sentences)
    assert list(summary.sources) == sorted(summary.sources)
    assert summary.text == " ".join(sentence for _, sentence in summary.sentences)


def test_what_is_said_twice_is_taken_once() -> None:
    taken = [index for index, _ in summarise(TALK, max_sentences=8, max_chars=5000).sentences]
    assert len({2, 5} & set(taken)) == 1
    assert len(summarise(["Anna lives in Oslo with Bob."] * 9, max_sentences=9).sentences) == 1


def test_both_limits_hold() -> None:
    assert len(summarise(TALK, max_sentences=1).sentences) == 1
    for chars in (1, 30, 60, 120):
        assert len(summarise(TALK, max_sentences=9, max_chars=chars).text) <= chars


def test_a_known_name_draws_its_sentence_in() -> None:
    texts = ["the old dog sleeps by the fire all day", "the old ferret sleeps by rex all day"]
    assert summarise(texts, max_sentences=1, names=["Rex"]).sources == (1,)


def test_vectors_tell_the_theme_from_the_aside() -> None:
    texts = [f"word{i} thing{i} stuff{i} matter{i} item{i} object{i}" for i in range(4)]
    vectors = np.array([[1, 0], [1, 0], [0, 1], [1, 0]], dtype=np.float32)
    without = {index for index, _ in summarise(texts, max_sentences=3).sentences}
    with_ = {index for index, _ in summarise(texts, vectors, max_sentences=3).sentences}
    assert without == {0, 1, 2}
    assert with_ == {0, 1, 3}


def test_nothing_to_say_gives_an_empty_summary() -> None:
    assert summarise([]).sentences == ()
    assert summarise(["", "...", "123"]).text == ""


def test_wrong_shapes_and_limits_are_named() -> None:
    with pytest.raises(InputError, match="one row a text"):
        summarise(TALK, np.zeros((3, 4), dtype=np.float32))
    with pytest.raises(InputError, match="at least 1"):
        summarise(TALK, max_sentences=0)


@given(st.lists(st.text(max_size=80), max_size=8), st.integers(1, 5), st.integers(1, 200))
def test_any_text_keeps_limits_and_sources(texts: list[str], most: int, chars: int) -> None:
    summary = summarise(texts, max_sentences=most, max_chars=chars)
    assert len(summary.sentences) <= most
    assert len(summary.text) <= chars
    assert all(sentence in texts[index] for index, sentence in summary.sentences)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Mr. Smith met Dr. P. M. Harker. They left.", ["Mr. Smith met Dr. P. M. Harker.", "They left."]),
        ("We met at 5 p.m. on Friday. Fine.", ["We met at 5 p.m. on Friday.", "Fine."]),
        ("It cost 3.50. Really?! Yes...", ["It cost 3.50.", "Really?!", "Yes..."]),
        ('"Stop!" he said. She left.', ['"Stop!" he said.', "She left."]),
        ("I moved to the U.S. It was fun.", ["I moved to the U.S.", "It was fun."]),
        ("One line\nanother line", ["One line", "another line"]),
        ("No end", ["No end"]),
        ("  ", []),
    ],
)
def test_sentences_split_where_a_reader_would(text: str, expected: list[str]) -> None:
    assert sentences(text) == expected
