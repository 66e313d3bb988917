"""Update queues: who faces whom, twins of one moment, and what is made of it by rules and by a model's answer."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slowwave.errors import InputError
from slowwave.models.llm import LLM
from slowwave.ops.made import Made
from slowwave.ops.update_queue import Settling, facing, nearest_among, order, question, queues
from slowwave.records import Engram, Scope

START = datetime(2024, 1, 1, tzinfo=UTC)
NOW = START + timedelta(days=99)


def fact(name: str, day: float, subject: str = "Ana", attribute: str = "home", value: str = "Rome") -> Engram:
    attrs = {"subject": subject, "attribute": attribute, "value": value, "by": "light-mem"}
    text = f"{subject}'s {attribute} is {value}."
    return Engram(name, "fact", text, Scope(user_id="a"), START + timedelta(days=day), NOW, sources=("e",), attrs=attrs)


def settled(entries: Sequence[Engram], faced: dict[str, list[tuple[str, float]]]) -> Made:
    known = {e.id: e for e in entries}
    settling = Settling(Made(), NOW, "light-mem")
    for entry in sorted((known[id_] for id_ in faced), key=order):
        if entry.id not in settling.gone:
            settling.by_rule(entry, [(known[id_], cosine) for id_, cosine in faced[entry.id]])
    settling.finish()
    return settling.made


def done(made: Made) -> list[tuple[str, str]]:
    return [(change.verb, change.id) for change in made.changes]


def test_an_entry_faces_the_later_ones_alone() -> None:
    a, b, c = fact("a", 0), fact("b", 1), fact("c", 2)
    near = {"b": [("a", 0.95), ("c", 0.9)], "c": [("a", 0.85), ("b", 0.9)]}
    queued = queues(near, {e.id: e for e in (a, b, c)})
    assert queued == {"b": [("a", 0.95)], "c": [("b", 0.9), ("a", 0.85)]}
    assert facing(queued, 0.9) == {"a": [("b", 0.95)], "b": [("c", 0.9)]}
    assert facing(queued, 0.8)["a"] == [("b", 0.95), ("c", 0.85)]


def test_of_twins_of_one_moment_one_alone_is_the_earlier() -> None:
    twins = [fact("a", 0), fact("b", 0)]
    near = {"a": [("b", 1.0)], "b": [("a", 1.0)]}
    faced = facing(queues(near, {e.id: e for e in twins}), 0.9)
    assert faced == {"a": [("b", 1.0)]}
    made = settled(twins, faced)
    assert done(made) == [("merge", "b")], "one of the two stays"


def test_what_happened_early_and_is_recorded_late_is_faced_with_what_came_after_it() -> None:
    old, late = fact("old", 5, value="Oslo"), fact("late", 1, value="Rome")
    queued = queues({"late": [("old", 0.9)]}, {e.id: e for e in (old, late)})
    assert queued == {"old": [("late", 0.9)]}
    made = settled([old, late], facing(queued, 0.8))
    assert done(made) == [("supersede", "late")]
    assert made.changes[0].fields["until"] == old.at


def test_a_queue_keeps_the_nearest_and_a_pair_that_both_found_is_one_pair() -> None:
    entries = {e.id: e for e in (fact("a", 0), fact("b", 1), fact("c", 2), fact("d", 3))}
    near = {"d": [("a", 0.7), ("b", 0.9), ("c", 0.8)], "c": [("d", 0.8)]}
    assert queues(near, entries, keep=2) == {"d": [("b", 0.9), ("c", 0.8)]}
    with pytest.raises(InputError, match="keep is 0"):
        queues(near, entries, keep=0)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=12))
def test_no_two_entries_ever_face_each_other(moments: list[tuple[int, int]]) -> None:
    entries = {f"{n:02}": fact(f"{n:02}", day) for n, (day, _) in enumerate(moments)}
    near = {a: [(b, 1.0) for b in entries if b != a] for a in entries}
    faced = facing(queues(near, entries, keep=99), 0.5)
    pairs = {(a, b) for a, later in faced.items() for b, _ in later}
    assert not pairs & {(b, a) for a, b in pairs}
    assert all(order(entries[a]) < order(entries[b]) for a, b in pairs)


def test_nearest_among_equals_looking_at_each_pair() -> None:
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((300, 8)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    found = nearest_among(rows, 3)
    for place in (0, 17, 256, 299):
        cosines = rows @ rows[place]
        cosines[place] = -2
        assert [other for other, _ in found[place]] == np.argsort(-cosines)[:3].tolist()
    assert nearest_among(rows[:1], 3) == [[]]


def test_a_newer_value_ends_the_entry_and_a_repeat_is_folded_into_it() -> None:
    entries = [fact("a", 0, value="Rome"), fact("b", 1, value="Rome"), fact("c", 2, value="Oslo")]
    made = settled(entries, {"a": [("b", 0.99), ("c", 0.9)], "b": [("c", 0.9)]})
    assert done(made) == [("merge", "b"), ("supersede", "a")]
    ended = made.changes[1]
    assert ended.links[0].source == "c"
    assert ended.fields["until"] == entries[2].at


def test_what_ends_by_an_entry_that_was_folded_ends_by_the_one_that_stays() -> None:
    rome, oslo, again = fact("a", 0), fact("b", 1, value="Oslo"), fact("c", 2, value="Oslo")
    settling = Settling(Made(), NOW, "light-mem")
    answer = answered(rome, [again], {"action": "delete", "by": "1", "fact": rome.text})
    settling.by_answer(rome, [(again, 0.9)], *answer)
    settling.by_rule(oslo, [(again, 0.99)])
    settling.finish()
    assert done(settling.made) == [("merge", "c"), ("supersede", "a")]
    assert settling.made.changes[1].links[0].source == "b"


def test_other_people_and_other_attributes_end_nothing() -> None:
    other = [fact("a", 0), fact("b", 1, subject="Ben", value="Oslo"), fact("c", 2, attribute="job", value="nurse")]
    assert done(settled(other, {"a": [("b", 0.95), ("c", 0.95)]})) == []


# -- a model's answer


class Saying:
    name = "fake-saying"
    context_tokens = 0

    def __init__(self, value: dict[str, Any]) -> None:
        self.value = value

    def chat(self, messages: Any, **settings: Any) -> Any:
        import json

        from slowwave.models.chat import Reply

        return Reply(json.dumps(self.value), 1, 1)

    def count_tokens(self, text: str) -> int:
        return 1


def answered(entry: Engram, later: Sequence[Engram], value: dict[str, Any]) -> tuple[Any, Any]:
    prompt = question(entry, later)
    answer = LLM(Saying(value), wait=lambda seconds: None).ask(prompt)
    assert answer.ok, answer.problem
    return prompt, answer


def by_model(entry: Engram, new: Engram, action: str, text: str) -> Made:
    settling = Settling(Made(), NOW, "light-mem")
    settling.by_answer(entry, [(new, 0.9)], *answered(entry, [new], {"action": action, "by": "1", "fact": text}))
    settling.finish()
    return settling.made


def test_a_model_that_deletes_what_the_words_do_not_end_is_not_believed() -> None:
    entry, other = fact("a", 0), fact("b", 1, attribute="job", value="nurse")
    made = by_model(entry, other, "delete", entry.text)
    assert done(made) == []
    assert "nothing but the model says" in made.rejected[0].reason
    assert done(by_model(entry, fact("b", 1, value="Oslo"), "delete", entry.text)) == [("supersede", "a")]


def test_a_rewritten_entry_is_a_new_one_with_both_as_its_sources() -> None:
    entry = fact("a", 0, attribute="cat", value="Miso")
    new = fact("b", 1, attribute="cat", value="Miso, a tabby")
    made = by_model(entry, new, "update", "Ana's cat is Miso, a tabby cat.")
    assert [verb for verb, _ in done(made)] == ["add", "supersede"]
    written = made.engrams[0]
    assert written.sources == ("a", "b")
    assert made.changes[1].id == "a"
    assert made.changes[1].links[0].source == written.id


@pytest.mark.parametrize("text", ["Ana's cat is Zorblax.", "Ana's favourite food is pizza."])
def test_a_rewriting_that_invents_or_drops_what_the_entry_says_is_turned_down(text: str) -> None:
    entry, new = fact("a", 0, attribute="cat", value="Miso"), fact("b", 1, attribute="favourite food", value="pizza")
    made = by_model(entry, new, "update", text if "pizza" not in text else "Ana's favourite food is now pizza.")
    assert done(made) == []
    assert made.rejected


def test_ignoring_and_repeating_the_entry_change_nothing() -> None:
    entry, new = fact("a", 0), fact("b", 1, value="Oslo")
    assert done(by_model(entry, new, "ignore", entry.text)) == []
    assert done(by_model(entry, new, "update", entry.text)) == []
