"""SEDM: lessons earn their place in trials and their rank by use; what turns bad is demoted, what is proven spreads."""

from __future__ import annotations

from datetime import timedelta
from itertools import count

import pytest

from replying import Replying
from slowwave import Memory
from slowwave.ops.admission import Gate
from slowwave.text.sedm import SEDM

ROBOT = {"user_id": "robot"}
TASK = "Find the red mug in the kitchen"
GOOD = "Lesson: look in the dishwasher first."
BAD = "Lesson: look on the roof first."
IDLE = "Lesson: hum a tune while looking."
NUMBER = count()


def replay(task, lesson, seed):
    """Succeeds on half of the seeds; better with the good lesson, never with the bad one, as ever with the idle one."""
    chance = {None: 4, "look in the dishwasher first.": 7, "look on the roof first.": 0}.get(lesson, 4)
    return {"reward": float(seed % 8 < chance), "tokens": 100 + 10 * (lesson is not None)}


@pytest.fixture
def open_robot(clock):
    opened = []

    def open_(system=None, **options):
        options = {"embedder": "fake", "clock": clock, **options}
        opened.append(Memory(":memory:", system=system or SEDM(replay), **options))
        return opened[-1]

    yield open_
    for memory in opened:
        memory.close()


def run(memory, text, reward, task=TASK, **attrs):
    named = {"task": task, "reward": reward, **attrs}
    return memory.add(f"I searched. {text}", origin=f"run {next(NUMBER)}", attrs=named, **ROBOT).ids[0]


def lessons(memory, **options):
    return list(memory.list(kinds=["note"], **options, **ROBOT))


def test_a_lesson_is_admitted_only_if_trials_with_it_go_better(open_robot):
    memory = open_robot()
    for text, reward in ((GOOD, 1), (BAD, 1), (IDLE, 1)):
        run(memory, text, reward)
    night = memory.sleep(**ROBOT)
    assert [e.text for e in lessons(memory)] == ["look in the dishwasher first."]
    good = lessons(memory)[0]
    assert good.attrs["weight"] == pytest.approx(3 / 8 - 1e-4, abs=1e-3)
    assert good.attrs["admission"]["trials"] == 8
    assert good.attrs["admission"]["paired"] is True
    assert memory.get(good.sources[0], **ROBOT).text.endswith(GOOD)
    assert any("replay" in note for note in night.notes)


def test_what_was_refused_is_kept_out_of_view_with_its_reason_and_is_not_tried_again(open_robot):
    asked = []

    def counted(task, lesson, seed):
        asked.append(lesson)
        return replay(task, lesson, seed)

    memory = open_robot(SEDM(counted))
    run(memory, BAD, 1)
    memory.sleep(**ROBOT)
    refused = [e for e in lessons(memory, retired=True) if e.retired_why == "refused"]
    assert [e.text for e in refused] == ["look on the roof first."]
    assert refused[0].attrs["admission"]["score"] < 0
    tried = len(asked)
    run(memory, BAD, 1)
    memory.sleep(**ROBOT)
    assert len(asked) == tried, "a lesson that is tried often enough would be admitted by luck"
    assert all("roof" not in hit.text or hit.engram.kind == "episode" for hit in memory.search(TASK, **ROBOT))


def test_measured_lessons_rank_above_runs_by_likeness_times_weight(open_robot):
    memory = open_robot()
    run(memory, GOOD, 1)
    memory.sleep(**ROBOT)
    hits = memory.search(TASK, threshold=0, **ROBOT)
    assert hits[0].text == "look in the dishwasher first."
    for hit in hits:
        assert hit.score == pytest.approx(hit.channels["likeness"] * hit.channels["weight"])
    assert hits[1].channels["weight"] == 0.1


def test_many_runs_do_not_crowd_the_lesson_out(open_robot):
    memory = open_robot()
    run(memory, GOOD, 1)
    memory.sleep(**ROBOT)
    for number in range(130):
        memory.add(f"{TASK}, try {number}", **ROBOT)
    assert memory.search(TASK, threshold=0, top_k=1, **ROBOT)[0].text == "look in the dishwasher first."


