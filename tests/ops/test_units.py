"""The forms of talk: chunks that hold all of it, and units that each name the turns they stand for."""

from __future__ import annotations

from datetime import UTC, datetime

from slowwave.ops.granularity import full_text
from slowwave.ops.made import Made
from slowwave.ops.packing import estimate_tokens
from slowwave.ops.units import FORMS, chunks, units_of
from slowwave.records import Engram, Scope

AT = datetime(2024, 3, 1, tzinfo=UTC)
SAID = ["I joined the rowing club.", "I joined the rowing club.", "My sister plays the cello. She is good.", "Wow!"]


def talk(said: list[str]) -> list[Engram]:
    scope = Scope(user_id="u")
    return [Engram(f"{n:026d}", "episode", t, scope, AT, AT, attrs={"speaker": "Ana"}) for n, t in enumerate(said)]


def test_chunks_hold_every_turn_once_and_keep_their_size() -> None:
    stretch = talk([f"turn {n} " + "word " * (n % 7 * 5) for n in range(40)])
    parts = chunks(stretch, 60)
    assert [turn for part in parts for turn in part] == stretch
    assert all(estimate_tokens(full_text(part)) <= 60 for part in parts if len(part) > 1)
    assert max(map(len, parts)) > 1
    assert chunks([], 60) == []


def test_a_turn_longer_than_a_chunk_stands_alone() -> None:
    parts = chunks(talk(["short", "word " * 200, "short"]), 50)
    assert [len(part) for part in parts] == [1, 1, 1]


def test_every_form_is_made_and_names_its_turns() -> None:
    stretch = talk(SAID)
    units = units_of(stretch, FORMS, None, Made(), 100)
    assert {unit.form for unit in units} == set(FORMS)
    known = {turn.id for turn in stretch}
    assert all(unit.sources and set(unit.sources) <= known for unit in units)
    chunk = next(unit for unit in units if unit.form == "chunk")
    assert chunk.text == full_text(stretch)


def test_equal_texts_of_different_turns_stay_two_units() -> None:
    stretch = talk(SAID[:2])
    triples = units_of(stretch, ["triple"], None, Made(), 100)
    assert [unit.text for unit in triples] == ["(Ana; joined; rowing club)"] * 2
    assert {unit.sources for unit in triples} == {(turn.id,) for turn in stretch}


def test_only_the_chosen_forms_are_made() -> None:
    assert {unit.form for unit in units_of(talk(SAID), ["fact"], None, Made(), 100)} == {"fact"}
