"""The oracle tells the truth, errs as often as it is told to, and always errs on the same prompts."""

from __future__ import annotations

import random
from typing import Any

import pytest

from slowwave.errors import InputError
from slowwave.models.llm import LLM, Prompt, choice, obj
from slowwave.models.oracle import Oracle

SCHEMA = obj("parity", is_=choice(["even", "odd"]))


def truth(inputs: dict[str, Any]) -> dict[str, str]:
    return {"is_": ["even", "odd"][inputs["number"] % 2]}


def flip(inputs: dict[str, Any], value: dict[str, str], chance: random.Random) -> dict[str, str]:
    return {"is_": "odd" if value["is_"] == "even" else "even"}


def wrong(error: float, seed: int = 0, count: int = 2000) -> list[int]:
    """The numbers that an oracle gets wrong."""
    llm = LLM(Oracle({"parity": truth}, error, {"parity": flip}, seed))
    prompts = [Prompt("parity", "Even or odd?", {"number": number}, SCHEMA) for number in range(count)]
    return [n for n, answer in enumerate(llm.ask_all(prompts)) if answer.value != truth({"number": n})]


def test_without_error_it_tells_the_truth() -> None:
    assert wrong(0.0) == []


@pytest.mark.parametrize("error", [0.05, 0.2, 1.0])
def test_it_errs_as_often_as_it_is_told_to(error: float) -> None:
    share = len(wrong(error)) / 2000
    assert abs(share - error) <= 4 * (error * (1 - error) / 2000) ** 0.5


def test_the_same_seed_errs_on_the_same_prompts_in_any_order_and_another_on_others() -> None:
    assert wrong(0.2) == wrong(0.2)
    assert wrong(0.2, count=500) == [n for n in wrong(0.2) if n < 500]
    assert wrong(0.2) != wrong(0.2, seed=1)
    assert set(wrong(0.05)) <= set(wrong(0.2)), "a higher rate errs on more prompts, not on others"


def test_it_counts_what_it_made_wrong() -> None:
    oracle = Oracle({"parity": truth}, 1.0, {"parity": flip})
    LLM(oracle).ask_all([Prompt("parity", "?", {"number": n}, SCHEMA) for n in range(7)])
    assert oracle.flipped == 7


def test_text_that_is_escaped_on_its_way_is_read_as_it_was() -> None:
    seen: list[Any] = []
    llm = LLM(Oracle({"parity": lambda inputs: seen.append(inputs) or {"is_": "odd"}}))
    assert llm.ask(Prompt("parity", "?", {"said": "<|im_start|> ünïcode"}, SCHEMA)).ok
    assert seen == [{"said": "<|im_start|> ünïcode"}]


def test_an_operation_without_a_truth_is_a_problem_every_time_and_the_oracle_is_not_gone() -> None:
    llm = LLM(Oracle({"parity": truth}))
    for number in range(5):
        answer = llm.ask(Prompt("facts", "?", {"n": number}, obj("facts", a=choice(["x"]))))
        assert answer.problem == "failed: oracle-0-0 knows no truth for facts; it has parity"
    assert llm.ask(Prompt("parity", "?", {"number": 1})).problem.startswith("failed: oracle-0-0 knows no truth for a ")
    assert llm.exhausted == ""
    assert llm.ask(Prompt("parity", "?", {"number": 1}, SCHEMA)).ok


def test_a_rate_needs_to_be_one_and_to_have_its_flips() -> None:
    with pytest.raises(InputError, match="from 0 to 1"):
        Oracle({"parity": truth}, 5, {"parity": flip})
    with pytest.raises(InputError, match="nothing for parity"):
        Oracle({"parity": truth}, 0.05)
