"""How a later statement follows from an earlier one: by connectives and words, by a model, and which way it is kept."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from slowwave.models.fakes import FakeChat
from slowwave.models.llm import LLM
from slowwave.ops.made import Made
from slowwave.ops.relations import (
    RELATIONS,
    Relation,
    Tie,
    by_words,
    question,
    reason_in,
    reason_terms,
    relate,
    with_reason,
)
from slowwave.ops.standing import slot_of
from slowwave.records import Engram, Scope
from slowwave.store.ids import new_id

DAY = datetime(2024, 1, 1, tzinfo=UTC)


def said(text: str, day: int = 0, subject: str = "Anna", **attrs: object) -> Engram:
    return Engram(
        new_id(), "fact", text, Scope(user_id="ana"), DAY + timedelta(days=day), DAY, sources=(new_id(),),
        attrs={"subject": subject, **attrs}, origin=slot_of(subject, str(attrs.get("attribute", ""))),
    )  # fmt: skip


def home(value: str, day: int = 0, why: str = "") -> Engram:
    return said(f"Anna's home is {value}{why}", day, attribute="home", value=value)


FLOOD = said("Anna: We had a flood in the cellar.")


@pytest.mark.parametrize(
    ("older", "newer", "expected"),
    [
        (home("Rome"), home("Oslo", 9), "Changed"),
        (home("Rome").with_(until=DAY), home("Oslo", 9), "None"),
        (home("Rome"), said("Anna: My home is near the station.", 3, attribute="home"), "SameTopic"),
        (said("Anna: I have a cold."), said("Anna: I got over my cold.", 9), "Changed"),
        (FLOOD, home("Oslo", 9, " because of the flood"), "Cause"),
        (FLOOD, home("Oslo", 9, " owing to the flood"), "Cause"),
        (home("Oslo", 0, " because of the flood"), said("Anna: The flood was terrible.", 3), "Reason"),
        (said("Anna: I sold the old boat."), said("Anna: I sold the boat because of the storm.", 3), "Reason"),
        (said("Anna: The train was late."), said("Anna: So I missed the talk."), "Cause"),
        (said("Anna: The train was late."), said("Anna: So much has happened."), "None"),
        (said("Anna: I booked a trip to Lapland."), said("Anna: The Lapland trip fell through.", 5), "HinderedBy"),
        (said("Anna: My sister married in June."), said("Anna: I am happy that my sister married.", 5), "React"),
        (said("Anna: Our bakery has closed."), said("Anna: I want to open a bakery.", 5), "Want"),
        (said("Anna: I bake rye bread."), said("Anna: Rye bread needs a hot oven.", 5), "SameTopic"),
        (said("Anna: I bake rye bread."), said("Anna: The train was late again.", 5), "None"),
        (FLOOD, home("Oslo", 9, " because of the wedding"), "None"),
    ],
)
def test_rules_tell_the_relation_by_attribute_connectives_and_shared_words(
    older: Engram, newer: Engram, expected: Relation
) -> None:
    assert by_words(older, newer, 0.6 if expected == "Want" else 0.4).relation == expected


def test_each_relation_is_kept_under_our_name_and_in_its_direction() -> None:
    older, newer = said("a"), said("b", 1)
    kept = {}
    for relation in RELATIONS:
        link = Tie(older, newer, relation, "").link()
        kept[relation] = None if link is None else (link.relation, link.source == newer.id)
    assert kept == {
        "Changed": ("supersedes", True), "Cause": ("causes", False), "Reason": ("causes", True),
        "HinderedBy": ("hinders", True), "React": ("reacts", True), "Want": ("wants", True),
        "SameTopic": ("about", True), "None": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("I moved to Oslo because of the flood.", "because of the flood"),
        ("I left because I was bored, really.", "because I was bored, really"),
        ("Due to the strike, I walked.", "Due to the strike"),
        ("Because of the flood I moved", ""),
        ("I moved to Oslo.", ""),
    ],
)
def test_the_reason_is_the_clause_behind_a_connective(text: str, reason: str) -> None:
    assert reason_in(text) == reason


def test_a_statement_gets_back_the_reason_that_was_given_with_it_and_no_other() -> None:
    turn = "The train was late because of snow. I moved to Oslo because of the flood."
    assert with_reason("Anna's home is Oslo", turn, "Oslo") == "Anna's home is Oslo because of the flood"
    kept = "Anna moved to Oslo because of the flood."
    assert with_reason(kept, turn, "Oslo") == kept
    assert with_reason("Anna's pet is Rex", turn, "Rex") == "Anna's pet is Rex"
    assert reason_terms("I moved because of the big flood.") == ["big", "flood"]


def test_a_model_names_all_relations_in_one_prompt() -> None:
    new, old = home("Oslo", 9), [home("Rome"), FLOOD]
    prompt = question(new, old)
    assert set(prompt.inputs["old"]) == {"1", "2"}
    assert prompt.sources == (new.id, *(engram.id for engram in old))
    model, made = FakeChat([{"1": "Changed", "2": "Cause"}]), Made()
    ties = relate(new, [(engram, 0.5) for engram in old], LLM(model), made)
    assert [tie.relation for tie in ties] == ["Changed", "Cause"]
    assert len(model.asked) == 1
    assert not made.rejected


def test_a_change_between_two_people_is_not_believed_and_the_rules_decide() -> None:
    bruno = said("Bruno's home is Oslo", 9, "Bruno", attribute="home", value="Oslo")
    made = Made()
    ties = relate(bruno, [(home("Rome"), 0.9)], LLM(FakeChat([{"1": "Changed"}])), made)
    assert ties[0].relation == by_words(home("Rome"), bruno, 0.9).relation == "None"
    assert "Bruno" in made.rejected[0].reason


@pytest.mark.parametrize("words", ["", '{"1": "Married"}', "[]"])
def test_a_reply_that_cannot_be_read_leaves_it_to_the_rules(words: str) -> None:
    made = Made()
    assert relate(home("Oslo", 9), [(home("Rome"), 0.9)], LLM(FakeChat([words])), made)[0].relation == "Changed"
    assert len(made.rejected) == 1


def test_what_happened_first_is_the_older_whatever_came_in_first() -> None:
    late, known = home("Rome", 1), home("Oslo", 9)
    model = FakeChat([{"1": "Changed"}])
    tie = relate(late, [(known, 0.9)], LLM(model), Made())[0]
    assert (tie.older, tie.newer, tie.relation) == (late, known, "Changed")
    assert not model.asked, "a model is asked of earlier statements alone"
