"""Runs are read off episodes as they come, found again by their task, and compared by what they teach."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from slowwave.ops.runs import graded, lesson_by_rule, run_of, runs_of_task, with_and_without
from slowwave.records import Engram, Scope
from slowwave.store.base import Want

NOW = datetime(2024, 1, 1, tzinfo=UTC)


def episode(text="I tried. Lesson: push harder.", kind="episode", **attrs):
    return Engram("x", kind, text, Scope(user_id="u"), NOW, NOW, attrs={"task": "open the door", "reward": 1, **attrs})


def test_a_run_holds_what_its_attrs_say():
    run = run_of(episode(tokens=120, latency_ms=3.5, seed=4, memories=["a", "b"], answer="yes"))
    assert (run.task, run.trial.reward, run.trial.tokens, run.trial.latency_ms) == ("open the door", 1.0, 120.0, 3.5)
    assert (run.trial.seed, run.memories, run.answer) == (4, ("a", "b"), "yes")


def test_what_cannot_be_read_is_left_at_its_default_and_never_raises():
    run = run_of(episode(tokens="many", latency_ms=None, seed="x", memories="a", answer=3))
    assert (run.trial.tokens, run.trial.latency_ms, run.trial.seed, run.memories, run.answer) == (0, 0, 0, (), "")


@pytest.mark.parametrize("attrs", [{"task": ""}, {"task": None}, {"reward": None}, {"reward": float("nan")},
                                   {"reward": "1"}, {"kind": "fact"}])  # fmt: skip
def test_an_episode_without_a_task_or_a_finite_reward_is_no_run(attrs):
    assert run_of(episode(**attrs)) is None


def test_a_run_teaches_what_it_says_it_learned_or_its_most_telling_sentences():
    assert lesson_by_rule(run_of(episode())) == "push harder."
    assert lesson_by_rule(run_of(episode("It failed.\nLessons learned:  use the   key"))) == "use the key"
    plain = lesson_by_rule(run_of(episode("The brass key opened the cellar door. Ok.")))
    assert plain == "The brass key opened the cellar door."


def test_runs_that_taught_a_lesson_stand_against_those_that_did_not_and_shown_ones_are_left_out():
    runs = [run_of(episode(reward=1)), run_of(episode("Lesson: PUSH  harder.", reward=0.5)),
            run_of(episode("Lesson: wait.", reward=0)), run_of(episode(memories=["m"], reward=9))]  # fmt: skip
    with_, without = with_and_without(runs, "push harder.")
    assert [t.reward for t in with_] == [1.0, 0.5]
    assert [t.reward for t in without] == [0.0]
    assert len({t.seed for t in [*with_, *without]}) == 3, "none has a partner"


def test_runs_of_a_task_are_found_among_others_of_nearly_the_same_name(memory):
    for number in range(40):
        task = f"open door {number % 8}"
        memory.add(f"{task}: try {number}", attrs={"task": task, "reward": 1}, user_id="u")
    view = memory.store.view(Scope(user_id="u"))
    for embedder in (memory.embedder, None):
        found = runs_of_task(view, "Open door 3", embedder)
        assert [run.engram.text for run in found] == [f"open door 3: try {n}" for n in range(3, 40, 8)]
    assert view.count(Want()) == 40


@pytest.mark.parametrize(
    ("expected", "reply", "grade"),
    [("the dishwasher", "In the Dishwasher.", 1.0), ("7", "17", 0.0), ("7", "It is 7!", 1.0), ("", "", 0.0),
     ("Porto", "Lisbon", 0.0), ("!", "?", 0.0)],
)  # fmt: skip
def test_an_answer_counts_where_it_stands_as_whole_words(expected, reply, grade):
    assert graded(expected, reply) == grade
