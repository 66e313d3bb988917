"""Structural Memory: forms of talk side by side, searched again with a thought; no fact fills the context twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from replying import Replying
from slowwave import Memory
from slowwave.errors import InputError
from slowwave.models import FakeEmbedder
from slowwave.models.fakes import NAMES, TROUBLEMAKERS
from slowwave.models.llm import LLM
from slowwave.ops.packing import estimate_tokens
from slowwave.ops.units import FORMS
from slowwave.records import Engram
from slowwave.text.structural_memory import StructuralMemory, form_of

ANA: Any = {"user_id": "ana"}
Open = Callable[..., Memory]
SAID = {
    "rowing": ["I joined the rowing club at the lake. The water is cold.", "Clara rows with me.", "Wow!"],
    "music": ["Clara plays the cello in church.", "Her teacher is called Weber.", "Weber lives in Porto."],
    "home": ["I live in Oslo now.", "My flat has a view of the harbour.", "The rent is high."],
}


@pytest.fixture
def open_(open_memory: Open) -> Open:
    def opened(**options: Any) -> Memory:
        system = StructuralMemory(**options.pop("system", {}))
        return open_memory(":memory:", embedder=FakeEmbedder(2048), system=system, **options)

    return opened


def lived(memory: Memory, night: bool = True) -> Memory:
    for day, (name, lines) in enumerate(SAID.items(), 1):
        memory.add(lines, session=name, speaker="Ana", at=f"2024-01-{day:02}", **ANA)
    if night:
        memory.sleep(**ANA)
    return memory


def units(memory: Memory) -> list[Engram]:
    return [engram for engram in memory.list(limit=None, **ANA) if form_of(engram)]


def found(memory: Memory, asked: str, **search: Any) -> list[str]:
    return [hit.text for hit in memory.search(asked, **{"threshold": 0, "top_k": 50, **ANA, **search})]


def test_every_form_is_made_and_names_its_turns(open_: Open) -> None:
    made = units(lived(open_()))
    assert {form_of(unit) for unit in made} == set(FORMS)
    assert all(unit.sources and unit.session for unit in made)
    assert "(Ana; live in; Oslo now)" in {unit.text for unit in made}


def test_any_form_alone_leads_to_the_turns(open_: Open) -> None:
    memory = lived(open_())
    for form in FORMS:
        memory.system = StructuralMemory(forms=(form,), retrieval="single")
        assert found(memory, "Clara plays the cello in church, Weber is her teacher.")[0] in SAID["music"], form
        kinds = {hit.engram.kind for hit in memory.search("cello", threshold=0, **ANA)}
        assert kinds == {"episode"}


def test_a_turn_is_shown_once_however_many_units_point_to_it(open_: Open) -> None:
    memory = lived(open_())
    texts = found(memory, "Did Ana join the rowing club at the lake?")
    assert len(texts) == len(set(texts))
    assert texts[0] == SAID["rowing"][0]


def test_units_that_only_say_again_what_is_shown_are_left_out(open_: Open) -> None:
    memory = lived(open_(system={"answer_from": "units", "retrieval": "single"}))
    hits = memory.search("rowing club lake cold water", threshold=0, top_k=50, **ANA)
    told: set[str] = set()
    for hit in hits:
        assert set(hit.engram.sources) - told, f"{hit.text} says nothing new"
        told |= set(hit.engram.sources)
    assert all(form_of(hit.engram) for hit in hits)


def test_equal_texts_of_different_turns_do_not_collide(open_: Open) -> None:
    """In the original, units are keyed by their text."""
    memory = open_(system={"forms": ("triple",), "retrieval": "single"})
    for day in ("01", "02"):
        memory.add("I joined the rowing club.", session=day, speaker="Ana", at=f"2024-01-{day}", **ANA)
    memory.sleep(**ANA)
    assert [unit.text for unit in units(memory)] == ["(Ana; joined; rowing club)"] * 2
    assert len(found(memory, "rowing club")) == 2


def test_searching_again_finds_what_only_the_first_finds_lead_to(open_: Open) -> None:
    """What became of the teacher takes his name, which the question does not say and the first find does."""
    memory = open_(system={"forms": ("fact",), "retrieval": "single"})
    unrelated = [f"{thing} costs money." for thing in ("Bread", "Milk", "Rice", "Salt", "Fish", "Wine", "Wood", "Soap")]
    memory.add(["Clara's teacher: Gregor Weber.", *unrelated, "Weber moved away."], session="a", **ANA)
    memory.sleep(**ANA)
    asked = "What became of Clara's teacher?"
    assert found(memory, asked).index("Weber moved away.") > 1
    memory.system = StructuralMemory(forms=("fact",), retrieval="iterative")
    assert found(memory, asked).index("Weber moved away.") == 1


def test_levels_keep_what_is_like_the_thought_from_outranking_what_is_like_the_question(open_: Open) -> None:
    model = Replying(lambda operation, inputs: {"thought": "The rent is high, is the rent?"})
    memory = lived(open_(llm=model.llm()))
    asked = "Who plays the cello in church?"

    def first(levelled: bool) -> str:
        memory.system = StructuralMemory(levelled=levelled, num_turns=2)
        return found(memory, asked, ask=True)[0]

    assert first(True) == SAID["music"][0]
    assert first(False) == SAID["home"][2], "the published form: the plainly highest cosine of any search"


def test_a_model_s_thought_is_searched_with_and_never_kept(open_: Open) -> None:
    model = Replying(lambda operation, inputs: {"thought": "Zorblax and the harbour"} if operation == "thought" else "")
    memory = lived(open_(llm=model.llm(retries=0)))
    before = {engram.id for engram in memory.list(limit=None, retired=True, **ANA)}
    texts = found(memory, "cello", ask=True)
    assert "thought" in [operation for operation, _ in model.asked]
    assert SAID["home"][1] in texts
    assert {engram.id for engram in memory.list(limit=None, retired=True, **ANA)} == before
    model.asked.clear()
    found(memory, "cello")
    assert not model.asked, "who does not let it ask is not charged"


def test_a_model_reranks_by_number(open_: Open) -> None:
    def answer(operation: str, inputs: dict[str, Any]) -> Any:
        if operation != "rerank":
            return ""
        return {"ids": [turn["id"] for turn in inputs["turns"] if "harbour" in turn["said"]]}

    memory = lived(open_(system={"retrieval": "rerank", "forms": ("fact",)}, llm=Replying(answer).llm(retries=0)))
    assert found(memory, "Who plays the cello?", ask=True)[0] == SAID["home"][1]
    assert found(memory, "Who plays the cello?")[0] == SAID["music"][0]
    scores = [hit.score for hit in memory.search("Who plays the cello?", threshold=0, ask=True, **ANA)]
    assert scores == sorted(scores, reverse=True)


def test_what_no_night_has_seen_is_found_as_it_stands(open_: Open) -> None:
    memory = lived(open_(), night=False)
    assert found(memory, "Who plays the cello?")[0] == SAID["music"][0]
    memory.sleep(**ANA)
    memory.add("The harbour froze last night.", session="new", speaker="Ana", **ANA)
    assert found(memory, "When did the harbour freeze, last night?")[0] == "The harbour froze last night."


def test_what_was_told_by_hand_and_what_was_corrected_is_found(open_: Open) -> None:
    memory = lived(open_())
    memory.add("Clara owns two cellos.", kind="fact", **ANA)
    rent = next(engram for engram in memory.list(limit=None, **ANA) if engram.text == SAID["home"][2])
    memory.update(rent.id, "The rent is low.", **ANA)
    assert "Clara owns two cellos." in found(memory, "How many cellos owns Clara?")[:2]
    texts = found(memory, "The rent is high")
    assert "The rent is low." in texts
    assert SAID["home"][2] not in texts


def test_a_forgotten_turn_is_not_shown_through_its_units(open_: Open) -> None:
    for answer_from in ("sources", "units"):
        memory = lived(open_(system={"answer_from": answer_from, "forms": ("triple", "fact")}))
        cello = next(engram for engram in memory.list(limit=None, **ANA) if engram.text == SAID["music"][0])
        memory.forget(cello.id, **ANA)
        assert all("cello" not in text for text in found(memory, "Who plays the cello?"))


def test_the_context_keeps_its_budget_in_tokens(open_: Open) -> None:
    memory = lived(open_())
    for budget in (50, 120):
        made = memory.context("Who plays the cello?", max_tokens=budget, threshold=0, **ANA)
        assert estimate_tokens(made.text) <= budget
        assert made.hits


def test_looking_again_makes_no_second_units_and_undo_takes_them_away(open_: Open) -> None:
    memory = lived(open_(), night=False)
    report = memory.sleep(**ANA)
    before = {unit.id for unit in units(memory)}
    memory.sleep(since="2000-01-01", **ANA)
    assert {unit.id for unit in units(memory)} == before
    memory.undo(report.op, **ANA)
    assert not units(memory)
    assert found(memory, "cello", kinds=["episode"]) is not None


def test_where_the_model_is_exhausted_the_next_night_goes_on(open_: Open) -> None:
    memory = lived(open_(llm=Replying(lambda o, i: "").llm(retries=0, max_calls=3)), night=False)
    memory.sleep(**ANA)
    done = {unit.session for unit in units(memory)}
    assert 0 < len(done) < 3
    memory.llm = None
    memory.sleep(**ANA)
    assert {unit.session for unit in units(memory)} == set(SAID)
    texts = [(form_of(unit), unit.text, unit.sources) for unit in units(memory)]
    assert len(texts) == len(set(texts))


@pytest.mark.parametrize("wrong", [(), ("chunks",), ("chunk", "note")])
def test_a_form_that_is_none_is_named(wrong: tuple[str, ...]) -> None:
    with pytest.raises(InputError, match="chunk, triple, fact, summary"):
        StructuralMemory(forms=wrong)


@pytest.mark.parametrize("trouble", TROUBLEMAKERS)
def test_no_model_s_trouble_loses_or_invents_anything(open_: Open, trouble: str) -> None:
    memory = lived(open_(llm=LLM(TROUBLEMAKERS[trouble](), retries=0, wait=lambda seconds: None)))
    assert found(memory, "Who plays the cello in church?")[0] == SAID["music"][0]
    assert found(memory, "Who plays the cello in church?", ask=True)
    for unit in units(memory):
        assert unit.sources
        assert not any(name in unit.text for name in NAMES)
