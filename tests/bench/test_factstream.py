"""FactStream: the same seed gives the same stream, its labels are true, its score tells good from bad."""

from __future__ import annotations

from collections import Counter, defaultdict

import pytest

from slowwave.bench.factstream import FactStream, Half, render, score, states_value
from slowwave.bench.factstream_words import ASKED, CAUSES, CHANGES, CHATTER, EVENTS, PEOPLE, POOLS, STATES, TRAPS, WHY
from slowwave.errors import InputError
from slowwave.ops.compare import compare


def test_equal_seeds_give_equal_streams_and_others_do_not() -> None:
    assert FactStream(seed=3).turns == FactStream(seed=3).turns
    assert FactStream(seed=3).questions == FactStream(seed=3).questions
    assert FactStream(seed=3).turns != FactStream(seed=4).turns


def test_halves_share_no_template() -> None:
    forms = {half: {t.form for t in FactStream(half=half, people=6).turns if t.form} for half in ("tuning", "held-out")}
    assert not forms["tuning"] & forms["held-out"]
    assert sum(len(f) for table in (STATES, CHANGES, TRAPS) for f in table.values()) >= 100


def test_turns_are_in_order_and_every_value_is_of_one_fact_alone() -> None:
    stream = FactStream(seed=1, people=6, sessions=20)
    assert [t.at for t in stream.turns] == sorted(t.at for t in stream.turns)
    owners = defaultdict(set)
    for turn in stream.turns:
        if turn.value:
            assert states_value(turn.text, turn.value)
            owners[turn.value].add((turn.person, turn.attribute, turn.label == "trap"))
    assert max(map(len, owners.values())) == 1
    words = [value for pool in POOLS.values() for value in pool.split()]
    assert len(words) == len(set(words))


def test_a_repeat_says_the_value_that_holds_then() -> None:
    stream = FactStream(seed=2, people=4)
    repeats = [t for t in stream.turns if t.label == "repeats"]
    assert repeats
    for turn in repeats:
        held = [value for since, value in stream.values(turn.person, turn.attribute) if since <= turn.at]
        assert turn.value == held[-1]


def test_questions_have_the_right_gold_and_evidence() -> None:
    stream = FactStream(seed=5, people=4)
    said = {t.origin: t for t in stream.turns}
    assert {q.kind for q in stream.questions} == {"current", "at_date", "history", "never_said"}
    for q in stream.questions:
        line = stream.values(q.person, q.attribute)
        if q.kind == "never_said":
            assert not line
            assert not q.gold
            continue
        assert {said[origin].value for origin in q.evidence} == set(q.gold)
        if q.kind == "at_date":
            assert q.as_of is not None
            assert q.gold == ([value for since, value in line if since <= q.as_of][-1],)


def test_templates_speak_in_both_persons() -> None:
    assert render("{I} [live|lives] in {v}.", "I", "Oslo") == "I live in Oslo."
    assert render("{I} [live|lives] in {v}.", "Anna", "Oslo") == "Anna lives in Oslo."
    assert render("{my} job is {a} {v}.", "I", "editor") == "My job is an editor."
    assert render("{v} is {my} favourite colour.", "Anna", "red") == "Red is Anna's favourite colour."


def test_a_perfect_memory_scores_perfectly_and_a_hoarder_is_stale() -> None:
    stream = FactStream(seed=6, people=4)
    said = {t.origin: t.text for t in stream.turns}
    perfect = {q.id: [said[o] for o in q.evidence] for q in stream.questions}
    best = score(stream, perfect, [])
    assert best == {
        "stale_rate": 0, "lost_rate": 0, "evidence_lost_rate": 0, "at_date_right": 1, "history_whole": 1,
        "invented_rate": 0, "duplicate_rate": 0,
    }  # fmt: skip
    facts = {(t.person, t.attribute): [] for t in stream.turns if t.attribute}
    for turn in stream.turns:
        if turn.attribute and turn.label != "trap":
            facts[turn.person, turn.attribute].append(turn.text)
    hoard = {q.id: facts.get((q.person, q.attribute), []) or ["anything"] for q in stream.questions}
    worst = score(stream, hoard, [t.text for t in stream.turns])
    changed = sum(len(stream.values(q.person, q.attribute)) > 1 for q in stream.questions if q.kind == "current")
    assert worst["stale_rate"] == changed / sum(q.kind == "current" for q in stream.questions) > 0.4
    assert worst["lost_rate"] == 0
    assert worst["invented_rate"] == 1
    repeats = Counter(t.label for t in stream.turns)
    stated = repeats["states"] + repeats["changes"] + repeats["repeats"]
    assert worst["duplicate_rate"] == pytest.approx(repeats["repeats"] / stated)
    assert score(stream, {})["lost_rate"] == 1


