"""What is erased is in no byte of any file, the receipt says what it is sure of, and what is not meant stays."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from slowwave import Item, Memory
from slowwave.errors import InputError, NotFoundError

PLACES = "text speaker session origin value key reason updated forgotten linked until undone derived user run long"
CANARIES = [f"{place}canary{n}" for n, place in enumerate(PLACES.split())]
(TEXT, SPEAKER, SESSION, ORIGIN, VALUE, KEY, REASON, UPDATED, FORGOTTEN, LINKED, UNTIL, UNDONE, DERIVED, USER, RUN,
 LONG) = CANARIES  # fmt: skip
SCOPE = {"user_id": USER}
Left = Callable[[list[str]], dict[str, list[str]]]

pytestmark = pytest.mark.any_store


def plant(memory: Memory) -> list[str]:
    """Every canary in every place where a word can hide; the ids."""
    said = memory.add(
        [
            Item(f"I live in {TEXT} street", speaker=SPEAKER, session=SESSION, origin=ORIGIN, attrs={KEY: [VALUE]}),
            Item("My favourite wine is " + "very " * 400 + LONG, speaker=SPEAKER, session=SESSION),
        ],
        **SCOPE,
    )
    run = memory.add(f"My sister lives in {LINKED}", run_id=RUN, **SCOPE)
    memory.link(said[0].id, "about", run[0].id, **SCOPE)
    memory.update(said[0].id, f"I live in {UPDATED} road", reason=REASON, **SCOPE)
    memory.update(run[0].id, until="2030-01-01", attrs={"x": UNTIL}, **SCOPE)
    gone = memory.add(f"I work at {FORGOTTEN}", speaker=SPEAKER, **SCOPE)
    memory.sleep(**SCOPE)
    memory.forget(gone[0].id, reason=REASON, **SCOPE)
    memory.undo(memory.add(f"I like {UNDONE}", **SCOPE).op, **SCOPE)
    memory.search(f"Where is {TEXT} and {DERIVED}", threshold=0, **SCOPE)
    return [*said.ids, *run.ids, *gone.ids]


@pytest.mark.any_store(alone=True)
@pytest.mark.parametrize("one_by_one", [False, True])
def test_nothing_erased_is_in_any_byte(memory: Memory, left: Left, store_kind: str, one_by_one: bool) -> None:
    ids = plant(memory)
    memory.add("canary is a word of others too, and plain", user_id="ben")
    unseen = {DERIVED, LONG} if store_kind == "postgres" else {DERIVED}  # PostgreSQL keeps a long text pressed
    assert set(left(CANARIES)) >= set(CANARIES) - unseen, "the canaries are not planted"
    if one_by_one:
        for engram in memory.list(limit=None, retired=True, **SCOPE):
            try:
                assert memory.erase(engram.id, **SCOPE).clean
            except NotFoundError:  # it went with its source
                continue
    else:
        receipt = memory.erase(all=True, **SCOPE)
        assert receipt.clean, receipt
        assert set(ids) <= set(receipt.ids)
    assert left([*CANARIES, *ids]) == {}
    assert [engram.text for engram in memory.list(user_id="ben")] == ["canary is a word of others too, and plain"]
    assert memory.list(retired=True, **SCOPE) == []
    assert [str(scope) for scope, _ in memory.scopes()] == ["user_id=ben"]
    assert memory.check() == []


def test_another_scope_with_the_same_words_stays_and_the_receipt_is_clean(memory: Memory) -> None:
    for user in ("ana", "ben"):
        memory.add("The vocabulary of forgotten operations", speaker="Somebody", origin="sharedorigin", user_id=user)
        memory.sleep(user_id=user)
    receipt = memory.erase(all=True, user_id="ana")
    assert receipt.clean, receipt
    assert [engram.text for engram in memory.list(user_id="ben", kinds="episode")] == [
        "The vocabulary of forgotten operations"
    ]
    assert memory.search("vocabulary", user_id="ben", threshold=0)


def test_one_of_two_sources_is_erased_and_the_other_is_slept_on_again(memory: Memory) -> None:
    a = memory.add("I live in Porto.", speaker="Ana", session="s1", at="2024-01-01", user_id="u")
    b = memory.add("I live in Porto.", speaker="Ana", session="s2", at="2024-02-01", user_id="u")
    memory.sleep(user_id="u")
    derived = [e for e in memory.list(user_id="u", limit=None, retired=True) if e.sources]
    shared = [e for e in derived if set(e.sources) == {*a.ids, *b.ids}]
    receipt = memory.erase(a.ids, user_id="u")
    assert receipt.clean
    now = memory.list(user_id="u", limit=None, retired=True)
    assert not [e for e in now if a[0].id in e.sources]
    if shared:
        assert memory.sleep(user_id="u").op is not None
        again = [e for e in memory.list(user_id="u") if e.sources == (b[0].id,)]
        assert [e.text for e in again] == [e.text for e in shared]


@pytest.mark.any_store(alone=True)
def test_a_narrow_scope_erases_what_was_derived_above_it_and_the_receipt_knows(memory: Memory, left: Left) -> None:
    memory.add(f"I live in {DERIVED}", speaker="Ana", user_id="u", run_id="r")
    memory.sleep(user_id="u")
    derived = [e for e in memory.list(user_id="u") if e.sources]
    receipt = memory.erase(all=True, user_id="u", run_id="r")
    assert receipt.clean
    assert {e.id for e in derived} <= set(receipt.ids)
    assert left([DERIVED]) == {}


@pytest.mark.file_alone("a reader keeps pages of the file; PostgreSQL rewrites tables when no reader is left")
def test_the_receipt_says_so_while_somebody_reads_the_old_pages(
    open_memory: Callable[..., Memory], path: Path, left: Left
) -> None:
    memory = open_memory(timeout_seconds=0.3)
    ids = memory.add(f"a secret {TEXT}", user_id="u").ids
    memory.add("plain", user_id="u")
    reader = sqlite3.connect(path, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM engrams").fetchall()
    receipt = memory.erase(ids, user_id="u")
    assert not receipt.clean
    assert "end that process" in receipt.open
    assert memory.list(filters={"text": {"contains": TEXT}}, user_id="u") == []
    assert any("erasure" in fault for fault in memory.check())
    memory.close()
    reader.close()
    again = open_memory()
    assert again.check() == []
    assert left([TEXT, *ids]) == {}


def test_a_receipt_cannot_be_edited_unseen(memory: Memory) -> None:
    import hashlib
    import json

    ids = memory.add("a secret", user_id="u").ids
    body = memory.erase(ids, user_id="u").to_dict()
    digest = body.pop("sha256")
    assert body.pop("clean") is True
    assert hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest() == digest
    assert body["needles"] > 0
    assert body["counts"]["records"] == 1


def test_nothing_is_chosen_by_leaving_everything_out(memory: Memory) -> None:
    memory.add("a", user_id="u")
    for nothing in ({}, {"id": None}, {"filters": {}}, {"subject": " "}, {"id": "x", "all": True}):
        with pytest.raises((InputError, NotFoundError)):
            memory.erase(**nothing, user_id="u")  # type: ignore[arg-type]
    assert len(memory.list(user_id="u")) == 1


def test_a_subject_goes_with_all_that_mentions_it(memory: Memory) -> None:
    memory.add("I like tea", speaker="Zacharias", user_id="u")
    memory.add("zacharias went home", speaker="Ana", user_id="u")
    memory.add("Zachariasson is another", speaker="Ana", user_id="u")
    receipt = memory.erase(subject="Zacharias", user_id="u")
    assert len(receipt.ids) == 2
    assert [engram.text for engram in memory.list(user_id="u")] == ["Zachariasson is another"]
    assert receipt.clean


@pytest.mark.any_store(alone=True)
def test_thousands_are_erased_in_one_pass(memory: Memory, left: Left) -> None:
    memory.add(
        [f"secretive sentence number {n} about wonderful {n * 7919} vegetables" for n in range(1500)], user_id="u"
    )
    memory.add("plain", user_id="v")
    receipt = memory.erase(all=True, user_id="u")
    assert receipt.clean
    assert receipt.needles > 4_500
    assert left(["secretive", "vegetables"]) == {}


@pytest.mark.file_alone("a copy in the same folder; what lies beside a server's files is not slowwave's to read")
def test_a_backup_beside_the_file_is_found_by_the_scan(memory: Memory, path: Path) -> None:
    ids = memory.add(f"a secret {TEXT}", user_id="u").ids
    (path.parent / "memory.db.bak").write_bytes(path.read_bytes() + path.with_name("memory.db-wal").read_bytes())
    receipt = memory.erase(ids, user_id="u")
    assert not receipt.clean
    assert any(TEXT in piece for piece in receipt.found)
    assert "memory.db.bak" in receipt.files
