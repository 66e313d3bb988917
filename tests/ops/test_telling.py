"""Sentences that a model writes about records: each stands on those that it cites, or drops out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from slowwave import Memory
from slowwave.models.fakes import TROUBLEMAKERS, FakeChat
from slowwave.models.llm import LLM
from slowwave.ops.made import Made
from slowwave.ops.telling import NOTE, SUMMARY, tell
from slowwave.records import Engram, Scope

START = datetime(2023, 5, 8, 13, tzinfo=UTC)
ANA = {"user_id": "a"}


def said(text, n=0, speaker="Ana"):
    at = START + timedelta(minutes=n)
    return Engram(f"e{n}", "episode", text, Scope(**ANA), at, at, attrs={"speaker": speaker})


TURNS = [said("I moved to Lisbon yesterday."), said("My dog Rex loves the beach.", 1)]


def telling(*sentences):
    return LLM(FakeChat([{"items": [{"said_in": ids, "sentence": text} for ids, text in sentences]}]))


def test_sentences_come_with_the_records_they_rest_on():
    llm = telling((["1"], "Ana moved to Lisbon on 7 May 2023"), (["2"], "Her dog Rex loves the beach."))
    assert tell("summary", SUMMARY, TURNS, llm, Made(), 6) == [
        ("Ana moved to Lisbon on 7 May 2023.", ("e0",)),
        ("Her dog Rex loves the beach.", ("e1",)),
    ]


def test_what_the_cited_records_do_not_say_drops_out_with_its_reason():
    made = Made()
    llm = telling(
        (["1"], "Ana moved to Porto."), (["1"], "Ana's dog Rex loves the beach."), (["2"], "Rex loves the beach.")
    )
    assert [text for text, _ in tell("summary", SUMMARY, TURNS, llm, made, 6)] == ["Rex loves the beach."]
    assert ["name" in rejected.reason for rejected in made.rejected] == [True, True]


def test_a_note_speaks_of_its_name():
    made = Made()
    llm = telling((["1"], "Ana moved to Lisbon."), (["2"], "Rex is the dog of Ana; he loves the beach."))
    assert [text for text, _ in tell("note", NOTE, TURNS, llm, made, 3, (), "Rex")] == [
        "Rex is the dog of Ana; he loves the beach."
    ]
    assert made.rejected[0].reason == "it does not speak of Rex"


@pytest.mark.parametrize("trouble", ["garbage", "refuses", "times-out", "invents"])
def test_without_a_usable_reply_there_are_no_sentences(trouble):
    made = Made()
    assert tell("summary", SUMMARY, TURNS, LLM(TROUBLEMAKERS[trouble](), wait=lambda s: None), made, 6) == []
    assert made.rejected


def walks(n):
    return (
        f"On day {n} we walked to Lindesnes and talked at length about the lighthouse, the ferry to Bergen and the "
        f"weather that kept the family of the keeper indoors."
    )


def sitting(llm):
    memory = Memory(":memory:", embedder="fake", llm=llm, clock=lambda: datetime(2024, 1, 1, tzinfo=UTC))
    memory.add([walks(n) for n in range(6)], speaker="Ana", session="s", at="2023-05-01", **ANA)
    memory.sleep(**ANA)
    [summary] = memory.list(kinds=["summary"], **ANA)
    memory.close()
    return summary


def by_operation(**replies):
    return LLM(FakeChat(lambda messages, schema: replies.get(schema["title"], {"items": []})), wait=lambda s: None)


def test_a_night_takes_the_models_summary_where_enough_of_it_stands_and_the_extract_where_not():
    told = [
        {"said_in": ["1"], "sentence": "Ana walked to Lindesnes on day 0."},
        {"said_in": ["2", "3"], "sentence": "They talked about the lighthouse and the ferry to Bergen."},
        {"said_in": ["2"], "sentence": "They sailed to Oslo with Karen."},
    ]
    written = sitting(by_operation(summary={"items": told}))
    assert written.text == "Ana walked to Lindesnes on day 0. They talked about the lighthouse and the ferry to Bergen."
    assert written.attrs["from"] == "model"
    assert len(written.sources) == 3
    extract = sitting(by_operation(summary={"items": told[2:] + told[:1]}))
    assert "from" not in extract.attrs
    first = extract.text.removeprefix("Ana: ").split(". ")[0].rstrip(".")
    assert any(first in walks(n) for n in range(6))
