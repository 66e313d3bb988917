"""The stream's truth about pairs: labels and relations that follow from its plan, and their errors."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest

from slowwave.bench.factstream import FactStream, Turn
from slowwave.bench.truth_pairs import Pairs, oracle
from slowwave.models.llm import LLM
from slowwave.ops import pairwise, relations
from slowwave.ops.extraction import extract
from slowwave.ops.made import Made
from slowwave.records import Engram, Scope

NOW = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def stream() -> FactStream:
    return FactStream(seed=3, half="held-out", causes=0.5)


def engram(turn: Turn) -> Engram:
    attrs = {"speaker": turn.speaker, "session": turn.session}
    return Engram(turn.origin, "episode", turn.text, Scope(user_id="s"), turn.at, NOW, attrs=attrs)


def test_labels_follow_the_plan_of_the_stream(stream: FactStream) -> None:
    known = Pairs(stream)
    found: dict[tuple[str, str], Counter[str]] = {}
    for i, old in enumerate(stream.turns):
        for new in stream.turns[i + 1 :]:
            same = (old.person, old.attribute) == (new.person, new.attribute) and bool(old.attribute)
            how = "same" if same and old.value == new.value else "slot" if same else "other"
            key = (how, "trap" if "trap" in (old.label, new.label) else "said")
            found.setdefault(key, Counter())[known.label(known.said(old.text), known.said(new.text))] += 1
    assert found["same", "said"].keys() == {"PASS"}
    assert found["slot", "said"].keys() == {"REPLACE"}
    assert found["slot", "trap"].keys() == found["other", "said"].keys() == found["other", "trap"].keys() == {"APPEND"}


def test_relations_follow_the_plan_of_the_stream(stream: FactStream) -> None:
    known = Pairs(stream)
    events = [turn for turn in stream.turns if turn.label == "event"]
    changes = {turn.cause: turn for turn in stream.turns if turn.label == "changes" and turn.cause}
    assert events
    for event in events:
        change = changes[event.cause]
        assert known.relation(known.said(event.text), known.said(change.text)) == "Cause"
        assert known.relation(known.said(change.text), known.said(event.text)) == "Reason"
        other = next(turn for cause, turn in changes.items() if cause != event.cause)
        assert known.relation(known.said(event.text), known.said(other.text)) == "None"
    line = stream.values("Anna", next(t.attribute for t in changes.values() if t.person == "Anna"))
    was, now = (known.said(f"Anna's is {value}.") for _, value in line[:2])
    assert known.relation(was, now) == "Changed"
    assert known.relation(was, was) == "SameTopic"


def test_facts_keep_their_reason_and_pass_the_grounding(stream: FactStream) -> None:
    made = Made()
    drafts = extract([engram(turn) for turn in stream.turns], LLM(oracle(stream)), made)
    told = {turn.cause for turn in stream.turns if turn.cause}
    kept = {cause for cause in told if any(f"because of the {cause}." in draft.text for draft in drafts)}
    events = {cause for cause in told if any(cause in draft.text and "because" not in draft.text for draft in drafts)}
    stated = [t for t in stream.turns if t.label in ("states", "changes", "repeats", "event")]
    assert kept == told
    assert events == {turn.cause for turn in stream.turns if turn.label == "event"}
    assert len(drafts) > 0.8 * len(stated), [rejected.reason for rejected in made.rejected]


@pytest.mark.parametrize(
    ("operation", "prompt"),
    [("pairwise", pairwise.question), ("relation", relations.question)],
)
def test_an_erring_oracle_is_wrong_as_often_as_it_is_told_to(stream: FactStream, operation: str, prompt: Any) -> None:
    turns = [engram(turn) for turn in stream.turns if turn.attribute]
    right, wrong = LLM(oracle(stream)), LLM(oracle(stream, 0.2))
    differ = total = 0
    for new, *old in zip(turns[2:], turns[1:], turns, strict=False):
        given = [llm.ask(prompt(new, old)).value for llm in (right, wrong)]
        assert all(value is not None for value in given)
        differ += sum(given[0][number] != given[1][number] for number in given[0])
        total += len(given[0])
    assert 0.1 < differ / total < 0.3
