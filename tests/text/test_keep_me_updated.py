"""Keep Me Updated: values are replaced, repeats pass, what is over goes, all of it comes back; no model breaks it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from replying import Replying
from slowwave import Memory
from slowwave.models.fakes import TROUBLEMAKERS
from slowwave.models.llm import LLM
from slowwave.ops.extraction import by_rule
from slowwave.text.keep_me_updated import KeepMeUpdated
from ticking import Clock

ANA: Any = {"user_id": "ana"}
Open = Callable[..., Memory]
DIARY = (
    ("I live in Rome.", "2023-01-02", "a"), ("I have a cold.", "2023-01-02", "a"),
    ("My favourite colour is red.", "2023-01-02", "a"), ("I love the red scarf.", "2023-01-02", "a"),
    ("I moved to Oslo.", "2023-03-06", "b"), ("I got over my cold.", "2023-03-06", "b"),
    ("My favourite colour is red.", "2023-03-06", "b"), ("I love the blue scarf.", "2023-03-06", "b"),
)  # fmt: skip


@pytest.fixture
def open_(open_memory: Open) -> Open:
    def opened(**options: Any) -> Memory:
        system = KeepMeUpdated(**options.pop("system", {}))
        return open_memory(":memory:", system=system, **options)

    return opened


def lived(memory: Memory, night_each: bool = True) -> Memory:
    for session in "ab":
        for text, at, where in DIARY:
            if where == session:
                memory.add(text, at=at, session=session, speaker="Ana", **ANA)
        if night_each or session == "b":
            memory.sleep(**ANA)
    return memory


def sentences(memory: Memory, **when: Any) -> set[str]:
    return {engram.text for engram in memory.list(kinds=["fact"], limit=None, **when, **ANA)}


def now(memory: Memory) -> set[str]:
    return {engram.text for engram in memory.list(kinds=["fact"], **ANA) if engram.until is None}


@pytest.mark.parametrize("night_each", [True, False])
def test_each_pair_finds_its_fate_whether_the_sessions_share_a_night_or_not(open_: Open, night_each: bool) -> None:
    memory = lived(open_(), night_each)
    scarves = {"Ana: I love the red scarf.", "Ana: I love the blue scarf."}
    assert now(memory) == {"Ana's home is Oslo", "Ana's favourite colour is red", *scarves}
    assert sentences(memory, at="2023-02-01") == {
        "Ana's home is Rome", "Ana: I have a cold.", "Ana's favourite colour is red", "Ana: I love the red scarf."
    }  # fmt: skip


def test_a_question_about_now_finds_what_holds_and_one_about_then_what_held(open_: Open) -> None:
    memory = lived(open_())
    asked = "Where is Ana's home?"
    assert [hit.text for hit in memory.search(asked, top_k=1, **ANA)] == ["Ana's home is Oslo"]
    found = {hit.text for hit in memory.search(asked, at="2023-02-01", **ANA)}
    assert "Ana's home is Rome" in found
    assert "Ana's home is Oslo" not in found
    assert "Ana's home is Rome" not in {hit.text for hit in memory.search(asked, top_k=20, **ANA)}


def test_what_was_replaced_or_deleted_is_kept_with_what_says_so(open_: Open) -> None:
    memory = lived(open_())
    facts = {engram.text: engram for engram in memory.list(kinds=["fact"], **ANA)}
    rome, cold = facts["Ana's home is Rome"], facts["Ana: I have a cold."]
    assert f"{rome.until:%Y-%m-%d}" == f"{cold.until:%Y-%m-%d}" == "2023-03-06"
    assert "'Rome' has become 'Oslo'" in memory.history(rome.id, **ANA)[-1].reason
    by = [link.source for entry in memory.history(cold.id, **ANA) for link in entry.links]
    assert [memory.get(id_, **ANA).text for id_ in by] == ["I got over my cold."]


def test_a_repeat_is_no_second_sentence_but_a_second_voice_for_the_first(open_: Open) -> None:
    memory = lived(open_())
    red = [engram for engram in memory.list(kinds=["fact"], **ANA) if engram.text == "Ana's favourite colour is red"]
    assert len(red) == 1
    voices = [entry for entry in memory.history(red[0].id, **ANA) if entry.verb == "support"]
    assert [memory.get(link.source, **ANA).session for entry in voices for link in entry.links] == ["b"]


def test_an_undone_night_brings_the_old_values_back(open_: Open) -> None:
    memory = lived(open_())
    memory.undo(**ANA)
    assert now(memory) == {
        "Ana's home is Rome", "Ana: I have a cold.", "Ana's favourite colour is red", "Ana: I love the red scarf."
    }  # fmt: skip


def test_what_is_imported_late_does_not_overrule_what_was_said_later(open_: Open) -> None:
    memory = open_()
    memory.add("I moved to Oslo.", at="2023-03-06", session="b", speaker="Ana", **ANA)
    memory.sleep(**ANA)
    memory.add("I live in Rome.", at="2023-01-02", session="a", speaker="Ana", **ANA)
    memory.sleep(**ANA)
    assert now(memory) == {"Ana's home is Oslo"}
    assert sentences(memory, at="2023-02-01") == {"Ana's home is Rome"}


def test_the_search_sees_new_turns_all_turns_or_none_as_it_is_told(open_: Open) -> None:
    seen = {}
    for episodes in ("new", "all", "none"):
        memory = lived(open_(system={"episodes": episodes}))
        memory.add("The lake is frozen.", speaker="Ana", session="c", **ANA)
        hits = memory.search("Where do I live, and what of the lake?", top_k=50, **ANA)
        seen[episodes] = {hit.text for hit in hits if hit.engram.kind == "episode"}
    assert seen == {
        "new": {"The lake is frozen."},
        "all": {"The lake is frozen.", *(t for t, _, _ in DIARY)},
        "none": set(),
    }


def test_what_was_replaced_is_searched_only_where_that_is_asked_for(open_: Open) -> None:
    rome = "Ana's home is Rome"
    assert rome in {hit.text for hit in lived(open_(system={"past": True})).search("home", top_k=50, **ANA)}
    assert rome not in {hit.text for hit in lived(open_()).search("home", top_k=50, **ANA)}


def test_the_same_attribute_is_compared_however_far_apart_the_words_are(open_: Open) -> None:
    memory = lived(open_(system={"alike": 1.0, "nearest": 0}))
    assert "Ana's home is Rome" not in now(memory)


def about(text: str) -> str:
    return "home" if "live" in text or "moved" in text else text[:40]


def told(text: str) -> str:
    """A turn of Ana's as a good model writes it down."""
    third = {"I live": "Ana lives", "I moved": "Ana moved", "I have": "Ana has", "I love": "Ana loves", "I ": "Ana "}
    for first, other in [*third.items(), ("My ", "Ana's "), (" my ", " Ana's ")]:
        text = text.replace(first, other)
    return text


