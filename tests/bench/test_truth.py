"""The stream's truth, as a model would tell it, and its errors."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from slowwave.bench.factstream import FactStream
from slowwave.bench.truth import OUTCOMES, SAID, flips, holds, named, oracle, truths
from slowwave.models.llm import LLM
from slowwave.ops.extraction import extract
from slowwave.ops.made import Made
from slowwave.ops.outcomes import outcome_prompt
from slowwave.records import Engram, Scope


@pytest.fixture(scope="module")
def stream():
    return FactStream(seed=3, half="held-out", causes=0.5)


def engrams(stream):
    now = datetime(2024, 1, 1, tzinfo=UTC)
    return [
        Engram(
            t.origin,
            "episode",
            t.text,
            Scope(user_id="s"),
            t.at,
            now,
            attrs={"speaker": t.speaker, "session": t.session},
        )
        for t in stream.turns
    ]


def drawn(stream, error):
    made = Made()
    people = sorted({turn.person for turn in stream.turns})
    llm = LLM(oracle(stream, error), wait=lambda s: None)
    return extract(engrams(stream), llm, made, around=people), made


def test_the_truth_is_drawn_whole_and_all_of_it_is_grounded(stream):
    drafts, made = drawn(stream, 0.0)
    assert made.rejected == []
    said = {(t.origin, t.person, named(t.attribute), t.value) for t in stream.turns if t.label in SAID}
    found = {(draft.sources[0], draft.subject, draft.attribute, draft.value) for draft in drafts}
    assert {(one, *rest) for one, *rest in found} <= {(one, *rest) for one, *rest in said} | {
        (one, "", "", "") for one, *_ in said
    }
    whole = [draft for draft in drafts if draft.subject]
    assert len(whole) / len(said) > 0.9


def test_errors_are_as_many_as_told_and_grounding_turns_most_of_them_down(stream):
    drafts, made = drawn(stream, 1.0)
    assert made.rejected
    true = {(t.origin, t.person, named(t.attribute), t.value) for t in stream.turns if t.label in SAID}
    wrong = [d for d in drafts if d.subject and (d.sources[0], d.subject, d.attribute, d.value) not in true]
    assert len(wrong) <= len(made.rejected)


def test_outcomes_follow_the_stream(stream):
    known = truths(stream)["outcome"]
    turns = {t.origin: t for t in stream.turns}
    of = {t.origin: e for t, e in zip(stream.turns, engrams(stream), strict=True)}
    changed = next(t for t in stream.turns if t.label == "changes")
    before = next(
        t for t in turns.values() if (t.person, t.attribute, t.label) == (changed.person, changed.attribute, "states")
    )
    trap = next(t for t in turns.values() if t.label == "trap")
    pairs = [(of[before.origin], of[changed.origin]), (of[before.origin], of[trap.origin])]
    told = known(outcome_prompt(pairs).inputs)
    assert [item["outcome"] for item in told["items"]] == ["supersedes", "new"]
    assert {item["outcome"] for item in told["items"]} <= set(OUTCOMES)


def test_every_truth_has_a_way_to_go_wrong(stream):
    assert truths(stream).keys() == flips(stream).keys()


def test_an_answer_is_right_with_the_gold_values_and_without_the_wrong_ones(stream):
    question = next(q for q in stream.questions if q.kind == "current" and q.wrong)
    assert holds(f"It is {question.gold[0]}.", question)
    assert not holds(f"It is {question.gold[0]}, not {question.wrong[0]}.", question)
    shown = [{"id": "a", "said": f"It is {question.gold[0]}"}]
    told = truths(stream)["answer"]({"question": question.text, "memories": shown})
    assert told == {"known": True, "answer": question.gold[0], "cites": ["a"]}
    assert not truths(stream)["answer"]({"question": question.text, "memories": []})["known"]
