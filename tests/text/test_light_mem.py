"""LightMem: entries by topic buffer, later ones that settle earlier ones in sleep, windows, and a model that fails."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from replying import Replying
from slowwave import Memory
from slowwave.models import resolve_embedder
from slowwave.models.base import Embedder
from slowwave.text.light_mem import LightMem

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
    with Memory(":memory:", system=LightMem(threshold=0.5), embedder=minilm, clock=lambda: clock[0]) as memory:
        yield memory


def tell(memory: Memory, clock: Clock, *lines: str, day: float = 0, session: str = "s", speaker: str = "Ana") -> None:
    for n, line in enumerate(lines):
        at = START + timedelta(days=day, minutes=n)
        memory.add(line, at=at, session=session, speaker=speaker, **ANA)
    clock[0] = START + timedelta(days=day, hours=12)


def entries(memory: Memory, **kinds: Any) -> dict[str, Any]:
    return {e.text: e for e in memory.list(kinds=["fact"], limit=None, **kinds, **ANA)}


def texts(hits: Any) -> list[str]:
    return [hit.text for hit in hits]


def test_a_turn_is_found_before_the_night_and_by_its_entry_after_it(memory: Memory, clock: Clock) -> None:
    tell(memory, clock, "I live in Rome.", "The garden needs rain.")
    assert texts(memory.search("Where do I live?", top_k=1, **ANA)) == ["I live in Rome."]
    memory.sleep(**ANA)
    hit = memory.search("Where do I live?", top_k=1, **ANA)[0]
    assert (hit.engram.kind, hit.text) == ("fact", "Ana's home is Rome")
    assert memory.get(hit.engram.sources[0], **ANA).text == "I live in Rome."
    assert "I live in Rome." not in texts(memory.search("Where do I live?", top_k=9, **ANA)), "its entry stands for it"


def test_a_later_value_ends_the_earlier_in_sleep_and_both_are_shown_the_newer_first(
    memory: Memory, clock: Clock
) -> None:
    tell(memory, clock, "I live in Rome.")
    memory.sleep(**ANA)
    tell(memory, clock, "I live in Oslo now.", day=30, session="t")
    night = memory.sleep(**ANA)
    assert night.counts["supersede"] == 1
    found = texts(memory.search("Where do I live?", **ANA))
    assert found.index("Ana's home is Oslo") < found.index("Ana's home is Rome")
    then = memory.search("Where do I live?", at=START + timedelta(days=3), top_k=1, **ANA)
    assert texts(then) == ["Ana's home is Rome"]
    memory.undo(night.op, **ANA)
    assert entries(memory)["Ana's home is Rome"].until is None


def test_two_colours_in_one_sentence_form_stay_two_entries(memory: Memory, clock: Clock) -> None:
    tell(memory, clock, "I bought a red scarf.", "I bought a blue scarf.", "My office is on floor 3.")
    tell(memory, clock, "My office is on floor 5.", day=1, session="t")
    memory.sleep(**ANA)
    kept = entries(memory)
    assert sum("scarf" in text for text in kept) == 2
    assert [e.until is None for text, e in sorted(kept.items()) if "scarf" in text] == [True, True]


def test_twins_of_one_moment_leave_one_entry(clock: Clock, minilm: Embedder) -> None:
    with Memory(":memory:", embedder=minilm, system=LightMem(), clock=lambda: clock[0]) as memory:
        for twin in ("a", "b"):
            memory.add("My sister's name is Clara.", at=START, origin=twin, session=twin, speaker="Ana", **ANA)
        clock[0] += timedelta(hours=9)
        night = memory.sleep(**ANA)
        assert night.counts.get("merge") == 1
        assert len(entries(memory)) == 1


def test_a_second_night_without_news_changes_nothing_and_asks_nothing(clock: Clock) -> None:
    model = Replying(lambda operation, inputs: {"items": []})
    with Memory(":memory:", system=LightMem(), embedder="fake", llm=model.llm(), clock=lambda: clock[0]) as memory:
        tell(memory, clock, *(f"I saw bird number {n} at the lake." for n in range(30)))
        memory.sleep(**ANA)
        asked = len(model.asked)
        again = memory.sleep(**ANA)
        assert (again.op, len(again)) == (None, 0)
        assert len(model.asked) == asked > 0


def test_one_question_a_buffer_and_none_a_turn(clock: Clock) -> None:
    model = Replying(lambda operation, inputs: {"items": []})
    system = LightMem(buffer_tokens=512, compression=1)
    with Memory(":memory:", system=system, embedder="fake", llm=model.llm(), clock=lambda: clock[0]) as memory:
        tell(memory, clock, *(f"On walk {n} we spoke at length of the weather and the ferry." for n in range(60)))
        memory.sleep(**ANA)
        shown = [inputs["turns"] for operation, inputs in model.asked if operation == "facts"]
        assert sum(map(len, shown)) == 60
        assert len(shown) <= 60 * 15 / 512 + 2


def test_a_model_is_shown_fewer_words_but_every_not_and_number(clock: Clock) -> None:
    said = "We did not get the 7 tickets for the concert in the old harbour hall that I told you about."
    model = Replying(lambda operation, inputs: {"items": []})
    system = LightMem(compression=0.5)
    with Memory(":memory:", system=system, embedder="fake", llm=model.llm(), clock=lambda: clock[0]) as memory:
        tell(memory, clock, said, "the in for of that", "the the for in that", "the old about", "I like tea.")
        memory.sleep(**ANA)
        shown = [turn["said"] for _, inputs in model.asked for turn in inputs.get("turns", ())]
        assert "I like tea." in shown, "a short turn has no words to spare"
        short = next(text for text in shown if "tickets" in text)
        assert {"not", "7", "I", "you"} <= set(short.split())
        assert len(short.split()) <= 0.5 * len(said.split()) + 1
        assert memory.search("tickets", kinds=["episode"], top_k=1, threshold=0, **ANA)[0].text == said


def test_what_a_model_passes_over_is_found_all_the_same(clock: Clock, minilm: Embedder) -> None:
    model = Replying(lambda operation, inputs: {"items": []})
    with Memory(":memory:", embedder=minilm, system=LightMem(), llm=model.llm(), clock=lambda: clock[0]) as memory:
        tell(memory, clock, "I adopted a cat named Miso.")
        memory.sleep(**ANA)
        assert entries(memory) == {}
        assert texts(memory.search("What is my cat called?", top_k=1, **ANA)) == ["I adopted a cat named Miso."]


def test_a_spent_budget_stops_the_night_and_the_next_goes_on(clock: Clock) -> None:
    def facts(operation: str, inputs: dict[str, Any]) -> Any:
        return {"items": []}

    model = Replying(facts)
    llm = model.llm(max_calls=2)
    system = LightMem(buffer_tokens=40, compression=1)
    with Memory(":memory:", system=system, embedder="fake", llm=llm, clock=lambda: clock[0]) as memory:
        tell(memory, clock, *(f"I saw heron number {n} at the lake." for n in range(24)))
        night = memory.sleep(**ANA)
        assert any("wait for the next night" in note for note in night.notes)
        first = {turn["said"] for _, inputs in model.asked for turn in inputs["turns"]}
        assert 0 < len(first) < 24
        for _ in range(8):
            llm.renew()
            memory.sleep(**ANA)
        told = [turn["said"] for _, inputs in model.asked for turn in inputs["turns"]]
        assert len(told) == len(set(told)) == 24, "every turn is read once"


def test_questions_that_had_to_wait_are_asked_the_next_night(clock: Clock, minilm: Embedder) -> None:
    said = {"I live in Rome.": "Rome", "I moved to Oslo.": "Oslo"}

    def answer(operation: str, inputs: dict[str, Any]) -> Any:
        if operation == "facts":
            return {
                "items": [
                    {"said_in": [t["id"]], "subject": "Ana", "attribute": "home", "value": said[t["said"]],
                     "fact": f"Ana lives in {said[t['said']]}."}
                    for t in inputs["turns"]
                ]
            }  # fmt: skip
        assert operation == "update"
        return {"action": "delete", "by": "1", "fact": inputs["entry"]["fact"]}

    model = Replying(answer)
    llm = model.llm(max_calls=2)
    with Memory(":memory:", embedder=minilm, system=LightMem(threshold=0.3), llm=llm, clock=lambda: clock[0]) as memory:
        tell(memory, clock, "I live in Rome.")
        tell(memory, clock, "I moved to Oslo.", day=30, session="t")
        memory.sleep(**ANA)
        assert {e.until for e in entries(memory).values()} == {None}
        llm.renew()
        memory.sleep(**ANA)
        ends = {text: e.until is not None for text, e in entries(memory).items()}
        assert ends == {"Ana lives in Rome.": True, "Ana lives in Oslo.": False}
        assert memory.sleep(**ANA).op is None


def test_a_window_gets_one_summary_which_is_renewed_when_more_is_said_in_it(clock: Clock) -> None:
    with Memory(":memory:", system=LightMem(), embedder="fake", clock=lambda: clock[0]) as memory:
        tell(
            memory, clock, "The ferry to Split was late.", "We missed the concert in Zadar.", "Clara lost her red hat."
        )
        memory.sleep(**ANA)
        first = memory.list(kinds=["summary"], **ANA)
        assert len(first) == 1
        memory.add("We found the hat on the ferry to Hvar.", at=START + timedelta(minutes=9), speaker="Ana", **ANA)
        memory.add("The captain had kept it for Clara in Split.", at=START + timedelta(minutes=8), speaker="Ana", **ANA)
        memory.sleep(**ANA)
        now = memory.list(kinds=["summary"], **ANA)
        assert len(now) == 1
        if now[0].id != first[0].id:
            assert memory.get(first[0].id, **ANA).retired_why == "corrected"
        told = memory.list(kinds=["summary"], retired=True, **ANA)
        assert all(source for summary in told for source in summary.sources)


def test_no_windows_no_summaries(clock: Clock) -> None:
    with Memory(":memory:", system=LightMem(window_seconds=0), embedder="fake", clock=lambda: clock[0]) as memory:
        tell(
            memory, clock, "The ferry to Split was late.", "We missed the concert in Zadar.", "Clara lost her red hat."
        )
        memory.sleep(**ANA)
        assert memory.list(kinds=["summary"], **ANA) == []


def test_an_updated_entry_is_found_by_its_new_words(clock: Clock, minilm: Embedder) -> None:
    said = {"I have a cat, Miso.": "Ana has a cat, Miso.", "My cat Miso is a tabby.": "Ana's cat Miso is a tabby."}

    def answer(operation: str, inputs: dict[str, Any]) -> Any:
        if operation == "facts":
            return {
                "items": [
                    {"said_in": [t["id"]], "subject": "Ana", "attribute": "pet", "value": "Miso",
                     "fact": said[t["said"]]}
                    for t in inputs["turns"]
                ]
            }  # fmt: skip
        return {"action": "update", "by": "1", "fact": "Ana has a cat, Miso, who is a tabby."}

    model = Replying(answer)
    with Memory(
        ":memory:", embedder=minilm, system=LightMem(threshold=0.3), llm=model.llm(), clock=lambda: clock[0]
    ) as memory:
        tell(memory, clock, "I have a cat, Miso.")
        tell(memory, clock, "My cat Miso is a tabby.", day=30, session="t")
        memory.sleep(**ANA)
        kept = entries(memory)
        written = kept["Ana has a cat, Miso, who is a tabby."]
        assert {memory.get(id_, **ANA).text for id_ in written.sources} == set(said.values())
        vector = minilm.embed([written.text])[0]
        n = memory.store.view(written.scope).numbers([written.id])[written.id]
        assert float(memory.store.view(written.scope).vectors([n])[n] @ vector) > 0.99, "its vector is of its words"


def test_user_written_notes_are_found_as_well(memory: Memory, clock: Clock) -> None:
    memory.add("The vault opens at noon.", kind="note", **ANA)
    tell(memory, clock, "The bakery opens at seven.")
    memory.sleep(**ANA)
    assert "The vault opens at noon." in texts(memory.search("When does the vault open?", **ANA))


def test_with_turns_both_the_entry_and_the_turn_are_found(clock: Clock, minilm: Embedder) -> None:
    with Memory(":memory:", embedder=minilm, system=LightMem(turns=True), clock=lambda: clock[0]) as memory:
        tell(memory, clock, "I live in Rome.")
        memory.sleep(**ANA)
        assert set(texts(memory.search("Where do I live?", **ANA))) == {"I live in Rome.", "Ana's home is Rome"}
