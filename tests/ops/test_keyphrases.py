"""Keyphrases: rare before common, a phrase before its words, nothing that tells nothing."""

from __future__ import annotations

from slowwave.ops.keyphrases import keyphrases, vocabulary

TALK = [
    "I joined a support group for young carers in Lisbon yesterday.",
    "The support group meets every Tuesday, and I really like it.",
    "We went there and did things.",
]


def test_what_is_said_often_and_seldom_elsewhere_comes_first() -> None:
    frequency = {"support": 3, "group": 3, "young": 90, "carers": 1, "lisbon": 2, "joined": 50, "meets": 80}
    found = keyphrases(TALK, 3, frequency, 100)
    assert found[0] == "support group"
    assert set(found[1:]) == {"carers", "Lisbon"}  # "young" is common
    assert "young carers" in keyphrases(TALK, 3, {**frequency, "young": 1}, 100)


def test_a_word_that_everyone_uses_gives_way_to_a_rare_one() -> None:
    text = ["the cello and the garden"]
    assert keyphrases(text, 1, {"cello": 1, "garden": 60}, 100) == ("cello",)
    assert keyphrases(text, 1, {"cello": 60, "garden": 1}, 100) == ("garden",)


def test_no_word_is_given_twice() -> None:
    found = keyphrases(TALK, 20)
    words = [word.lower() for phrase in found for word in phrase.split()]
    assert len(words) == len(set(words))


def test_words_that_tell_nothing_are_none() -> None:
    assert keyphrases(["We went there and did things, really!"], 5) == ()
    assert keyphrases(["", "  ", "?!"], 5) == ()
    assert keyphrases([], 5) == ()
    assert keyphrases(["It was on 12 May 2023 at 5"], 5) == ()


def test_what_stands_apart_is_no_pair() -> None:
    assert "carers lisbon" not in keyphrases(["Carers. Lisbon is far."], 9)
    assert all(" " not in phrase for phrase in keyphrases(["apples, pears, plums"], 9))


def test_the_vocabulary_holds_every_word_that_is_weighed() -> None:
    known = set(vocabulary(TALK))
    for phrase in keyphrases(TALK, 50):
        assert set(phrase.lower().split()) <= known


def test_equal_texts_give_equal_phrases() -> None:
    assert keyphrases(TALK, 9) == keyphrases(list(TALK), 9)
