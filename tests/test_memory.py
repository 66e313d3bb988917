"""What Memory's verbs do and give back, one behaviour a test."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from slowwave import AsyncMemory, Item, Memory
from slowwave.errors import ConflictError, NotFoundError
from ticking import Clock

U = {"user_id": "u"}

pytestmark = pytest.mark.any_store


def texts(engrams: Any) -> list[str]:
    return [engram.text for engram in engrams]


# -- add


@pytest.mark.parametrize(
    ("content", "due"),
    [
        ("a text", [("a text", None)]),
        ({"role": "user", "content": "said"}, [("said", "user")]),
        ({"role": "user", "name": "Ana", "content": "said"}, [("said", "Ana")]),
        ([{"role": "user", "content": "one"}, "two", Item("three", speaker="Ben")],
         [("one", "user"), ("two", None), ("three", "Ben")]),
        ({"role": "user", "content": [{"type": "text", "text": "part"}, {"type": "image_url"}, "end"]},
         [("part\nend", "user")]),
    ],
)  # fmt: skip
def test_add_takes_texts_messages_items_and_lists(
    memory: Memory, content: Any, due: list[tuple[str, str | None]]
) -> None:
    report = memory.add(content, **U)
    assert [(engram.text, engram.speaker) for engram in memory.list(**U)] == due
    assert report.counts == {"ADD": len(due)}
    assert report["results"][0] == {"id": report[0].id, "memory": due[0][0], "event": "ADD", "reason": ""}


def test_arguments_fill_what_an_entry_leaves_open(memory: Memory) -> None:
    memory.add([Item("a"), Item("b", at=datetime(2020, 1, 1), session="own", attrs={"x": 1})],
               at="2024-05-08T10:00+02:00", speaker="Ana", session="s", attrs={"x": 0, "y": 0}, **U)  # fmt: skip
    b, a = memory.list(**U)
    assert (a.at.isoformat(), a.session, dict(a.attrs)) == (
        "2024-05-08T10:00:00+02:00", "s", {"x": 0, "y": 0, "speaker": "Ana", "session": "s"},
    )  # fmt: skip
    assert (b.at.isoformat(), b.session, b.attrs["x"]) == ("2020-01-01T00:00:00+00:00", "own", 1)


def test_adding_again_is_a_no_op_and_a_repetition_in_one_call_is_none(memory: Memory) -> None:
    said = ["yes", "no", "yes"]
    first = memory.add(said, **U)
    again = memory.add(said, **U)
    assert first.counts == {"ADD": 3}
    assert again.counts == {"NONE": 3}
    assert again.ids == first.ids
    assert again.op is None
    assert memory.add("yes", origin="m1", **U).counts == {"ADD": 1}
    assert memory.add("yes", at="2024-01-01", **U).counts == {"ADD": 1}


def test_a_naive_time_is_read_in_the_memorys_zone(open_memory: Callable[..., Memory]) -> None:
    memory = open_memory(zone="Europe/Lisbon")
    memory.add("a", at="2024-07-01T10:00", **U)
    assert memory.list(**U)[0].at.isoformat() == "2024-07-01T10:00:00+01:00"


def test_an_items_own_scope_narrows_the_calls(memory: Memory) -> None:
    memory.add([Item("mine", scope={"run_id": "r"}), Item("ours")], **U)
    assert texts(memory.list(run_id="r", **U)) == ["mine"]
    assert sorted(texts(memory.list(**U))) == ["mine", "ours"]


def test_progress_is_told(memory: Memory) -> None:
    seen: list[tuple[str, int, int]] = []
    memory.add([f"{n}" for n in range(300)], progress=lambda *told: seen.append(told), **U)
    assert seen == [("add", 256, 300), ("add", 300, 300)]


# -- search


def test_search_gives_hits_that_also_read_as_mem0s_results(memory: Memory) -> None:
    id_ = memory.add("Ana likes red wine", speaker="Ana", at="2024-05-08", **U).ids[0]
    memory.add("The train was late", **U)
    hits = memory.search("What wine does Ana like?", top_k=1, threshold=0, explain=True, **U)
    assert (hits[0].id, hits[0].text, len(hits)) == (id_, "Ana likes red wine", 1)
    assert 0 <= hits[0].score <= 1
    result = hits["results"][0]
    assert (result["memory"], result["user_id"], result["metadata"]) == ("Ana likes red wine", "u", {"speaker": "Ana"})
    assert hits[0].why
    assert hits[0].channels
    assert "degraded" in hits.trace


def test_a_searched_record_lasts_longer(open_memory: Callable[..., Memory], clock: Clock) -> None:
    memory = open_memory()
    id_ = memory.add("Ana likes red wine", **U).ids[0]
    clock.pass_(days=30)
    memory.search("wine", threshold=0, note_use=False, **U)
    memory.close()
    memory = open_memory()
    assert memory.get(id_, **U).used is None
    memory.search("wine", threshold=0, **U)
    memory.close()
    engram = open_memory().get(id_, **U)
    assert engram.used is not None
    assert engram.half_life_days > 40
    assert engram.due == engram.used + timedelta(days=engram.half_life_days)


def test_search_at_and_as_of(memory: Memory, clock: Clock) -> None:
    memory.add("Ana lives in Porto", at="2020-01-01", until="2022-01-01", **U)
    before = clock.now
    memory.add("Ana lives in Lisbon", at="2022-01-01", **U)
    find = lambda **when: set(texts(memory.search("Where does Ana live?", threshold=0, **when, **U)))  # noqa: E731
    assert find() == {"Ana lives in Porto", "Ana lives in Lisbon"}
    assert find(at="2021-06-01") == {"Ana lives in Porto"}
    assert find(at="2023-06-01") == {"Ana lives in Lisbon"}
    assert find(as_of=before) == {"Ana lives in Porto"}
    assert find(as_of=before, at="2023-06-01") == set()


def test_context_keeps_to_its_budget_and_reads_oldest_first(memory: Memory) -> None:
    memory.add([f"wine number {n}" for n in range(40)], **U)
    context = memory.context("wine", max_tokens=60, threshold=0, **U)
    assert 0 < len(str(context)) < 60 * 8
    assert len(str(memory.context("wine", max_tokens=500, threshold=0, **U))) > len(str(context))


# -- update, link, history


def test_a_corrected_text_takes_the_old_ones_place(memory: Memory) -> None:
    old = memory.add("Ana lives in Porto", speaker="Ana", session="s", **U).ids[0]
    new = memory.update(old, "Ana lives in Lisbon", reason="she told me", **U).ids[0]
    assert texts(memory.list(**U)) == ["Ana lives in Lisbon"]
    engram = memory.get(new, **U)
    assert (engram.kind, engram.sources, engram.speaker) == ("fact", (old,), "Ana")
    assert memory.get(old, **U).retired_why == "corrected"
    told = [(entry.verb, entry.engram) for entry in memory.history(new, **U)]
    assert told == [("add", old), ("update", new), ("retire", old)]
    with pytest.raises(ConflictError, match="left the view"):
        memory.update(old, "again", **U)


def test_a_correction_undone_and_made_again_is_tied_again(memory: Memory) -> None:
    old = memory.add("Ana lives in Porto", **U).ids[0]
    memory.update(old, "Ana lives in Lisbon", attrs={"sure": 1}, **U)
    memory.undo(**U)
    assert texts(memory.list(**U)) == ["Ana lives in Porto"]
    new = memory.update(old, "Ana lives in Lisbon", attrs={"sure": 2}, **U).ids[0]
    assert memory.get(new, **U).attrs["sure"] == 2
    assert {entry.engram for entry in memory.history(new, **U)} >= {old, new}


def test_attrs_are_set_and_taken_away_in_place(memory: Memory) -> None:
    id_ = memory.add("a", attrs={"x": 1, "y": 2}, **U).ids[0]
    memory.update(id_, attrs={"x": None, "z": [3]}, **U)
    assert dict(memory.get(id_, **U).attrs) == {"y": 2, "z": [3]}
    assert memory.update(id_, attrs={"z": [3]}, **U).op is None
    memory.undo(**U)
    assert dict(memory.get(id_, **U).attrs) == {"x": 1, "y": 2}


def test_what_ended_is_no_longer_true_after(memory: Memory) -> None:
    id_ = memory.add("a", at="2024-01-01", **U).ids[0]
    memory.update(id_, until="2024-02-01T00:00+03:00", **U)
    assert memory.get(id_, **U).until.isoformat() == "2024-02-01T00:00:00+03:00"  # type: ignore[union-attr]
    assert texts(memory.list(at="2024-03-01", **U)) == []
    memory.undo(**U)
    assert texts(memory.list(at="2024-03-01", **U)) == ["a"]


# -- undo


def test_undo_and_undo_of_undo_and_again(memory: Memory) -> None:
    op = memory.add("a", **U).op
    for _ in range(3):
        back = memory.undo(op, **U).op
        assert texts(memory.list(**U)) == []
        with pytest.raises(ConflictError, match=str(back)):
            memory.undo(op, **U)
        memory.undo(back, **U)
        assert texts(memory.list(**U)) == ["a"]


def test_undo_takes_the_last_that_was_not_undone(memory: Memory) -> None:
    for text in "abc":
        memory.add(text, **U)
    for left in (["a", "b"], ["a"], []):
        memory.undo(**U)
        assert texts(memory.list(**U)) == left
    with pytest.raises(NotFoundError, match="nothing to undo"):
        memory.undo(**U)


def test_undo_finds_the_last_behind_many_that_were_undone(memory: Memory) -> None:
    memory.add("first", **U)
    for n in range(40):
        memory.undo(memory.add(f"{n}", **U).op, **U)
    memory.undo(**U)
    assert memory.list(**U) == []


def test_a_night_can_be_undone_after_what_faded_was_used(open_memory: Callable[..., Memory], clock: Clock) -> None:
    memory = open_memory()
    id_ = memory.add("Ana likes red wine", **U).ids[0]
    clock.pass_(days=31)
    night = memory.sleep(**U)
    assert memory.get(id_, **U).strength < 1
    memory.search("wine", threshold=0, **U)
    memory.close()
    memory = open_memory()
    assert memory.get(id_, **U).strength == 1
    memory.undo(night.op, **U)
    assert memory.get(id_, **U).strength == 1
    assert memory.get(id_, **U).used is not None


# -- forget, log, stats


def test_forgetting_takes_what_rests_on_it_alone(memory: Memory) -> None:
    a = memory.add("I live in Porto", speaker="Ana", **U).ids
    memory.sleep(**U)
    derived = [engram for engram in memory.list(**U) if engram.sources]
    assert derived, "the night derived nothing from a plain statement"
    report = memory.forget(a, reason="she asked", **U)
    assert set(report.ids) == {*a, *(engram.id for engram in derived)}
    assert memory.list(**U) == []
    memory.undo(**U)
    assert len(memory.list(**U)) == 1 + len(derived)


def test_the_log_names_operations_and_their_lines(memory: Memory) -> None:
    op = memory.add(["a", "b"], **U).op
    memory.forget(all=True, reason="spring", **U)
    assert [(row["verb"], row["changes"]) for row in memory.log(**U)] == [("forget", 2), ("add", 2)]
    assert [entry.verb for entry in memory.log(op, **U)] == ["add", "add"]
    assert [row["verb"] for row in memory.log(verb="forget", **U)] == ["forget"]


def test_stats_count_what_is_there(memory: Memory) -> None:
    memory.add(["a", "b"], speaker="Ana", session="s", at="2024-01-01", **U)
    memory.add("c", kind="note", **U)
    memory.forget(memory.list(kinds="note", **U)[0].id, **U)
    stats = memory.stats(**U)
    assert (stats["records"], stats["in_view"], stats["kinds"]) == (3, 2, {"episode": 2, "note": 0})
    assert (stats["sessions"], stats["speakers"], stats["scope"]) == (1, 1, {"user_id": "u"})
    assert stats["bytes_on_disk"] > 0


def test_list_pages_and_orders(memory: Memory) -> None:
    for n in (3, 1, 2):
        memory.add(f"{n}", at=datetime(2024, 1, n, tzinfo=UTC), **U)
    assert texts(memory.list(**U)) == ["1", "2", "3"]
    assert texts(memory.list(newest_first=True, limit=2, offset=1, **U)) == ["2", "1"]
    assert texts(memory.list(filters={"at": {"gte": "2024-01-02"}}, **U)) == ["2", "3"]


def test_the_same_verbs_can_be_awaited() -> None:
    async def day() -> list[str]:
        async with AsyncMemory(":memory:", embedder="fake") as memory:
            await asyncio.gather(*(memory.add(f"{n}", **U) for n in range(5)))
            return sorted(texts(await memory.list(**U)))

    assert asyncio.run(day()) == ["0", "1", "2", "3", "4"]
