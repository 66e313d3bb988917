"""The scheduler weighs each term once, keeps the best at hand, lets the least used go, makes order in due time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from slowwave.errors import InputError
from slowwave.ops.scheduling import crowded_out, rank, reorganise_due, share, use, working_set
from slowwave.records import Engram, Scope

NOW = datetime(2024, 6, 1, tzinfo=UTC)


def engram(name: str, days_ago: float, used_days_ago: float | None = None) -> Engram:
    at = NOW - timedelta(days=days_ago)
    used = None if used_days_ago is None else NOW - timedelta(days=used_days_ago)
    return Engram(name, "fact", name, Scope(user_id="ana"), at, at, used=used)


def test_each_term_is_weighted_once():
    assert rank([1, 0, 0], [0, 1, 0], [0, 0, 1]).tolist() == pytest.approx([0.9, 0.05, 0.05])
    twice = 0.05 * 0.05
    assert rank([0], [1], [0])[0] > 10 * twice


def test_terms_of_different_lengths_are_refused():
    with pytest.raises(InputError, match="shapes"):
        rank([1, 0], [1], [1])


def test_the_working_set_holds_the_best_and_no_more_than_its_size():
    scores = np.arange(50) % 25
    chosen = working_set([str(n) for n in range(50)], scores, 4)
    assert chosen == ["24", "49", "23", "48"]
    assert len(working_set([str(n) for n in range(50)], scores)) == 20


def test_the_share_of_words_is_of_what_is_wanted():
    assert share({"rome", "home"}, {"rome", "bakery", "sea"}) == 0.5
    assert share(set(), {"rome"}) == 0.0


def test_use_halves_and_what_was_never_used_counts_nothing():
    assert use(engram("a", 90, 0), NOW) == 1.0
    assert use(engram("a", 90, 31), NOW) == 0.5
    assert use(engram("a", 90), NOW) == 0.0


def test_the_least_used_and_then_the_oldest_are_crowded_out():
    kept = [engram("new", 1), engram("old", 100), engram("old but used", 200, 2), engram("older", 150)]
    assert [e.id for e in crowded_out(kept, 2, NOW)] == ["older", "old"]
    assert crowded_out(kept, 4, NOW) == []


def test_order_is_made_anew_when_enough_waits_and_enough_time_has_passed():
    assert reorganise_due(20, None, NOW)
    assert not reorganise_due(19, None, NOW)
    assert not reorganise_due(500, NOW - timedelta(seconds=99), NOW)
    assert reorganise_due(20, NOW - timedelta(seconds=100), NOW)
