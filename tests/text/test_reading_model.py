"""Reading with a model: other queries, a second look, an order; each step left out where the model gives nothing."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from slowwave import Memory
from slowwave.errors import InputError
from slowwave.models.fakes import TROUBLEMAKERS, FakeChat
from slowwave.models.llm import LLM
from slowwave.ops.expansion import fuse_ranks
from slowwave.records import Engram, Hit, Scope
from slowwave.text.default import DefaultMemory
from slowwave.text.reading_model import Asking

ANA = {"user_id": "ana"}
NOW = datetime(2024, 2, 1, tzinfo=UTC)
QUESTION = "What is the cat called?"


def helper(queries=(), ids=(), more=()):
    """A model that proposes queries and chooses records by words that they hold."""

    def reply(messages, schema):
        inputs = json.loads(messages[-1].content)
        if schema["title"] in ("expand", "seek"):
            return {"items": [{"query": query} for query in (queries if schema["title"] == "expand" else more)]}
        told = inputs["turns"]
        return {"ids": [turn["id"] for words in ids for turn in told if words in turn["said"]]}

    return FakeChat(reply)


def filled(llm, embedder="fake", **options):
    memory = Memory(":memory:", llm=llm, embedder=embedder, clock=lambda: NOW, **options)
    memory.add(
        ["I adopted a cat named Miso", "The cat sat on the mat", "Miso hates the vet", "We sailed to Crete"],
        speaker="Ana", at="2023-05-20", **ANA,
    )  # fmt: skip
    return memory


def texts(hits):
    return [hit.text for hit in hits]


def test_what_the_model_chooses_stands_first_and_the_scores_stay_those_of_the_plain_search():
    with filled(helper(ids=["vet"])) as memory:
        plain = memory.search(QUESTION, threshold=0, **ANA)
        asked = memory.search(QUESTION, threshold=0, ask=True, **ANA)
        assert texts(asked)[0] == "Miso hates the vet"
        assert set(texts(asked)) == set(texts(plain))
        assert [hit.score for hit in asked] == [hit.score for hit in plain]
        assert asked.trace["degraded"] == []


def test_other_words_of_the_question_are_searched_as_well():
    with filled(helper(queries=["Crete sailing holiday", QUESTION])) as memory:
        found = memory.search(QUESTION, threshold=0, ask=True, **ANA)
        assert found.trace["queries"] == ["Crete sailing holiday"]
        assert texts(found)[0] == texts(memory.search(QUESTION, threshold=0, **ANA))[0]


def test_a_second_look_is_taken_where_the_evidence_is_thin():
    llm = helper(more=["Miso"])
    with filled(llm) as memory:
        memory.search("Which aria did the tenor rehearse?", threshold=0, ask=True, **ANA)
        operations = [len(asked) for asked in llm.asked]
        assert len(operations) == 3, "expand, seek, rerank"


@pytest.mark.parametrize("trouble", TROUBLEMAKERS)
def test_a_troublesome_model_leaves_the_plain_search(trouble):
    with filled(LLM(TROUBLEMAKERS[trouble](), wait=lambda s: None)) as memory:
        plain = memory.search(QUESTION, threshold=0, **ANA)
        asked = memory.search(QUESTION, threshold=0, ask=True, **ANA)
        assert len(asked) == len(plain)
        assert set(texts(asked)) <= {
            "I adopted a cat named Miso",
            "The cat sat on the mat",
            "Miso hates the vet",
            "We sailed to Crete",
        }
        if trouble in ("garbage", "refuses", "times-out"):
            assert texts(asked) == texts(plain)
            assert [note.split(":")[0] for note in asked.trace["degraded"]][:1] == ["expand"]


def test_steps_can_be_left_out():
    llm = helper(ids=["vet"])
    with filled(llm, system=DefaultMemory(asking=Asking(expand=False, again=False, rerank=0))) as memory:
        plain, asked = (memory.search(QUESTION, threshold=0, ask=ask, **ANA) for ask in (False, True))
        assert texts(plain) == texts(asked)
        assert llm.asked == []


def test_a_question_on_which_nothing_is_known_stays_without_a_hit():
    with filled(helper(queries=["cat"], ids=["cat"]), embedder=None) as memory:
        assert len(memory.search("What is the boiling point of mercury?", ask=True, **ANA)) == 0


def test_the_calls_of_a_reading_stand_in_the_journal():
    with filled(helper()) as memory:
        memory.search(QUESTION, ask=True, **ANA)
        assert memory.log(limit=1, **ANA)[0]["verb"] == "search"
        assert {asked.call.operation for asked in memory.log(calls=True, **ANA)} >= {"expand", "rerank"}
        before = len(memory.log(limit=50, **ANA))
        memory.search(QUESTION, **ANA)
        assert len(memory.log(limit=50, **ANA)) == before


def test_without_a_model_asking_is_an_error():
    with filled(None) as memory, pytest.raises(InputError, match="there is none"):
        memory.search(QUESTION, ask=True, **ANA)


def test_ranks_are_fused_and_the_questions_own_count_for_most():
    def hit(name, score=0.5):
        return Hit(Engram(name, "episode", name, Scope(**ANA), NOW, NOW), score)

    own, other = [hit("a"), hit("b"), hit("c")], [hit("d"), hit("c")]
    assert [h.id for h in fuse_ranks(own, [other])] == ["c", "a", "b", "d"]
    assert [h.id for h in fuse_ranks(own, [])] == ["a", "b", "c"]
    assert fuse_ranks([], []) == []
