"""What stands while a night goes on: the store's sentences and tonight's, without those that have ended."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from slowwave import Memory
from slowwave.models import FakeEmbedder
from slowwave.ops.extraction import Draft
from slowwave.ops.standing import Once, Standing, sentence, sessions, slot_of
from slowwave.records import Engram, Item, Scope

ANA: Any = {"user_id": "ana"}
DAY = datetime(2024, 1, 1, tzinfo=UTC)


def drawn(memory: Memory, text: str, subject: str = "", attribute: str = "", value: str = "", day: int = 0) -> Engram:
    """A sentence of a turn that is in the memory."""
    turn = memory.list(kinds=["episode"], limit=1, **ANA)[0]
    draft = Draft(text, (turn.id,), DAY + timedelta(days=day), subject, attribute, value)
    return sentence(draft, [turn], DAY, 30.0, "test")


@pytest.fixture
def held(memory: Memory) -> Memory:
    memory.add("I will tell you three things.", session="a", speaker="Ana", **ANA)
    memory.add(["The lake is frozen", "The lake is full of ice", "Bruno sells bread"], kind="fact", **ANA)
    return memory


def vector(text: str) -> np.ndarray:
    return FakeEmbedder().embed([text])[0]


def texts(pairs: list[tuple[Engram, float]]) -> list[str]:
    return [engram.text for engram, _ in pairs]


def test_the_nearest_are_of_the_store_and_of_tonight_by_plain_cosine(held: Memory) -> None:
    standing = Standing(held.store.view(Scope(user_id="ana")))
    new = drawn(held, "The lake is frozen over")
    standing.add(new, vector(new.text))
    found = standing.nearest(vector("The lake is frozen"), 3)
    assert texts(found) == ["The lake is frozen", "The lake is frozen over", "The lake is full of ice"]
    assert found[0][1] == pytest.approx(1.0, abs=0.01)
    assert [round(cosine, 3) for _, cosine in found[1:2]] == [
        round(float(vector("The lake is frozen") @ vector("The lake is frozen over")), 3)
    ]
    assert texts(standing.nearest(vector("The lake is frozen"), 3, least=0.99)) == ["The lake is frozen"]


def test_what_ended_tonight_counts_no_longer_unless_the_past_counts(held: Memory) -> None:
    view = held.store.view(Scope(user_id="ana"))
    lake = next(e for e in held.list(kinds=["fact"], **ANA) if e.text == "The lake is frozen")
    for ended in (False, True):
        standing = Standing(view, ended)
        standing.end(lake.id, DAY)
        found = standing.nearest(vector("The lake is frozen"), 1)[0][0]
        assert (found.id == lake.id) is ended
        assert not ended or found.until == DAY


def test_a_slot_is_found_whatever_the_vectors_and_only_its_latest_are_compared(held: Memory) -> None:
    standing = Standing(held.store.view(Scope(user_id="ana")))
    homes = [drawn(held, f"Ana's home is {n}", "Ana", "home", str(n), n) for n in range(9)]
    for home in homes:
        standing.add(home, vector(home.text))
    new = drawn(held, "She dwells elsewhere", "ANA", "residence", "elsewhere", 20)
    assert new.origin == homes[0].origin == slot_of("Ana", "home")
    assert standing.same_slot(new) == homes
    compared = standing.candidates(new, vector(new.text), 0, 0.0)
    assert texts(compared) == [home.text for home in homes[-5:]]
    assert standing.same_slot(drawn(held, "Anything")) == []


def test_a_sentence_drawn_again_from_the_same_turn_does_not_meet_itself(held: Memory) -> None:
    standing = Standing(held.store.view(Scope(user_id="ana")))
    one, again = (drawn(held, "The oak is old") for _ in range(2))
    standing.add(one, vector(one.text))
    assert "The oak is old" not in texts(standing.candidates(again, vector(one.text), 5, -1.0))


def test_sessions_come_in_the_order_of_recording_in_pieces_behind_which_a_night_can_stop(memory: Memory) -> None:
    memory.add([Item(str(n), session="ab"[n // 3 % 2], at=DAY) for n in range(10)], **ANA)
    view = memory.store.view(Scope(user_id="ana"))
    pieces = [[engram.text for _, engram in part] for part in sessions(view, 0, most=2)]
    assert pieces == [["0", "1"], ["2"], ["3", "4"], ["5"], ["6", "7"], ["8"], ["9"]]
    first = next(iter(sessions(view, 0, most=2)))
    rest = [engram.text for part in sessions(view, first[-1][0], most=2) for _, engram in part]
    assert rest == [str(n) for n in range(2, 10)]


def test_a_text_is_encoded_once_in_a_night() -> None:
    seen: list[str] = []

    class Counting(FakeEmbedder):
        def embed(self, given: Any) -> Any:
            seen.extend(given)
            return super().embed(given)

    once = Once(Counting())
    assert once.embed([]).shape == (0, 64)
    rows = once.embed(["a lake", "an oak", "a lake"])
    assert (once.embed(["an oak"])[0] == rows[1]).all()
    assert (rows[0] == rows[2]).all()
    assert seen == ["a lake", "an oak"]


def test_sentences_are_found_by_their_words_tonight_s_latest_first(held: Memory) -> None:
    standing = Standing(held.store.view(Scope(user_id="ana")))
    new = drawn(held, "The lakes were frozen again")
    standing.add(new, vector(new.text))
    found = [engram.text for engram in standing.with_words(["lake", "frozen"], 2)]
    assert found == ["The lakes were frozen again", "The lake is frozen"]
    assert standing.with_words([], 2) == []
    standing.end(new.id, DAY)
    assert "The lakes were frozen again" not in [engram.text for engram in standing.with_words(["lake"], 5)]
