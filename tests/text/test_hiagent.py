"""HiAgent: subgoals fold and reopen, each line is made once, names may drift, and a model can spoil nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from replying import Replying
from slowwave import Memory
from slowwave.ops.packing import estimate_tokens
from slowwave.text.hiagent import HiAgent

ROBOT = {"user_id": "robot"}
TASK = [
    ("find the key", "open the drawer", "a note says that the safe's code is 4711"),
    ("find the key", "look under the mat", "you hold the brass key"),
    ("open the cellar", "go down the stairs", "you stand before the cellar door"),
    ("open the cellar", "turn the brass key", "the cellar is open"),
    ("open the safe", "walk to the safe", "the safe asks for a code"),
]
START = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.fixture
def open_robot(clock):
    opened = []

    def open_(**options):
        system = options.pop("system", None) or HiAgent()
        opened.append(Memory(":memory:", embedder="fake", system=system, clock=clock, **options))
        return opened[-1]

    yield open_
    for memory in opened:
        memory.close()


@pytest.fixture
def robot(open_robot):
    memory = open_robot()
    act(memory, TASK)
    return memory


def act(memory, steps, session="run-1", start=START, **attrs):
    for n, (subgoal, action, seen) in enumerate(steps):
        named = {"subgoal": subgoal, "action": action, **attrs}
        memory.add(seen, at=start + timedelta(minutes=n), session=session, attrs=named, **ROBOT)


def lines(memory):
    return {e.attrs["number"]: e for e in memory.list(kinds=["summary"], **ROBOT)}


def test_the_context_folds_what_is_finished_and_shows_what_is_going_on(robot):
    shown = robot.context("what next?", **ROBOT)
    assert shown.text.splitlines()[1:] == [
        "[1] find the key: you hold the brass key",
        "[2] open the cellar: the cellar is open",
        "[3] open the safe (now):",
        "  walk to the safe -> the safe asks for a code",
    ]
    assert shown.tokens == sum(estimate_tokens(line) + 1 for line in shown.text.splitlines()) - 1
    assert [hit.text for hit in shown.left_out] == []
    assert shown.hits[-1].text == "the safe asks for a code"


def test_a_detail_that_was_folded_comes_back_by_number_and_by_what_is_asked(robot):
    assert "4711" not in robot.context("what next?", **ROBOT).text
    assert "4711" in robot.context("reopen 1", **ROBOT).text
    by_number = robot.search("reopen 1", **ROBOT)
    assert [hit.text for hit in by_number] == [seen for _, _, seen in TASK[:2]]
    by_words = robot.search("What is the code that the note in the drawer says?", threshold=0, **ROBOT)
    assert [hit.text for hit in by_words[:2]] == [seen for _, _, seen in TASK[:2]], "the whole subgoal, in order"


def test_a_number_that_there_is_not_reopens_nothing(robot):
    assert all(hit.score < 1 for hit in robot.search("reopen 9", threshold=0, **ROBOT))


@pytest.mark.parametrize("budget", [30, 45, 60, 80, 200])
def test_the_context_keeps_its_budget_and_drops_the_oldest(robot, budget):
    shown = robot.context("reopen 1", max_tokens=budget, **ROBOT)
    assert estimate_tokens(shown.text) <= budget
    if "4711" in shown.text:
        assert "walk to the safe" in shown.text, "what is going on goes last"


def test_a_night_writes_a_line_for_each_finished_subgoal_with_its_steps_as_sources(robot):
    night = robot.sleep(**ROBOT)
    assert night.counts == {"summarise": 2}
    made = lines(robot)
    assert made[1].text == "find the key: you hold the brass key"
    assert [robot.get(id_, **ROBOT).text for id_ in made[1].sources] == [seen for _, _, seen in TASK[:2]]
    assert made[1].session == "run-1"
    before = robot.context("what next?", **ROBOT).text
    assert before.splitlines()[1] == "[1] find the key: you hold the brass key"
    robot.undo(night.op, **ROBOT)
    assert robot.context("what next?", **ROBOT).text == before
    assert lines(robot) == {}


def test_a_line_is_made_once_and_the_next_night_goes_on_with_what_was_finished_since(open_robot):
    model = Replying(lambda operation, inputs: {"line": f"met {inputs['subgoal']}", "met": "yes"})
    memory = open_robot(llm=model.llm())
    act(memory, TASK)
    memory.sleep(**ROBOT)
    assert [inputs["subgoal"] for _, inputs in model.asked] == ["find the key", "open the cellar"]
    assert memory.sleep(**ROBOT).op is None
    act(memory, [("leave", "go out", "you are outside")], start=START + timedelta(hours=1))
    memory.sleep(**ROBOT)
    assert [inputs["subgoal"] for _, inputs in model.asked] == ["find the key", "open the cellar", "open the safe"]
    assert lines(memory)[3].attrs["met"] == "yes"
    assert memory.context("now?", **ROBOT).text.splitlines()[1] == "[1] find the key: met find the key"
    assert len(model.asked) == 3, "showing the memory asks nobody"


def test_a_reader_who_lets_it_gets_lines_from_the_model_and_they_are_asked_for_once(open_robot):
    model = Replying(lambda operation, inputs: {"line": "the drawer holds a note: 4711", "met": "yes"})
    memory = open_robot(llm=model.llm())
    act(memory, TASK[:3])
    for _ in range(3):
        assert "[1] find the key: the drawer holds a note: 4711" in memory.context("now?", ask=True, **ROBOT).text
    assert len(model.asked) == 1


@pytest.mark.parametrize(
    "value",
    ["I cannot help with that.", "", {"line": 3}, {"line": "x" * 999, "met": "yes"}, None,
     {"line": "The key opens vault 9931.", "met": "yes"}, {"line": "Zorblax took the key.", "met": "yes"}],
)  # fmt: skip
def test_a_model_that_invents_or_refuses_leaves_the_last_observation(open_robot, value):
    memory = open_robot(llm=Replying(lambda operation, inputs: value).llm(down_after=99))
    act(memory, TASK)
    memory.sleep(**ROBOT)
    assert {n: e.attrs["line"] for n, e in lines(memory).items()} == {
        1: "you hold the brass key",
        2: "the cellar is open",
    }
    assert "9931" not in memory.context("now?", ask=True, **ROBOT).text


def test_a_night_whose_model_is_spent_goes_on_where_it_stopped(open_robot):
    model = Replying(lambda operation, inputs: {"line": f"met {inputs['subgoal']}", "met": "yes"})
    memory = open_robot(llm=model.llm(max_calls=1))
    act(memory, TASK)
    memory.sleep(**ROBOT)
    assert list(lines(memory)) == [1]
    memory.llm.max_calls = None
    memory.sleep(**ROBOT)
    assert [e.attrs["line"] for e in lines(memory).values()] == ["met find the key", "met open the cellar"]


def test_without_a_summariser_no_model_is_asked(open_robot):
    model = Replying(lambda operation, inputs: {"line": "x", "met": "yes"})
    memory = open_robot(system=HiAgent(summariser="last"), llm=model.llm())
    act(memory, TASK)
    memory.sleep(**ROBOT)
    assert model.asked == []
    assert len(lines(memory)) == 2


def test_drifting_names_are_one_subgoal_where_the_steps_say_so(open_robot):
    memory = open_robot()
    act(memory, [("fetch the ball", "go to room b", "you are in room b")])
    act(memory, [("getting that ball", "pick", "you hold it")], start=START + timedelta(hours=1), declares=False)
    assert "[1] fetch the ball (now):" in memory.context("now?", **ROBOT).text
    assert "[2]" not in memory.context("now?", **ROBOT).text


def test_each_task_has_its_own_memory_and_its_own_numbers(robot):
    act(robot, [("water the plants", "fill the can", "the can is full")], "run-2", START + timedelta(days=1))
    assert robot.context("now?", **ROBOT).text.splitlines()[1] == "[1] water the plants (now):"
    earlier = robot.context("now?", filters={"session": "run-1"}, **ROBOT)
    assert "[3] open the safe (now):" in earlier.text
    robot.sleep(**ROBOT)
    assert sorted(e.session for e in robot.list(kinds=["summary"], **ROBOT)) == ["run-1", "run-1"]


def test_the_lines_that_are_shown_are_no_more_than_memory_says(open_robot):
    memory = open_robot(system=HiAgent(memory=2))
    act(memory, TASK)
    assert len(memory.context("now?", **ROBOT).text.splitlines()) == 3, "the heading, and two lines"


def test_what_is_no_task_is_found_as_in_any_memory(open_robot):
    memory = open_robot()
    memory.add("The bakery opens at seven", **ROBOT)
    assert "bakery" in memory.context("When does the bakery open?", threshold=0, **ROBOT).text
    assert memory.sleep(**ROBOT).op is None


def test_a_task_that_is_going_on_costs_no_line(open_robot):
    memory = open_robot()
    act(memory, TASK[:2])
    assert memory.sleep(**ROBOT).op is None


def test_forgetting_a_step_takes_it_out_of_the_folded_memory(robot):
    robot.forget(filters={"action": "walk to the safe"}, **ROBOT)
    assert "safe asks" not in robot.context("now?", **ROBOT).text
