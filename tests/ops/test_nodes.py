"""A node's key names its slot however that is spelled, its tags are its telling words; a turn may say more than it."""

from __future__ import annotations

from datetime import UTC, datetime

from slowwave.ops.extraction import Draft
from slowwave.ops.nodes import as_node, key_of, keys_asked, origin_of, says_more, tags, tags_of
from slowwave.records import Engram, Scope

NOW = datetime(2024, 6, 1, tzinfo=UTC)


def said(text: str, speaker: str = "Ana", session: str = "s1") -> Engram:
    return Engram("e1", "episode", text, Scope(user_id="ana"), NOW, NOW, attrs={"speaker": speaker, "session": session})


def node(text: str, subject: str, attribute: str, value: str, turn: Engram) -> Engram:
    draft = Draft(text, (turn.id,), NOW, subject, attribute, value, True)
    return as_node(draft, [turn], NOW, 30.0, "memos")


def test_tags_are_stems_of_telling_words_in_order():
    assert tags("What did Caroline research?") == tags("Caroline researched it") == ("carolin", "research")
    assert tags("I am, you are.") == ()
    assert "ana" in tags_of("lives in Rome", "Ana")


def test_one_slot_has_one_key_however_it_is_spelled():
    assert key_of("Ana ", "Favourite colours") == key_of("ana", "favorite color") == "ana|favourite colour"
    assert key_of("", "home") == key_of("Ana", " ") == ""


def test_a_question_names_the_slots_that_it_may_be_about():
    asked = keys_asked(["Ana"], ["favourite", "colours"])
    assert key_of("Ana", "favourite colour") in asked
    assert key_of("Ana", "colour") in asked


def test_a_node_carries_key_tags_background_source_confidence_and_tier():
    turn = said("I moved to Oslo")
    made = node("Ana's home is Oslo", "Ana", "home", "Oslo", turn)
    assert made.origin == origin_of(made.attrs["key"])
    assert made.sources == (turn.id,)
    assert {"ana", "oslo"} <= set(made.attrs["tags"])
    assert made.attrs["background"] == "said by Ana on 2024-06-01, session s1"
    assert (made.attrs["confidence"], made.attrs["status"]) == (0.99, "activated")
    assert made.attrs["tier"] == "user"
    assert node("Ben's home is Rome", "Ben", "home", "Rome", turn).attrs["tier"] == "long-term"


def test_a_turn_says_more_than_its_node_where_other_matters_or_names_are_in_it():
    turn = said("By the way, I moved to Oslo.")
    home = node("Ana's home is Oslo", "Ana", "home", "Oslo", turn)
    assert not says_more(turn, [home])
    assert says_more(said("I moved to Oslo with Clara."), [home])
    assert says_more(said("I moved to Oslo, adopted two cats, and planted cherry trees in the garden."), [home])
