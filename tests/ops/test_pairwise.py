"""The pairwise operator: labels by words, what they come to, and which of a model's labels are turned down."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest

from slowwave.models.fakes import FakeChat
from slowwave.models.llm import LLM
from slowwave.ops.made import Made
from slowwave.ops.pairwise import LABELS, Label, Verdict, aggregate, by_rule, label, objection, question, settle
from slowwave.ops.standing import Standing, slot_of
from slowwave.records import Engram, Scope
from slowwave.store import open_store
from slowwave.store.ids import new_id

DAY = datetime(2024, 1, 1, tzinfo=UTC)
ANA = Scope(user_id="ana")


def said(text: str, subject: str = "Anna", day: int = 0, **attrs: object) -> Engram:
    """A sentence of memory; `attribute` and `value` as an extractor gives them."""
    return Engram(
        new_id(), "fact", text, ANA, DAY + timedelta(days=day), DAY, sources=(new_id(),),
        attrs={"subject": subject, **attrs}, origin=slot_of(subject, str(attrs.get("attribute", ""))),
    )  # fmt: skip


def home(value: str, subject: str = "Anna", day: int = 0) -> Engram:
    return said(f"{subject}'s home is {value}", subject, day, attribute="home", value=value)


def hobby(value: str) -> Engram:
    return said(f"Anna's hobby is {value}", attribute="hobby", value=value)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (home("Rome"), home("Oslo"), "REPLACE"),
        (home("Rome"), home("rome"), "PASS"),
        (home("Rome"), home("Oslo", "Bruno"), "APPEND"),
        (hobby("chess"), hobby("tennis"), "APPEND"),
        (said("Anna: I have a cold."), said("Anna: I got over my cold."), "DELETE"),
        (
            said("Anna's employer is Acme", attribute="employer", value="Acme"),
            said("Anna: I no longer work at Acme."),
            "DELETE",
        ),
        (
            said("Bruno's employer is Acme", "Bruno", attribute="employer", value="Acme"),
            said("Anna: Bruno no longer works at Acme."),
            "DELETE",
        ),
        (
            said("Anna's employer is Acme", attribute="employer", value="Acme"),
            said("Anna: Bruno no longer works at Acme."),
            "APPEND",
        ),
        (said("Anna: I love the red scarf."), said("Anna: I love the blue scarf."), "APPEND"),
        (said("Anna: My favourite colour is red."), said("Anna: My favourite colour is now blue."), "REPLACE"),
        (said("Anna: The garden needs rain."), said("Anna: I finished the book on rain."), "APPEND"),
        (said("Anna: I no longer eat meat."), said("Anna: I no longer eat meat."), "PASS"),
    ],
)
def test_rules_go_by_subject_attribute_value_and_words(old: Engram, new: Engram, expected: Label) -> None:
    for cosine in (0.0, 0.96):
        assert by_rule(new, old, cosine).label == expected


def test_two_values_of_what_never_changes_are_both_kept_and_called_a_contradiction() -> None:
    birth = [said(f"Anna's birth is {day}", attribute="birth", value=day) for day in ("3 May", "4 May")]
    verdict = by_rule(birth[1], birth[0], 0.9)
    assert (verdict.label, verdict.contradicts) == ("APPEND", True)


@pytest.mark.parametrize(
    ("labels", "enters", "told_by", "ended"),
    [
        ((), True, 0, 0),
        (("APPEND", "APPEND"), True, 0, 0),
        (("APPEND", "PASS"), False, 1, 0),
        (("REPLACE", "APPEND", "REPLACE"), True, 0, 2),
        (("DELETE", "APPEND"), False, 0, 1),
        (("PASS", "REPLACE"), False, 1, 1),
    ],
)
def test_an_old_one_stays_unless_replaced_or_deleted_and_a_new_one_enters_unless_passed_or_deleted(
    labels: tuple[Label, ...], enters: bool, told_by: int, ended: int
) -> None:
    fate = aggregate([Verdict(home("Rome"), given, "") for given in labels])
    assert (fate.enters, len(fate.told_by), len(fate.ended)) == (enters, told_by, ended)


def asked(labels: Mapping[str, str]) -> LLM:
    return LLM(FakeChat([dict(labels)]))


def test_a_model_labels_all_pairs_in_one_prompt_that_shows_dates_and_names_its_sources() -> None:
    new, old = home("Oslo"), [home("Rome"), hobby("chess")]
    prompt = question(new, old)
    assert set(prompt.inputs["old"]) == {"1", "2"}
    assert prompt.inputs["new"] == {"on": "2024-01-01", "text": new.text}
    assert prompt.sources == (new.id, *(engram.id for engram in old))
    assert prompt.schema is not None
    assert prompt.schema["properties"]["1"]["enum"] == list(LABELS)
    model = FakeChat([{"1": "REPLACE", "2": "APPEND"}])
    made = Made()
    verdicts = label(new, [(engram, 0.5) for engram in old], LLM(model), made)
    assert [v.label for v in verdicts] == ["REPLACE", "APPEND"]
    assert len(model.asked) == 1
    assert not made.rejected


@pytest.mark.parametrize(
    ("given", "new", "old", "why"),
    [
        ("PASS", home("Oslo"), home("Rome"), "Oslo"),
        ("PASS", said("Anna paid 40 crowns"), said("Anna paid 30 crowns"), "40"),
        ("REPLACE", home("Oslo", "Bruno"), home("Rome"), "Bruno"),
        ("DELETE", home("Oslo", "Bruno"), home("Rome"), "Anna"),
        ("PASS", said("Anna: I love the blue scarf."), said("Anna: I love the red scarf."), "'red' is not 'blue'"),
        ("PASS", said("Anna: I love the red scarf."), said("Anna's favourite colour is red"), "1 of the new one's 3"),
        ("REPLACE", said("Anna: The lake was frozen."), said("Anna: I have a cold."), "telling word"),
    ],
)
def test_a_label_that_the_words_speak_against_is_turned_down_and_the_rules_decide(
    given: Label, new: Engram, old: Engram, why: str
) -> None:
    assert why in objection(given, new, old, 0.4)
    made = Made()
    verdicts = label(new, [(old, 0.4)], asked({"1": given}), made)
    assert verdicts == [by_rule(new, old, 0.4)]
    assert [why in rejected.reason for rejected in made.rejected] == [True]
    unguarded = label(new, [(old, 0.4)], asked({"1": given}), Made(), guard=False)
    assert [v.label for v in unguarded] == [given]


def test_a_label_that_the_words_allow_is_not_turned_down() -> None:
    assert objection("PASS", home("Rome"), home("Rome")) == ""
    assert objection("PASS", said("Anna sits in room 832"), said("Anna's office is room 832")) == ""
    assert objection("REPLACE", home("Oslo"), home("Rome")) == ""
    assert objection("REPLACE", said("Anna moved to Oslo"), said("Anna lives in Rome"), 0.67) == ""
    assert objection("DELETE", said("Anna: All better again."), said("Anna: I have a cold.")) == ""
    assert objection("APPEND", home("Oslo", "Bruno"), home("Rome")) == ""


def test_a_new_sentence_stays_where_a_model_calls_something_over_and_its_words_do_not() -> None:
    cold = said("Anna: I have a cold.")
    better, over = said("Anna: All better again."), said("Anna: I got over my cold.")
    assert [label(new, [(cold, 0.9)], asked({"1": "DELETE"}), Made())[0].label for new in (better, over)] == [
        "REPLACE", "DELETE"
    ]  # fmt: skip
    assert label(better, [(cold, 0.9)], asked({"1": "DELETE"}), Made(), guard=False)[0].label == "DELETE"


@pytest.mark.parametrize("words", ["", "no", '{"1": "MAYBE"}', '{"2": "PASS"}', "[]"])
def test_a_reply_that_cannot_be_read_is_set_aside_and_the_rules_decide(words: str) -> None:
    made = Made()
    verdicts = label(home("Oslo"), [(home("Rome"), 0.9)], LLM(FakeChat([words])), made)
    assert [v.label for v in verdicts] == ["REPLACE"]
    assert len(made.rejected) == 1


def test_an_exhausted_model_is_not_asked_and_nothing_is_set_aside() -> None:
    model = FakeChat([{"1": "DELETE"}])
    made = Made()
    verdicts = label(home("Oslo"), [(home("Rome"), 0.9)], LLM(model, max_calls=0), made)
    assert [v.label for v in verdicts] == ["REPLACE"]
    assert not model.asked
    assert not made.rejected


def settled(old: Engram, new: Engram, given: Label) -> tuple[Made, Engram | None]:
    made = Made()
    store = open_store(":memory:")
    entered = settle(new, [Verdict(old, given, "why")], Standing(store.view(ANA)), made, DAY + timedelta(days=99))
    store.close()
    return made, entered


def test_what_is_replaced_holds_until_the_new_was_said_and_the_new_supersedes_it() -> None:
    old, new = home("Rome"), home("Oslo", day=30)
    made, entered = settled(old, new, "REPLACE")
    assert entered == new
    assert [change.verb for change in made.changes] == ["add", "supersede"]
    change = made.changes[1]
    assert (change.id, change.fields["until"], change.links[0].source) == (old.id, new.at, new.id)


def test_what_is_deleted_holds_until_then_and_the_turn_that_says_so_is_tied_to_it() -> None:
    old, new = said("Anna: I have a cold."), said("Anna: I got over my cold.", day=7)
    made, entered = settled(old, new, "DELETE")
    assert entered is None
    assert [(c.verb, c.links[0].source, c.fields["until"]) for c in made.changes] == [
        ("supersede", new.sources[0], new.at)
    ]


def test_what_was_said_later_wins_though_it_was_recorded_first() -> None:
    known, late = home("Oslo", day=30), home("Rome", day=3)
    made, entered = settled(known, late, "REPLACE")
    assert [change.verb for change in made.changes] == ["add"]
    assert entered is not None
    assert entered.until == known.at
    assert made.changes[0].links[0].source == known.id
    made, entered = settled(said("Anna: I have a cold.", day=9), said("Anna: I got over my cold.", day=2), "DELETE")
    assert [change.verb for change in made.changes] == ["add"], "that was another cold"


def test_what_is_said_again_supports_what_is_remembered_once() -> None:
    old, new = home("Rome"), home("Rome", day=5)
    made, entered = settled(old, new, "PASS")
    assert entered is None
    assert [(c.verb, c.links[0].source, c.links[0].target) for c in made.changes] == [
        ("support", new.sources[0], old.id)
    ]
    made, _ = settled(old, old.with_(id=new_id()), "PASS")
    assert not made.changes, "from the same turn it is no second voice"
