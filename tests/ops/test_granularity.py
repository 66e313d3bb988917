"""Granularities and their router: the published numbers, the fixed ones, and what a model may not say."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import numpy as np
import pytest

from slowwave.errors import InputError
from slowwave.models.base import FakeEmbedder
from slowwave.models.chat import Reply
from slowwave.models.llm import LLM
from slowwave.ops.granularity import (
    digest,
    entropy,
    full_text,
    long_vector,
    mean_vector,
    route,
    stretches,
    unit,
    weights_of,
)
from slowwave.ops.made import Made
from slowwave.records import Engram, Scope

AT = datetime(2024, 3, 1, tzinfo=UTC)
SAID = [
    ("Ana", "I joined the rowing club at the lake."),
    ("Ben", "Great! When do you train?"),
    ("Ana", "Every Tuesday before work, with Clara."),
    ("Ben", "I sold my old bicycle to a neighbour yesterday."),
]


def talk(said=SAID) -> list[Engram]:
    return [
        Engram(f"{n:026d}", "episode", text, Scope(user_id="u"), AT, AT, attrs={"speaker": speaker})
        for n, (speaker, text) in enumerate(said)
    ]


class Says:
    """A model that always gives one reply."""

    name = "says"
    context_tokens = 0

    def __init__(self, value: object) -> None:
        self.text = value if isinstance(value, str) else json.dumps(value)

    def chat(self, messages, **settings):
        return Reply(self.text, 1, 1)

    def count_tokens(self, text):
        return len(text) // 4


ENTROPIES = {"session": 2.5, "turns": 3.0, "summary": 3.2, "keywords": 3.4}


def test_the_raw_router_favours_the_most_diffuse_granularity() -> None:
    weights = weights_of(ENTROPIES, dict.fromkeys(ENTROPIES, 40), "raw")
    assert [round(w, 2) for w in weights.values()] == [0.19, 0.25, 0.27, 0.30]


def test_the_normalised_router_favours_the_most_certain_one() -> None:
    weights = weights_of(ENTROPIES, dict.fromkeys(ENTROPIES, 40), "normalised")
    due = 1 - np.array(list(ENTROPIES.values())) / np.log(40)
    assert list(weights.values()) == pytest.approx((due / due.sum()).tolist())
    assert weights["session"] == max(weights.values())
    assert weights["keywords"] == min(weights.values())


def test_with_few_sessions_both_agree_on_the_order() -> None:
    small = {"session": 0.2, "turns": 0.6, "summary": 0.8, "keywords": 0.9}
    for form in ("raw", "normalised"):
        weights = weights_of(small, dict.fromkeys(small, 4), form)
        assert sorted(weights, key=weights.__getitem__, reverse=True) == list(small)


@pytest.mark.parametrize("form", ["normalised", "raw", "uniform"])
def test_weights_add_up_to_one_and_are_finite(form: str) -> None:
    rng = np.random.default_rng(1)
    for sizes in ((1, 1, 1, 1), (30, 30, 30, 30), (2, 5, 9, 1)):
        values = dict(zip("abcd", (rng.uniform(-1, 1, n) for n in sizes), strict=True))
        weights = route(values, 0.2, form)
        assert sum(weights.values()) == pytest.approx(1)
        assert all(np.isfinite(w) for w in weights.values())


def test_wholly_uncertain_granularities_count_alike() -> None:
    assert route({"a": np.zeros(9), "b": np.zeros(9)}, 0.2) == {"a": 0.5, "b": 0.5}
    assert weights_of({"a": 1.0, "b": 1.0}, {"a": 3, "b": 3}, "raw") == {"a": 0.5, "b": 0.5}


def test_entropy_runs_from_nothing_to_ln_n() -> None:
    assert entropy(np.zeros(8), 0.2) == pytest.approx(np.log(8))
    assert entropy([1.0, 0.0, 0.0], 0.01) == pytest.approx(0, abs=1e-9)
    assert entropy([0.3], 0.2) == 0
    p = np.exp([5.0, 2.5]) / np.exp([5.0, 2.5]).sum()
    assert entropy([1.0, 0.5], 0.2) == pytest.approx(float(-(p * np.log(p)).sum()))
    with pytest.raises(InputError, match="temperature"):
        entropy([1.0], 0)


def test_the_full_text_has_one_line_a_turn() -> None:
    text = full_text(talk([("Ana", "two\nlines"), (None, "no name")]))
    assert text == "Ana: two lines\nno name"


def test_a_long_text_is_encoded_in_stretches_that_hold_all_of_it() -> None:
    lines = [f"line {n} " + "word " * 30 for n in range(20)]
    parts = stretches(lines, 100)
    assert "\n".join(parts) == "\n".join(lines)
    assert 3 <= len(parts) < 20
    embedder = FakeEmbedder()
    assert long_vector("short", embedder) == pytest.approx(embedder.embed(["short"])[0])
    assert np.linalg.norm(long_vector("\n".join(lines), embedder)) == pytest.approx(1)


def test_the_mean_of_turns_is_the_direction_they_share() -> None:
    embedder = FakeEmbedder()
    a, b = embedder.embed(["red wine", "white wine"])
    assert mean_vector(["red wine", "white wine"], embedder) == pytest.approx(unit(a + b), abs=1e-6)
    assert np.linalg.norm(unit(np.zeros(4))) == 1


def test_without_a_model_summary_and_keywords_are_extracts() -> None:
    made = Made()
    found = digest(talk(), None, made)
    assert "rowing club" in found.keywords
    assert "Ana" not in found.keywords
    for sentence in ("I joined the rowing club at the lake.",):
        assert sentence in found.summary
    assert not made.rejected


def test_what_a_model_invents_is_set_aside_and_the_rest_kept() -> None:
    said = {
        "summary": "Ana joined a rowing club. Her trainer is called Zorblax. Ben sold his bicycle.",
        "keywords": ["rowing", "Zorblax", "bicycle"],
    }
    made = Made()
    found = digest(talk(), LLM(Says(said)), made)
    assert found.summary == "Ana joined a rowing club. Ben sold his bicycle."
    assert found.keywords == ("rowing", "bicycle")
    assert [r.text for r in made.rejected] == ["Her trainer is called Zorblax.", "Zorblax"]


@pytest.mark.parametrize("reply", ["", "no idea", '{"summary": 3}', '{"summary": "Zorblax.", "keywords": ["Zorblax"]}'])
def test_a_model_that_fails_leaves_the_extract(reply: str) -> None:
    made = Made()
    llm = LLM(Says(reply), retries=0)
    assert digest(talk(), llm, made) == digest(talk(), None, Made())
    assert made.rejected
