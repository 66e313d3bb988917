"""A-MEM: notes by night, links used in search, rewritten notes as versions; the original's pitfalls shown absent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from replying import Replying
from slowwave import Memory
from slowwave.models import FakeEmbedder
from slowwave.models.fakes import NAMES, TROUBLEMAKERS
from slowwave.models.llm import LLM
from slowwave.ops.evolution import is_note
from slowwave.records import Engram
from slowwave.text.a_mem import AMem

ANA: Any = {"user_id": "ana"}
Open = Callable[..., Memory]
FIRST = ("The rowing club meets at the lake.", "Clara plays the cello in church.", "I like green tea.")
LATER = ("The rowing club at the lake won a cup.", "Is the boat old?", "Yes, very!")


@pytest.fixture
def open_(open_memory: Open) -> Open:
    def opened(**options: Any) -> Memory:
        wide = FakeEmbedder(2048)  # so wide that no two words fall together
        return open_memory(":memory:", embedder=wide, system=AMem(**options.pop("system", {})), **options)

    return opened


def lived(memory: Memory, nights: int = 2) -> Memory:
    for number, lines in enumerate((FIRST, LATER)):
        memory.add(list(lines), session=f"s{number}", speaker="Ana", at=f"2024-01-0{number + 1}", **ANA)
        if number < nights:
            memory.sleep(**ANA)
    return memory


def notes(memory: Memory, retired: bool = False) -> dict[str, Engram]:
    """The notes, by the words of the turn that each is on."""
    found = [e for e in memory.list(limit=None, kinds=["note"], retired=retired, **ANA) if is_note(e)]
    return {memory.get(note.sources[0], **ANA).text: note for note in found}


def turn(memory: Memory, text: str) -> Engram:
    return next(e for e in memory.list(limit=None, kinds=["episode"], **ANA) if e.text == text)


def test_every_turn_with_something_to_say_gets_a_note(open_: Open) -> None:
    memory = lived(open_())
    made = notes(memory)
    assert set(made) >= {FIRST[0], FIRST[1], FIRST[2], LATER[0]}
    assert "rowing club" in made[FIRST[0]].attrs["keywords"]
    assert made[FIRST[0]].text.startswith(FIRST[0])
    assert made[LATER[2]].attrs["context"], "a short answer is found by what was asked"


def test_adding_calls_the_annotator_at_night(open_: Open) -> None:
    """In the original library, adding a note never called its annotator."""
    model = Replying(lambda operation, inputs: "")
    memory = lived(open_(llm=model.llm(retries=0)))
    assert {operation for operation, _ in model.asked} >= {"annotations", "evolution"}
    assert notes(memory), "rules stand in for a model that fails"


def test_links_lead_a_search_to_turns_that_it_would_not_find(open_: Open) -> None:
    """In the original library, links were stored and never used."""
    memory = lived(open_(system={"tie": 0.0}))
    asked = "Who won a cup?"

    def places(reach: float) -> list[str]:
        memory.system = AMem(reach=reach, retrieve_k=1)
        return [hit.text for hit in memory.search(asked, top_k=9, threshold=0, **ANA)]

    plain, linked = places(0.0), places(1.0)
    assert plain[0] == linked[0] == LATER[0]
    assert linked.index(FIRST[0]) < plain.index(FIRST[0])
    tied = memory.store.view(turn(memory, LATER[0]).scope).links([turn(memory, LATER[0]).id], ("similar",))
    assert {link.target for link in tied if link.target != turn(memory, LATER[0]).id} <= {
        turn(memory, text).id for text in FIRST
    }


def updating(operation: str, inputs: dict[str, Any]) -> Any:
    """A model that annotates nothing and rewrites the neighbour that speaks of rowing."""
    if operation == "annotations":
        return {"items": []}
    updates = [
        {"id": other["id"], "context": "The rowing club at the lake won a cup.", "tags": ["success"]}
        for other in inputs["neighbours"]
        if "rowing" in other["said"] and "cup" in inputs["note"]["said"]
    ]
    return {"links": [item["id"] for item in updates], "tags": [], "updates": updates}


def test_a_rewritten_note_is_the_neighbour_s_by_id_and_supersedes_the_old_version(open_: Open) -> None:
    """The original took ranks for ids, so that the first notes ever stored were edited instead."""
    memory = open_(llm=Replying(updating).llm())
    memory.add(["I like green tea.", *["Bread is cheap."] * 3], session="old", speaker="Ana", **ANA)
    lived(memory, nights=1)
    before = notes(memory)
    memory.sleep(**ANA)
    after = notes(memory)
    changed = {text for text in before if after[text].id != before[text].id}
    assert changed == {FIRST[0]}
    new, old = after[FIRST[0]], memory.get(before[FIRST[0]].id, **ANA)
    assert new.attrs["context"] == "The rowing club at the lake won a cup."
    assert new.attrs["version"] == old.attrs["version"] + 1
    assert old.retired is not None
    assert old.retired_why == "rewritten"
    assert turn(memory, LATER[0]).id in new.sources, "whoever had a part in the words is named"
    links = memory.store.view(new.scope).links([new.id], ("supersedes",))
    assert [(link.source, link.target) for link in links] == [(new.id, old.id)]


def test_a_rewritten_note_is_embedded_at_once_and_a_rebuilt_index_is_the_same(open_: Open) -> None:
    """In the original, vectors went stale until a re-index, which then embedded something else."""
    memory = open_(llm=Replying(updating).llm())
    lived(memory)
    new = notes(memory)[FIRST[0]]
    view = memory.store.view(new.scope)
    n = view.numbers([new.id])[new.id]
    stored = view.vectors([n])[n]
    assert stored @ memory.system.embed([new], memory.embedder)[0] > 0.99
    memory.rebuild()
    assert view.vectors([n])[n] == pytest.approx(stored, abs=1e-6)


def test_by_rule_notes_that_are_near_share_their_tags(open_: Open) -> None:
    memory = open_(system={"kin": 0.05, "tie": 0.05})
    memory.add("I live in Oslo by the lake.", session="a", speaker="Ana", **ANA)
    memory.sleep(**ANA)
    memory.add("The lake in Oslo froze, said Clara.", session="b", speaker="Ana", **ANA)
    memory.sleep(**ANA)
    first = notes(memory)["I live in Oslo by the lake."]
    assert "Clara" in first.attrs["tags"]
    still = open_(system={"kin": 0.05, "evolving": False})
    still.add("I live in Oslo by the lake.", session="a", speaker="Ana", **ANA)
    still.sleep(**ANA)
    still.add("The lake in Oslo froze, said Clara.", session="b", speaker="Ana", **ANA)
    still.sleep(**ANA)
    assert "Clara" not in notes(still)["I live in Oslo by the lake."].attrs["tags"]


def test_undoing_a_night_brings_the_old_versions_back(open_: Open) -> None:
    memory = lived(open_(llm=Replying(updating).llm()), nights=1)
    before = {text: note.id for text, note in notes(memory).items()}
    report = memory.sleep(**ANA)
    assert {text: note.id for text, note in notes(memory).items()} != before
    memory.undo(report.op, **ANA)
    assert {text: note.id for text, note in notes(memory).items()} == before
    tied = memory.store.view(turn(memory, LATER[0]).scope).links([turn(memory, LATER[0]).id])
    assert not tied


def test_a_search_gives_each_turn_once_and_no_note(open_: Open) -> None:
    memory = lived(open_())
    hits = memory.search("rowing club at the lake", top_k=50, threshold=0, **ANA)
    assert sorted(hit.text for hit in hits) == sorted([*FIRST, *LATER])
    assert {hit.engram.kind for hit in hits} == {"episode"}
    assert {hit.engram.kind for hit in memory.search("rowing", kinds=["note"], threshold=0, **ANA)} == {"note"}


def test_a_forgotten_turn_is_not_shown_through_its_note(open_: Open) -> None:
    memory = lived(open_())
    memory.forget(turn(memory, FIRST[1]).id, **ANA)
    assert all("cello" not in hit.text for hit in memory.search("Who plays the cello?", threshold=0, **ANA))


def test_a_note_goes_with_any_turn_that_had_a_part_in_it(open_: Open) -> None:
    memory = lived(open_())
    erased = turn(memory, FIRST[1])
    memory.erase(erased.id, **ANA)
    assert all("cello" not in e.text for e in memory.list(limit=None, retired=True, **ANA))
    assert memory.search("rowing club", threshold=0, **ANA)[0].text in (FIRST[0], LATER[0])


def test_looking_again_makes_no_second_note(open_: Open) -> None:
    memory = lived(open_())
    before = {note.id for note in notes(memory, retired=True).values()}
    memory.sleep(since="2000-01-01", **ANA)
    assert {note.id for note in notes(memory, retired=True).values()} == before


def test_where_the_model_is_exhausted_the_next_night_goes_on(open_: Open) -> None:
    model = Replying(lambda operation, inputs: "")
    memory = open_(llm=model.llm(retries=0, max_calls=1))
    lived(memory, nights=0)
    memory.sleep(**ANA)
    assert set(notes(memory)) == set(FIRST)
    assert memory.search("Who won a cup?", threshold=0, **ANA)[0].text == LATER[0], "what waits is found all the same"
    memory.llm = None
    memory.sleep(**ANA)
    assert set(notes(memory)) >= {*FIRST, LATER[0]}


def test_a_question_is_asked_as_keywords_where_reading_may_ask(open_: Open) -> None:
    model = Replying(lambda operation, inputs: {"keywords": "cello"} if operation == "keywords" else "")
    memory = lived(open_(llm=model.llm(retries=0)))
    hits = memory.search("What does she play on Sundays?", ask=True, threshold=0, **ANA)
    assert hits[0].text == FIRST[1]
    model.asked.clear()
    memory.search("What does she play on Sundays?", threshold=0, **ANA)
    assert not model.asked


@pytest.mark.parametrize("trouble", TROUBLEMAKERS)
def test_no_model_s_trouble_loses_or_invents_anything(open_: Open, trouble: str) -> None:
    memory = lived(open_(llm=LLM(TROUBLEMAKERS[trouble](), retries=0, wait=lambda seconds: None)))
    kept = {e.text for e in memory.list(limit=None, kinds=["episode"], **ANA)}
    assert kept == {*FIRST, *LATER}
    assert memory.search("Who plays the cello?", threshold=0, **ANA)[0].text == FIRST[1]
    for note in memory.list(limit=None, kinds=["note"], retired=True, **ANA):
        assert note.sources
        assert not any(name in note.text for name in NAMES)
