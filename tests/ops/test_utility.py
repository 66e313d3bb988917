"""Weights follow what came of using a memory; a memory that turned bad is seen; a copy in the abstract names nobody."""

from __future__ import annotations

import pytest

from slowwave.errors import InputError
from slowwave.ops.utility import RECENT, Tally, abstracted, failing, merged, proven, reweighed


def test_a_memory_that_always_helps_loses_by_frequent_use_only_under_the_printed_rule():
    helps = [0.01] * 10  # a small gain, each time
    assert reweighed(0.5, helps, 1.0) > 0.5
    assert reweighed(0.5, helps, 1.0, rule="printed") < 0.5
    assert reweighed(0.5, helps, 0.0, rule="printed") > 0.5


def test_failed_uses_are_charged_the_more_the_more_often_it_is_used():
    mixed = [0.5, -0.5]
    assert reweighed(0.5, mixed, 0.2) == pytest.approx(0.5 - 0.1 * 0.2 * 0.5)
    assert reweighed(0.5, mixed, 1.0) == pytest.approx(0.5 - 0.1 * 0.5)


def test_a_weight_stays_within_0_and_1_and_rests_without_uses():
    assert reweighed(0.9, [1.0] * 5, 0.5) == 1.0
    assert reweighed(0.1, [-1.0] * 5, 0.5) == 0.0
    assert reweighed(0.3, [], 0.0) == 0.3
    with pytest.raises(InputError, match="use_share"):
        reweighed(0.5, [1.0], 1.5)


def test_a_memory_that_turned_bad_is_seen_by_its_last_uses_whatever_went_before():
    tally = Tally().after([0.5] * 50)
    assert proven(tally.recent)
    assert not failing(tally.recent)
    turned = tally.after([-0.4, -0.4, 0.6, -0.4, -0.4, -0.4, -0.4, -0.4])
    assert turned.mean > 0.3
    assert failing(turned.recent)


@pytest.mark.parametrize("recent", [[], [-1.0], [-1.0] * 3, [0.4, -0.4, 0.4, -0.4], [-0.4, 0.6, -0.4, 0.6, -0.4]])
def test_few_or_mixed_uses_conclude_nothing(recent):
    assert not failing(recent)
    assert not proven(recent)


def test_a_tally_counts_keeps_the_last_and_survives_json():
    tally = Tally().after([0.5, -0.25]).after([0.0] * RECENT)
    assert (tally.uses, tally.wins, tally.recent) == (2 + RECENT, 1 + RECENT, (0.0,) * RECENT)
    assert tally.mean == pytest.approx(0.25 / 10)
    assert tally.success_rate == pytest.approx(0.9)
    assert Tally.from_dict(tally.to_dict()) == tally
    assert Tally.from_dict({}) == Tally()


def test_merged_tallies_add_up_and_keep_the_last_uses_of_the_most_used():
    one, two = Tally().after([1.0, 1.0, 1.0]), Tally().after([-1.0])
    both = merged([one, two])
    assert (both.uses, both.wins, both.total, both.recent) == (4, 3, 2.0, one.recent)
    assert merged([]) == Tally()


@pytest.mark.parametrize(
    ("text", "slotted"),
    [
        ("Ask Ben for the key. Ben knows.", "Ask [name 1] for the key. [name 1] knows."),
        ("Dr. Weber said that trains to Oslo leave at 7:30.", None),
        ("Wire $400 to Acme Ltd, at least 12 hours ahead.", "Wire [amount 1] to [organisation 1], at least [number 1] "
         "hours ahead."),
        ("Open /etc/ssh/config and mail bob@example.org", "Open [path 1] and mail [address 1]"),
        ("First check the shelf, then search.", "First check the shelf, then search."),
    ],
)  # fmt: skip
def test_entities_become_typed_slots(text, slotted):
    made = abstracted(text)
    if slotted is not None:
        assert made.text == slotted
    for slot, entity in made.slots.items():
        assert entity not in made.text
        assert slot in made.text
    filled = made.text
    for slot, entity in made.slots.items():
        filled = filled.replace(slot, entity)
    assert filled == text, "the slots hold what was taken out"


def test_a_place_and_a_person_are_told_apart_by_the_words_around():
    made = abstracted("In Lisbon, Dr. Weber keeps it; Weber is strict.")
    assert {slot.split()[0] for slot in made.slots} >= {"[place", "[person"}
