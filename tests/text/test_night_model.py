"""The default memory's night with a model: facts that no rule reads, settled; stopped, and gone on with."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from slowwave import Memory
from slowwave.bench.factstream import FactStream
from slowwave.bench.truth import oracle
from slowwave.models.fakes import TROUBLEMAKERS, FakeChat
from slowwave.models.llm import LLM
from slowwave.store.base import Want

ANA = {"user_id": "ana"}
START = datetime(2024, 3, 1, 9, tzinfo=UTC)


def llm_of(reply, **budget):
    return LLM(FakeChat(reply), wait=lambda seconds: None, **budget)


def reader(*facts):
    """A model that knows what turns say: (words of the turn, subject, attribute, value, fact)."""

    def reply(messages, schema):
        inputs = json.loads(messages[-1].content)
        if schema["title"] != "facts":
            return {"items": []}
        return {
            "items": [
                {"said_in": [turn["id"]], "subject": subject, "attribute": attribute, "value": value, "fact": fact}
                for turn in inputs["turns"]
                for words, subject, attribute, value, fact in facts
                if words in turn["said"]
            ]
        }

    return reply


HOMES = reader(
    ("flat is in Rome", "Anna", "home", "Rome", "Anna's flat is in Rome."),
    ("flat is now in Oslo", "Anna", "home", "Oslo", "Anna's flat is now in Oslo."),
    ("house in Turin", "Ben", "home", "Turin", "Ben has a house in Turin."),
)


@pytest.fixture
def clock():
    return [START]


@pytest.fixture
def open_memory(clock):
    opened = []

    def open_(llm=None, path=":memory:"):
        opened.append(Memory(path, embedder="fake", clock=lambda: clock[0], llm=llm))
        return opened[-1]

    yield open_
    for memory in opened:
        memory.close()


def facts(memory):
    return {fact.text: fact for fact in memory.list(kinds=["fact"], limit=None, **ANA)}


def test_a_change_that_no_rule_reads_is_read_by_the_model_and_ends_what_was_said_before(open_memory):
    memory = open_memory(llm_of(HOMES))
    memory.add("My flat is in Rome.", speaker="Anna", at="2024-01-01", session="a", **ANA)
    memory.add("Anna's flat is now in Oslo.", speaker="Ben", at="2024-02-01", session="b", **ANA)
    night = memory.sleep(**ANA)
    known = facts(memory)
    assert known["Anna's flat is in Rome."].until == datetime(2024, 2, 1, tzinfo=UTC)
    assert known["Anna's flat is now in Oslo."].until is None
    turns = {turn.text: turn.until for turn in memory.list(kinds=["episode"], **ANA)}
    assert turns["My flat is in Rome."] == datetime(2024, 2, 1, tzinfo=UTC), "all that it says has ended"
    assert turns["Anna's flat is now in Oslo."] is None
    memory.undo(night.op, **ANA)
    assert facts(memory) == {}
    assert {turn.until for turn in memory.list(kinds=["episode"], **ANA)} == {None}


def test_a_fact_read_by_a_rule_is_supported_not_doubled(open_memory):
    memory = open_memory(llm_of(HOMES))
    memory.add("I live in Rome.", speaker="Anna", at="2024-01-01", session="a", **ANA)
    memory.add("My flat is in Rome.", speaker="Anna", at="2024-01-15", session="b", **ANA)
    memory.sleep(**ANA)
    [fact] = facts(memory).values()
    assert fact.text == "Anna's home is Rome"
    supports = memory.store.view(fact.scope).links([fact.id], ("supports",))
    assert [memory.get(tie.source, **ANA).text for tie in supports] == ["My flat is in Rome."]


def test_what_a_rule_reads_in_a_turn_is_not_gainsaid_by_the_model(open_memory):
    wrong = reader(("moved from Rome to Oslo", "Anna", "home", "Rome", "Anna moved from Rome."))
    memory = open_memory(llm_of(wrong))
    memory.add("I moved from Rome to Oslo.", speaker="Anna", at="2024-01-01", **ANA)
    memory.sleep(**ANA)
    assert {fact.attrs["value"]: fact.until for fact in facts(memory).values()} == {"Oslo": None}


def test_in_a_language_whose_words_are_not_known_a_change_is_told_and_ends_nothing(open_memory):
    wohnt = reader(
        ("in Köln", "Anna", "home", "Köln", "Anna wohnt in Köln."),
        ("in Bern", "Anna", "home", "Bern", "Anna wohnt in Bern."),
    )
    memory = open_memory(llm_of(wohnt))
    memory.add("Ich wohne in Köln.", speaker="Anna", at="2024-01-01", session="a", **ANA)
    memory.add("Ich wohne in Bern.", speaker="Anna", at="2024-02-01", session="b", **ANA)
    night = memory.sleep(**ANA)
    assert {fact.until for fact in facts(memory).values()} == {None}
    assert night.counts.get("contradict") == 1


def test_what_is_read_late_ends_where_the_later_began(open_memory, clock):
    memory = open_memory(llm_of(HOMES))
    memory.add("Anna's flat is now in Oslo.", speaker="Ben", at="2024-02-01", session="b", **ANA)
    memory.sleep(**ANA)
    clock[0] += timedelta(days=1)
    memory.add("My flat is in Rome.", speaker="Anna", at="2024-01-01", session="a", **ANA)
    memory.sleep(**ANA)
    assert facts(memory)["Anna's flat is in Rome."].until == datetime(2024, 2, 1, tzinfo=UTC)
    assert facts(memory)["Anna's flat is now in Oslo."].until is None


def test_values_that_may_both_be_so_stand_beside_each_other_and_what_is_unsure_is_tied_and_told(open_memory):
    def reply(messages, schema):
        if schema["title"] == "outcome":
            pairs = json.loads(messages[-1].content)["pairs"]
            return {"items": [{"id": pair["id"], "outcome": "contradicts"} for pair in pairs]}
        return reader(
            ("chess", "Anna", "hobby", "chess", "Anna plays chess."),
            ("golf", "Anna", "hobby", "golf", "Anna only plays golf."),
        )(messages, schema)

    memory = open_memory(llm_of(reply))
    memory.add("I play chess with Tom.", speaker="Anna", at="2024-01-01", session="a", **ANA)
    memory.add("I only play golf on Sundays.", speaker="Anna", at="2024-02-01", session="b", **ANA)
    night = memory.sleep(**ANA)
    known = facts(memory)
    assert {fact.until for fact in known.values()} == {None}
    assert [change.verb for change in night if change.verb == "contradict"] == ["contradict"]
    hits = memory.search("Anna plays golf", threshold=0, kinds=["fact"], **ANA)
    assert all("contradicts" in hit.why for hit in hits)
    assert hits[0].text == "Anna only plays golf.", "of two that contradict each other the later stands first"


def test_a_second_night_without_news_changes_nothing_and_asks_nothing(open_memory):
    llm = llm_of(HOMES)
    memory = open_memory(llm)
    memory.add(["My flat is in Rome.", "It rained all day."], speaker="Anna", at="2024-01-01", **ANA)
    memory.sleep(**ANA)
    asked = len(llm.model.asked)
    assert asked == 1
    again = memory.sleep(**ANA)
    assert again.op is None
    assert len(llm.model.asked) == asked


def test_a_spent_budget_stops_the_model_not_the_rules_and_the_next_night_goes_on(open_memory, clock):
    llm = llm_of(HOMES, max_calls=1)
    memory = open_memory(llm)
    for day, (words, session) in enumerate(
        [("My flat is in Rome.", "a"), ("I live in Bern.", "b"), ("Anna's flat is now in Oslo.", "c")]
    ):
        speaker = "Anna" if session == "a" else "Ben"
        memory.add(words, speaker=speaker, at=START - timedelta(days=9 - day), session=session, **ANA)
    night = memory.sleep(**ANA)
    assert any("2 turns are left" in note for note in night.notes)
    assert set(facts(memory)) == {"Anna's flat is in Rome.", "Ben's home is Bern"}, "the rules' part was not held up"
    state = memory.store.view(memory.scopes()[0][0]).cursor("default").state
    assert len(state["model"]["next"]) == 2
    clock[0] += timedelta(days=1)
    memory.add("The house in Turin is ours again.", speaker="Ben", at=START, session="d", **ANA)
    llm.max_calls = None
    memory.sleep(**ANA)
    assert "Anna's flat is now in Oslo." in facts(memory)
    assert memory.store.view(memory.scopes()[0][0]).cursor("default").state["model"] == {}
    read = [turn["said"] for asked in llm.model.asked for turn in json.loads(asked[-1].content).get("turns", ())]
    assert len(read) == len(set(read)) == 4, "each turn was read once"


def test_turns_that_got_no_reply_are_told_and_read_the_next_night(open_memory, tmp_path):
    memory = open_memory(LLM(TROUBLEMAKERS["times-out"](), wait=lambda seconds: None), tmp_path / "a.db")
    memory.add("My flat is in Rome.", speaker="Anna", at=START, **ANA)
    rehearsal, night = memory.sleep(dry_run=True, **ANA), memory.sleep(**ANA)
    for report in (rehearsal, night):
        assert "the model gave no reply; 1 turns are left for the next night" in report.notes
        assert any("1 prompts to the model 1 came to nothing" in note for note in report.notes)
    assert not memory.log(rejected=True, **ANA), "nothing was proposed"
    memory.close()
    again = open_memory(llm_of(HOMES), tmp_path / "a.db")
    assert not again.sleep(**ANA).notes
    assert set(facts(again)) == {"Anna's flat is in Rome."}


def test_a_night_costs_calls_for_what_is_new(open_memory, clock):
    llm = llm_of(HOMES)
    memory = open_memory(llm)
    for part in range(4):
        memory.add([f"We walked {n} miles and part {part} was long." for n in range(20)], session=f"s{part}", **ANA)
        before = len(llm.model.asked)
        memory.sleep(**ANA)
        assert len(llm.model.asked) - before <= 3
        clock[0] += timedelta(days=1)


def test_a_cause_that_the_words_name_is_tied_to_the_turn_that_told_of_it(open_memory):
    def reply(messages, schema):
        if schema["title"] != "relations":
            return {"items": []}
        told = json.loads(messages[-1].content)["statements"]
        of = {one["said"]: one["id"] for one in told}
        flood, move = of["There was a flood in our street."], of["I moved to Oslo because of the flood."]
        return {"items": [{"cause": flood, "effect": move}, {"cause": move, "effect": flood}]}

    memory = open_memory(llm_of(reply))
    memory.add("There was a flood in our street.", speaker="Anna", at="2024-01-01", session="a", **ANA)
    memory.add("I moved to Oslo because of the flood.", speaker="Anna", at="2024-02-01", session="b", **ANA)
    memory.sleep(**ANA)
    [flood, move, *_] = memory.list(kinds=["episode"], **ANA)
    ties = memory.store.view(flood.scope).links([flood.id], ("causes",))
    assert [(tie.source, tie.target) for tie in ties] == [(flood.id, move.id)]
    assert "after its effect" in memory.log(rejected=True, **ANA)[0].rejected.reason


@pytest.mark.parametrize("trouble", TROUBLEMAKERS)
def test_a_troublesome_model_leaves_what_rules_make_as_it_is(trouble, open_memory):
    stream = FactStream(seed=1, sessions=4, half="tuning")
    plain, troubled = open_memory(), open_memory(LLM(TROUBLEMAKERS[trouble](), wait=lambda seconds: None))
    for memory in (plain, troubled):
        memory.add(stream.items(), **ANA)
        memory.sleep(**ANA)

    def made(memory):
        records = memory.store.view(memory.scopes()[0][0]).select(Want(retired=True))
        return {(r.kind, r.text, r.at, r.until, r.retired_why) for r in records if r.kind in ("episode", "fact")}

    assert made(troubled) == made(plain)


def test_the_truth_ends_every_old_value_of_a_generated_dialogue(open_memory):
    stream = FactStream(seed=2, sessions=8, half="held-out", causes=0.5)
    memory = open_memory(LLM(oracle(stream), wait=lambda seconds: None))
    memory.add(stream.items(), **ANA)
    memory.sleep(**ANA)
    current = [fact for fact in facts(memory).values() if fact.until is None]
    slots = [(fact.attrs["subject"], fact.attrs["attribute"]) for fact in current]
    known = {turn.value for turn in stream.turns if turn.label in ("states", "changes")}
    latest = {stream.values(t.person, t.attribute)[-1][1] for t in stream.turns if t.label == "states"}
    assert len(set(slots)) / len(slots) > 0.9
    held = {fact.attrs["value"] for fact in current} & known
    assert len(held & latest) / len(held) > 0.9
    assert memory.store.view(memory.scopes()[0][0]).links([e.id for e in memory.list(limit=None, **ANA)], ("causes",))
