"""Drafts of what turns say: by a model, grounded and in one spelling; by rules where it gives nothing."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from slowwave.models.fakes import TROUBLEMAKERS, FakeChat
from slowwave.models.llm import LLM
from slowwave.ops.extraction import CHARACTERS, LONGEST, TURNS, as_fact, by_rule, extract, segments, shortened
from slowwave.ops.made import Made
from slowwave.records import Engram, Scope

START = datetime(2023, 5, 8, 13, tzinfo=UTC)


def said(text, speaker="Ana", n=0, session="s1"):
    return Engram(
        id=f"e{n}",
        kind="episode",
        text=text,
        scope=Scope(user_id="a"),
        at=START + timedelta(minutes=n),
        recorded=START,
        attrs={"speaker": speaker, "session": session},
    )


def model(*facts):
    """A model that gives these facts as (said_in, subject, attribute, value, fact)."""
    names = ("said_in", "subject", "attribute", "value", "fact")
    return LLM(FakeChat([{"items": [dict(zip(names, fact, strict=True)) for fact in facts]}]), wait=lambda s: None)


TURNS_OF_ANA = [said("I moved to Lisbon yesterday."), said("Did you? I work at Acme.", "Ben", 1)]


def test_a_grounded_fact_becomes_a_draft_in_one_spelling():
    made = Made()
    told = (["1"], "Ana", "Current city", "Lisbon", "Ana moved to Lisbon on 7 May 2023.")
    [draft] = extract(TURNS_OF_ANA, model(told), made)
    assert (draft.subject, draft.attribute, draft.value, draft.single) == ("Ana", "home", "Lisbon", True)
    assert draft.sources == ("e0",)
    assert draft.by == "model"
    assert made.rejected == []


def test_what_the_cited_turn_does_not_say_is_set_aside_with_its_reason():
    made = Made()
    told = [
        (["1"], "Ana", "home", "Porto", "Ana moved to Porto."),
        (["2"], "Ana", "employer", "Acme", "Ana works at Acme."),
        (["1"], "Ana", "home", "Lisbon", "Ana moved to Lisbon on 3 May 2021."),
    ]
    assert extract(TURNS_OF_ANA, model(*told), made) == []
    assert [rejected.text for rejected in made.rejected] == [fact for *_, fact in told]
    assert [
        "name" in made.rejected[0].reason,
        "another" in made.rejected[1].reason,
        "time" in made.rejected[2].reason,
    ] == [True] * 3
    assert made.rejected[0].sources == ("e0", "e1")


def test_a_sound_sentence_with_an_unsound_subject_is_kept_and_compared_with_nothing():
    turns = [said("I paint the sea on Sundays.", "Ben")]
    told = (["1"], "Ana", "hobby", "paint the sea", "Ben paints the sea on Sundays.")
    [draft] = extract(turns, model(told), Made(), around=["Ana"])
    assert draft.text == "Ben paints the sea on Sundays."
    assert (draft.subject, draft.attribute, draft.value, draft.single) == ("", "", "", False)


@pytest.mark.parametrize(
    ("attribute", "fact", "why"),
    [
        ("car", "Ben's car is Acme.", "nothing in its sources speaks of car"),
        ("job", "Ben's job is Acme.", "its source says it of Ben's employer"),
    ],
)
def test_what_the_words_or_the_rules_read_otherwise_is_set_aside(attribute, fact, why):
    made = Made()
    assert extract(TURNS_OF_ANA, model((["2"], "Ben", attribute, "Acme", fact)), made) == []
    assert made.rejected[0].reason == why


@pytest.mark.parametrize(
    ("text", "fact", "value"),
    [
        ("Ich wohne seit Mai in Köln.", "Ana wohnt seit Mai in Köln.", "Köln"),
        ("J'habite à Lyon maintenant.", "Ana habite à Lyon.", "Lyon"),
        ("我住在厦门。", "Ana住在厦门。", "厦门"),
    ],
)
def test_other_languages_are_read_and_end_nothing_by_themselves(text, fact, value):
    made = Made()
    [draft] = extract([said(text)], model((["1"], "Ana", "home", value, fact)), made)
    assert made.rejected == []
    assert (draft.attribute, draft.value, draft.single) == ("home", value, False)


@pytest.mark.parametrize(
    ("fact", "value", "why"),
    [
        ("I moved to Lisbon yesterday.", "Lisbon", "not who that is"),
        ("Did Ana move to Lisbon?", "Lisbon", "states nothing"),
        ("Ana moved to Lisbon.", "Ana", "its value is its subject"),
    ],
)
def test_what_is_no_statement_of_its_own_is_set_aside(fact, value, why):
    made = Made()
    assert extract(TURNS_OF_ANA, model((["1"], "Ana", "home", value, fact)), made) == []
    assert why in made.rejected[0].reason


def test_i_is_who_speaks():
    [draft] = extract(TURNS_OF_ANA, model((["2"], "I", "employer", "Acme", "Ben works at Acme.")), Made())
    assert draft.subject == "Ben"


def test_a_fact_said_twice_in_a_reply_is_one_and_drafts_come_in_the_order_of_the_turns():
    told = [
        (["2"], "Ben", "employer", "Acme", "Ben works at Acme."),
        (["1"], "Ana", "home", "Lisbon", "Ana moved to Lisbon."),
        (["2"], "Ben", "employer", "Acme", "Ben works at ACME."),
    ]
    assert [d.subject for d in extract(TURNS_OF_ANA, model(*told), Made())] == ["Ana", "Ben"]


@pytest.mark.parametrize("trouble", ["garbage", "refuses", "times-out"])
def test_without_a_usable_reply_rules_are_used_and_the_reply_is_set_aside(trouble):
    made = Made()
    llm = LLM(TROUBLEMAKERS[trouble](), wait=lambda s: None)
    assert extract(TURNS_OF_ANA, llm, made) == by_rule(TURNS_OF_ANA)
    assert len(made.rejected) == 1
    assert made.rejected[0].reason


def test_a_model_that_invents_gives_no_draft():
    made = Made()
    assert extract(TURNS_OF_ANA, LLM(TROUBLEMAKERS["invents"](), wait=lambda s: None), made) == []
    assert made.rejected


def test_a_spent_budget_falls_back_without_a_complaint():
    made = Made()
    llm = LLM(FakeChat([{"items": []}]), max_calls=0)
    assert extract(TURNS_OF_ANA, llm, made) == by_rule(TURNS_OF_ANA)
    assert made.rejected == []


def test_segments_keep_to_a_session_a_number_of_turns_and_of_characters():
    many = [said(f"turn {n}", n=n, session="a" if n < 45 else "b") for n in range(50)]
    assert [len(part) for part in segments(many)] == [TURNS, TURNS, 5, 5]
    long = [said("word " * 400, n=n) for n in range(8)]
    assert all(sum(min(len(e.text), LONGEST) for e in part) <= CHARACTERS for part in segments(long))
    assert [e.id for part in segments(long) for e in part] == [e.id for e in long]
    assert list(segments([])) == []


def test_the_middle_of_a_long_turn_is_left_out_and_the_prompt_shows_who_and_when():
    asked = FakeChat([{"items": []}])
    extract([said("begin " + "x " * 5000 + "end")], LLM(asked), Made())
    [turn] = json.loads(asked.asked[0][1].content)["turns"]
    assert turn["id"] == "1"
    assert turn["who"] == "Ana"
    assert turn["on"] == "Monday 2023-05-08"
    assert turn["said"].startswith("begin")
    assert turn["said"].endswith("end")
    assert len(turn["said"]) <= LONGEST + 5
    assert shortened("short") == "short"


def test_rules_give_attributes_in_the_same_spelling():
    drafts = by_rule([said("My favorite color is green. The weather was nice all day.")])
    assert [(d.attribute, d.value) for d in drafts] == [("favourite colour", "green"), ("", "")]
    assert drafts[1].text == "Ana: The weather was nice all day."


def test_a_fact_names_its_sources_and_may_have_ended():
    [draft] = extract(TURNS_OF_ANA, model((["1"], "Ana", "home", "Lisbon", "Ana moved to Lisbon.")), Made())
    end = START + timedelta(days=9)
    fact = as_fact(draft, TURNS_OF_ANA, START, 30.0, "default", end)
    assert fact.sources == ("e0",)
    assert (fact.until, fact.closed) == (end, START)
    assert dict(fact.attrs) == {"subject": "Ana", "attribute": "home", "value": "Lisbon", "by": "default"}
