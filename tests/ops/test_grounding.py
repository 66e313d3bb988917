"""What a statement may say: what its sources say, in their sense, of whom they say it.

The rates below were measured on what the guard was made with: the tuning half of FactStream and LoCoMo's conv-26 and
conv-30. On the rest (FactStream's held-out half; LoCoMo's other five conversations) it turns down 0 % and 22 % of the
true statements, and lets pass of the corrupted ones: names 0 % and 1 %, speakers 17 % (LoCoMo), numbers 0 % and 6 %,
dates 0 % and 1 %, negations 7 % and 6 %, a word of content 0 % (value known) and 76 % (not known), another statement of
the same person 5 %. LoCoMo's observations cite one turn each and often say what stands in another: no guard tells that
from an invention. An event told as a state ("I visited Rome": Rome is her home) passes here; `extraction.py` turns that
down where nothing in the turn speaks of the attribute.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime

import pytest

from slowwave.bench.corrupted import from_observations, from_stream
from slowwave.bench.datasets import data_root
from slowwave.bench.factstream import FactStream
from slowwave.ops.grounding import Ground, ungrounded
from slowwave.records import Engram, Scope

SAID_ON = datetime(2023, 5, 8, 13, 56, tzinfo=UTC)


def said(text, speaker="Melanie", at=SAID_ON):
    return Engram(
        id=text, kind="episode", text=text, scope=Scope(user_id="m"), at=at, recorded=at, attrs={"speaker": speaker}
    )


def rates(cases, around):
    """Share turned down, by what was corrupted."""
    tally = defaultdict(list)
    for case in cases:
        others = around(case.sources[0].speaker)
        tally[case.corrupted].append(bool(ungrounded(case.statement, case.sources, others, case.value)))
    return {kind: sum(down) / len(down) for kind, down in tally.items()}


@pytest.mark.parametrize(
    ("statement", "text"),
    [
        ("Melanie ran a race on 7 May 2023.", "I ran a race yesterday!"),
        ("Melanie ran a race in May 2023.", "I ran a race yesterday!"),
        ("Melanie painted a lake in 2022.", "Yeah, I painted that lake last year."),
        ("Melanie has 3 kids.", "My three kids love it."),
        ("Melanie was 22 when she moved.", "I was twenty-two when I moved"),
        ("Melanie's rent is £1200.", "My rent went up to £1,200 a month."),
        ("Mel went to Paris.", "I went to Paris"),
        ("Melanie doesn't like olives.", "I don't like olives."),
        ("Melanie dislikes olives.", "I don't like olives."),
        ("Melanie stopped eating meat.", "I no longer eat meat."),
        ("Caroline plans to adopt.", "So you plan to adopt, Caroline? Lovely."),
        ("Melanie can't wait for the trip.", "Can't wait for the trip!"),
        ("Melanie's sister Anna lives in Rome.", "My sister Anna lives in Rome."),
        ("梅拉妮去了厦门", "我最近和梅拉妮去了厦门"),
        ("Melanie hat eine Katze.", "Ich hab eine Katze und einen Hund."),
    ],
)
def test_what_the_source_says_stands(statement, text):
    assert ungrounded(statement, [said(text)], ["Caroline"]) == ""


@pytest.mark.parametrize(
    ("statement", "text", "why"),
    [
        ("Melanie ran a race on 17 June 2023.", "I ran a race yesterday!", "time"),
        ("Melanie has worked at Acme since 2019.", "I work at Acme.", "time"),
        ("Melanie has four kids.", "My three kids love it.", "number"),
        ("Melanie went to Oslo.", "I went to Paris", "name"),
        ("Karen went to Paris.", "I went to Paris", "name"),
        ("Caroline lives in Rome.", "I live in Rome.", "name 'Caroline'"),
        ("Melanie lives in Rome.", "Caroline lives in Rome.", "of another"),
        ("Melanie's boss is Tobias.", "As you know, Caroline's boss is Tobias.", "of another"),
        ("Caroline ran a race.", "I ran a race, Caroline!", "of another"),
        ("Melanie likes olives.", "I don't like olives.", "deny"),
        ("Melanie likes olives.", "I hate olives.", "deny"),
        ("Melanie eats meat.", "I no longer eat meat.", "deny"),
        ("Melanie does not live in Rome.", "I live in Rome.", "denies"),
        ("Melanie dreams of a farm in the mountains with horses.", "I live in Rome and work a lot.", "of its words"),
        ("梅拉妮喜欢北京烤鸭和音乐会", "我最近去了厦门", "of its words"),
    ],
)
def test_what_the_source_does_not_say_is_turned_down_with_the_reason(statement, text, why):
    assert why in ungrounded(statement, [said(text)], ["Caroline"])


def test_a_statement_needs_a_source():
    assert ungrounded("Melanie lives in Rome.", []) == "it names no source"


def test_blank_names_are_nobody():
    assert ungrounded("Melanie lives in Rome.", [said("I live in Rome."), said("Yes.", " ")], ["", " "]) == ""


def test_each_of_several_sources_may_say_a_part():
    sources = [said("What are your dogs called, Mel?", "Caroline"), said("Rex and Luna!")]
    assert ungrounded("Melanie's dogs are Rex and Luna.", sources) == ""
    assert ungrounded("Melanie's dogs are Rex and Bruno.", sources) != ""


def test_the_words_of_a_value_must_be_the_sources():
    source = [said("My favourite colour is green.")]
    assert ungrounded("Melanie's favourite colour is green.", source, value="green") == ""
    assert "value" in ungrounded("Melanie's favourite colour is teal.", source, value="teal")


def test_a_question_counts_as_said_where_it_is_given():
    ground = Ground.of([said("I live in Rome.")], said="Does Karen live in Rome?")
    assert ground.lacks_detail("Karen") == ""
    assert Ground.of([said("I live in Rome.")]).lacks_detail("Karen lives in Rome") != ""


@pytest.mark.parametrize("half", ["tuning", "held-out"])
def test_facts_of_a_generated_dialogue_stand_and_their_corruptions_do_not(half):
    cases = [case for seed in range(2) for case in from_stream(FactStream(seed=seed, half=half))]
    down = rates(cases, lambda speaker: [name for name in ("Anna", "Bruno", "Clara") if name != speaker])
    assert down.pop("") == 0
    assert min(down["name"], down["content"], down["number"], down["date"]) > 0.99
    assert down["negation"] > 0.9


def test_true_observations_of_real_talk_mostly_stand_and_corrupted_ones_mostly_do_not():
    folder = data_root() / "locomo"
    if not folder.is_dir():
        pytest.skip(f"no LoCoMo in {folder}")
    cases = [case for name in ("conv-26", "conv-30") for case in from_observations(folder / f"{name}.json")]
    other = {"Caroline": "Melanie", "Melanie": "Caroline", "Jon": "Gina", "Gina": "Jon"}
    down = rates(cases, lambda speaker: [other[speaker]])
    assert down[""] < 0.12
    least = {"speaker": 0.85, "name": 0.95, "date": 0.99, "negation": 0.88, "another statement": 0.88, "content": 0.1}
    assert {kind: share for kind, share in least.items() if down[kind] < share} == {}
