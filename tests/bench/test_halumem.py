"""The chats know their truth and distractors; marks are given by slot and value; a run goes on where it stopped."""

from __future__ import annotations

import json
from collections import Counter
from datetime import timedelta

import pytest

from slowwave.bench import BENCHMARKS, halumem
from slowwave.bench.chats import ASSISTANT, Chats
from slowwave.bench.factstream import states_value
from slowwave.bench.halumem_scores import Book, answered, claims_it, holds, verdict_on
from slowwave.bench.truth_pairs import oracle
from slowwave.errors import InputError
from slowwave.models.llm import LLM
from slowwave.ops.extraction import facts_prompt
from slowwave.records import Engram, Scope


@pytest.fixture(scope="module")
def user():
    return Chats(seed=2, half="held-out")


def record(text, turn, id_="", kind="fact", **fields):
    attrs = fields.pop("attrs", {})
    at = turn.at + timedelta(hours=1)
    return Engram(id_ or text, kind, text, Scope(user_id="u"), at, at, attrs=attrs, **fields)


def perfect(user, turn):
    attrs = {"subject": user.user, "attribute": turn.attribute, "value": turn.value}
    return record(f"{user.user}'s {turn.attribute} is {turn.value}.", turn, attrs=attrs)


# -- the chats


def test_equal_arguments_give_equal_chats(user):
    again = Chats(seed=2, half="held-out")
    assert [(t.text, t.at, t.label) for t in again.turns] == [(t.text, t.at, t.label) for t in user.turns]
    assert again.questions == user.questions
    assert Chats(seed=3).user != user.user


def test_there_are_twenty_chats_in_order_and_the_assistant_answers_in_each(user):
    assert len(user.chats()) == 20
    assert [t.at for t in user.turns] == sorted(t.at for t in user.turns)
    assert len({t.origin for t in user.turns}) == len(user.turns)
    for chat in user.chats():
        assert {t.speaker for t in user.turns if t.session == chat} == {user.user, ASSISTANT}
    assert "Anna" not in " ".join(t.text + t.speaker for t in user.turns)


def test_a_distractor_claims_a_value_that_nobody_stated(user):
    claims = [t for t in user.turns if t.label == "claim"]
    stated = [t for t in user.turns if t.label in ("states", "changes", "repeats")]
    assert len(claims) >= 10
    assert {t.speaker for t in claims} == {ASSISTANT}
    assert {t.value for t in claims}.isdisjoint(t.value for t in stated)
    assert all(states_value(t.text, t.value) for t in claims)
    assert all(states_value(t.text, t.value) for t in user.turns if t.label == "echo")


def test_what_was_claimed_is_wrong_in_the_questions_about_it(user):
    kinds = Counter(question.kind for question in user.questions)
    assert {"current, contested", "at_date", "history"} <= set(kinds)
    for question in user.questions:
        claimed = user.contested.get(question.attribute, [])
        assert set(claimed) <= set(question.wrong)
        assert set(question.gold).isdisjoint(question.wrong)


def test_a_user_s_chats_are_of_one_person():
    with pytest.raises(InputError, match="people is 2"):
        Chats(people=2)


def test_the_oracle_draws_what_the_user_said_and_no_claim(user):
    chat = user.distractors(user.chats()[4])[0].session if user.distractors(user.chats()[4]) else user.chats()[0]
    said = [t for t in user.turns if t.session == chat]
    engrams = [
        Engram(t.origin, "episode", t.text, Scope(user_id="u"), t.at, t.at, attrs={"speaker": t.speaker}) for t in said
    ]
    answer = LLM(oracle(user)).ask(facts_prompt(engrams))
    assert answer.ok
    stated = [t.value for t in said if t.label in ("states", "changes", "repeats")]
    assert [item["value"] for item in answer.value["items"]] == stated


# -- extraction


def walked(user, memories):
    """A Book after all chats, where `memories(chat)` gives what is in view after each."""
    book = Book(user)
    for chat in user.chats():
        book.after(chat, memories(chat))
    return book


def so_far(user, chat, labels):
    chats = user.chats()
    return [t for t in user.turns if t.label in labels and chats.index(t.session) <= chats.index(chat)]


def test_a_perfect_memory_has_perfect_scores(user):
    def memories(chat):
        latest = {t.attribute: t for t in so_far(user, chat, ("states", "changes"))}
        return [perfect(user, t) for t in latest.values()]

    book = walked(user, memories)
    scores = book.extraction()
    measures = ("recall", "weighted", "precision", "accuracy", "resistance", "f1")
    assert [scores[name] for name in measures] == [pytest.approx(1.0)] * 6
    assert book.updating() == {"correct": 1.0, "hallucinated": 0.0, "omitted": 0.0, "old beside new": 0.0}


def test_a_memory_of_nothing_recalls_nothing_and_resists_everything(user):
    book = walked(user, lambda chat: [])
    scores = book.extraction()
    assert (scores["recall"], scores["resistance"], scores["precision"], scores["stored"]) == (0.0, 1.0, None, 0.0)
    assert book.updating()["omitted"] == 1.0


def test_a_memory_of_everything_recalls_all_and_resists_nothing(user):
    def memories(chat):
        return [
            record(f"{t.speaker}: {t.text}", t, t.origin, "note")
            for t in so_far(user, chat, ("states", "changes", "claim", "chatter"))
        ]

    book = walked(user, memories)
    scores = book.extraction()
    assert scores["recall"] == 1.0
    assert scores["resistance"] == 0.0
    assert scores["accuracy"] < scores["precision"] < 1.0
    assert book.updating()["correct"] == 0.0
    assert book.updating()["old beside new"] > 0.5


