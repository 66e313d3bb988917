"""Windows of time: which entries share one, and how a summary takes the place of an older one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from slowwave.errors import InputError
from slowwave.models.fakes import FakeChat
from slowwave.models.llm import LLM
from slowwave.ops.made import Made
from slowwave.ops.time_windows import by_window, sum_up
from slowwave.records import Engram, Scope

START = datetime(2024, 1, 1, 9, 50, tzinfo=UTC)
ANA, RUN = Scope(user_id="ana"), Scope(user_id="ana", run_id="r")


def fact(text: str, minutes: float = 0, scope: Scope = ANA) -> Engram:
    at = START + timedelta(minutes=minutes)
    return Engram(text[:26], "fact", text, scope, at, at, sources=("e",), attrs={"by": "light-mem"})


def summed(inside: list[Engram], llm: LLM | None = None, **more: Any) -> tuple[str | None, Made]:
    made = Made()
    given: dict[str, Any] = {"seeds": [], "older": None, **more}
    return sum_up(inside, given["seeds"], given["older"], "o", llm, made, START, "light-mem"), made


def test_windows_begin_at_whole_multiples_and_scopes_keep_their_own() -> None:
    entries = [fact("b", 20), fact("a", 0), fact("c", 5), fact("d", 0, RUN)]
    found = by_window(entries, 3600)
    assert {start.hour: [e.text for e in inside] for (scope, start), inside in found.items() if scope == ANA} == {
        9: ["a", "c"], 10: ["b"],
    }  # fmt: skip
    assert len(found) == 3
    with pytest.raises(InputError, match="seconds is 0"):
        by_window(entries, 0)


LINES = ["The ferry to Split was late by 3 hours.", "Clara missed the concert in Zadar.", "Ben lost his red hat."]


def test_without_a_model_sentences_are_taken_and_their_entries_named() -> None:
    inside = [fact(text, n) for n, text in enumerate(LINES)]
    id_, made = summed(inside)
    (summary,) = made.engrams
    assert summary.id == id_
    known = {e.id: e.text for e in inside}
    assert all(known[source] in summary.text for source in summary.sources)


def test_a_models_summary_stands_on_entries_and_seeds_or_is_set_aside() -> None:
    inside, seeds = [fact(text, n) for n, text in enumerate(LINES)], [fact("Clara plays the cello in Lisbon.", -999)]
    good = LLM(FakeChat([{"summary": "Clara, who plays the cello in Lisbon, missed the concert in Zadar."}]))
    _, made = summed(inside, good, seeds=seeds)
    assert made.engrams[0].text.startswith("Clara, who plays")
    assert set(made.engrams[0].sources) == {e.id for e in (*inside, *seeds)}
    liar = LLM(FakeChat([{"summary": "Zorblax paid 4242 crowns."}]))
    _, made = summed(inside, liar, seeds=seeds)
    assert "Zorblax" not in made.engrams[0].text
    assert len(made.rejected) == 1


def test_the_new_summary_takes_the_place_of_the_older_and_the_same_one_does_not() -> None:
    inside = [fact(text, n) for n, text in enumerate(LINES)]
    _, first = summed(inside)
    older = first.engrams[0]
    again, made = summed(inside, older=older)
    assert again is None
    assert made.changes == []
    _, made = summed(inside, older=older.with_(text="something else"))
    assert [(change.verb, change.id == older.id) for change in made.changes] == [("summarise", False), ("retire", True)]
