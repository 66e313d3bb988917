"""A running sentence: taken from what was said or written by a model, never on nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from slowwave.models.fakes import FakeChat
from slowwave.models.llm import LLM
from slowwave.ops.made import Made
from slowwave.ops.running import Sentence, carry
from slowwave.records import Engram, Scope

START = datetime(2024, 1, 1, tzinfo=UTC)


def turn(text: str, n: int = 0, speaker: str = "Ana") -> Engram:
    at = START + timedelta(minutes=n)
    return Engram(f"t{n}", "episode", text, Scope(user_id="a"), at, at, attrs={"speaker": speaker})


def test_the_sentence_that_says_most_is_taken_with_its_source() -> None:
    new = [turn("Hm.", 0), turn("Clara sailed from Split to Hvar in June.", 1), turn("Nice!", 2)]
    found = carry(Sentence(), new, 60, None, Made())
    assert found == Sentence("Ana: Clara sailed from Split to Hvar in June.", ("t1",), new[1].at)


def test_small_talk_does_not_take_its_place_and_too_long_sentences_never_do() -> None:
    held = Sentence("Ana: Clara sailed from Split to Hvar in June.", ("t1",), START)
    assert carry(held, [turn("Thanks a lot!", 5)], 60, None, Made()) == held
    assert carry(Sentence(), [turn("word " * 200 + "end.", 5)], 20, None, Made()) == Sentence()


def test_a_model_carries_it_on_and_its_sources_add_up() -> None:
    llm = LLM(FakeChat([{"summary": "Clara sailed to Hvar and lost a hat."}]))
    held = Sentence("Clara sailed to Hvar.", ("t1",), START)
    found = carry(held, [turn("Clara lost a hat on board.", 7)], 60, llm, Made())
    assert found == Sentence("Clara sailed to Hvar and lost a hat.", ("t1", "t7"), START)


def test_what_it_invents_or_spins_out_is_set_aside_and_the_rules_go_on() -> None:
    held = Sentence("Clara sailed to Hvar.", ("t1",), START)
    for said in ("Zorblax paid 4242 crowns.", "Clara sailed to Hvar. " * 20):
        made = Made()
        found = carry(held, [turn("Ok.", 7)], 60, LLM(FakeChat([{"summary": said[:400]}])), made)
        assert found == held
        assert len(made.rejected) == 1


def test_an_exhausted_model_carries_nothing() -> None:
    llm = LLM(FakeChat([{"summary": "x"}]), max_calls=0)
    made = Made()
    assert carry(Sentence(), [turn("Clara sailed to Hvar.")], 60, llm, made) is None
    assert made.rejected == []
