"""Which questions go to the gist, and how far the best stands above the rest."""

from __future__ import annotations

import pytest

from slowwave.models.fakes import FakeChat
from slowwave.models.llm import LLM
from slowwave.ops.routing import margin, route, route_by_model


@pytest.mark.parametrize(
    "question",
    [
        "What did Ana and Ben talk about on 8 May?", "Summarise our last session.", "What happened in June?",
        "How has my sister been?", "Tell me about the trip to Lisbon.", "Give me an overview of the project.",
        "What have we been discussing?", "How did the wedding go?",
    ],
)  # fmt: skip
def test_overviews_go_to_the_gist(question: str) -> None:
    assert route(question) == "gist"


@pytest.mark.parametrize(
    "question",
    [
        "When did Ana move to Lisbon?", "What is the name of my dentist?", "How many cats does Ben have?",
        "Where did she buy the lamp?", "Which book did Ben recommend?", "Why is the bakery closed?", "",
    ],
)  # fmt: skip
def test_particular_facts_go_to_the_turns(question: str) -> None:
    assert route(question) == "detail"


def test_a_model_may_choose_and_where_it_fails_the_rules_do() -> None:
    assert route_by_model("Where is it?", LLM(FakeChat([{"route": "gist"}]))) == "gist"
    assert route_by_model("Where is it?", LLM(FakeChat(["no idea"]), wait=lambda seconds: None)) == "detail"


def test_the_margin_is_the_best_over_the_first_that_is_not_returned() -> None:
    assert margin([0.2, 0.9, 0.5, 0.4], 2) == pytest.approx(0.5)
    assert margin([0.9, 0.5], 5) == pytest.approx(0.4), "of fewer, the last stands in"
    assert margin([0.9], 5) == 0.0
    assert margin([], 5) == 0.0