def answers(operation: str, inputs: dict[str, Any]) -> Any:
    """A model that writes each turn down in the third person, and has a later home replace an earlier one."""
    if operation == "facts":
        return {
            "items": [
                {
                    "said_in": [turn["id"]],
                    "subject": "Ana",
                    "attribute": about(turn["said"]),
                    "value": turn["said"].split()[-1].strip("."),
                    "fact": told(turn["said"]),
                }
                for turn in inputs["turns"]
            ]
        }
    new = inputs["new"]["text"]
    later = {n: ("moved" in new and "lives" in old["text"]) for n, old in inputs["old"].items()}
    return {
        n: "REPLACE" if hit else "PASS" if new == inputs["old"][n]["text"] else "APPEND" for n, hit in later.items()
    }


def test_a_model_s_labels_are_followed(open_: Open) -> None:
    memory = lived(open_(llm=Replying(answers).llm(), system={"alike": -1.0, "nearest": 50}))
    assert now(memory) == {told(text) for text, _, _ in DIARY} - {"Ana lives in Rome."}


def test_a_new_sentence_is_shown_with_its_nearest_alone_however_large_the_memory(open_: Open) -> None:
    model = Replying(answers)
    memory = open_(llm=model.llm(), system={"nearest": 3, "alike": -1.0})
    for day in range(12):
        memory.add(f"On day {day} I saw a heron.", speaker="Ana", session=f"s{day}", **ANA)
    memory.sleep(**ANA)
    shown = [len(inputs["old"]) for operation, inputs in model.asked if operation == "pairwise"]
    assert max(shown) == 3
    assert len(shown) == 11


