"""Recall at places and budgets, and the bootstrap over conversations."""

import numpy as np
import pytest

from slowwave.bench.metrics import Found, interval, scores, table


def one(*units, tokens=10):
    return Found(units, tokens)


def test_recall_counts_distinct_units_in_order():
    found = [one("a"), one("a"), one("b"), one("c"), one("d"), one("e"), one("f")]
    out = scores(found, ["c", "f", "missing"], places=(2, 5, 10))
    assert out["recall@2"] == 0
    assert out["recall@5"] == pytest.approx(1 / 3)
    assert out["recall@10"] == pytest.approx(2 / 3)
    assert out["any@5"] == 1
    assert out["all@10"] == 0


def test_a_record_made_of_many_takes_as_many_places():
    summary = one(*"abcdefgh")
    assert scores([summary, one("z")], ["z"], places=(5,))["recall@5"] == 0
    assert scores([summary, one("z")], ["h"], places=(5,))["recall@5"] == 0
    assert scores([summary, one("z")], ["e"], places=(5,))["recall@5"] == 1


def test_budget_passes_over_what_is_too_long():
    found = [one("long", tokens=600), one("a", tokens=300), one("b", tokens=300)]
    out = scores(found, ["long", "a", "b"], budgets=(500, 1000))
    assert out["recall@500t"] == pytest.approx(1 / 3)
    assert out["recall@1000t"] == pytest.approx(2 / 3)


def test_nothing_found_scores_nothing():
    assert set(scores([], ["a"]).values()) == {0.0}


def test_interval_resamples_conversations_not_questions():
    values = np.repeat([0.0, 1.0, 0.0, 1.0], 250)  # a thousand questions, but only four conversations
    wide = interval(values, np.repeat(["a", "b", "c", "d"], 250))
    narrow = interval(values, np.arange(1000))
    assert wide["mean"] == narrow["mean"] == 0.5
    assert wide["high"] - wide["low"] > 5 * (narrow["high"] - narrow["low"])


def test_interval_is_repeatable_and_says_nothing_of_two_conversations():
    values, where = np.random.default_rng(1).random(60), np.repeat(list("abc"), 20)
    assert interval(values, where, seed=3) == interval(values, where, seed=3)
    two = interval(values[:40], where[:40])
    assert two["low"] is None
    assert two["mean"] is not None
    assert interval([], [])["mean"] is None


def test_differences_are_paired():
    clusters = np.repeat(np.array(list("abcd")), 5)
    base = np.random.default_rng(0).random(20)
    rows = {"dense": {"recall@10": base}, "other": {"recall@10": base + 0.1}}
    out = table(rows, clusters, np.ones(20, bool), "dense", 0)
    assert out["other"]["recall@10 over dense"] == {"mean": 0.1, "low": 0.1, "high": 0.1, "n": 20}
    assert "recall@10 over dense" not in out["dense"]
