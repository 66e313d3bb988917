"""Subgoals fold to a line when they are done, come back by id, and the oldest goes first where there is no room."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from slowwave.ops.folding import OPENING, Lines, Step, asked_to_reopen, fold, folds_of, last_observation, step_of
from slowwave.ops.packing import estimate_tokens
from slowwave.records import Engram, Scope

NOW = datetime(2024, 1, 1, tzinfo=UTC)


def steps(*given):
    """("subgoal", "action", "observation") -> steps named a, b, c, ..."""
    return [Step(chr(97 + n), *one[:3], **(one[3] if len(one) > 3 else {})) for n, one in enumerate(given)]


TASK = steps(
    ("find the key", "open drawer", "a note says 4711"),
    ("find the key", "open chest", "you hold the key"),
    ("open the door", "go to hall", "you are in the hall"),
    ("open the door", "use key", "the door is open"),
    ("leave", "go out", "you are outside"),
)


def names(folds):
    return [(f.number, f.subgoal, "".join(s.id for s in f.steps), f.finished) for f in folds]


def test_steps_go_by_subgoal_and_all_but_the_last_are_finished():
    assert names(folds_of(TASK)) == [
        (1, "find the key", "ab", True),
        (2, "open the door", "cd", True),
        (3, "leave", "e", False),
    ]
    assert folds_of([]) == []


def test_a_name_in_another_spelling_and_no_name_go_on_with_the_subgoal():
    drift = steps(("Pick up ball1", "go", "x"), ("pick up ball 1.", "pick", "y"), ("", "wait", "z"))
    assert len(folds_of(drift)) == 1


def test_a_declaration_outweighs_the_name():
    given = steps(
        ("fetch water", "go", "x"),
        ("getting some water", "dip", "y", {"declares": False}),
        ("getting some water", "go", "z", {"declares": True}),
    )
    assert [f[2] for f in names(folds_of(given))] == ["ab", "c"]


def test_a_step_may_say_that_its_subgoal_is_done_and_the_same_name_then_begins_anew():
    given = steps(("dig", "dig", "a hole", {"done": True}), ("dig", "dig", "another"))
    assert names(folds_of(given)) == [(1, "dig", "a", True), (2, "dig", "b", False)]
    assert folds_of(given[:1])[0].finished


def test_a_subgoal_given_up_before_any_action_is_none_and_its_words_are_kept():
    given = steps(("go north", "", "hm"), ("go south", "", "no"), ("go east", "walk", "a river"), ("rest", "sit", "ah"))
    assert names(folds_of(given)) == [(1, "go east", "abc", True), (2, "rest", "d", False)]


def test_finished_subgoals_are_a_line_each_and_the_active_one_is_verbatim():
    shown = fold(folds_of(TASK), last_observation, 500, estimate_tokens)
    assert shown.text.splitlines() == [
        OPENING,
        "[1] find the key: you hold the key",
        "[2] open the door: the door is open",
        "[3] leave (now):",
        "  go out -> you are outside",
    ]
    assert (shown.shown, shown.folded, shown.dropped) == (("e",), (1, 2), 0)
    assert "4711" not in shown.text, "a detail is folded away"


def test_a_finished_subgoal_is_reopened_by_its_number():
    shown = fold(folds_of(TASK), last_observation, 500, estimate_tokens, reopen=[1])
    assert "[1] find the key (reopened):\n  open drawer -> a note says 4711\n" in shown.text
    assert shown.shown == ("a", "b", "e")


@pytest.mark.parametrize("budget", range(0, 120, 3))
def test_the_budget_holds_and_the_oldest_goes_first(budget):
    shown = fold(folds_of(TASK), last_observation, budget, estimate_tokens, reopen=[1])
    assert estimate_tokens(shown.text) <= shown.tokens <= max(budget, 0)
    kept = [line for line in ("[2]", "open drawer", "open chest", "go out") if line in shown.text]
    order = ["[2]", "open drawer", "open chest", "go out"]
    assert kept == order[len(order) - len(kept) :], "folded lines fall first, then reopened steps, then active ones"
    assert ("(reopened)" in shown.text) == ("open chest" in shown.text), "a heading goes with its last step"


def test_lines_at_most_hold_whatever_the_budget():
    shown = fold(folds_of(TASK), last_observation, 10_000, estimate_tokens, most=3)
    assert shown.folded == (2,)
    assert shown.dropped == 1


def test_a_line_is_made_once_however_often_it_is_shown():
    made = []

    def make(folded):
        made.append(folded.number)
        return f"done {folded.number}"

    lines = Lines(make)
    for end in range(1, len(TASK) + 1):
        fold(folds_of(TASK[:end]), lines, 500, estimate_tokens)
    assert made == [1, 2]


def test_a_line_that_is_known_is_not_made():
    first = folds_of(TASK)[0]
    lines = Lines(last_observation, {first.key: "the key is found"})
    assert lines(first) == "the key is found"


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("reopen 2", [2]),
        ("Please retrieve(1, 3).", [1, 3]),
        ("unfold [4] and reopen #5", [4, 5]),
        ("retrieve 1 and 2", [1, 2]),
        ("reopen 1, and 2", [1, 2]),
        ("the door has number 7", []),
        ("reopened 3 shops", []),
    ],
)
def test_what_a_text_asks_to_reopen(text, numbers):
    assert asked_to_reopen(text) == numbers


def engram(attrs, kind="episode"):
    return Engram("x", kind, "seen", Scope(user_id="u"), NOW, NOW, attrs=attrs)


def test_a_record_is_a_step_only_if_it_names_a_subgoal_or_an_action():
    assert step_of(engram({"subgoal": " find  the key", "action": "look", "done": True})) == Step(
        "x", "find the key", "look", "seen", None, True
    )
    assert step_of(engram({})) is None
    assert step_of(engram({"subgoal": 3, "action": None})) is None
    assert step_of(engram({"subgoal": "s"}, "fact")) is None
    assert step_of(engram({"action": "look", "declares": "yes"})).declares is None