def used(memory, lesson, rewards, **attrs):
    for reward in rewards:
        run(memory, "Nothing new.", reward, memories=[lesson], **attrs)
    return memory.sleep(**ROBOT)


def test_use_that_helps_raises_the_weight_and_use_that_harms_lowers_it(open_robot):
    memory = open_robot()
    for reward in (0, 1, 0, 0):
        run(memory, GOOD, reward)
    memory.sleep(**ROBOT)
    id_, before = lessons(memory)[0].id, lessons(memory)[0].attrs["weight"]
    used(memory, id_, [1, 1])
    higher = memory.get(id_, **ROBOT).attrs
    base = (1 + 8 * 0.5) / (4 + 8)  # four runs that were shown nothing, and the eight trials without it
    assert higher["weight"] == pytest.approx(before + 0.5 * (1 - base), abs=1e-3)
    assert higher["tally"]["uses"] == 2
    used(memory, id_, [0, 0])
    assert memory.get(id_, **ROBOT).attrs["weight"] < higher["weight"]


def test_a_memory_that_turns_bad_is_demoted_and_at_last_leaves_the_view(open_robot):
    memory = open_robot()
    for reward in (1, 1, 0, 1):
        run(memory, GOOD, reward)
    memory.sleep(**ROBOT)
    id_ = lessons(memory)[0].id
    used(memory, id_, [1] * 8)
    assert memory.get(id_, **ROBOT).attrs["state"] == "promoted"
    before = memory.get(id_, **ROBOT)
    used(memory, id_, [0, 1, 0, 0, 0, 0, 0])
    demoted = memory.get(id_, **ROBOT)
    assert demoted.attrs["state"] == "demoted"
    assert 0.05 < demoted.attrs["weight"] < before.attrs["weight"] / 2
    night = used(memory, id_, [0] * 8)
    assert any("turned bad" in change.reason for change in night)
    assert memory.get(id_, **ROBOT).retired_why == "demoted"
    assert all(hit.id != id_ for hit in memory.search(TASK, threshold=0, **ROBOT))
    memory.undo(night.op, **ROBOT)
    assert memory.get(id_, **ROBOT).attrs == demoted.attrs
    assert memory.get(id_, **ROBOT).retired is None


def test_two_unlucky_runs_without_it_do_not_hide_that_a_lesson_does_harm(open_robot):
    memory = open_robot()
    for reward in (0, 0):
        run(memory, GOOD, reward)
    memory.sleep(**ROBOT)
    lesson = lessons(memory)[0]
    used(memory, lesson.id, [0, 0])
    assert memory.get(lesson.id, **ROBOT).attrs["weight"] < lesson.attrs["weight"]


def test_under_the_printed_rule_a_memory_that_always_helps_a_little_loses(open_robot):
    weights = {}
    for rule in ("success rate", "printed"):
        memory = open_robot(SEDM(replay, rule=rule))
        for reward in (0.49, 0.49):
            run(memory, GOOD, reward)
        memory.sleep(**ROBOT)
        lesson = lessons(memory)[0]
        used(memory, lesson.id, [0.5] * 3)
        weights[rule] = memory.get(lesson.id, **ROBOT).attrs["weight"] - lesson.attrs["weight"]
    assert weights["success rate"] > 0 > weights["printed"]


def test_a_run_is_counted_once_even_if_a_night_looks_again(open_robot):
    memory = open_robot()
    run(memory, GOOD, 0)
    memory.sleep(**ROBOT)
    id_ = lessons(memory)[0].id
    used(memory, id_, [1, 1])
    before = memory.get(id_, **ROBOT).attrs
    memory.sleep(since="2000-01-01", **ROBOT)
    assert memory.get(id_, **ROBOT).attrs == before


