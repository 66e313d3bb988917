"""MemOS: nodes kept up to date and never deleted, three routes, topics, tiers, a working set, with a model or none."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest

from replying import Replying
from slowwave import Memory
from slowwave.errors import InputError
from slowwave.models.fakes import NAMES, TROUBLEMAKERS
from slowwave.models.llm import LLM
from slowwave.ops.lifecycle import move, status_of
from slowwave.records import Item, Scope
from slowwave.store.base import Operation
from slowwave.store.ids import new_id
from slowwave.text.memos import MemOS

ANA = {"user_id": "ana"}
START = datetime(2024, 1, 1, 9, tzinfo=UTC)


@pytest.fixture
def clock():
    return [START]


@pytest.fixture
def make(clock):
    """Opens memories of MemOS whose clock stands still until it is moved."""
    opened = []

    def open_(system=None, **options):
        options = {"embedder": "fake", "system": system or MemOS(), "clock": lambda: clock[0], **options}
        opened.append(Memory(":memory:", durable=False, **options))
        return opened[-1]

    yield open_
    for memory in opened:
        memory.close()


def tell(memory, clock, *lines, day=0, speaker="Ana", sleep=True):
    """A session on some day, and the night after it."""
    clock[0] = START + timedelta(days=day)
    turns = [
        Item(line, speaker=speaker, at=clock[0] + timedelta(minutes=n), session=f"day{day}")
        for n, line in enumerate(lines)
    ]
    memory.add(turns, **ANA)
    clock[0] += timedelta(hours=12)
    return memory.sleep(**ANA) if sleep else None


def nodes(memory, retired=False):
    return memory.list(kinds=["fact"], retired=retired, limit=None, **ANA)


def texts(found):
    return [one.text for one in found]


# -- life


def test_a_newer_value_takes_effect_and_the_older_is_archived_not_deleted(make, clock):
    memory = make()
    tell(memory, clock, "I live in Rome.")
    tell(memory, clock, "I moved to Oslo.", day=10)
    assert texts(nodes(memory)) == ["Ana's home is Oslo"]
    old = next(e for e in nodes(memory, retired=True) if "Rome" in e.text)
    assert (status_of(old), old.until) == ("archived", START + timedelta(days=10))
    assert memory.get(old.id, **ANA).text == "Ana's home is Rome"
    assert "Rome" not in memory.search("Where does Ana live?", threshold=0, **ANA)[0].text


@pytest.mark.parametrize("query", ["Where does Ana live?", "Where did Ana live before?", "Rome", "Ana's home is Rome"])
def test_what_is_archived_is_never_returned_whatever_is_asked(make, clock, query):
    memory = make()
    tell(memory, clock, "I live in Rome.")
    tell(memory, clock, "I moved to Oslo.", day=10)
    archived = {e.id for e in nodes(memory, retired=True) if status_of(e) == "archived"}
    assert archived
    for more in ({}, {"kinds": ["fact"]}, {"at": START + timedelta(days=5)}, {"filters": {"subject": "Ana"}}):
        found = memory.search(query, threshold=0, top_k=50, **more, **ANA)
        assert archived.isdisjoint(hit.id for hit in found)


def test_what_is_archived_can_be_restored_and_is_found_again(make, clock):
    memory = make()
    tell(memory, clock, "I live in Rome.")
    tell(memory, clock, "I moved to Oslo.", day=10)
    old = next(e for e in nodes(memory, retired=True) if status_of(e) == "archived")
    change = move(old, "activated", clock[0], "it holds again")
    applied = memory.store.apply(Operation(new_id(), "restore", Scope(**ANA), clock[0]), [change], {})
    assert not applied.refused
    found = memory.search("Ana's home is Rome", kinds=["fact"], threshold=0, **ANA)
    assert found[0].id == old.id
    assert found[0].engram.until is None


def test_the_episode_that_says_nothing_else_ends_with_its_node_and_the_past_still_finds_it(make, clock):
    memory = make()
    tell(memory, clock, "Just so you know, I live in Rome.", "I live in Rome.")
    tell(memory, clock, "I moved to Oslo.", day=10)
    said = [e for e in memory.list(kinds=["episode"], **ANA) if "Rome" in e.text]
    assert said
    assert all(e.until == START + timedelta(days=10) for e in said)
    then = memory.search("Where does Ana live?", at=START + timedelta(days=5), threshold=0, **ANA)
    assert "Rome" in then[0].text


def test_an_episode_that_says_more_does_not_end(make, clock):
    memory = make()
    tell(memory, clock, "I live in Rome, where my brother Paolo runs a bakery near the old theatre.")
    tell(memory, clock, "I moved to Oslo.", day=10)
    assert next(e for e in memory.list(kinds=["episode"], **ANA) if "Paolo" in e.text).until is None


def test_what_is_said_again_makes_no_second_node(make, clock):
    memory = make()
    tell(memory, clock, "I live in Rome.", "My home is in Rome.")
    tell(memory, clock, "Rome is where I live.", "I live in Rome.", day=3)
    assert texts(nodes(memory)) == ["Ana's home is Rome"]


def test_a_late_arrival_does_not_replace_what_is_newer(make, clock):
    memory = make()
    tell(memory, clock, "I live in Oslo.", day=10)
    memory.add("I live in Rome.", at=START, speaker="Ana", **ANA)
    clock[0] += timedelta(days=1)
    memory.sleep(**ANA)
    assert [e.text for e in nodes(memory) if e.until is None] == ["Ana's home is Oslo"]
    late = next(e for e in nodes(memory) if "Rome" in e.text)
    assert late.until == START + timedelta(days=10)
    assert "Oslo" in memory.search("Where does Ana live now?", threshold=0, **ANA)[0].text


def test_a_dispute_keeps_both_until_something_decides_it(make, clock):
    memory = make()
    tell(memory, clock, "I was born in Rome.")
    tell(memory, clock, "I was born in Oslo.", day=5)
    disputed = nodes(memory)
    assert [status_of(e) for e in disputed] == ["resolving", "resolving"]
    ties = memory.store.view(Scope(**ANA)).links([e.id for e in disputed], ("contradicts",))
    assert len(ties) == 1
    tell(memory, clock, "I was born in Oslo, as I said.", day=9)
    assert [(e.attrs["value"], status_of(e)) for e in nodes(memory)] == [("Oslo", "activated")]
    assert {status_of(e) for e in nodes(memory, retired=True)} == {"activated", "archived"}


def test_a_tier_without_room_archives_what_was_used_least(make, clock):
    memory = make(MemOS(user_size=2, long_term_size=2))
    cities = ("Rome", "Oslo", "Paris", "Lima")
    names = ("Bruno", "Clara", "David", "Elena")
    tell(memory, clock, *(f"{name} lives in {city}." for name, city in zip(names[:3], cities[:3], strict=True)))
    assert len(nodes(memory)) == 2
    kept = nodes(memory)[0]
    memory.search(kept.text, kinds=["fact"], top_k=1, threshold=0, **ANA)
    tell(memory, clock, "Elena lives in Lima.", day=2)
    assert kept.id in {e.id for e in nodes(memory)}
    gone = [e for e in nodes(memory, retired=True) if e.retired]
    assert len(gone) == 2
    assert {status_of(e) for e in gone} == {"archived"}


def test_undo_of_the_night_brings_the_archived_back(make, clock):
    memory = make()
    tell(memory, clock, "I live in Rome.")
    before = {e.id: e for e in memory.list(limit=None, **ANA)}
    memory.add("I moved to Oslo.", at=START + timedelta(days=10), speaker="Ana", **ANA)
    clock[0] = START + timedelta(days=11)
    report = memory.sleep(**ANA)
    memory.undo(report.op, **ANA)
    after = {e.id: e for e in memory.list(limit=None, **ANA)}
    assert all(after[id_] == engram for id_, engram in before.items())


# -- routes


def test_each_route_finds_alone_and_says_so(make, clock):
    for route, word in (("graph", "tags"), ("vector", "meaning"), ("lexical", "words")):
        memory = make(MemOS(routes=[route]))
        tell(memory, clock, "The bakery opens at seven.", *BOATS, sleep=False)
        hits = memory.search("When does the bakery open?", threshold=0, **ANA)
        assert hits[0].text == "The bakery opens at seven.", route
        assert word in hits[0].why, route


def test_the_graph_route_asks_for_two_shared_tags_or_the_slot(make, clock):
    memory = make(MemOS(routes=["graph"]))
    both = "The bakery opens at seven every day."
    tell(memory, clock, "The bakery sells bread.", both, sleep=False)
    assert texts(memory.search("Which bakery opens early?", threshold=0, **ANA)) == [both]
    tell(memory, clock, "I moved to Oslo.", day=3)
    assert "slot" in memory.search("What is Ana's home?", kinds=["fact"], threshold=0, **ANA)[0].why


def test_an_unknown_route_is_refused():
    with pytest.raises(InputError, match="graph, vector, lexical"):
        MemOS(routes=["telepathy"])
    with pytest.raises(InputError):
        MemOS(routes=[])


def test_without_an_encoder_words_and_tags_are_left(make, clock):
    memory = make()
    tell(memory, clock, "The bakery opens at seven.")
    hits = memory.system.search(memory.store.view(Scope(**ANA)), _cue("When does the bakery open?", clock), None)
    assert hits[0].text == "The bakery opens at seven."
    assert hits.trace["degraded"] == ["dense: there is no embedder"]


def _cue(words, clock):
    from slowwave.text.base import Cue

    return Cue(words, clock[0], threshold=0.0)


# -- order


KITCHEN = [f"The kitchen recipe number {n} needs flour, butter, oven heat and sugar." for n in range(14)]
BOATS = [f"The harbour boat number {n} needs sails, rope, anchor chains and tar." for n in range(14)]


def test_topics_stand_over_every_node_of_a_cluster_and_not_over_the_first_alone(make, clock):
    memory = make(MemOS(similarity=2.0))
    tell(memory, clock, *itertools.chain.from_iterable(zip(KITCHEN, BOATS, strict=True)))
    topics = memory.list(kinds=["summary"], **ANA)
    assert sorted(e.attrs["members"] for e in topics) == [14, 14]
    assert {topic.attrs["confidence"] for topic in topics} == {0.66}
    for topic in topics:
        members = [memory.get(id_, **ANA).text for id_ in topic.sources]
        assert members in (KITCHEN, BOATS)
        ties = memory.store.view(Scope(**ANA)).links([topic.id], ("part",))
        assert {tie.source for tie in ties} == set(topic.sources)


def test_fewer_than_twenty_wait_and_a_second_time_waits_its_seconds(make, clock):
    memory = make(MemOS(similarity=2.0))
    assert "summarise" not in tell(memory, clock, *KITCHEN).counts
    state = memory.store.view(Scope(**ANA)).cursor("memos").state
    assert len(state["waiting"]) == 14
    assert tell(memory, clock, *BOATS, day=1).counts["summarise"] == 2
    state = memory.store.view(Scope(**ANA)).cursor("memos").state
    assert state["waiting"] == []


def test_the_working_set_holds_what_bears_on_what_was_said_last(make, clock):
    memory = make(MemOS(working_size=5, similarity=2.0))
    tell(memory, clock, *KITCHEN)
    tell(memory, clock, *BOATS, day=1)
    state = memory.store.view(Scope(**ANA)).cursor("memos").state
    assert len(state["working"]) == 5
    assert all("boat" in memory.get(id_, **ANA).text for id_ in state["working"])


def test_a_night_reads_what_is_new_and_asks_about_nothing_else(make, clock):
    model = Replying(lambda operation, inputs: {"items": []})
    memory = make(llm=model.llm())
    tell(memory, clock, "The bakery opens at seven.")
    tell(memory, clock, "The lake was frozen.", day=1)
    asked = [[turn["said"] for turn in inputs["turns"]] for operation, inputs in model.asked if operation == "facts"]
    assert asked == [["The bakery opens at seven."], ["The lake was frozen."]]


# -- a model


def fact(n, subject, attribute, value, words):
    return {"said_in": [str(n)], "subject": subject, "attribute": attribute, "value": value, "fact": words}


def test_a_model_s_facts_become_nodes_with_their_sources(make, clock):
    model = Replying(lambda *_: {"items": [fact(1, "Ana", "pet", "Miso", "Ana has a cat called Miso.")]})
    memory = make(llm=model.llm())
    tell(memory, clock, "Our cat Miso is asleep on the piano again.")
    (node,) = nodes(memory)
    assert node.text == "Ana has a cat called Miso."
    assert memory.get(node.sources[0], **ANA).text.startswith("Our cat")


@pytest.mark.parametrize("trouble", ["garbage", "refuses", "times-out", "invents"])
def test_a_model_that_makes_trouble_invents_nothing_and_loses_nothing(make, clock, trouble):
    llm = LLM(TROUBLEMAKERS[trouble](), wait=lambda seconds: None)
    memory = make(MemOS(similarity=2.0, insights_from=1), llm=llm)
    tell(memory, clock, "I live in Rome.", *KITCHEN, *BOATS)
    tell(memory, clock, "I moved to Oslo.", day=10)
    said = " ".join(e.text for e in memory.list(limit=None, retired=True, **ANA))
    assert not any(name in said for name in (*NAMES, "1847"))
    assert len(memory.list(kinds=["episode"], limit=None, **ANA)) == 30
    found = memory.search("Where does Ana live now?", threshold=0, **ANA)
    assert any("Oslo" in hit.text for hit in found)


@pytest.mark.parametrize("trouble", ["garbage", "refuses"])
def test_where_a_model_gives_nothing_usable_the_rules_do_it(make, clock, trouble):
    memory = make(llm=LLM(TROUBLEMAKERS[trouble](), wait=lambda seconds: None))
    tell(memory, clock, "I live in Rome.")
    report = tell(memory, clock, "I moved to Oslo.", day=10)
    assert texts(nodes(memory)) == ["Ana's home is Oslo"]
    assert memory.log(report.op, **ANA)


def topics_of(*items):
    return Replying(lambda operation, inputs: {"items": list(items) if operation == "topics" else []})


def test_a_model_parts_a_cluster_into_topics_of_four_and_more(make, clock):
    model = topics_of(
        {"name": "Butter", "summary": "What needs butter.", "members": ["1", "2", "3", "4"]},
        {"name": "Sugar", "summary": "What needs sugar.", "members": ["5", "6", "7", "8", "9"]},
        {"name": "Heat", "summary": "What needs heat.", "members": ["10", "11", "12"]},
        {"name": "Flour of Quillfeather", "summary": "It needs flour.", "members": ["12", "13", "14", "10"]},
    )
    memory = make(MemOS(similarity=2.0, least_nodes=14), llm=model.llm())
    report = tell(memory, clock, *KITCHEN)
    topics = memory.list(kinds=["summary"], **ANA)
    assert sorted((e.attrs["topic"], e.attrs["members"]) for e in topics) == [("Butter", 4), ("Sugar", 5)]
    assert report.counts["summarise"] == 2


def test_where_a_model_makes_no_usable_topic_there_is_one_by_its_words(make, clock):
    memory = make(MemOS(similarity=2.0, least_nodes=14), llm=topics_of().llm())
    tell(memory, clock, *KITCHEN)
    (topic,) = memory.list(kinds=["summary"], **ANA)
    assert topic.attrs["members"] == 14
    assert len(topic.sources) == 14


@pytest.mark.parametrize(
    ("said", "notes"),
    [("Every recipe needs butter.", 1), ("-", 0), ("Quillfeather bakes on 14 July 1789.", 0)],
)
def test_an_insight_is_drawn_once_from_enough_nodes_and_only_if_it_is_grounded(make, clock, said, notes):
    lines = [f"Recipe {n} needs butter, flour and sugar." for n in range(12)]

    def reply(operation, inputs):
        if operation == "facts":
            told = [turn["said"] for turn in inputs["turns"]]
            return {"items": [fact(n, "", "", "", line) for n, line in enumerate(told, 1)]}
        return {"insight": said} if operation == "insight" else {"items": []}

    model = Replying(lambda operation, inputs: _named(reply(operation, inputs)))
    memory = make(MemOS(similarity=2.0, insights_from=10), llm=model.llm())
    tell(memory, clock, *lines)
    found = memory.list(kinds=["note"], **ANA)
    assert texts(found) == [said] * notes
    assert [operation for operation, _ in model.asked].count("insight") == 1
    tell(memory, clock, "One more thing about the harbour.", day=1)
    assert [operation for operation, _ in model.asked].count("insight") == 1


def _named(value):
    for item in value.get("items", []):
        if "said_in" in item:
            item |= {"subject": " ".join(item["fact"].split()[:2]), "attribute": "need", "value": "butter"}
    return value


def test_a_night_whose_model_is_spent_goes_on_where_it_stopped(make, clock):
    model = Replying(lambda operation, inputs: {"items": []})
    memory = make(llm=model.llm(max_calls=1))
    clock[0] = START
    for session in range(3):
        memory.add(f"The bakery of village {session} opens.", speaker="Ana", session=f"s{session}", **ANA)
    report = memory.sleep(**ANA)
    assert any("wait for the next night" in note for note in report.notes)
    memory.llm = model.llm()
    memory.sleep(**ANA)
    asked = [inputs["turns"][0]["said"] for operation, inputs in model.asked if operation == "facts"]
    assert asked == [f"The bakery of village {session} opens." for session in range(3)]
