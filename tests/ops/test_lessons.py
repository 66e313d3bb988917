"""What a model says of a run is held to the run; a trial of its own is graded; a copy in the abstract names nobody."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from replying import Replying
from slowwave.ops.lessons import drawn, in_the_abstract, tried_by_model
from slowwave.ops.made import Made
from slowwave.ops.runs import run_of
from slowwave.records import Engram, Scope

NOW = datetime(2024, 1, 1, tzinfo=UTC)


def run(text="The brass key opened the cellar door.", **attrs):
    named = {"task": "open the cellar", "reward": 1, **attrs}
    return run_of(Engram("x", "episode", text, Scope(user_id="u"), NOW, NOW, attrs=named))


def lesson(text):
    return Engram("y", "note", text, Scope(user_id="u"), NOW, NOW)


def test_a_lesson_that_stays_with_the_run_is_the_models():
    model = Replying(lambda operation, inputs: {"lesson": "The brass key  opens the cellar door."})
    made = Made()
    assert drawn(run(), model.llm(), made) == "The brass key opens the cellar door."
    assert made.rejected == []
    assert model.asked[0][1]["reward"] == 1.0


@pytest.mark.parametrize("value", ["", {"lesson": "Bribe Zorblax with 500 coins."}, {"lesson": ""}, None])
def test_a_lesson_that_is_invented_is_set_aside_and_the_rules_own_stands(value):
    made = Made()
    model = Replying(lambda operation, inputs: value)
    assert drawn(run(), model.llm(), made) == "The brass key opened the cellar door."
    assert made.rejected
    assert drawn(run(), None, Made()) == "The brass key opened the cellar door."


def test_a_trial_by_the_model_shows_the_lesson_only_where_there_is_one():
    model = Replying(lambda operation, inputs: {"answer": "the brass key" if "lesson" in inputs else "a crowbar"})
    llm = model.llm()
    with_, without = (
        tried_by_model(llm, run(answer="brass key"), "l", 3),
        tried_by_model(llm, run(answer="brass key"), "", 3),
    )
    assert (with_.reward, without.reward) == (1.0, 0.0)
    assert with_.seed == without.seed == 3
    assert with_.tokens == 15
    assert [inputs.get("lesson") for _, inputs in model.asked] == ["l", None]


def test_a_trial_that_the_model_does_not_answer_is_a_failure():
    assert tried_by_model(Replying(lambda operation, inputs: None).llm(), run(answer="a"), "l", 0).reward == 0.0


def test_a_copy_in_the_abstract_is_the_rules_where_the_model_still_names_somebody():
    said = lesson("Ask Clara for the 3 keys.")
    assert in_the_abstract(said, None, Made()) == "Ask [name 1] for the [number 1] keys."
    kept = Replying(lambda operation, inputs: {"lesson": "Ask [person] for the [number] keys."})
    assert in_the_abstract(said, kept.llm(), Made()) == "Ask [person] for the [number] keys."
    made = Made()
    named = Replying(lambda operation, inputs: {"lesson": "Ask clara for the keys."})
    assert in_the_abstract(said, named.llm(), made) == "Ask [name 1] for the [number 1] keys."
    assert "'Clara' is still named" in made.rejected[0].reason


def test_what_names_nothing_needs_no_copy():
    assert in_the_abstract(lesson("look under the mat first"), None, Made()) == ""
