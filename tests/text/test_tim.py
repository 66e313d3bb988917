"""TiM: thoughts in buckets, contradictions forgotten in and beyond them, merges that lose nobody, no broken model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from slowwave import Memory
from slowwave.errors import InputError
from slowwave.models import FakeEmbedder
from slowwave.models.fakes import TROUBLEMAKERS
from slowwave.models.llm import LLM
from slowwave.ops.hashing import codes
from slowwave.text.tim import ThinkInMemory, planes

ANA: Any = {"user_id": "ana"}
Open = Callable[..., Memory]
ONE = {"tables": 1, "probes": 1, "buckets": 16}


@pytest.fixture
def open_(open_memory: Open) -> Open:
    def opened(**options: Any) -> Memory:
        return open_memory(":memory:", system=ThinkInMemory(**options.pop("system", {})), **options)

    return opened


def lived(memory: Memory, *lines: str) -> Memory:
    for month, line in enumerate(lines, 1):
        memory.add(line, at=f"2023-{month:02}-01", session=str(month), speaker="Ana", **ANA)
    memory.sleep(**ANA)
    return memory


def now(memory: Memory) -> set[str]:
    return {engram.text for engram in memory.list(kinds=["fact"], limit=None, **ANA) if engram.until is None}


def apart(one: str, other: str) -> int:
    """A seed under which two texts lie in different buckets of a single table."""
    rows = FakeEmbedder().embed([one, other])
    return next(seed for seed in range(99) if len(set(codes(rows, planes(64, 16, 1, seed))[:, 0, 0])) == 2)


def test_a_search_finds_what_lies_in_the_query_s_buckets_alone(open_: Open) -> None:
    names, things = ("Ben", "Cleo", "Dora"), ("bees", "wine", "hay")
    memory = lived(open_(system={"episodes": "none"}), *[f"{n} keeps {t} in the attic." for n in names for t in things])
    asked = "Who keeps bees in the attic?"

    def found(**system: Any) -> list[str]:
        memory.system = ThinkInMemory(episodes="none", **system)
        return [hit.text for hit in memory.search(asked, top_k=9, **ANA)]

    everything = found(tables=32, probes=8, buckets=16)
    assert len(everything) == 9, "many tables miss nothing"
    some = [found(**ONE, seed=seed) for seed in range(8)]
    assert 0 < sum(map(len, some)) < 8 * 9, "one table misses what lies across its border"
    for texts in some:
        assert texts == [text for text in everything if text in texts], "ranked by cosine all the same"


def test_a_contradiction_in_another_bucket_is_forgotten_only_where_forgetting_looks_beyond(open_: Open) -> None:
    rome, oslo = "Ana's home is Rome", "Ana's home is Oslo"
    system = {**ONE, "seed": apart(rome, oslo)}
    said = ("I live in Rome.", "I moved to Oslo.")
    assert now(lived(open_(system={**system, "beyond": False}), *said)) == {rome, oslo}
    assert now(lived(open_(system=system), *said)) == {oslo}
    assert now(lived(open_(system={"beyond": False}), *said)) == {oslo}, "several tables find it inside"


def test_what_is_forgotten_is_found_as_of_its_date_and_comes_back_with_undo(open_: Open) -> None:
    memory = lived(open_(), "I live in Rome.", "I moved to Oslo.")
    found = memory.search("Where is Ana's home?", at="2023-01-15", **ANA)
    assert [hit.text for hit in found] == ["Ana's home is Rome"]
    memory.undo(**ANA)
    assert now(memory) == set()
    memory.sleep(since="2020-01-01", **ANA)
    assert now(memory) == {"Ana's home is Oslo"}


def test_that_something_is_over_is_a_thought_as_well(open_: Open) -> None:
    memory = lived(open_(), "I have a cold.", "I got over my cold.")
    assert now(memory) == {"Ana: I got over my cold."}


def test_a_thought_that_is_there_already_is_not_inserted_again(open_: Open) -> None:
    memory = lived(open_(), "I live in Rome.", "My home is in Rome.")
    assert [engram.text for engram in memory.list(kinds=["fact"], **ANA)] == ["Ana's home is Rome"]


def test_thoughts_of_one_head_and_relation_become_one_that_leads_back_to_who_said_what(open_: Open) -> None:
    memory = lived(open_(), "I speak French.", "I live in Rome.", "I speak Dutch.")
    assert now(memory) == {"Ana's language is French and Dutch", "Ana's home is Rome"}
    merged = next(e for e in memory.list(kinds=["fact"], **ANA) if "and Dutch" in e.text)
    parts = [memory.get(id_, **ANA) for id_ in merged.sources]
    said = {part.attrs["value"]: memory.get(part.sources[0], **ANA).session for part in parts}
    assert said == {"French": "1", "Dutch": "3"}
    then = [hit.text for hit in memory.search("Which language?", at="2023-02-01", kinds=["fact"], **ANA)]
    assert "Ana's language is French" in then
    assert now(lived(open_(system={"merge": False}), "I speak French.", "I speak Dutch.")) == {
        "Ana's language is French", "Ana's language is Dutch"
    }  # fmt: skip


@pytest.mark.parametrize("trouble", ["garbage", "refuses"])
def test_a_model_that_cannot_answer_leaves_the_thoughts_that_the_rules_have(open_: Open, trouble: str) -> None:
    said = ("I live in Rome.", "I speak French.", "I moved to Oslo.", "I speak Dutch.", "I have a cold.")
    llm = LLM(TROUBLEMAKERS[trouble](), wait=lambda seconds: None)
    assert now(lived(open_(llm=llm), *said)) == now(lived(open_(), *said))


def test_a_table_that_cannot_be_is_named(open_: Open) -> None:
    with pytest.raises(InputError, match="even number"):
        ThinkInMemory(buckets=7)
