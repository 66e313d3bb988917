"""HEMA: one sentence for the whole, chunks for the detail, the last turns for the thread; pruning archives."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from replying import Replying
from slowwave import Memory
from slowwave.models import resolve_embedder
from slowwave.models.base import Embedder
from slowwave.ops.packing import estimate_tokens
from slowwave.text.hema import RUNNING, WHOLE, Hema

ANA: Any = {"user_id": "ana"}
START = datetime(2024, 3, 1, 9, tzinfo=UTC)
Clock = list[datetime]


@pytest.fixture(scope="module")
def minilm() -> Embedder:
    return resolve_embedder("minilm")


@pytest.fixture
def clock() -> Clock:
    return [START]


@pytest.fixture
def memory(clock: Clock, minilm: Embedder) -> Iterator[Memory]:
    with Memory(":memory:", system=Hema(), embedder=minilm, clock=lambda: clock[0]) as memory:
        yield memory


def tell(memory: Memory, clock: Clock, *lines: str) -> None:
    for line in lines:
        clock[0] += timedelta(minutes=1)
        memory.add(line, at=clock[0], speaker="Ana", session="s", **ANA)


def held(memory: Memory, origin: str) -> list[str]:
    return [e.text for e in memory.list(kinds=["summary"], limit=None, **ANA) if e.origin == origin]


def said(memory: Memory, **more: Any) -> list[str]:
    return [e.text for e in memory.list(kinds=["episode"], limit=None, **more, **ANA)]


def test_the_context_holds_the_summary_the_chunks_and_the_last_two_turns_in_this_order(
    memory: Memory, clock: Clock
) -> None:
    tell(memory, clock, "I adopted a cat named Miso in the spring.", *(f"Errand number {n} is done." for n in range(9)))
    memory.sleep(**ANA)
    tell(memory, clock, "The bakery opens at seven.", "The ferry leaves at nine.")
    made = memory.context("What is my cat called?", max_tokens=400, **ANA)
    lines = made.text.splitlines()
    assert held(memory, RUNNING)[0] in lines[1]
    assert "cat named Miso" in made.text
    assert "The bakery opens at seven." in lines[-2]
    assert "The ferry leaves at nine." in lines[-1]


def test_a_small_budget_keeps_the_summary_first_then_the_last_turns_then_chunks(memory: Memory, clock: Clock) -> None:
    tell(memory, clock, *(f"Ana told Clara of walk {n} to the lighthouse." for n in range(12)))
    memory.sleep(**ANA)
    whole = memory.context("walks", max_tokens=1000, **ANA)
    assert len(whole.hits) == 13
    for budget in (45, 80, 120, 200):
        made = memory.context("walks", max_tokens=budget, **ANA)
        assert estimate_tokens(made.text) <= budget
        kinds = [hit.engram.kind for hit in made.hits]
        assert kinds[:1] == ["summary"]
        assert len(made.hits) + len(made.left_out) == 13
        if len(kinds) > 1:
            assert made.hits[-1].text == "Ana told Clara of walk 11 to the lighthouse." or len(kinds) == 2


def test_the_sentence_is_one_and_short_and_stands_in_what_was_said(memory: Memory, clock: Clock) -> None:
    tell(memory, clock, *(f"On day {n} Clara and I sailed from Split to Hvar and back." for n in range(25)))
    memory.sleep(**ANA)
    (sentence,) = held(memory, RUNNING)
    assert estimate_tokens(sentence) <= 60
    assert sentence.removeprefix("Ana: ") in said(memory)


def test_a_new_sentence_takes_the_place_of_the_old_and_undo_brings_it_back(memory: Memory, clock: Clock) -> None:
    tell(memory, clock, "Ha.", "Ok.", "Clara plays the cello in the Lisbon orchestra.")
    memory.sleep(**ANA)
    first = held(memory, RUNNING)
    tell(
        memory, clock, *(f"Ben's harbour café in Lisbon, where Clara plays the cello, has {n} guests." for n in (7, 8))
    )
    night = memory.sleep(**ANA)
    now = held(memory, RUNNING)
    assert len(first) == len(now) == 1
    if now != first:
        memory.undo(night.op, **ANA)
        assert held(memory, RUNNING) == first


def test_a_block_that_ends_leaves_its_sentence_and_joins_the_summary_of_summaries(clock: Clock) -> None:
    with Memory(":memory:", system=Hema(block=10, stride=5), embedder="fake", clock=lambda: clock[0]) as memory:
        tell(memory, clock, *(f"In Lisbon Clara met sailor number {n} of the Miso." for n in range(25)))
        memory.sleep(**ANA)
        assert len(held(memory, "hema:block:0")) == len(held(memory, "hema:block:1")) == 1
        assert len(held(memory, WHOLE)) == len(held(memory, RUNNING)) == 1
        tell(memory, clock, *(f"In Lisbon Clara met sailor number {n} of the Miso." for n in range(25, 30)))
        memory.sleep(**ANA)
        assert held(memory, RUNNING) == [], "the block has ended, and nothing was said since"
        assert len(held(memory, "hema:block:2")) == 1
        (whole,) = (e for e in memory.list(kinds=["summary"], limit=None, **ANA) if e.origin == WHOLE)
        assert all(memory.get(id_, **ANA).kind == "summary" for id_ in whole.sources)
        assert memory.sleep(**ANA).op is None


def test_one_level_alone_has_no_blocks(clock: Clock) -> None:
    with Memory(":memory:", system=Hema(block=0), embedder="fake", clock=lambda: clock[0]) as memory:
        tell(memory, clock, *(f"Clara met sailor number {n}." for n in range(120)))
        memory.sleep(**ANA)
        assert {e.origin for e in memory.list(kinds=["summary"], limit=None, **ANA)} == {RUNNING}


def test_a_pruning_archives_the_oldest_unused_with_a_reason_and_undo_brings_them_back(clock: Clock) -> None:
    system = Hema(prune_every=50, prune_share=0.1, lately=20)
    with Memory(":memory:", system=system, embedder="fake", clock=lambda: clock[0]) as memory:
        tell(memory, clock, *(f"errand {n}" for n in range(49)))
        assert "retire" not in memory.sleep(**ANA).counts
        clock[0] += timedelta(hours=1)
        tell(memory, clock, "errand 49")
        memory.search("errand 1", top_k=1, threshold=0, **ANA)
        clock[0] += timedelta(minutes=1)
        night = memory.sleep(**ANA)
        assert night.counts["retire"] >= 5
        gone = [e.text for e in memory.list(retired=True, kinds=["episode"], limit=None, **ANA) if e.retired]
        assert gone == ["errand 0", "errand 2", "errand 3", "errand 4", "errand 5"], "what was just recalled stays"
        assert all(
            memory.get(change.id, **ANA).retired_why == "archived"
            for change in night
            if change.verb == "retire" and memory.get(change.id, **ANA).kind == "episode"
        )
        memory.undo(night.op, **ANA)
        assert len(said(memory)) == 50


def test_as_printed_what_was_recalled_is_pruned_first(clock: Clock) -> None:
    system = Hema(prune_every=50, prune_share=0.02, lately=20, bonus="unused")
    with Memory(":memory:", system=system, embedder="fake", clock=lambda: clock[0]) as memory:
        tell(memory, clock, *(f"errand {n}" for n in range(49)), "We sailed to Hvar.")
        found = memory.search("We sailed to Hvar.", top_k=1, threshold=0, **ANA)[0].text
        clock[0] += timedelta(minutes=1)
        memory.sleep(**ANA)
        gone = [e.text for e in memory.list(retired=True, kinds=["episode"], limit=None, **ANA) if e.retired]
        assert gone == [found]


def test_nights_one_by_one_prune_as_one_long_night_does(clock: Clock) -> None:
    left = []
    for nights in (1, 6):
        system = Hema(prune_every=50, prune_share=0.05)
        with Memory(":memory:", system=system, embedder="fake", clock=lambda: clock[0]) as memory:
            for part in range(nights):
                tell(memory, clock, *(f"errand {n}" for n in range(part * 300 // nights, (part + 1) * 300 // nights)))
                memory.sleep(**ANA)
            left.append(said(memory))
    assert left[0] == left[1]
    assert len(left[0]) < 300


def test_a_models_sentence_is_taken_if_it_stands_on_what_was_said(clock: Clock) -> None:
    replies = {"good": "Ana sailed to Hvar.", "invented": "Zorblax paid 4242 crowns.", "long": "Ana sailed. " * 60}
    for name, sentence in replies.items():
        model = Replying(lambda operation, inputs, sentence=sentence: {"summary": sentence[:480]})
        with Memory(":memory:", system=Hema(), embedder="fake", llm=model.llm(), clock=lambda: clock[0]) as memory:
            tell(memory, clock, "I sailed to Hvar.", "The sea was calm.")
            memory.sleep(**ANA)
            (kept,) = held(memory, RUNNING)
            assert (kept == sentence) is (name == "good"), f"{name}: {kept}"
            assert model.asked[0][1]["new"][0]["said"] == "I sailed to Hvar."


def test_a_spent_budget_stops_between_turns_and_the_next_night_goes_on(clock: Clock) -> None:
    model = Replying(lambda operation, inputs: {"summary": f"Ana saw {inputs['new'][-1]['said']}"})
    llm = model.llm(max_calls=2)
    with Memory(":memory:", system=Hema(stride=5), embedder="fake", llm=llm, clock=lambda: clock[0]) as memory:
        tell(memory, clock, *(f"heron {n}" for n in range(23)))
        notes = memory.sleep(**ANA).notes
        assert any("13 turns wait" in note for note in notes), notes
        assert held(memory, RUNNING) == ["Ana saw heron 9"]
        for _ in range(3):
            llm.renew()
            memory.sleep(**ANA)
        assert held(memory, RUNNING) == ["Ana saw heron 22"]
        told = [turn["said"] for _, inputs in model.asked for turn in inputs["new"]]
        assert told == [f"heron {n}" for n in range(23)]
        assert model.asked[1][1]["so_far"] == "Ana saw heron 4"


def test_a_narrow_scope_has_its_own_sentence(clock: Clock) -> None:
    run: Any = {**ANA, "run_id": "r"}
    with Memory(":memory:", system=Hema(), embedder="fake", clock=lambda: clock[0]) as memory:
        memory.add("Clara sailed to Hvar with Ben.", **run)
        memory.sleep(**run)
        memory.add("Ana bakes bread in Lisbon on Sundays.", **ANA)
        memory.sleep(**ANA)
        assert "Hvar" in memory.context("where", threshold=0, **run).text
        assert "Lisbon" not in memory.context("where", threshold=0, **run).text
