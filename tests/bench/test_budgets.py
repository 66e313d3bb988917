"""Evidence within a budget, paired differences, verdicts; and what the shipped LoCoMo texts answer as a model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from slowwave.bench.budgets import by_kind, gain, judged_within, labelled, made_up, verdict_of, within
from slowwave.bench.locomo_oracle import locomo_oracle
from slowwave.bench.metrics import Found
from slowwave.models.llm import LLM
from slowwave.ops.annotation import annotation_prompt
from slowwave.ops.extraction import facts_prompt
from slowwave.ops.granularity import digest_prompt
from slowwave.records import Engram, Scope


def test_what_is_too_long_is_passed_over() -> None:
    found = [Found(("a",), 400), Found(("b",), 200), Found(("c", "d"), 100)]
    assert within(found, 500) == {"a", "c", "d"}
    assert within(found, 99) == set()


def test_all_of_the_evidence_counts_only_whole() -> None:
    talk = made_up(1)[0]
    first = talk.questions[0]
    half, whole = [Found(first.evidence[:1], 10)], [Found((unit,), 10) for unit in first.evidence]
    for ranking, due in ((half, (0.5, 0.0)), (whole, (1.0, 1.0)), ([], (0.0, 0.0))):
        values = judged_within([talk], [[ranking] * len(talk.questions)])
        assert (values["recall@500t"][0], values["all@500t"][0]) == due


def test_kinds_and_gains_are_taken_over_the_right_questions() -> None:
    talks = made_up(3)
    names, kinds = labelled(talks)
    rows = {"low": {"m": np.zeros(len(names))}, "high": {"m": (kinds == "temporal").astype(float)}}
    table = by_kind(rows, names, kinds)
    assert table["high"]["temporal"]["m"]["mean"] == 1
    assert table["high"]["multi-hop"]["m"]["mean"] == 0
    assert gain(rows, "high", "low", "m", kinds == "temporal", names) == {"mean": 1, "low": 1, "high": 1, "n": 6}


@pytest.mark.parametrize(
    ("gains", "due"),
    [
        ([(0.1, 0.3)], "holds"),
        ([(0.1, 0.3), (-0.1, 0.2)], "cannot be told at this size"),
        ([(0.1, 0.3), (-0.2, -0.1)], "does not hold"),
        ([(0.0, 0.0)], "does not hold"),
        ([(None, None)], "cannot be told at this size"),
    ],
)
def test_a_verdict_needs_its_intervals_on_one_side(gains: list[tuple[float, float]], due: str) -> None:
    assert verdict_of([{"low": low, "high": high} for low, high in gains]) == due


def test_shipped_texts_answer_as_a_model(tmp_path: Path) -> None:
    talk = {
        "conversation": {
            "session_1_date_time": "1:56 pm on 8 May, 2023",
            "session_1": [
                {"speaker": "Ana", "dia_id": "D1:1", "text": "I joined the rowing club."},
                {"speaker": "Ben", "dia_id": "D1:2", "text": "Wow!"},
            ],
        },
        "observation": {"session_1_observation": {"Ana": [["Ana joined a rowing club.", "D1:1"]]}},
        "session_summary": {"session_1_summary": "Ana joined the rowing club."},
    }
    file = tmp_path / "conv-0.json"
    file.write_text(json.dumps(talk), encoding="utf-8")
    llm = LLM(locomo_oracle([file]), retries=0)
    at = made_up(1)[0].asked
    said = [
        Engram(f"{n:026d}", "episode", turn["text"], Scope(user_id="u"), at, at, attrs={"speaker": turn["speaker"]})
        for n, turn in enumerate(talk["conversation"]["session_1"])  # type: ignore[arg-type]
    ]
    facts = llm.ask(facts_prompt(said)).value["items"]
    assert [(item["said_in"], item["fact"]) for item in facts] == [(["1"], "Ana joined a rowing club.")]
    notes = llm.ask(annotation_prompt(said, ["1", "2"])).value["items"]
    assert [(item["id"], item["context"]) for item in notes] == [("1", "Ana joined a rowing club.")]
    assert llm.ask(digest_prompt(said)).value["summary"] == "Ana joined the rowing club."
