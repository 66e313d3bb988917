"""What a newer statement does to an older one: rules where they are certain, else a model, whose word is doubted."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from slowwave.models.fakes import TROUBLEMAKERS, FakeChat
from slowwave.models.llm import LLM
from slowwave.ops.made import Made
from slowwave.ops.outcomes import OUTCOMES, PAIRS, judge, judge_all
from slowwave.records import Engram, Scope

START = datetime(2023, 1, 1, tzinfo=UTC)


def said(text, day=0, speaker="Ana", **attrs):
    return Engram(
        id=f"{text}{day}",
        kind="fact" if attrs else "episode",
        text=text,
        scope=Scope(user_id="a"),
        at=START + timedelta(days=day),
        recorded=START,
        attrs={"speaker": speaker, **attrs} if speaker else attrs,
    )


def fact(subject, attribute, value, day=0):
    text = f"{subject}'s {attribute} is {value}."
    return said(text, day, None, subject=subject, attribute=attribute, value=value)


def says(*outcomes):
    """A model that gives these outcomes for the pairs of a prompt, in their order."""

    def reply(messages, schema):
        pairs = json.loads(messages[-1].content)["pairs"]
        return {"items": [{"id": p["id"], "outcome": outcomes[n % len(outcomes)]} for n, p in enumerate(pairs)]}

    return LLM(FakeChat(reply), wait=lambda s: None)


@pytest.mark.parametrize(
    ("old", "new", "outcome"),
    [
        (fact("Ana", "home", "Rome"), fact("Ana", "residence", "Oslo", 9), "supersedes"),
        (fact("Ana", "home", "Rome"), fact("ana", "home", "Rome", 9), "restates"),
        (fact("Ana", "home", "Rome"), fact("Ben", "home", "Oslo", 9), "new"),
        (fact("Ana", "home", "Rome"), fact("Ana", "employer", "Acme", 9), "new"),
        (fact("Ana", "pet", "a cat"), fact("Ana", "pet", "a cat named Rex", 9), "refines"),
        (fact("Ana", "origin", "Rome"), fact("Ana", "origin", "Oslo", 9), "contradicts"),
        (fact("Ana", "favorite color", "red"), fact("Ana", "favourite colour", "teal", 9), "supersedes"),
        (said("My office is on floor 3."), said("My office is on floor 5.", 9), "supersedes"),
        (said("I love the sea."), said("I love the sea.", 9, "Ben"), "new"),
    ],
)
def test_where_rules_are_certain_nobody_is_asked(old, new, outcome):
    made = Made()
    llm = says("unsure")
    assert judge(old, new, 0.96, llm, made).outcome == outcome
    assert llm.total().calls == 0


HARBOUR = said("Our cabin by the lake has a sauna now", 0), said("The lake cabin of ours got a sauna", 5)


def test_what_rules_leave_open_is_asked_in_one_prompt_for_eight_pairs():
    llm = says("restates")
    verdicts = judge_all([(*HARBOUR, 0.8)] * (PAIRS + 1), llm, Made())
    assert [verdict.outcome for verdict in verdicts] == ["restates"] * (PAIRS + 1)
    assert llm.total().calls == 2


def test_pairs_that_are_not_alike_are_new_without_asking():
    llm = says("supersedes")
    assert judge(*HARBOUR, 0.1, llm, Made()).outcome == "new"
    assert llm.total().calls == 0


def test_without_a_model_rules_decide_alone():
    assert judge(*HARBOUR, 0.8, None, Made()).outcome == "new"


@pytest.mark.parametrize(
    ("old", "new", "claim", "why"),
    [
        (fact("Ana", "hobby", "chess", 9), fact("Ana", "hobby", "golf", 0), "supersedes", "earlier"),
        (said("I like the red scarf a lot"), said("I really like that blue scarf", 9), "supersedes", "same attribute"),
        (fact("Ana", "hobby", "chess"), fact("Ana", "hobby", "golf", 9), "restates", "is not"),
        (said("Our cabin has 3 beds upstairs"), said("We have a cabin with 4 beds", 9), "restates", "number"),
        (said("The trip to Rome was great for us"), said("Our trip to Oslo was great", 9), "restates", "name"),
        (
            said("I like the red scarf a lot"),
            said("I like the blue scarf so much", 9),
            "restates",
            "'red' is not 'blu'",
        ),
        (said("I like to swim in the cold lake"), said("I don't like swimming in that lake", 9), "restates", "deny"),
    ],
)
def test_a_claim_that_the_words_stand_against_is_not_believed_and_is_shown(old, new, claim, why):
    made = Made()
    verdict = judge(old, new, 0.96, says(claim), made)
    assert verdict.outcome == "unsure"
    assert why in verdict.reason
    [rejected] = made.rejected
    assert claim in rejected.reason
    assert set(rejected.sources) == {old.id, new.id}


def test_a_claim_about_two_people_leaves_both_as_they_are():
    old, new = said("I took up pottery in the old mill", 0), said("I do pottery at the mill too", 5, "Ben")
    assert judge(old, new, 0.9, says("restates"), Made()).outcome == "new"


def test_a_model_may_say_that_one_value_took_the_place_of_another_where_rules_cannot_know():
    old, new = fact("Ana", "zodiac club", "Leo circle"), fact("Ana", "zodiac club", "Virgo circle", 9)
    assert judge(old, new, 0.8, None, Made()).outcome == "unsure"
    again = fact("Ana", "zodiac club", "the moon society", 9)
    assert judge(old, again, 0.8, says("supersedes"), Made()).outcome == "unsure", "both may be so"
    changed = again.with_(text="Ana's zodiac club is now the moon society.")
    assert judge(old, changed, 0.8, says("supersedes"), Made()).outcome == "supersedes"


@pytest.mark.parametrize("trouble", TROUBLEMAKERS)
def test_a_troublesome_model_never_ends_or_doubles_anything(trouble):
    pairs = [
        (said("I saw a red car in the street"), said("I saw a blue car in the street", 9), 0.96),
        (fact("Ana", "hobby", "chess"), fact("Ana", "hobby", "golf", 9), 0.9),
    ]
    verdicts = judge_all(pairs, LLM(TROUBLEMAKERS[trouble](), wait=lambda s: None), Made())
    by_rule = judge_all(pairs, None, Made())
    for verdict, plain in zip(verdicts, by_rule, strict=True):
        assert verdict.outcome == plain.outcome or verdict.outcome not in ("restates", "supersedes")


def test_every_outcome_is_offered():
    asked = FakeChat([{"items": [{"id": "1", "outcome": "new"}]}])
    judge(*HARBOUR, 0.8, LLM(asked), Made())
    assert all(outcome in asked.asked[0][0].content for outcome in OUTCOMES)
