"""DMM Gov: a bad batch is caught on the canary slice and kept out, good ones pass, damage seen later is taken back."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from slowwave import Memory
from slowwave.errors import InputError
from slowwave.models.fakes import TROUBLEMAKERS
from slowwave.models.llm import LLM
from slowwave.ops.governance import audit
from slowwave.ops.ledger import Ledger, state_hash, state_of
from slowwave.ops.lifecycle import move, status_of
from slowwave.ops.regression import Check, share_of
from slowwave.records import Change, Item, Scope
from slowwave.store.base import Operation, Want
from slowwave.store.ids import new_id
from slowwave.text import resolve_system
from slowwave.text.default import DefaultMemory
from slowwave.text.dmm_gov import DmmGov

ANA = {"user_id": "ana"}
START = datetime(2024, 1, 1, 9, tzinfo=UTC)
FACTS = {
    "home": ("Rome", "I live in {}."),
    "employer": ("Acme", "I work at {}."),
    "favourite colour": ("green", "My favourite colour is {}."),
}
CHECKS = [Check(f"What is Ana's {name}?", (value,), (), "Ana", name) for name, (value, _) in FACTS.items()]
GOOD = [form.format(value) for value, form in FACTS.values()]
BAD = ["I now live in Lima.", "I now work at Hooli.", "My favourite colour is now black."]


@pytest.fixture
def clock():
    return [START]


@pytest.fixture
def make(clock):
    opened = []

    def open_(system=None, **options):
        system = system or DmmGov(checks=CHECKS)
        opened.append(
            Memory(":memory:", embedder="fake", system=system, clock=lambda: clock[0], durable=False, **options)
        )
        return opened[-1]

    yield open_
    for memory in opened:
        memory.close()


def tell(memory, clock, *lines, session, day, sleep=True):
    clock[0] = START + timedelta(days=day)
    turns = [
        Item(line, speaker="Ana", at=clock[0] + timedelta(minutes=n), session=session) for n, line in enumerate(lines)
    ]
    memory.add(turns, **ANA)
    clock[0] += timedelta(hours=12)
    return memory.sleep(**ANA) if sleep else None


def state(memory):
    return memory.store.view(Scope(**ANA)).cursor("dmm-gov").state


def verdicts(memory):
    return [(decision["batch"], decision["verdict"], decision["stage"]) for decision in state(memory)["decisions"]]


def home(memory):
    return memory.search("What is Ana's home?", threshold=0, **ANA)[0].text


# -- canary


def test_a_bad_batch_is_turned_down_on_the_canary_slice_and_nothing_is_made_of_it(make, clock):
    memory = make()
    tell(memory, clock, *GOOD, session="good", day=0)
    report = tell(memory, clock, *BAD, session="bad", day=5)
    assert verdicts(memory) == [("good", "admitted", 1.0), ("bad", "turned down", 0.25)]
    assert "Rome" in home(memory)
    assert any("bad: turned down: fresh: 1 of 1 worse" in note for note in report.notes)
    assert not any(e.sources and e.session == "bad" for e in memory.list(limit=None, **ANA))
    said = [e for e in memory.list(retired=True, limit=None, **ANA) if e.text in BAD]
    assert [status_of(e) for e in said] == ["archived"] * 3


def test_the_same_batch_ungoverned_changes_the_answer(make, clock):
    memory = make(DefaultMemory())
    tell(memory, clock, *GOOD, session="good", day=0)
    tell(memory, clock, *BAD, session="bad", day=5)
    assert "Lima" in home(memory)


def test_a_good_batch_of_the_same_night_is_let_in_as_if_the_bad_one_had_not_come(make, clock):
    memory, plain = make(), make(DefaultMemory())
    for one in (memory, plain):
        tell(one, clock, *GOOD, session="good", day=0)
    tell(memory, clock, *BAD, session="bad", day=5, sleep=False)
    for one in (memory, plain):
        tell(one, clock, "I adopted a cat named Miso.", "I now drive a Volvo.", session="more", day=6)
    assert verdicts(memory)[1:] == [("more", "admitted", 1.0), ("bad", "turned down", 0.25)]
    mine, theirs = (sorted((e.kind, e.text, str(e.until)) for e in m.list(limit=None, **ANA)) for m in (memory, plain))
    assert mine == theirs


def test_a_change_that_the_gold_knows_of_passes(make, clock):
    checks = [replace(c, until=START + timedelta(days=5)) if c.attribute == "home" else c for c in CHECKS]
    checks.append(Check("What is Ana's home?", ("Oslo",), (), "Ana", "home", since=START + timedelta(days=5)))
    memory = make(DmmGov(checks=checks))
    tell(memory, clock, *GOOD, session="good", day=0)
    tell(memory, clock, "I moved to Oslo.", session="move", day=5)
    assert verdicts(memory)[-1] == ("move", "admitted", 1.0)
    assert "Oslo" in home(memory)


def test_what_does_no_harm_on_the_slice_is_caught_on_the_whole_set(make, clock):
    memory = make()
    tell(memory, clock, *GOOD, session="good", day=0)
    harm = {"home": BAD[0], "employer": BAD[1], "favourite colour": BAD[2]}
    (slice_,) = share_of(CHECKS, 0.25)
    outside = next(name for name in harm if name != slice_.attribute)
    tell(memory, clock, harm[outside], session="bad", day=5)
    assert verdicts(memory)[-1] == ("bad", "turned down", 1.0)


def test_a_question_on_which_nothing_is_known_must_stay_unanswered(make, clock):
    memory = make(DmmGov(checks=[*CHECKS, Check("Which airline did the zebra fly with?")]))
    tell(memory, clock, *GOOD, session="good", day=0)
    tell(memory, clock, "The zebra did fly with the airline Zebrair.", session="zebra", day=5)
    assert verdicts(memory)[-1][:2] == ("zebra", "turned down")
    assert "refused: 1 of 1 worse" in state(memory)["decisions"][-1]["reason"]


# -- rollback


def damage(memory, clock):
    """Somebody ends and hides, in one operation that the governed system seems to have done, what checks rest on."""
    view = memory.store.view(Scope(**ANA))
    now = clock[0] = clock[0] + timedelta(hours=1)
    gone = view.select(Want())
    changes = [
        Change("retire", e.id, "", fields={"retired": now, "retired_why": "merged"}, sources=(e.id,)) for e in gone
    ]
    cursor = view.cursor("dmm-gov")
    told = {**cursor.state, "night": now.isoformat()}
    operation = Operation(new_id(), "sleep", view.scope, now, system="dmm-gov", cursor=replace(cursor, state=told))
    assert memory.store.apply(operation, changes, {}).op
    return operation.id


def many_checks():
    names = ("car", "boss", "dog", "cat", "brother", "sister")
    values = ("Volvo", "Karen", "Rex", "Miso", "Paolo", "Clara")
    lines = [f"My {name} is called {value}." for name, value in zip(names, values, strict=True)]
    checks = [Check(f"What is my {name} called?", (value,)) for name, value in zip(names, values, strict=True)]
    return lines, checks


def test_damage_that_shows_only_afterwards_is_rolled_back_to_the_earlier_hash(make, clock):
    lines, checks = many_checks()
    memory = make(DmmGov(checks=checks))
    tell(memory, clock, *lines, session="good", day=0)
    tell(memory, clock, "The lake froze.", session="lake", day=2)
    view = memory.store.view(Scope(**ANA))
    before = state_hash(state_of(view))
    op = damage(memory, clock)
    assert state_hash(state_of(view)) != before
    clock[0] += timedelta(days=1)
    report = memory.sleep(**ANA)
    assert state_hash(state_of(view)) == before
    assert verdicts(memory)[-1] == (op, "rolled back", 1.0)
    assert any(note.startswith(f"rolled back {op}") for note in report.notes)
    clock[0] += timedelta(days=1)
    memory.sleep(**ANA)
    assert [v for _, v, _ in verdicts(memory)].count("rolled back") == 1


def test_nothing_is_rolled_back_where_answers_stay(make, clock):
    lines, checks = many_checks()
    memory = make(DmmGov(checks=checks))
    for day, line in enumerate((*lines, "The lake froze.", "It rained.")):
        tell(memory, clock, line, session=f"s{day}", day=day)
    assert {verdict for _, verdict, _ in verdicts(memory)} == {"admitted"}


def test_undoing_the_night_brings_back_what_was_turned_down(make, clock):
    memory = make()
    tell(memory, clock, *GOOD, session="good", day=0)
    clock[0] = START + timedelta(days=5)
    memory.add([Item(line, speaker="Ana", at=clock[0], session="bad") for line in BAD], **ANA)
    before = state_hash(state_of(memory.store.view(Scope(**ANA))))
    clock[0] += timedelta(hours=12)
    report = memory.sleep(**ANA)
    memory.undo(report.op, **ANA)
    assert state_hash(state_of(memory.store.view(Scope(**ANA)))) == before


def test_a_record_that_was_turned_down_can_be_restored(make, clock):
    memory = make()
    tell(memory, clock, *GOOD, session="good", day=0)
    tell(memory, clock, *BAD, session="bad", day=5)
    held = next(e for e in memory.list(retired=True, limit=None, **ANA) if e.text == BAD[0])
    change = move(held, "activated", clock[0], "it was right after all")
    memory.store.apply(Operation(new_id(), "restore", Scope(**ANA), clock[0]), [change], {})
    assert any(hit.id == held.id for hit in memory.search("Lima", threshold=0, **ANA))


# -- audit


def test_the_audit_replays_and_names_what_was_kept_out(make, clock):
    memory = make()
    view = memory.store.view(Scope(**ANA))
    tell(memory, clock, *GOOD, session="good", day=0)
    then, moment = state_hash(state_of(view)), clock[0]
    tell(memory, clock, *BAD, session="bad", day=5)
    told = audit(view, "dmm-gov")
    assert told["faults"] == []
    assert told["hash"] == state_hash(state_of(view))
    assert [decision["verdict"] for decision in told["decisions"]] == ["admitted", "turned down"]
    assert {memory.get(id_, **ANA).text for id_ in told["turned_down"]} == set(BAD)
    assert state_hash(Ledger.read(view).at(moment)) == then


def test_erasing_reaches_what_was_turned_down_and_what_was_derived(make, clock):
    memory = make()
    tell(memory, clock, *GOOD, session="good", day=0)
    tell(memory, clock, *BAD, session="bad", day=5)
    receipt = memory.erase(subject="Ana", **ANA)
    assert receipt.clean
    view = memory.store.view(Scope(**ANA))
    assert Ledger.read(view).now.records == {}
    assert audit(view, "dmm-gov")["turned_down"] == []


# -- what is governed


def test_without_checks_they_are_drawn_from_what_is_said_in_two_sessions(make, clock):
    memory = make(DmmGov())
    tell(memory, clock, "I live in Rome.", session="a", day=0)
    assert state(memory)["drawn"] == []
    tell(memory, clock, "My home is in Rome.", session="b", day=1)
    (id_,) = state(memory)["drawn"]
    assert memory.get(id_, **ANA).attrs["value"] == "Rome"
    tell(memory, clock, "I moved to Oslo.", session="c", day=2)
    assert state(memory)["drawn"] == []
    assert "Oslo" in home(memory)


@pytest.mark.parametrize("inner", ["default", "memos"])
def test_where_nothing_is_turned_down_the_night_is_the_inner_system_s(make, clock, inner):
    mine, theirs = make(DmmGov(inner, checks=CHECKS)), make(resolve_system(inner))
    for memory in (mine, theirs):
        tell(memory, clock, *GOOD, session="a", day=0)
        tell(memory, clock, "I now drive a Volvo.", "The lake froze.", session="b", day=4)
    tables = [sorted((e.kind, e.text, str(e.until)) for e in m.list(limit=None, **ANA)) for m in (mine, theirs)]
    assert tables[0] == tables[1]
    found = [[hit.text for hit in m.search("What does Ana drive?", threshold=0, **ANA)] for m in (mine, theirs)]
    assert found[0] == found[1]


def test_the_inner_system_keeps_its_own_place(make, clock):
    memory = make(DmmGov("memos"))
    tell(memory, clock, *GOOD, session="a", day=0)
    assert set(state(memory)["inner"]["working"]) <= {e.id for e in memory.list(limit=None, **ANA)}
    assert state(memory)["inner"]["working"]


def test_a_hit_whose_sources_are_all_gone_is_not_given(make, clock):
    memory = make()
    tell(memory, clock, *GOOD, session="good", day=0)
    fact = next(e for e in memory.list(kinds=["fact"], **ANA) if "Rome" in e.text)
    change = Change("forget", fact.sources[0], "", fields={"retired": clock[0], "retired_why": "forgotten"})
    memory.store.apply(Operation(new_id(), "forget", Scope(**ANA), clock[0]), [change], {})
    hits = memory.search("What is Ana's home?", threshold=0, **ANA)
    assert fact.id not in [hit.id for hit in hits]
    assert hits.trace["governance"]["uncited"] >= 1


@pytest.mark.parametrize("trouble", sorted(set(TROUBLEMAKERS) - {"slow"}))
def test_a_model_that_makes_trouble_gets_nothing_past_the_checks(make, clock, trouble):
    memory = make(llm=LLM(TROUBLEMAKERS[trouble](), wait=lambda seconds: None))
    tell(memory, clock, *GOOD, session="good", day=0)
    tell(memory, clock, "The lake froze.", session="lake", day=3)
    assert "Rome" in home(memory)
    assert {e.text for e in memory.list(kinds=["episode"], limit=None, **ANA)} == {*GOOD, "The lake froze."}


def test_wrong_arguments_are_refused():
    with pytest.raises(InputError, match="dmm-gov itself"):
        DmmGov(DmmGov())
    for stages in ((), (0.0, 1.0), (1.0, 0.5), (0.5, 1.5)):
        with pytest.raises(InputError, match="stages"):
            DmmGov(stages=stages)
    with pytest.raises(InputError, match="same name"):
        DmmGov(checks=[CHECKS[0], CHECKS[0]])