def test_raw_turns_are_no_memories(user):
    raw = walked(user, lambda chat: [record(t.text, t, t.origin, "episode") for t in so_far(user, chat, ("states",))])
    assert raw.extraction()["recall"] == 0.0
    assert raw.stored == 0


def test_a_value_without_its_owner_is_half_and_a_denied_one_nothing(user):
    turn = next(t for t in user.turns if t.label == "states")
    book = Book(user)
    assert book.score(record(f"It is {turn.value}.", turn), turn) == 1
    assert book.score(record(f"{user.user} said {turn.value}.", turn), turn) == 2
    assert book.score(record(f"{user.user} does not have {turn.value}.", turn), turn) == 0
    assert book.score(record("Nothing.", turn), turn) == 0


def test_a_false_claim_or_a_made_up_value_in_a_slot_counts_as_wrong(user):
    claim = next(t for t in user.turns if t.label == "claim")
    book = Book(user, claimed=[claim])
    assert claims_it(record(f"{user.user}'s {claim.attribute} is {claim.value}.", claim), claim)
    assert book.worth(perfect(user, claim)) == (0, True)
    invented = {"subject": user.user, "attribute": "home", "value": "Atlantis"}
    assert book.worth(record(f"{user.user}'s home is Atlantis.", claim, attrs=invented)) == (0, True)
    assert book.worth(record("The weather was fine.", claim)) == (0, False)


def test_updates_are_told_apart(user):
    new = next(t for t in user.turns if t.label == "changes")
    old = next(t for t in user.turns if t.attribute == new.attribute and t.label == "states")
    claim = next(t for t in user.turns if t.label == "claim")
    book = Book(user, said=[old, new], claimed=[claim])
    was, now = perfect(user, old), perfect(user, new)
    assert book.updated(new, [now]) == "correct"
    assert book.updated(new, [now, was.with_(until=new.at)]) == "correct"
    assert book.updated(new, [now, was]) == "old beside new"
    assert book.updated(new, [was]) == "omitted"
    assert book.updated(new, [now, was.with_(kind="summary")]) == "correct"
    assert book.updated(new, [now, was.with_(kind="note", attrs={"name": old.value})]) == "correct"
    wrong = {"subject": user.user, "attribute": new.attribute, "value": "Nonsense"}
    assert book.updated(new, [now, record("Nonsense.", new, attrs=wrong)]) == "hallucinated"


def test_denials_are_read_up_to_the_value_and_no_further():
    assert holds("Ana lives in Oslo.", "Oslo")
    assert not holds("Ana does not live in Oslo.", "Oslo")
    assert not holds("Ana no longer lives in Oslo.", "Oslo")
    assert holds("Ana did not like Rome. She lives in Oslo.", "Oslo")


# -- answering


def test_the_first_value_that_is_given_decides(user):
    question = next(q for q in user.questions if q.kind == "current, contested" and q.wrong)
    right, wrong = f"It is {question.gold[0]}.", f"It is {question.wrong[0]}."
    assert verdict_on(user, question, [right, wrong]) == "correct"
    assert verdict_on(user, question, [wrong, right]) == "hallucinated"
    assert verdict_on(user, question, ["Nothing."]) == verdict_on(user, question, []) == "omitted"


def test_a_history_must_be_whole(user):
    question = next(q for q in user.questions if q.kind == "history" and len(q.gold) > 1)
    assert verdict_on(user, question, list(question.gold)) == "correct"
    assert verdict_on(user, question, question.gold[:1]) == "omitted"


def test_where_nothing_was_said_a_claim_or_a_trap_is_a_hallucination():
    user = next(c for c in map(Chats, range(20)) if any(q.kind == "never_said, contested" for q in c.questions))
    question = next(q for q in user.questions if q.kind == "never_said, contested")
    assert verdict_on(user, question, []) == "correct"
    assert verdict_on(user, question, ["The weather was fine."]) == "correct"
    assert verdict_on(user, question, [f"It is {question.wrong[0]}."]) == "hallucinated"


def test_shares_add_up(user):
    answers = {q.id: list(q.gold) for q in user.questions}
    scores = answered(user, answers)
    assert scores["correct"] == 1.0
    mixed = answered(user, {q.id: (q.gold if n % 2 else q.wrong) for n, q in enumerate(user.questions)})
    assert sum(mixed[name] for name in ("correct", "hallucinated", "omitted")) == pytest.approx(1.0)


# -- the run


def test_a_run_that_was_stopped_goes_on_where_it_was(tmp_path, monkeypatch):
    monkeypatch.setenv("SLOWWAVE_CACHE", str(tmp_path / "cache"))
    out, real, done = tmp_path / "h.json", halumem._system, []

    def measured(name, *rest):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(name)
        return real(name, *rest)

    monkeypatch.setattr(halumem, "_system", measured)
    with pytest.raises(KeyboardInterrupt):
        BENCHMARKS["halumem"](quick=True, out=out).run()
    assert not out.exists()
    monkeypatch.setattr(halumem, "_system", lambda name, *rest: done.append(name) or real(name, *rest))
    result = BENCHMARKS["halumem"](quick=True, out=out).run()
    assert done == ["default", "default", "memos", "memos"]
    assert json.loads(out.read_text())["rows"].keys() == result["rows"].keys()
    assert list(tmp_path.glob("*.part")) == []


def test_systems_can_be_named_and_a_perfect_model_beats_the_rules(tmp_path, monkeypatch):
    monkeypatch.setenv("SLOWWAVE_CACHE", str(tmp_path / "cache"))
    result = BENCHMARKS["halumem"](quick=True, systems="memos").run()
    assert [name for name in result["rows"] if name not in halumem.REFERENCES] == ["memos"]
    rules, model = (result["rows"]["memos"][label]["extraction"]["recall"]["mean"] for label in ("rules", "ε = 0"))
    assert model >= rules
    assert model > 0.9
