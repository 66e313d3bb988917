"""A night change by change: what is left out before it is written, what is taken back of it afterwards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from slowwave import Memory
from slowwave.errors import ConflictError, InputError

pytestmark = pytest.mark.any_store
U: Any = {"user_id": "u"}


def fill(memory: Memory) -> None:
    """Two homes, one after the other, and a sister: three facts, one of which no longer holds."""
    for day, text in (("2023-02-01", "I live in Porto."), ("2024-05-06", "I moved to Lisbon last week.")):
        memory.add(text, speaker="Ana", at=day, session=day, **U)
    memory.add("My sister Clara plays the cello.", speaker="Ana", at="2023-03-05", session="s", **U)


def facts(memory: Memory) -> dict[str, bool]:
    """Fact -> whether it holds now."""
    return {engram.text: engram.until is None for engram in memory.list(kinds=["fact"], **U)}


def key_of(report: Any, text: str) -> str:
    return next(change.key for change in report if change.engram is not None and text in change.engram.text)


def id_of(memory: Memory, text: str) -> str:
    return next(engram.id for engram in memory.list(kinds=["fact"], retired=True, **U) if text in engram.text)


def test_what_is_left_out_is_not_written_and_the_rest_is(memory: Memory) -> None:
    fill(memory)
    proposed = memory.sleep(dry_run=True, **U)
    assert [change.key for change in memory.sleep(dry_run=True, **U)] == [change.key for change in proposed]
    assert len({change.key for change in proposed}) == len(proposed)
    clara = key_of(proposed, "Clara")
    night = memory.sleep(leave=[clara], **U)
    assert not [text for text in facts(memory) if "Clara" in text]
    assert facts(memory) == {"Ana's home is Porto": False, "Ana's home is Lisbon": True}
    assert night.notes == (f"1 of {len(proposed)} changes were left out",)
    (aside,) = memory.log(rejected=True, **U)
    assert (aside.op, aside.rejected.operation) == (night.op, "review")
    assert "Clara" in aside.rejected.text
    assert memory.sleep(**U).op is None, "it is not proposed again"
    assert memory.check() == []


def test_what_stands_on_what_is_left_out_is_left_out_as_well(memory: Memory) -> None:
    fill(memory)
    proposed = memory.sleep(dry_run=True, **U)
    rest = memory.sleep(dry_run=True, leave=[key_of(proposed, "Lisbon")], **U)
    assert "Ana's home is Lisbon" not in [change.engram.text for change in rest if change.engram]
    memory.sleep(leave=[key_of(proposed, "Lisbon")], **U)
    assert facts(memory)["Ana's home is Porto"], "what it would have superseded still holds"


def test_all_may_be_left_out_and_what_nobody_proposed_is_told(memory: Memory) -> None:
    fill(memory)
    keys = [change.key for change in memory.sleep(dry_run=True, **U)]
    night = memory.sleep(leave=[*keys, "0" * 16], **U)
    assert (list(night), facts(memory)) == ([], {})
    told = f"{len(keys)} of {len(keys)} changes were left out; 1 of those to leave out were not proposed again"
    assert night.notes == (told,)


@pytest.mark.parametrize("bad", ["abc", 5, [5]])
def test_a_wrong_choice_is_named(memory: Memory, bad: Any) -> None:
    fill(memory)
    with pytest.raises(InputError, match="leave"):
        memory.sleep(leave=bad, **U)
    op = memory.sleep(**U).op
    with pytest.raises(InputError, match="only"):
        memory.undo(op, only=bad, **U)
    with pytest.raises(InputError, match="did not change"):
        memory.undo(op, only=["nothing"], **U)


def test_one_change_is_taken_back_and_brought_back(memory: Memory) -> None:
    fill(memory)
    op = memory.sleep(**U).op
    all_ = facts(memory)
    clara = id_of(memory, "Clara")
    back = memory.undo(op, only=[clara], **U)
    assert facts(memory) == {text: holds for text, holds in all_.items() if "Clara" not in text}
    with pytest.raises(ConflictError, match=str(back.op)):
        memory.undo(op, only=[clara], **U)
    memory.undo(back.op, **U)
    assert facts(memory) == all_
    memory.undo(op, only=[clara], **U)
    assert len(facts(memory)) == len(all_) - 1


def test_a_fact_that_goes_takes_along_what_made_room_for_it(memory: Memory) -> None:
    fill(memory)
    op = memory.sleep(**U).op
    memory.undo(op, only=[id_of(memory, "Lisbon")], **U)
    held = {text: holds for text, holds in facts(memory).items() if "home" in text}
    assert held == {"Ana's home is Porto": True}
    assert memory.check() == []


def test_one_of_two_changes_of_a_record_is_taken_back(memory: Memory) -> None:
    fill(memory)
    op = memory.sleep(**U).op
    memory.undo(op, only=[f"supersede:{id_of(memory, 'Porto')}"], **U)
    assert {text: holds for text, holds in facts(memory).items() if "home" in text} == {
        "Ana's home is Porto": True, "Ana's home is Lisbon": True,
    }  # fmt: skip
    memory.undo(op, **U)
    assert facts(memory) == {}
    assert memory.check() == []


def test_a_fact_that_came_back_goes_again_with_what_made_room_for_it(memory: Memory) -> None:
    fill(memory)
    memory.undo(memory.sleep(**U).op, **U)
    op = memory.sleep(since="1970-01-01", **U).op
    memory.undo(op, only=[id_of(memory, "Lisbon")], **U)
    assert {text: holds for text, holds in facts(memory).items() if "home" in text} == {"Ana's home is Porto": True}


def test_the_whole_night_is_taken_back_after_a_part_of_it(memory: Memory) -> None:
    fill(memory)
    before = memory.list(**U)
    op = memory.sleep(**U).op
    memory.undo(op, only=[id_of(memory, "Clara")], **U)
    whole = memory.undo(op, **U)
    assert facts(memory) == {}
    assert [engram.text for engram in memory.list(**U)] == [engram.text for engram in before]
    memory.undo(whole.op, **U)
    assert not [text for text in facts(memory) if "Clara" in text], "what was taken back apart stays so"
    assert "Ana's home is Lisbon" in facts(memory)


def test_where_every_change_was_taken_back_there_is_nothing_left_to_undo(memory: Memory) -> None:
    fill(memory)
    op = memory.sleep(**U).op
    memory.undo(op, only=sorted({entry.engram for entry in memory.log(op, **U)}), **U)
    assert facts(memory) == {}
    with pytest.raises(ConflictError, match="taken back by"):
        memory.undo(op, **U)


def test_it_goes_over_the_wire_as_well(open_memory: Callable[..., Memory]) -> None:
    testing = pytest.importorskip("fastapi.testclient")
    from slowwave.serve import create_app

    memory = open_memory()
    fill(memory)
    with testing.TestClient(create_app(memory)) as client:
        shown = client.post("/v1/sleep", json={"dry_run": True, **U}).json()["results"]
        key = next(change["key"] for change in shown if "Clara" in (change["text"] or ""))
        night = client.post("/v1/sleep", json={"leave": [key], **U}).json()
        lisbon = id_of(memory, "Lisbon")
        client.post("/v1/undo", json={"op": night["op"], "only": [lisbon], **U}).raise_for_status()
    assert facts(memory) == {"Ana's home is Porto": True}
