"""Checks are marked by rule, paired before and after, corrected for their number, drawn from what is well supported."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from slowwave.ops.regression import (
    Check,
    Mark,
    at_least,
    draw,
    drawn,
    holds_any,
    holm,
    mark,
    not_worse,
    share_of,
)
from slowwave.records import Engram, Hit, Scope

ANA = {"user_id": "ana"}
NOW = datetime(2024, 6, 1, tzinfo=UTC)
CHECK = Check("Where does Ana live?", ("Oslo",), ("Rome",), "Ana", "home")
YES, NO = Mark(fresh=True, right=True, cited=True), Mark(fresh=False, right=False)


def record(text, id_="e1", **fields):
    fields = {"kind": "episode", "attrs": {"speaker": "Ana"}, **fields}
    return Engram(id_, text=text, scope=Scope(**ANA), at=NOW, recorded=NOW, **fields)


def marked(*texts, check=CHECK, said=(), **fields):
    known = {engram.id: engram for engram in said}
    hits = [Hit(record(text, **fields), 0.5) for text in texts]
    return mark(check, hits, lambda ids: {id_: known[id_] for id_ in ids if id_ in known})


def test_the_first_hit_that_answers_is_the_answer():
    assert marked("The lake froze.", "I moved to Oslo.", "I live in Rome.") == YES
    assert marked("I live in Rome.", "I moved to Oslo.") == NO
    assert marked("The lake froze.") == Mark(fresh=True, right=False)
    assert marked() == Mark(fresh=True, right=False)


def test_a_hit_that_holds_both_values_does_not_answer():
    assert marked("I moved from Rome to Oslo.", "I live in Rome.") == NO


def test_another_value_of_the_slot_is_wrong_though_nobody_named_it():
    assert marked("I live in Lima.", "I moved to Oslo.") == NO
    assert marked("Clara lives in Lima.", "I moved to Oslo.") == YES
    unslotted = Check("Where does Ana live?", ("Oslo",))
    assert marked("I live in Lima.", "I moved to Oslo.", check=unslotted) == YES


def test_a_right_answer_is_cited_where_its_source_says_so_and_is_still_there():
    fact = {"kind": "fact", "sources": ("s",)}
    turn = record("I moved to Oslo.", "s")
    assert marked("Ana's home is Oslo", said=[turn], **fact).cited is True
    assert marked("Ana's home is Oslo", said=[record("The lake froze.", "s")], **fact).cited is False
    gone = turn.with_(retired=NOW, retired_why="forgotten")
    assert marked("Ana's home is Oslo", said=[gone], **fact).cited is False
    merged = turn.with_(retired=NOW, retired_why="merged")
    assert marked("Ana's home is Oslo", said=[merged], **fact).cited is True


def test_where_nothing_is_known_an_answer_is_wrong():
    nothing = Check("Which airline did Ana fly with?")
    assert marked(check=nothing) == Mark(refused=True)
    assert marked("I live in Rome.", check=nothing) == Mark(refused=False)


def test_values_are_whole_words():
    assert holds_any("room 12", ["12"])
    assert not holds_any("room 123", ["12"])
    assert not holds_any("£12", ["12"])
    assert holds_any("at 9:15 (they say)", ["9:15"])


def test_a_check_is_asked_while_its_gold_is_true():
    check = Check("Where?", ("Rome",), since=NOW, until=NOW + timedelta(days=5))
    assert not check.applies(NOW - timedelta(days=1))
    assert check.applies(NOW)
    assert not check.applies(NOW + timedelta(days=5))
    assert check.name != Check("Where?", ("Oslo",), since=NOW + timedelta(days=5)).name


def pairs(worse, better, same=10):
    before = [YES] * worse + [NO] * better + [YES] * same
    after = [NO] * worse + [YES] * better + [YES] * same
    return dict(enumerate(before)), dict(enumerate(after))


def test_worse_answers_speak_against_a_change_from_alpha_on():
    assert not_worse(*pairs(0, 0), alpha=1.0).holds
    assert not not_worse(*pairs(1, 0), alpha=1.0).holds
    assert not_worse(*pairs(2, 2), alpha=1.0).holds
    assert not_worse(*pairs(3, 1), alpha=0.1).holds
    assert not not_worse(*pairs(7, 0), alpha=0.1).holds
    assert not_worse(*pairs(0, 7), alpha=1.0).holds


def test_an_answer_that_is_crowded_out_counts_where_chance_is_ruled_out():
    gone = Mark(fresh=True, right=False)
    before = dict.fromkeys(range(12), YES)
    assert not_worse(before, {n: gone if n < 2 else YES for n in range(12)}, 1.0).holds
    assert not not_worse(before, {n: gone if n < 8 else YES for n in range(12)}, 1.0).holds


def test_the_numbers_are_told():
    ruling = not_worse(*pairs(2, 1), alpha=1.0)
    assert (ruling.tests["right"].worse, ruling.tests["right"].better, ruling.tests["right"].of) == (2, 1, 13)
    assert "right: 2 of 13 worse, 1 better" in ruling.reason
    assert not_worse({}, {}, 1.0).holds


def test_one_lost_citation_among_right_answers_is_chance_and_many_are_not():
    lost = Mark(fresh=True, right=True, cited=False)
    assert not_worse(dict.fromkeys(range(10), YES), {n: lost if n < 1 else YES for n in range(10)}, 1.0).holds
    assert not not_worse(dict.fromkeys(range(10), YES), {n: lost if n < 8 else YES for n in range(10)}, 1.0).holds


def test_overturning_far_more_drawn_checks_than_usual_speaks_against_a_batch():
    before, after = pairs(0, 0, same=10)
    assert not_worse(before, after, 0.01, overturned=3, rate=0.2).holds
    assert not not_worse(before, after, 0.01, overturned=14, rate=0.2).holds


def test_several_p_values_are_corrected():
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx({"a": 0.03, "c": 0.06, "b": 0.06})
    assert holm({"a": 0.7, "b": 0.9}) == {"a": 1.0, "b": 1.0}


def test_the_tail_of_a_binomial_is_exact():
    assert at_least(0, 5, 0.3) == pytest.approx(1.0)
    assert at_least(2, 2, 0.5) == pytest.approx(0.25)
    assert at_least(1, 3, 0.0) == 0.0


def test_a_share_of_the_checks_is_the_same_every_time_and_grows():
    checks = [Check(f"Question {n}?", ("x",)) for n in range(20)]
    part = share_of(checks, 0.25)
    assert len(part) == 5
    assert share_of(list(reversed(checks)), 0.25) == part
    assert set(part) <= set(share_of(checks, 0.5))
    assert share_of([], 0.25) == []


def test_a_check_is_drawn_from_a_fact_with_a_slot_while_it_holds():
    slot = {"subject": "Ana", "attribute": "home", "value": "Oslo"}
    fact = record("Ana's home is Oslo", "f", kind="fact", attrs=slot)
    check = drawn(fact)
    assert check is not None
    assert (check.question, check.gold, check.fact, check.name) == ("What is Ana's home?", ("Oslo",), "f", "f")
    assert drawn(fact.with_(until=NOW)) is None
    assert drawn(fact.with_(retired=NOW)) is None
    assert drawn(record("Ana smiled", "f", kind="fact", attrs={})) is None


def test_facts_said_in_two_sessions_become_checks_and_go_when_they_end(memory):
    view = memory.store.view(Scope(**ANA))

    def night(*lines, session):
        memory.clock.pass_(days=2)
        for line in lines:
            memory.add(line, speaker="Ana", session=session, **ANA)
        return [*memory.sleep(**ANA)]

    held = draw(view, night("I live in Rome.", "I work at Acme.", session="a"), [], 2, 10)
    assert held == []
    held = draw(view, night("My home is in Rome.", session="b"), held, 2, 10)
    assert [view.get([id_])[id_].text for id_ in held] == ["Ana's home is Rome"]
    assert draw(view, night("I read a book.", session="c"), held, 2, 10) == held
    assert draw(view, night("I moved to Oslo.", session="d"), held, 2, 10) == []
    assert draw(view, [], held, 2, 10) == []
