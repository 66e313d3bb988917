"""Annotations: a turn's own words, the talk around it, and nothing that a model invents."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from slowwave.models.fakes import FakeChat
from slowwave.models.llm import LLM
from slowwave.ops.annotation import MOST_TAGS, Annotation, annotate, by_rule, unique
from slowwave.ops.made import Made
from slowwave.records import Engram, Scope

AT = datetime(2024, 3, 1, tzinfo=UTC)
SAID = [
    ("Ben", "How is the rowing club at the lake?"),
    ("Ana", "Great, every Tuesday!"),
    ("Ben", "My sister Clara plays the cello."),
    ("Ana", "I live in Porto now."),
]


def talk() -> list[Engram]:
    scope = Scope(user_id="u")
    return [Engram(f"{n:026d}", "episode", t, scope, AT, AT, attrs={"speaker": s}) for n, (s, t) in enumerate(SAID)]


def test_a_short_answer_gets_what_was_asked_as_its_context() -> None:
    stretch = talk()
    found = by_rule(stretch, 1)
    assert "rowing club" in found.context
    assert stretch[0].id in found.rests_on
    assert stretch[1].id not in found.rests_on


def test_tags_are_names_and_the_attributes_stated() -> None:
    assert "Clara" in by_rule(talk(), 2).tags
    assert "home" in by_rule(talk(), 3).tags


def test_a_turn_alone_has_no_context_and_rests_on_nothing() -> None:
    found = by_rule(talk()[3:], 0)
    assert found.context == ""
    assert found.rests_on == ()


def test_speakers_are_no_keywords() -> None:
    stretch = talk()
    assert not {"ana", "ben"} & {word.casefold() for place in range(4) for word in by_rule(stretch, place).keywords}


def test_an_annotation_is_written_as_words() -> None:
    whole = Annotation(("rowing", "lake"), "talk of sport", ("hobby",))
    assert whole.written() == "talk of sport (keywords: rowing, lake; tags: hobby)"
    assert Annotation(tags=("hobby",)).written() == "(tags: hobby)"
    assert Annotation().written() == ""


def test_more_tags_come_behind_and_stay_within_their_number() -> None:
    first = Annotation(tags=("Home",), rests_on=("a",))
    more = first.with_tags(["home", "work"], ["b", "a"])
    assert more.tags == ("Home", "work")
    assert more.rests_on == ("a", "b")
    assert first.with_tags(["HOME"], ["b"]) is first
    assert len(first.with_tags([str(n) for n in range(50)]).tags) == MOST_TAGS
    assert unique(["A", "b", "a", "B"]) == ("A", "b")


def item(id_: str, **more: object) -> dict[str, object]:
    plain = {"keywords": ["rowing club"], "context": "Ana rows every Tuesday.", "tags": ["sport"]}
    return {"id": id_, **plain, **more}


def test_a_model_annotates_by_number_and_rules_fill_what_it_leaves_out() -> None:
    stretch = talk()
    made = Made()
    asked = FakeChat([{"items": [item("2")]}])
    found = annotate(stretch, [1, 2], LLM(asked), made)
    assert found[0].context == "Ana rows every Tuesday."
    assert found[0].tags == ("sport",)
    assert set(found[0].rests_on) == {stretch[n].id for n in (0, 2, 3)}
    assert found[1] == by_rule(stretch, 2)
    assert json.loads(asked.asked[0][-1].content)["annotate"] == ["2", "3"]


def test_what_a_model_invents_is_set_aside_part_by_part() -> None:
    said = item("2", keywords=["rowing club", "Zorblax"], tags=["sport", "Zorblax"], context="Zorblax rows 42 miles.")
    made = Made()
    found = annotate(talk(), [1], LLM(FakeChat([{"items": [said]}])), made)[0]
    assert found.keywords == ("rowing club",)
    assert found.tags == ("sport",)
    assert found.context == ""
    assert sorted(r.text for r in made.rejected) == ["Zorblax", "Zorblax", "Zorblax rows 42 miles."]


@pytest.mark.parametrize("reply", ["", "sorry", '{"items": "x"}', '{"items": [{"id": "99"}]}'])
def test_a_model_that_fails_leaves_the_rules(reply: str) -> None:
    made = Made()
    stretch = talk()
    llm = LLM(FakeChat([reply]), retries=0)
    assert annotate(stretch, range(4), llm, made) == [by_rule(stretch, n) for n in range(4)]
    assert made.rejected
