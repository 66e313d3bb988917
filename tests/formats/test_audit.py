"""The audit counts repeats, conflicts, junk and troubles with dates as the items pass."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from slowwave.formats import Audit, Junk
from slowwave.formats.audit import normalised
from slowwave.records import Item

NOW = datetime(2024, 6, 1, tzinfo=UTC)
AT = datetime(2024, 5, 1, tzinfo=UTC)


def audit(*taken) -> Audit:
    looked = Audit(now=NOW)
    assert list(looked.watch(taken)) == list(taken)
    return looked


def fact(text: str, entity: str = "ana", **fields) -> Item:
    return Item(text, "fact", at=AT, attrs={"entity": entity}, **fields)


def findings(*taken) -> dict[str, int]:
    return {name: count for name, count in audit(*taken).to_dict()["findings"].items() if count}


def test_repeats_are_told_whatever_their_case_space_and_points():
    one, two = Item("I moved to  Porto.", at=AT), Item("i MOVED to Porto", at=AT)
    assert findings(one, two) == {"duplicates": 1}
    assert normalised("ﬁne!") == "fine"


def test_the_same_words_in_another_scope_are_no_repeat():
    assert (
        findings(Item("I moved", at=AT, scope={"user_id": "a"}), Item("I moved", at=AT, scope={"user_id": "b"})) == {}
    )


def test_one_origin_with_two_texts_is_a_conflict():
    assert findings(Item("I moved", at=AT, origin="x"), Item("I stayed", at=AT, origin="x")) == {"same_origin": 1}
    assert findings(Item("I moved", at=AT, origin="x"), Item("I moved", at=AT, origin="x")) == {"duplicates": 1}


@pytest.mark.parametrize(
    ("one", "two", "conflict"),
    [
        ("Ana lives in Porto", "Ana lives in Lisbon", True),
        ("Ana lives in Porto", "Ana lives in New York", True),
        ("Ana is 34 years old", "Ana is 35 years old", True),
        ("Ana lives in Porto", "Ana works in Porto", False),  # another verb, not another value
        ("Ana lives in Porto", "Ana lives in Porto", False),
        ("Ana lives in Porto", "Ana lives in Porto with Ben", False),
        ("Ana sings", "Ana dances", False),  # too short to tell
    ],
)
def test_facts_that_differ_only_in_a_value(one, two, conflict):
    assert ("values_differ" in findings(fact(one), fact(two))) is conflict


def test_facts_of_two_entities_do_not_conflict():
    assert findings(fact("Lives in the town of Porto"), fact("Lives in the town of Lisbon", "ben")) == {}


def test_troubles_with_dates_and_near_empty_items():
    assert findings(
        Item("No date here"),
        Item("From the future", at=datetime(2030, 1, 1)),
        Item("Ends too soon", at=AT, until=datetime(2023, 1, 1, tzinfo=UTC)),
        Item("ok!", at=AT),
    ) == {"no_date": 1, "future": 1, "ends_before_start": 1, "near_empty": 1}


def test_examples_are_few_short_and_say_where():
    shown = audit(*(Item(f"{n} " + "long " * 100, origin=f"o{n}") for n in range(9))).to_dict()["examples"]["no_date"]
    assert len(shown) == 3
    assert shown[0].startswith("o0: 0 long")
    assert all(len(line) < 120 for line in shown)


def test_the_summary_names_what_came_in_and_what_was_left_out():
    text = audit(fact("Ana lives in Porto"), fact("Ana lives in Lisbon"), Junk("f:3", "…", "a system prompt")).summary()
    assert text.startswith("2 items (2 fact, 2024-05-01 to 2024-05-01)")
    assert "  1 state one fact of an entity with another value" in text
    assert "Ana lives in Lisbon (before: porto)" in text
    assert "1 left out\n  1 a system prompt\n      f:3: …" in text


def test_an_import_of_nothing_has_a_summary():
    assert audit().summary() == "0 items"
