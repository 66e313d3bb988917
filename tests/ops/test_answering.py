"""Answers from what is remembered: cited, checked, and none where nothing answers."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime

import pytest

from slowwave import Memory
from slowwave.asynchronous import AsyncMemory
from slowwave.errors import InputError
from slowwave.models.fakes import TROUBLEMAKERS, FakeChat
from slowwave.models.llm import LLM

ANA = {"user_id": "ana"}
ALL = {"threshold": 0, **ANA}


def knows(words, answer, known=True):
    """A model that cites every memory that holds the words."""

    def reply(messages, schema):
        if schema["title"] != "answer":
            return {"items": []}
        told = json.loads(messages[-1].content)["memories"]
        return {"cites": [one["id"] for one in told if words in one["said"]], "known": known, "answer": answer}

    return FakeChat(reply)


@pytest.fixture
def open_memory():
    opened = []

    def open_(llm, embedder="fake"):
        memory = Memory(":memory:", llm=llm, embedder=embedder, clock=lambda: datetime(2024, 2, 1, tzinfo=UTC))
        memory.add("I moved to Lisbon in May", speaker="Ana", at="2023-05-20", **ANA)
        memory.add("My cat Miso sleeps all day", speaker="Ana", at="2023-06-01", **ANA)
        opened.append(memory)
        return memory

    yield open_
    for memory in opened:
        memory.close()


def test_an_answer_cites_the_memories_it_rests_on(open_memory):
    memory = open_memory(knows("Lisbon", "Lisbon"))
    said = memory.answer("Where does Ana live?", **ALL)
    assert str(said) == "Lisbon"
    assert [hit.text for hit in said.hits] == ["I moved to Lisbon in May"]
    assert not said.abstained
    assert said.ungrounded == ""
    assert said.tokens > 0
    assert said.to_dict()["cited"][0]["memory"] == "I moved to Lisbon in May"


@pytest.mark.parametrize(
    ("answer", "ungrounded"),
    [
        ("Porto", "the name 'Porto'"),
        ("since 2019", "the time '2019'"),
        ("4 cats", "the number '4'"),
        ("in May 2023", ""),
        ("in Lisbon, as Karen asked", ""),
    ],
)
def test_what_neither_the_memories_nor_the_question_hold_is_flagged(open_memory, answer, ungrounded):
    memory = open_memory(knows("Lisbon", answer))
    said = memory.answer("Where does Ana live, Karen asked?", **ALL)
    assert said.text == answer
    assert said.ungrounded.startswith(ungrounded)
    assert bool(said.ungrounded) is bool(ungrounded)


def test_where_nothing_bears_on_the_question_nobody_is_asked(open_memory):
    llm = knows("Lisbon", "Lisbon")
    said = open_memory(llm, embedder=None).answer("What is the boiling point of mercury?", **ANA)
    assert said.abstained
    assert "nothing" in said.why
    assert llm.asked == []


def test_where_the_memories_do_not_answer_it_abstains(open_memory):
    said = open_memory(knows("Lisbon", "unknown", known=False)).answer("Where does Ana live?", **ALL)
    assert said.abstained
    assert said.text == ""


@pytest.mark.parametrize("trouble", ["garbage", "refuses", "times-out"])
def test_a_troublesome_model_makes_it_abstain_and_never_raises(open_memory, trouble):
    said = open_memory(LLM(TROUBLEMAKERS[trouble](), wait=lambda s: None)).answer("Where does Ana live?", **ALL)
    assert said.abstained
    assert said.why.startswith("the model gave no answer")


def test_an_invented_answer_is_flagged(open_memory):
    said = open_memory(LLM(TROUBLEMAKERS["invents"](), wait=lambda s: None)).answer("Where does Ana live?", **ALL)
    assert said.abstained or said.ungrounded


def test_the_calls_stand_in_the_journal_and_undo_passes_over_them(open_memory):
    memory = open_memory(knows("Lisbon", "Lisbon"))
    memory.answer("Where does Ana live?", **ALL)
    row = memory.log(limit=1, **ANA)[0]
    assert (row["verb"], row["changes"], row["calls"]) == ("answer", 0, 1)
    assert memory.undo(**ANA).counts == {"undo": 1}


def test_without_a_model_it_says_what_to_do(open_memory):
    with pytest.raises(InputError, match="open Memory"):
        open_memory(None).answer("Where does Ana live?", **ALL)


def test_it_is_awaited_like_every_verb():
    async def ask():
        async with AsyncMemory(":memory:", embedder="fake", llm=knows("Lisbon", "Lisbon")) as memory:
            await memory.add("I moved to Lisbon in May", speaker="Ana", **ANA)
            return await memory.answer("Where does Ana live?", **ALL)

    assert asyncio.run(ask()).text == "Lisbon"