def test_a_proven_lesson_spreads_as_a_copy_that_names_nobody(open_robot):
    text = "Lesson: ask Clara for the 3 keys of the kitchen."
    memory = open_robot(SEDM(lambda task, lesson, seed: 1.0 if lesson else float(seed % 2)))
    for reward in (0, 1, 0, 1):
        run(memory, text, reward)
    memory.sleep(**ROBOT)
    lesson = lessons(memory)[0]
    used(memory, lesson.id, [1] * 8)
    copy = memory.list(kinds=["skill"], **ROBOT)[0]
    assert copy.text == "ask [name 1] for the [number 1] keys of the kitchen."
    assert copy.sources == (lesson.id,)
    assert copy.attrs["weight"] == pytest.approx(0.5 * memory.get(lesson.id, **ROBOT).attrs["weight"], abs=1e-3)
    used(memory, lesson.id, [1] * 8)
    assert len(memory.list(kinds=["skill"], **ROBOT)) == 1


def test_lessons_that_say_the_same_are_one_and_one_that_says_more_takes_its_place(open_robot):
    system = SEDM(lambda task, lesson, seed: 1.0 if lesson else 0.0, merge_at=0.3)
    memory = open_robot(system, embedder="fake")
    run(memory, "Lesson: the mug is in the dishwasher.", 1)
    memory.sleep(**ROBOT)
    run(memory, "Lesson: The mug is in the dishwasher!", 1)
    memory.sleep(**ROBOT)
    assert len(lessons(memory)) == 1
    first = lessons(memory)[0]
    run(memory, "Lesson: the mug is in the dishwasher on the upper rack.", 1)
    night = memory.sleep(**ROBOT)
    assert [e.text for e in lessons(memory)] == ["the mug is in the dishwasher on the upper rack."]
    assert memory.get(first.id, **ROBOT).retired_why == "merged"
    assert first.id in lessons(memory)[0].sources
    memory.undo(night.op, **ROBOT)
    assert [e.id for e in lessons(memory)] == [first.id]


def test_two_lessons_that_differ_in_a_word_are_never_merged_on_likeness(open_robot):
    memory = open_robot(SEDM(lambda task, lesson, seed: 1.0 if lesson else 0.0, merge_at=0.0))
    run(memory, "Lesson: open the red door.", 1)
    run(memory, "Lesson: open the blue door.", 1)
    memory.sleep(**ROBOT)
    assert sorted(e.text for e in lessons(memory)) == ["open the blue door.", "open the red door."]


def test_without_replay_lessons_are_judged_by_what_was_seen_and_the_night_says_so(open_robot):
    memory = open_robot(SEDM())
    run(memory, GOOD, 1)
    first = memory.sleep(**ROBOT)
    assert lessons(memory) == []
    assert any("no replay and no model" in note for note in first.notes)
    for text, reward in ((GOOD, 1), (GOOD, 1), (BAD, 0), (BAD, 0), (BAD, 0)):
        run(memory, text, reward)
    memory.sleep(**ROBOT)
    assert [e.text for e in lessons(memory)] == ["look in the dishwasher first."]
    assert lessons(memory)[0].attrs["admission"]["paired"] is False


def test_a_model_tries_tasks_whose_answer_is_known(open_robot):
    def answer(operation, inputs):
        if operation == "lesson":
            return {"lesson": "Look in the dishwasher first."}
        return {"answer": "In the dishwasher." if "lesson" in inputs or inputs["try"] < 3 else "No idea."}

    model = Replying(answer)
    memory = open_robot(SEDM(), llm=model.llm())
    run(memory, "I looked in the dishwasher first.", 1, answer="the dishwasher")
    night = memory.sleep(**ROBOT)
    assert [e.text for e in lessons(memory)] == ["Look in the dishwasher first."]
    assert [operation for operation, _ in model.asked].count("replay") == 16
    assert any("the model tried" in note for note in night.notes)


