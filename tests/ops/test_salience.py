"""Salience with both signs, the walk that finds the least salient without looking at all, blocks of turns."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slowwave.errors import InputError
from slowwave.ops.salience import Bonus, blocks, due_prunings, least_salient, lowest, salience


def test_the_printed_sign_gives_the_bonus_to_what_was_not_used_and_the_text_to_what_was() -> None:
    ages, used = [10, 10], [True, False]
    meant = salience(ages, used)
    printed = salience(ages, used, bonus="unused")
    assert meant[0] - meant[1] == pytest.approx(0.5)
    assert printed[1] - printed[0] == pytest.approx(0.5)
    assert lowest(meant, 1) == [1], "the unused one goes"
    assert lowest(printed, 1) == [0], "as printed, what is in use goes first"
    with pytest.raises(InputError, match="bonus is 'both'"):
        salience(ages, used, bonus="both")  # type: ignore[arg-type]


def test_values_are_the_papers() -> None:
    assert salience([0, 500], [False, False]).tolist() == pytest.approx([1.0, math.exp(-1)])
    assert salience([0], [True], recency=2.0, use=0.25).tolist() == pytest.approx([2.25])


@given(st.lists(st.booleans(), max_size=60), st.integers(0, 20), st.sampled_from(get_args(Bonus)))
def test_the_walk_finds_what_looking_at_all_finds(used: list[bool], count: int, bonus: Bonus) -> None:
    ages = [10 * (len(used) - 1 - n) for n in range(len(used))]
    scores = salience(ages, used, bonus=bonus)
    found = least_salient(zip(range(len(used)), ages, used, strict=True), count, 0.002, 1.0, 0.5, bonus)
    assert found == lowest(scores, count)


def test_the_walk_stops_once_nothing_younger_can_fall_below() -> None:
    looked: list[int] = []

    def oldest_first() -> Iterator[tuple[int, int, bool]]:
        for n in range(100_000):
            looked.append(n)
            yield n, 100_000 - n, False

    assert least_salient(oldest_first(), 5, 0.002, 1.0, 0.5, "used") == [0, 1, 2, 3, 4]
    assert len(looked) < 10


def test_a_pruning_is_due_at_each_boundary_crossed() -> None:
    assert [due_prunings(a, b, 100) for a, b in ((0, 99), (0, 100), (99, 100), (100, 199), (50, 350))] == [
        0,
        1,
        1,
        0,
        3,
    ]


def test_blocks_go_on_where_the_last_night_stopped() -> None:
    assert list(blocks(list("abcdefg"), 8, 5)) == [(1, ["a", "b"]), (2, ["c", "d", "e", "f", "g"])]
    assert list(blocks([], 8, 5)) == []
