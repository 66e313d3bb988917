"""THEANINE: timelines hold the old and the new with their dates, causes are tied, nothing later leaks or is lost."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from replying import Replying
from slowwave import Memory
from slowwave.models.fakes import TROUBLEMAKERS
from slowwave.models.llm import LLM
from slowwave.ops.packing import estimate_tokens
from slowwave.text.theanine import Theanine

ANA: Any = {"user_id": "ana"}
Open = Callable[..., Memory]
HOMES = ("I live in Rome.", "I moved to Oslo because of the flood.", "I moved to Bern.")
ASKED = "Where is Ana's home?"


@pytest.fixture
def open_(open_memory: Open) -> Open:
    def opened(**options: Any) -> Memory:
        return open_memory(":memory:", system=Theanine(**options.pop("system", {})), **options)

    return opened


def lived(memory: Memory, *lines: str, year: int = 2022, night_each: bool = True) -> Memory:
    for month, line in enumerate(lines):
        at = f"{year + month // 12}-{month % 12 + 1:02}-01"
        memory.add(line, at=at, session=f"s{month}", speaker="Ana", **ANA)
        if night_each or month + 1 == len(lines):
            memory.sleep(**ANA)
    return memory


def told(memory: Memory, query: str = ASKED, **options: Any) -> list[str]:
    """The lines of a context without its opening and without ids."""
    text = memory.context(query, **options, **ANA).text
    return [re.sub(r" \([0-9A-Z]{26}(, [0-9A-Z]{26})*\)", "", row) for row in text.splitlines()[1:]]


@pytest.mark.parametrize("night_each", [True, False])
def test_a_question_is_answered_by_the_whole_line_of_values_with_their_dates(open_: Open, night_each: bool) -> None:
    memory = lived(open_(), *HOMES, night_each=night_each)
    assert told(memory) == [
        "[2022-01-01 to 2022-02-01] (fact) Ana's home is Rome",
        "  changed to: [2022-02-01 to 2022-03-01] (fact) Ana's home is Oslo because of the flood",
        "  changed to: [2022-03-01] (fact) Ana's home is Bern",
    ]


def test_a_search_gives_what_the_nearest_changed_to_before_it(open_: Open) -> None:
    memory = lived(open_(), *HOMES)
    hits = memory.search("Does Ana live in Rome?", top_k=3, **ANA)
    assert [hit.engram.attrs["value"] for hit in hits] == ["Bern", "Oslo", "Rome"]
    assert "on the timeline of" in hits[0].why
    then = memory.search(ASKED, at="2022-02-15", **ANA)
    assert [hit.engram.attrs["value"] for hit in then] == ["Oslo"]


def test_nothing_is_deleted_and_nothing_but_a_change_ends_anything(open_: Open) -> None:
    memory = lived(open_(), *HOMES, "I have a dog named Rex.", "I have a cat named Miso.")
    facts = memory.list(kinds=["fact"], retired=True, **ANA)
    assert len(facts) == 5
    assert [fact.retired for fact in facts] == [None] * 5
    assert {fact.attrs["value"] for fact in facts if fact.until is not None} == {"Rome", "Oslo"}


def test_a_stated_cause_is_tied_to_the_event_it_speaks_of_however_long_ago(open_: Open) -> None:
    between = [f"I read book number {n} by the sea." for n in range(9)]
    memory = lived(open_(), "I live in Rome.", "We had a flood in the cellar.", *between, HOMES[1])
    rows = told(memory, "Why does Ana no longer live in Rome?")
    assert rows[:4] == [
        "[2022-01-01 to 2022-12-01] (fact) Ana's home is Rome",
        "  changed to: [2022-12-01] (fact) Ana's home is Oslo because of the flood",
        "[2022-02-01] (fact) Ana: We had a flood in the cellar.",
        "  so: [2022-12-01] (fact) as above",
    ]


def test_a_repeat_is_a_second_voice_unless_it_gives_a_reason_of_its_own(open_: Open) -> None:
    memory = lived(open_(), "I live in Rome.", "My home is in Rome.", "I live in Rome because of the opera.")
    facts = [fact.text for fact in memory.list(kinds=["fact"], **ANA)]
    assert facts == ["Ana's home is Rome", "Ana's home is Rome because of the opera"]


def test_what_was_said_after_the_moment_of_asking_is_on_no_timeline(open_: Open) -> None:
    memory = lived(open_(), *HOMES)
    assert [row for row in told(memory, now="2022-02-15") if "Bern" in row] == []
    assert all("Bern" not in hit.text for hit in memory.search(ASKED, now="2022-02-15", **ANA))


def test_more_than_nine_sessions_make_one_line(open_: Open) -> None:
    cities = "Rome Oslo Bern Kyiv Riga Lyon Bath York Cork Porto Basel Graz Split Turin".split()  # noqa: SIM905
    memory = lived(open_(system={"length": 20}), *(f"I moved to {city}." for city in cities))
    rows = told(memory, max_tokens=3000)
    assert [city for row in rows for city in cities if city in row] == cities


def test_a_small_budget_keeps_the_latest_and_drops_the_earliest(open_: Open) -> None:
    memory = lived(open_(), *HOMES)
    made = memory.context(ASKED, max_tokens=60, **ANA)
    assert estimate_tokens(made.text) <= 60
    assert "Bern" in made.text
    assert "Rome" not in made.text


def test_an_import_of_earlier_days_takes_its_place_on_the_line(open_: Open) -> None:
    memory = lived(open_(), "I moved to Bern.", year=2022)
    memory.add("I live in Rome.", at="2021-05-01", session="old", speaker="Ana", **ANA)
    memory.sleep(**ANA)
    assert told(memory) == [
        "[2021-05-01 to 2022-01-01] (fact) Ana's home is Rome",
        "  changed to: [2022-01-01] (fact) Ana's home is Bern",
    ]


def test_room_that_is_left_goes_to_the_next_nearest(open_: Open) -> None:
    memory = lived(open_(system={"seeds": 1}), *HOMES, "I have a dog named Rex.")
    rows = told(memory)
    assert rows[3:] == ["Also remembered:", "[2022-04-01] (fact) Ana's dog is Rex"]


def retelling(words: str) -> Callable[[str, dict[str, Any]], Any]:
    return lambda operation, inputs: {"told": words} if operation == "timeline" else "I do not know."


@pytest.mark.parametrize(
    ("words", "taken"),
    [
        ("Ana's home was Rome until 1 February 2022, then Oslo because of the flood, and is Bern now.", True),
        ("Ana's home was Rome, then Oslo.", False),
        ("Ana's home was Rome, then Oslo, then Bern, then Paris.", False),
        ("", False),
    ],
)
def test_a_model_retells_a_timeline_where_it_drops_no_value_and_adds_nothing(
    open_: Open, words: str, taken: bool
) -> None:
    llm = Replying(retelling(words)).llm()
    memory = lived(open_(llm=llm, system={"seeds": 1}), *HOMES)
    rows = told(memory, ask=True)
    if taken:
        assert rows == [f"[2022-01-01 to 2022-03-01] {words}"]
    else:
        assert len(rows) == 3
    assert "changed to" in told(memory)[1], "nobody is asked unless the reader says so"


@pytest.mark.parametrize("trouble", ["garbage", "refuses"])
def test_a_model_that_cannot_answer_leaves_the_ties_that_the_rules_make(open_: Open, trouble: str) -> None:
    lines = (*HOMES, "I have a cold.", "I got over my cold.")
    memory = lived(open_(llm=LLM(TROUBLEMAKERS[trouble](), wait=lambda seconds: None)), *lines)
    assert told(memory) == told(lived(open_(), *lines))