@pytest.mark.parametrize("value", ["", "I cannot.", {"lesson": 4}, {"lesson": "Ask Zorblax for vault 9931."}, None])
def test_a_model_that_invents_or_refuses_leaves_the_lesson_of_the_rule(open_robot, value):
    memory = open_robot(SEDM(replay), llm=Replying(lambda operation, inputs: value).llm(down_after=99))
    run(memory, GOOD, 1)
    memory.sleep(**ROBOT)
    assert [e.text for e in lessons(memory)] == ["look in the dishwasher first."]


def test_a_model_that_names_somebody_in_the_abstract_is_not_believed(open_robot):
    def answer(operation, inputs):
        return {"lesson": "Ask Clara for the keys." if operation == "abstract" else "Ask Clara for the 3 keys."}

    memory = open_robot(SEDM(lambda task, lesson, seed: 1.0 if lesson else 0.0), llm=Replying(answer).llm())
    run(memory, "Ask Clara for the 3 keys.", 0)
    memory.sleep(**ROBOT)
    used(memory, lessons(memory)[0].id, [1] * 8)
    assert [e.text for e in memory.list(kinds=["skill"], **ROBOT)] == ["Ask [name 1] for the [number 1] keys."]


def test_runs_beyond_a_nights_trials_wait_for_the_next_night(open_robot):
    memory = open_robot(SEDM(lambda task, lesson, seed: 1.0 if lesson else 0.0, most=2))
    for number in range(5):
        run(memory, f"Lesson: try door {number} before the others.", 1, task=f"task {number}")
    night = memory.sleep(**ROBOT)
    assert len(lessons(memory)) == 2
    assert any("3 runs wait" in note for note in night.notes)
    memory.sleep(**ROBOT)
    memory.sleep(**ROBOT)
    assert len(lessons(memory)) == 5
    assert memory.sleep(**ROBOT).op is None


def test_a_night_whose_model_is_spent_goes_on_where_it_stopped(open_robot):
    model = Replying(lambda operation, inputs: {"lesson": "Look in the dishwasher first."})
    memory = open_robot(SEDM(replay), llm=model.llm(max_calls=1))
    run(memory, "Look in the dishwasher first.", 1)
    run(memory, "Look in the dishwasher first.", 1, task="Find the blue mug")
    memory.sleep(**ROBOT)
    memory.llm.max_calls = None
    memory.sleep(**ROBOT)
    assert [inputs["task"] for _, inputs in model.asked] == [TASK, "Find the blue mug"]


def test_undoing_a_night_with_refusals_brings_back_what_was_in_view(open_robot):
    memory = open_robot()
    run(memory, GOOD, 1)
    run(memory, BAD, 1)
    before = [e.id for e in memory.list(**ROBOT)]
    night = memory.sleep(**ROBOT)
    memory.undo(night.op, **ROBOT)
    assert [e.id for e in memory.list(**ROBOT)] == before


def test_what_is_not_used_fades(open_robot, clock):
    memory = open_robot()
    run(memory, GOOD, 1)
    memory.sleep(**ROBOT)
    before = memory.search(TASK, threshold=0, note_use=False, **ROBOT)[0].score
    clock.now += timedelta(days=40)
    memory.sleep(**ROBOT)
    assert memory.search(TASK, threshold=0, note_use=False, **ROBOT)[0].score == pytest.approx(before / 2)


@pytest.mark.parametrize("attrs", [{"task": TASK}, {"reward": 1}, {"task": " ", "reward": 1}, {"task": TASK,
                                    "reward": "good"}, {"task": 7, "reward": 1}])  # fmt: skip
def test_an_episode_without_task_or_reward_is_no_run(open_robot, attrs):
    memory = open_robot()
    memory.add(GOOD, attrs=attrs, **ROBOT)
    assert memory.sleep(**ROBOT).op is None


def test_a_gate_of_ones_own_decides(open_robot):
    memory = open_robot(SEDM(replay, gate=Gate(threshold=0.9)))
    run(memory, GOOD, 1)
    memory.sleep(**ROBOT)
    assert lessons(memory) == []