@pytest.mark.parametrize("trouble", ["garbage", "refuses"])
def test_a_model_that_cannot_answer_leaves_the_memory_that_the_rules_make(open_: Open, trouble: str) -> None:
    memory = lived(open_(llm=LLM(TROUBLEMAKERS[trouble](), wait=lambda seconds: None)))
    assert now(memory) == now(lived(open_()))


def test_a_model_that_invents_keeps_nothing_new_out_and_adds_nothing_of_its_own(open_: Open) -> None:
    memory = lived(open_(llm=LLM(TROUBLEMAKERS["invents"](), wait=lambda seconds: None)))
    said_last = {"Ana's home is Oslo", "Ana: I love the blue scarf."}
    assert said_last <= now(memory)
    drawn = {draft.text for draft in by_rule(memory.list(kinds=["episode"], **ANA))}
    assert sentences(memory) <= drawn


def test_turns_that_a_model_which_is_gone_was_to_read_wait_and_are_found_meanwhile(open_: Open) -> None:
    memory = lived(open_(llm=LLM(TROUBLEMAKERS["times-out"](), wait=lambda seconds: None)))
    assert "I moved to Oslo." in {hit.text for hit in memory.search("Where do I live?", top_k=50, **ANA)}


def test_a_model_that_passes_what_is_new_is_set_aside_with_its_reason(open_: Open) -> None:
    def lies(operation: str, inputs: dict[str, Any]) -> Any:
        return answers(operation, inputs) if operation == "facts" else dict.fromkeys(inputs["old"], "PASS")

    memory = open_(llm=Replying(lies).llm(), system={"alike": -1.0})
    for n, text in enumerate(("Ana pays 1200 in rent.", "Ana pays 1300 in rent.")):
        memory.add(text, speaker="Ana", at=f"2023-0{n + 1}-01", session=str(n), **ANA)
    memory.sleep(**ANA)
    assert "Ana pays 1300 in rent." in now(memory)
    unguarded = open_(llm=Replying(lies).llm(), system={"alike": -1.0, "guard": False})
    for n, text in enumerate(("Ana pays 1200 in rent.", "Ana pays 1300 in rent.")):
        unguarded.add(text, speaker="Ana", at=f"2023-0{n + 1}-01", session=str(n), **ANA)
    unguarded.sleep(**ANA)
    assert "Ana pays 1300 in rent." not in now(unguarded)


def test_a_night_that_runs_out_of_calls_is_taken_up_by_the_next(open_: Open, clock: Clock) -> None:
    whole = lived(open_(llm=Replying(answers).llm(), system={"alike": -1.0}), night_each=False)
    llm = Replying(answers).llm(max_calls=1)
    memory = open_(llm=llm, system={"alike": -1.0})
    for text, at, session in DIARY:
        memory.add(text, at=at, session=session, speaker="Ana", **ANA)
    first = memory.sleep(**ANA)
    assert any("wait for the next night" in note for note in first.notes)
    said_in_b = {told(text) for text, _, session in DIARY if session == "b"} - {"Ana's favourite colour is red."}
    assert not now(memory) & said_in_b
    llm.max_calls = None
    memory.sleep(**ANA)
    assert now(memory) == now(whole)
    assert memory.sleep(**ANA).op is None
