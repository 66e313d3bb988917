"""HippoMM's text port: events by topic, repeats that leave, gist before detail, windows, and a margin that decides."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from replying import Replying
from slowwave import Memory
from slowwave.models import resolve_embedder
from slowwave.models.base import Embedder
from slowwave.text.hippomm import HippoMM

ANA: Any = {"user_id": "ana"}
START = datetime(2024, 3, 1, 9, tzinfo=UTC)
Clock = list[datetime]
CAT = (
    "I adopted a cat from the shelter.", "Oh, what is the cat called?", "The cat is called Miso.",
    "Does the cat sleep in your bed?", "The cat sleeps on the piano.", "Cats love warm places.",
)  # fmt: skip
BOAT = (
    "We are building a wooden sailing boat.", "How long is the boat?", "The boat is nine metres long.",
    "Which wood is the hull of the boat made of?", "The hull is larch, the mast is spruce.", "When does the boat sail?",
    "We launch the boat in the harbour of Split in May.",
)  # fmt: skip


@pytest.fixture(scope="module")
def minilm() -> Embedder:
    return resolve_embedder("minilm")


@pytest.fixture
def clock() -> Clock:
    return [START]


@pytest.fixture
def memory(clock: Clock, minilm: Embedder) -> Iterator[Memory]:
    with Memory(":memory:", system=HippoMM(), embedder=minilm, clock=lambda: clock[0]) as memory:
        yield memory


def tell(memory: Memory, clock: Clock, *lines: str, day: float = 0, session: str = "s") -> None:
    for n, line in enumerate(lines):
        speaker = ("Ana", "Ben")[n % 2]
        memory.add(line, at=START + timedelta(days=day, minutes=n), session=session, speaker=speaker, **ANA)
    clock[0] = START + timedelta(days=day, hours=9)


def events(memory: Memory, **more: Any) -> list[Any]:
    return memory.list(kinds=["event"], limit=None, **more, **ANA)


def test_a_session_of_two_topics_becomes_an_event_a_topic(memory: Memory, clock: Clock) -> None:
    tell(memory, clock, *CAT, *BOAT)
    memory.sleep(**ANA)
    found = events(memory)
    said = {e.id: e.text for e in memory.list(kinds=["episode"], limit=None, **ANA)}
    parts = [[said[id_] for id_ in event.sources] for event in found]
    assert len(found) >= 2, "every segment is an event of its own"
    assert not [part for part in parts if set(CAT[:4]) & set(part) and set(BOAT[1:]) & set(part)]
    assert all(event.attrs["last_at"] >= event.at.isoformat() for event in found)
    ties = memory.store.view(found[0].scope).links([found[0].id], ("part",))
    assert {tie.source for tie in ties} == set(found[0].sources)


def test_a_segment_never_outgrows_the_short_term_buffer(clock: Clock) -> None:
    for cut in ("topic", "speaker", "session"):
        system = HippoMM(cut=cut, short_term=4)
        with Memory(":memory:", system=system, embedder="fake", clock=lambda: clock[0]) as memory:
            tell(memory, clock, *(f"heron {n} of the lake" for n in range(11)))
            memory.sleep(**ANA)
            assert all(2 <= len(event.sources) <= 4 for event in events(memory))
            assert (len(events(memory)) == 0) is (cut == "speaker"), "turns of one speaker each make no event"


def test_what_is_said_again_leaves_the_view_and_another_value_does_not(memory: Memory, clock: Clock) -> None:
    tell(memory, clock, "My sister's name is Clara.", session="a")
    tell(memory, clock, "My sister's name is Clara.", day=7, session="b")
    tell(memory, clock, "My favourite colour is red.", day=8, session="c")
    tell(memory, clock, "My favourite colour is blue.", day=9, session="d")
    night = memory.sleep(**ANA)
    assert night.counts["merge"] == 1
    left = sorted(e.text for e in memory.list(kinds=["episode"], **ANA))
    assert left == ["My favourite colour is blue.", "My favourite colour is red.", "My sister's name is Clara."]
    memory.undo(night.op, **ANA)
    assert len(memory.list(kinds=["episode"], **ANA)) == 4


def test_an_overview_is_answered_by_gists_and_a_detail_by_turns(memory: Memory, clock: Clock) -> None:
    tell(memory, clock, *CAT, *BOAT)
    tell(memory, clock, *(f"Chore number {n}: the laundry." for n in range(12)), day=9, session="t")
    memory.sleep(**ANA)
    overview = memory.search("What did we talk about when we spoke of the boat?", explain=True, **ANA)
    assert overview.trace["route"] == "gist"
    assert overview[0].engram.kind == "event"
    assert "boat" in overview[0].text
    detail = memory.search("How long is the boat?", **ANA)
    assert detail.trace["route"] == "detail"
    assert detail[0].engram.kind == "episode"
    assert "The boat is nine metres long." in [hit.text for hit in detail][:3]


def test_the_margin_decides_whether_gists_stand_alone(clock: Clock, minilm: Embedder) -> None:
    for margin, alone in ((0.0, True), (2.0, False)):
        system = HippoMM(margin=margin)
        with Memory(":memory:", system=system, embedder=minilm, clock=lambda: clock[0]) as memory:
            tell(memory, clock, *CAT, *BOAT)
            memory.sleep(**ANA)
            hits = memory.search("Give me an overview of the boat.", top_k=20, threshold=0, **ANA)
            assert hits[0].engram.kind == "event"
            assert ({hit.engram.kind for hit in hits} == {"event"}) is alone


def test_an_answer_comes_with_the_turn_it_answers(clock: Clock) -> None:
    lines = ("Where is the spare key of the cottage?", "Under pot three.", "Hm.", "A spare tyre.", "The cottage, yes.")
    places = []
    for window in (0, 1):
        with Memory(":memory:", system=HippoMM(window=window), embedder="fake", clock=lambda: clock[0]) as memory:
            tell(memory, clock, *lines)
            found = [hit.text for hit in memory.search("spare key of the cottage", top_k=5, threshold=0, **ANA)]
            places.append(found.index("Under pot three."))
    assert places[0] > 2
    assert places[1] == 1


def test_a_time_in_the_question_brings_what_was_said_then(memory: Memory, clock: Clock) -> None:
    tell(memory, clock, "The roof leaks.", "Call the roofer.", session="a")
    tell(memory, clock, "The roof is dry.", "The roofer was here.", day=40, session="b")
    memory.sleep(**ANA)
    hits = memory.search("What about the roof in April 2024?", top_k=2, now=START + timedelta(days=60), **ANA)
    assert {hit.text for hit in hits} & {"The roof is dry.", "The roofer was here."}
    assert hits[0].engram.session == "b"


def test_beyond_the_long_term_capacity_the_oldest_gists_are_archived_and_their_turns_stay(clock: Clock) -> None:
    system = HippoMM(long_term=2, cut="session")
    with Memory(":memory:", system=system, embedder="fake", clock=lambda: clock[0]) as memory:
        for day in range(4):
            tell(memory, clock, f"walk {day} began", f"walk {day} ended", day=day, session=f"s{day}")
            memory.sleep(**ANA)
        assert [event.session for event in events(memory)] == ["s2", "s3"]
        gone = [event for event in events(memory, retired=True) if event.retired is not None]
        assert {event.retired_why for event in gone} == {"archived"}
        assert len(memory.list(kinds=["episode"], **ANA)) == 8


def test_a_second_night_without_news_changes_nothing(memory: Memory, clock: Clock) -> None:
    tell(memory, clock, *CAT, *CAT[:3])
    memory.sleep(**ANA)
    assert memory.sleep(**ANA).op is None


def test_a_models_gist_is_taken_if_it_stands_on_the_turns_and_a_spent_budget_waits(clock: Clock) -> None:
    def gist(operation: str, inputs: dict[str, Any]) -> Any:
        said = inputs["turns"][0]["said"]
        return {"summary": "They spoke of the heron at the lake." if "heron" in said else "Zorblax paid 4242 crowns."}

    model = Replying(gist)
    llm = model.llm(max_calls=1)
    with Memory(":memory:", system=HippoMM(cut="session"), embedder="fake", llm=llm, clock=lambda: clock[0]) as memory:
        tell(memory, clock, "We saw a heron at the lake.", "The heron caught a fish.", session="a")
        tell(memory, clock, "The bakery opens at seven.", "They sell rye bread.", day=1, session="b")
        assert any("2 turns wait" in note for note in memory.sleep(**ANA).notes)
        assert [event.text for event in events(memory)] == ["They spoke of the heron at the lake."]
        for _ in range(2):
            llm.renew()
            memory.sleep(**ANA)
        assert len(events(memory)) == 2
        assert all("Zorblax" not in event.text for event in events(memory))
        assert "bakery" in events(memory)[1].text, "where the model invents, the turns speak for themselves"


def test_a_reader_may_let_the_model_choose_the_way(clock: Clock) -> None:
    model = Replying(lambda operation, inputs: {"route": "gist"} if operation == "route" else None)
    llm = model.llm(retries=0)
    with Memory(":memory:", system=HippoMM(cut="session"), embedder="fake", llm=llm, clock=lambda: clock[0]) as memory:
        tell(memory, clock, *CAT)
        memory.sleep(**ANA)
        assert memory.search("Where is the cat?", threshold=0, **ANA).trace["route"] == "detail"
        assert memory.search("Where is the cat?", threshold=0, ask=True, **ANA).trace["route"] == "gist"