def test_causes_leave_every_other_turn_and_question_as_it_is() -> None:
    plain, told = FactStream(seed=4, half="held-out"), FactStream(seed=4, half="held-out", causes=0.6)
    assert [q for q in told.questions if q.kind != "cause"] == plain.questions
    same = [t for t in told.turns if not t.cause]
    kept = {t.origin: t for t in plain.turns}
    assert all(kept[t.origin] == t for t in same)
    assert [t.at for t in told.turns] == sorted(t.at for t in told.turns)
    assert not any(t.cause for t in plain.turns)


def test_a_cause_is_stated_with_its_change_and_asked_for_by_the_value_it_ended() -> None:
    stream = FactStream(seed=4, half="held-out", causes=0.6)
    asked = [q for q in stream.questions if q.kind == "cause"]
    said = {t.origin: t for t in stream.turns}
    labels = Counter(tuple(said[o].label for o in q.evidence) for q in asked)
    assert labels.keys() == {("changes",), ("event", "changes")}
    for q in asked:
        change = said[q.evidence[-1]]
        line = [value for _, value in stream.values(q.person, q.attribute)]
        assert states_value(change.text, q.gold[0])
        assert states_value(q.text, line[line.index(change.value) - 1])
        assert all(states_value(said[o].text, q.gold[0]) for o in q.evidence)
        assert all(said[o].at < change.at for o in q.evidence[:-1])
    changes = sum(t.label == "changes" for t in stream.turns)
    assert 0.4 * changes < len(asked) < 0.8 * changes
    assert all(t.cause for t in FactStream(seed=4, causes=1.0, people=2).turns if t.label == "changes")


def test_no_cause_stands_in_any_template_or_among_the_values() -> None:
    forms = [f for table in (STATES, CHANGES, TRAPS) for group in table.values() for f in group]
    other = " ".join([*forms, *CHATTER, *EVENTS, *ASKED.values(), *WHY.values(), *POOLS.values()])
    causes = CAUSES.split()
    assert len(causes) == len(set(causes)) == 60
    assert not [cause for cause in causes if states_value(other, cause)]


def test_an_answer_that_names_the_cause_is_right_and_one_that_does_not_is_wrong() -> None:
    stream = FactStream(seed=6, people=4, causes=0.5)
    said = {t.origin: t.text for t in stream.turns}
    assert score(stream, {q.id: [said[o] for o in q.evidence] for q in stream.questions})["cause_right"] == 1
    values_only = {q.id: list(q.gold) for q in stream.questions if q.kind != "cause"}
    assert score(stream, values_only)["cause_right"] == 0
    assert "cause_right" not in score(FactStream(seed=6, people=4), values_only)


@pytest.mark.parametrize("half", ["tuning", "held-out"])
def test_compare_never_merges_a_trap_or_a_change(half: Half) -> None:
    """Floors well below what was measured over five seeds; a false merge or a false change is never allowed."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for seed in range(2):
        for pair in FactStream(seed=seed, half=half).pairs(600):
            found[pair.gold][compare(pair.old, pair.new, 0.8).outcome] += 1
    assert found["new"].keys() <= {"new", "unsure"}
    assert found["supersedes"]["restates"] == 0
    assert found["restates"]["supersedes"] == 0
    assert found["supersedes"]["supersedes"] >= 0.3 * found["supersedes"].total()


def test_bad_sizes_are_named() -> None:
    with pytest.raises(InputError, match=f"1 to {len(PEOPLE)}"):
        FactStream(people=99)
