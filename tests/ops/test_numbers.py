"""One spelling for one number, however it is written."""

from __future__ import annotations

import pytest

from slowwave.ops.numbers import missing_number, numbers


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("three kids", {"3"}),
        ("twenty-two, or twenty two", {"22"}),
        ("two hundred and five", {"205"}),
        ("seven thousand three hundred", {"7300"}),
        ("1,200 people at 9:15", {"1200", "9:15"}),
        ("$3.5 million", {"3500000"}),
        ("the 3rd of 10k and 2.50", {"3", "10000", "2.5"}),
        ("a dozen eggs", {"12"}),
        ("two three", {"2", "3"}),
        ("no one, an hour, the one", set()),
        ("a 5-year-old", {"5"}),
        ("007", {"7"}),
    ],
)
def test_a_number_has_one_spelling(text, found):
    assert set(numbers(text)) == found


def test_a_number_in_words_is_the_one_in_digits():
    assert missing_number("She has 3 kids", "I have three kids") == ""
    assert missing_number("She is twenty-two", "I'm 22 now") == ""
    assert missing_number("It cost £1200", "It was 1,200 pounds") == ""


def test_what_is_not_there_is_told_in_its_own_words():
    assert missing_number("She has four kids", "I have three kids") == "four"
    assert missing_number("He won 1,500 pounds", "I won 1,200") == "1,500"


def test_words_that_seldom_count_are_never_missed():
    assert missing_number("She once took the first half of a couple", "nothing of the kind") == ""
