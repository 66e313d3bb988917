"""Bad input gets an error that says what was asked, what was found and what to do, and leaves nothing behind."""

from __future__ import annotations

import os
import resource
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from slowwave import Item, Link, Memory, Scope
from slowwave.errors import (
    ConflictError,
    FilterError,
    InputError,
    NotFoundError,
    SchemaError,
    SlowwaveError,
    StoreCorruptError,
    StoreError,
    StoreFullError,
    StoreReadOnlyError,
)

U = {"user_id": "u"}
Open = Callable[..., Memory]

pytestmark = pytest.mark.any_store
file_alone = pytest.mark.file_alone("what may happen to a file, its folder and its disk")

root = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root to mount or change user")


def state(memory: Memory) -> tuple[Any, ...]:
    """Everything that bad input must not change."""
    return memory.list(limit=None, retired=True, **U), memory.log(**U), memory.scopes(), memory.check()


@contextmanager
def refused(memory: Memory, kind: type[SlowwaveError], *said: str) -> Iterator[None]:
    """The block raises this error, whose message holds these words; nothing is changed."""
    before = state(memory)
    with pytest.raises(kind) as caught:
        yield
    for word in said:
        assert word in str(caught.value)
    assert 15 < len(str(caught.value)) < 500
    assert state(memory) == before


# -- texts


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "empty"), (" \n\t ", "empty"), ("x" * 10_000_000, "at most 200,000"), ("a\ud800b", "lone surrogate"),
        (b"\xff\xfe".decode("utf-8", "surrogateescape"), "errors='replace'"), ("a\0b", "NUL"), ([], "empty"),
        ([""], "empty"), (["fine", ""], "entry 1 of 2"), (["fine", "a\0"], "entry 1 of 2"), (None, "NoneType"),
        (5, "int"), (b"bytes", "bytes"), ([b"bytes"], "bytes"), ([None], "NoneType"), ({}, "content"),
        ({"role": "user"}, "content"), ({"content": None}, "content"), ({"content": []}, "empty"),
        ({"content": "a", "at": "soon"}, "ISO 8601"), (Item(text=""), "empty"), (Item(text=None), "empty"),  # type: ignore[arg-type]
        (Item("a", kind="thought"), "thought"), (Item("a", attrs=5), "attrs"), (Item("a", links=5), "pairs"),  # type: ignore[arg-type]
        (Item("a", scope={"user": "x"}), "user_id"), (Item("a", links=(("likes", "b"),)), "likes"),
        (iter(["a"]), "iterator"),
        (Item("a", scope=5), "scope"), (Item("a", speaker=5), "speaker"), (Item("a", origin=["x"]), "origin"),  # type: ignore[arg-type]
    ],
    ids=lambda value: repr(value)[:24] if isinstance(value, str) else None,
)  # fmt: skip
def test_what_cannot_be_remembered(memory: Memory, content: Any, said: str) -> None:
    with refused(memory, InputError, said):
        memory.add(content, **U)


KEPT = [
    "\x01\x02\x07\x1b[31m\x7f", "🙂👩‍👩‍👧‍👦 ﷽", "שלום עולם מרחבא مرحبا", "e\u0301 \u200f\u202e reversed",
    "'; DROP TABLE engrams; --", 'a" OR "b* NEAR(x) AND NOT {col}: ^y', "\u2028line\u2029 \ufeff bom", "%s {0} $1 \\",
    "null", "  kept blanks  ", "ﬁ ＡＢＣ", "x" * 200_000,
]  # fmt: skip


@pytest.mark.parametrize("text", KEPT, ids=lambda text: repr(text)[:16])
def test_odd_texts_are_kept_as_they_are_and_found(memory: Memory, text: str) -> None:
    id_ = memory.add(text, speaker=text[:50], session=text[:50], origin=text[:50], attrs={"x": text[:50]}, **U).ids[0]
    engram = memory.get(id_, **U)
    assert (engram.text, engram.speaker, engram.session, engram.origin) == (text, *[text[:50]] * 3)
    assert [hit.id for hit in memory.search(text[:2000], threshold=0, **U)] == [id_]
    assert [e.id for e in memory.list(filters={"x": text[:50]}, **U)] == [id_]
    assert [e.id for e in memory.list(filters={"text": {"contains": text[:20]}}, **U)] == [id_]
    assert memory.context(text[:100], threshold=0, **U)
    assert memory.update(id_, "plain", **U).op
    assert memory.add(text, origin=text[:50], speaker=text[:50], **U).counts == {"NONE": 1}
    assert memory.check() == []


@pytest.mark.parametrize(
    "query", [*KEPT, '"', "*", "AND", "NOT a", "NEAR(", "scope : ux", "a:b", "-", "(", "x" * 100_000]
)
def test_no_query_is_syntax(memory: Memory, query: str) -> None:
    memory.add("wine", **U)
    assert len(memory.search(query, threshold=0, **U)) == 1


@pytest.mark.parametrize("query", ["", "  ", None, 5, b"x", ["x"], "a\0", "\ud800"])
def test_what_is_no_query(memory: Memory, query: Any) -> None:
    for call in (memory.search, memory.context):
        with refused(memory, InputError, "query"):
            call(query, **U)


# -- times


@pytest.mark.parametrize(
    "at", ["0000-01-01", "10000-01-01", "-0001-01-01", "2024-02-30", "soon", "", True, [], 1e18, -1e18, float("nan"),
           float("inf"), b"2024", datetime.max.replace(tzinfo=timezone(timedelta(hours=-14))), {"year": 1}],
)  # fmt: skip
def test_what_is_no_time(memory: Memory, at: Any) -> None:
    with refused(memory, InputError):
        memory.add("a", at=at, **U)
    for name in ("at", "as_of"):
        with refused(memory, InputError, name):
            memory.list(**{name: at}, **U)
    with refused(memory, FilterError):
        memory.list(filters={"at": {"gt": at}}, **U)


@pytest.mark.parametrize(
    "at", ["0001-01-01", "9999-12-31", date(1, 1, 2), datetime(9999, 12, 31, 23, 59, 59, 999999, UTC), "1582-10-10",
           -62e9, datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=-5))), "2024-06-01T12:00:00.123456+05:45"],
)  # fmt: skip
def test_the_ends_of_the_calendar_are_kept_slept_on_and_found(memory: Memory, at: Any) -> None:
    id_ = memory.add("Yesterday I moved to Porto, next week I go to Faro", at=at, speaker="Ana", **U).ids[0]
    engram = memory.get(id_, **U)
    assert memory.list(at=engram.at, **U) == [engram]
    assert memory.list(filters={"at": engram.at}, **U) == [engram]
    assert memory.search("Where did Ana move in May, or yesterday?", now=engram.at, threshold=0, **U)
    memory.sleep(**U)
    assert memory.context("Porto", threshold=0, **U)
    assert memory.check() == []


@pytest.mark.parametrize("year", [1, 9999])
def test_a_clock_at_the_end_of_the_calendar(open_memory: Open, year: int) -> None:
    moment = datetime(year, 1, 2, tzinfo=UTC) if year == 1 else datetime(year, 12, 30, tzinfo=UTC)
    memory = open_memory(clock=lambda: moment, zone="America/Los_Angeles")
    memory.add("I live in Porto", speaker="Ana", **U)
    assert memory.search("Where does Ana live?", threshold=0, **U)
    memory.sleep(**U)
    assert memory.check() == []


def test_until_before_at(memory: Memory) -> None:
    with refused(memory, InputError, "before at"):
        memory.add("a", at="2024-05-02", until="2024-05-01", **U)
    with refused(memory, InputError, "before at"):
        memory.add(["b", {"content": "c", "at": "2024-05-02"}], until="2024-05-01T00:00+00:00", **U)
    id_ = memory.add("a", at="2024-05-02", **U).ids[0]
    with refused(memory, InputError, "before at"):
        memory.update(id_, until="2024-05-01", **U)


def test_a_clock_without_a_zone(open_memory: Open) -> None:
    with pytest.raises(InputError, match="aware"):
        open_memory(clock=lambda: datetime(2024, 1, 1)).add("a", **U)


# -- arguments


def bad_calls() -> list[tuple[str, type[SlowwaveError], Callable[[Memory, str], Any]]]:
    deep: Any = "x"
    for _ in range(3000):
        deep = [deep]
    return [
        ("kind", InputError, lambda m, i: m.add("a", kind="thought", **U)),
        ("kind", InputError, lambda m, i: m.add("a", kind=["fact"], **U)),  # type: ignore[arg-type]
        ("speaker", InputError, lambda m, i: m.add("a", speaker=5, **U)),  # type: ignore[arg-type]
        ("session", InputError, lambda m, i: m.add("a", session="\0", **U)),
        ("origin", InputError, lambda m, i: m.add("a", origin="\ud800", **U)),
        ("attrs", InputError, lambda m, i: m.add("a", attrs=[1], **U)),  # type: ignore[arg-type]
        ("metadata", InputError, lambda m, i: m.add("a", metadata="x", **U)),  # type: ignore[arg-type]
        ("attrs", InputError, lambda m, i: m.add("a", attrs={"x": object()}, **U)),
        ("attrs", InputError, lambda m, i: m.add("a", attrs={"x": float("nan")}, **U)),
        ("64 bits", InputError, lambda m, i: m.add("a", attrs={"x": 2**64}, **U)),
        ("attrs", InputError, lambda m, i: m.add("a", attrs={5: "x"}, **U)),  # type: ignore[dict-item]
        ("attrs", InputError, lambda m, i: m.add("a", attrs={'a"b': 1}, **U)),
        ("attrs", InputError, lambda m, i: m.add("a", attrs={"x": b"bytes"}, **U)),
        ("attrs", InputError, lambda m, i: m.add("a", attrs={"x": "\ud800"}, **U)),
        ("NUL", InputError, lambda m, i: m.add("a", attrs={"x": {"y\0": 1}}, **U)),
        ("deeper than 32", InputError, lambda m, i: m.add("a", attrs={"x": deep}, **U)),
        ("larger than", InputError, lambda m, i: m.add("a", attrs={"x": "y" * 70_000}, **U)),
        ("no argument", InputError, lambda m, i: m.add("a", colour="red", **U)),  # type: ignore[call-arg]
        ("no argument", InputError, lambda m, i: m.search("a", limit=5, **U)),  # type: ignore[call-arg]
        ("top_k", InputError, lambda m, i: m.search("a", top_k=0, **U)),
        ("top_k", InputError, lambda m, i: m.search("a", top_k="5", **U)),  # type: ignore[arg-type]
        ("top_k", InputError, lambda m, i: m.search("a", top_k=True, **U)),
        ("threshold", InputError, lambda m, i: m.search("a", threshold=1.5, **U)),
        ("threshold", InputError, lambda m, i: m.search("a", threshold=float("nan"), **U)),
        ("threshold", InputError, lambda m, i: m.search("a", threshold="0", **U)),  # type: ignore[arg-type]
        ("kinds", InputError, lambda m, i: m.list(kinds="thought", **U)),
        ("kinds", InputError, lambda m, i: m.list(kinds=5, **U)),  # type: ignore[arg-type]
        ("kinds", InputError, lambda m, i: m.list(kinds=[5], **U)),  # type: ignore[list-item]
        ("limit", InputError, lambda m, i: m.list(limit=-1, **U)),
        ("limit", InputError, lambda m, i: m.list(limit=1.5, **U)),  # type: ignore[arg-type]
        ("offset", InputError, lambda m, i: m.list(offset=-1, **U)),
        ("offset", InputError, lambda m, i: m.list(offset=2**70, **U)),
        ("filter", FilterError, lambda m, i: m.list(filters="speaker = 'x'", **U)),  # type: ignore[arg-type]
        ("filter", FilterError, lambda m, i: m.search("a", filters=[("a", 1)], **U)),  # type: ignore[arg-type]
        ("'like'", FilterError, lambda m, i: m.forget(filters={"x": {"like": "%"}}, **U)),
        ("more than", FilterError, lambda m, i: m.list(filters={"x": list(range(100_000))}, **U)),
        ("max_tokens", InputError, lambda m, i: m.context("a", max_tokens=0, **U)),
        ("no record", NotFoundError, lambda m, i: m.get("nothing", **U)),
        ("no record", NotFoundError, lambda m, i: m.get("\ud800", **U)),
        ("no record", NotFoundError, lambda m, i: m.get("", **U)),
        ("id is a int", InputError, lambda m, i: m.get(5, **U)),  # type: ignore[arg-type]
        ("id is a int", InputError, lambda m, i: m.forget(5, **U)),  # type: ignore[arg-type]
        ("id is a int", InputError, lambda m, i: m.erase(5, **U)),  # type: ignore[arg-type]
        ("no record", NotFoundError, lambda m, i: m.erase(["\ud800", i], **U)),
        ("no record", NotFoundError, lambda m, i: m.get("a\0b", **U)),
        ("id is a int", InputError, lambda m, i: m.erase([5], **U)),  # type: ignore[list-item]
        ("no record", NotFoundError, lambda m, i: m.forget([i, "nothing"], **U)),
        ("exactly one", InputError, lambda m, i: m.forget(**U)),
        ("exactly one", InputError, lambda m, i: m.forget(i, all=True, **U)),
        ("all=True", InputError, lambda m, i: m.forget(filters={}, **U)),
        ("subject", InputError, lambda m, i: m.forget(subject="", **U)),
        ("reason", InputError, lambda m, i: m.forget(i, reason="\0", **U)),
        ("reason", InputError, lambda m, i: m.update(i, "b", reason=5, **U)),  # type: ignore[arg-type]
        ("nothing to update", InputError, lambda m, i: m.update(i, **U)),
        ("empty", InputError, lambda m, i: m.update(i, " ", **U)),
        ("text", InputError, lambda m, i: m.update(i, 5, **U)),  # type: ignore[arg-type]
        ("attrs", InputError, lambda m, i: m.update(i, attrs=[1], **U)),  # type: ignore[arg-type]
        ("itself", InputError, lambda m, i: m.link(i, "next", i, **U)),
        ("relation", InputError, lambda m, i: m.link(i, "likes", i, **U)),
        ("weight", InputError, lambda m, i: m.link(i, "next", i, weight=2, **U)),
        ("weight", InputError, lambda m, i: m.link(i, "next", i, weight="x", **U)),  # type: ignore[arg-type]
        ("link's end", InputError, lambda m, i: m.link(i, "next", 5, **U)),  # type: ignore[arg-type]
        ("no record", NotFoundError, lambda m, i: m.link(i, "next", "nothing", **U)),
        ("no operation", NotFoundError, lambda m, i: m.undo("nothing", **U)),
        ("no operation", NotFoundError, lambda m, i: m.log("nothing", **U)),
        ("op", InputError, lambda m, i: m.undo(5, **U)),  # type: ignore[arg-type]
        ("Unicode", InputError, lambda m, i: m.undo("\ud800", **U)),
        ("text", InputError, lambda m, i: m.log("\ud800", **U)),
        ("since", InputError, lambda m, i: m.sleep(since="soon", **U)),
    ]  # fmt: skip


@pytest.mark.parametrize("place", range(len(bad_calls())))
def test_a_wrong_argument(memory: Memory, place: int) -> None:
    said, kind, call = bad_calls()[place]
    id_ = memory.add("a", **U).ids[0]
    with refused(memory, kind, said):
        call(memory, id_)


@pytest.mark.parametrize(
    "options",
    [
        {"zone": "Mars/Base"}, {"zone": 5}, {"half_life_days": 0}, {"half_life_days": 1e8}, {"half_life_days": "30"},
        {"timeout_seconds": -1}, {"vector_dtype": "int4"}, {"embedder": 5}, {"system": 5}, {"system": "nothing"},
        {"embedder": "openai:"},
    ],
    ids=repr,
)  # fmt: skip
def test_a_wrong_option_makes_no_file(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(SlowwaveError, match=next(iter(options))):
        Memory(tmp_path / "a.db", **{"embedder": "fake", **options})
    assert not list(tmp_path.iterdir())


def test_cyclic_links_are_fine(memory: Memory) -> None:
    a, b, c = memory.add(["a", "b", "c"], **U).ids
    for one, two in ((a, b), (b, c), (c, a)):
        memory.link(one, "supersedes", two, **U)
        memory.link(two, "next", one, **U)
    assert len(memory.history(a, **U)) >= 3
    assert memory.link(a, "supersedes", b, **U).op is None
    memory.sleep(**U)
    assert memory.erase(a, **U).clean
    assert memory.check() == []
    assert Link(a, "next", b).weight == 1


def test_links_of_a_batch_that_lead_to_themselves_or_nowhere(memory: Memory) -> None:
    items = [Item("a", origin="1", links=(("next", "1"), ("next", "2"), ("next", "9"))), Item("b", origin="2")]
    memory.add(items, **U)
    assert memory.check() == []


# -- files


def test_a_directory(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=str(tmp_path)):
        Memory(tmp_path, embedder="fake")


@pytest.mark.parametrize("path", ["", " ", "a\0b", 5, b"x", ["x"]])
def test_what_is_no_path(path: Any) -> None:
    with pytest.raises(InputError, match="path"):
        Memory(path, embedder="fake")


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="folder"):
        Memory(tmp_path / "file" / "a.db", embedder="fake")


@pytest.mark.parametrize("size", [10, 512, 100_000])
def test_random_bytes(tmp_path: Path, size: int) -> None:
    path = tmp_path / "a.db"
    path.write_bytes(data := os.urandom(size))
    with pytest.raises(StoreCorruptError, match="not a database"):
        Memory(path, embedder="fake")
    assert path.read_bytes() == data
    assert [file.name for file in tmp_path.iterdir()] == ["a.db"]


@file_alone
def test_an_empty_file_is_a_new_memory(path: Path, open_memory: Open) -> None:
    path.write_bytes(b"")
    assert open_memory().add("a", **U).op


@file_alone
def test_overwritten_pages(path: Path, open_memory: Open) -> None:
    memory = open_memory()
    memory.add([f"text number {n}" for n in range(2000)], **U)
    memory.close()
    data = bytearray(path.read_bytes())
    pages = len(data) // 4096
    for page in range(70, pages, 3):  # the schema stays whole
        data[page * 4096 : (page + 1) * 4096] = os.urandom(4096)
    path.write_bytes(data)
    memory = open_memory()
    assert memory.check()
    for call in (
        lambda: memory.list(limit=None, **U),
        lambda: memory.search("text number", threshold=0, **U),
        lambda: memory.add([f"more {n}" for n in range(500)], **U),
        lambda: memory.stats(**U),
    ):
        with suppress(StoreCorruptError):  # any other error fails the test
            call()


def test_a_broken_full_text_index_is_found_and_rebuilt(memory: Memory, store_kind: str) -> None:
    ids = memory.add(["red wine", "white wine", "tea"], **U).ids
    rows = memory.store.view(Scope(**U)).numbers(ids)  # type: ignore[attr-defined]
    with memory.store.connections.write() as session:  # type: ignore[attr-defined]
        column = "rowid" if store_kind == "sqlite" else "engram"
        session.execute(f"DELETE FROM words WHERE {column} = ?", (rows[ids[0]],))
        session.execute("DELETE FROM vectors WHERE engram = ?", (rows[ids[1]],))
    assert len(memory.check()) == 2
    assert all("slowwave rebuild" in fault for fault in memory.check())
    memory.rebuild()
    assert memory.check() == []
    assert {hit.text for hit in memory.search("wine", threshold=0, top_k=2, **U)} == {"red wine", "white wine"}


def test_another_programs_database_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE notes (text TEXT)")
    other.close()
    before = path.read_bytes()
    for readonly in (False, True):
        with pytest.raises(StoreError, match="another program"):
            Memory(path, embedder="fake", readonly=readonly)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["a.db"]


@file_alone
def test_a_newer_schema_stays_as_it_is(path: Path, open_memory: Open) -> None:
    open_memory().close()
    other = sqlite3.connect(path)
    other.execute("PRAGMA user_version = 99")
    other.execute("PRAGMA journal_mode = DELETE").fetchall()
    other.close()
    before = path.read_bytes()
    for readonly in (False, True):
        with pytest.raises(SchemaError, match=r"schema 99.*pip install -U slowwave"):
            open_memory(readonly=readonly)
    assert path.read_bytes() == before


@file_alone
@pytest.mark.parametrize(
    "name", ["a b.db", "ünï 🙂.db", "q?mode=ro.db", "h#a.db", "p%20.db", "[x]*.db", "'; --.db", "-x.db"]
)
def test_odd_file_names(tmp_path: Path, open_memory: Open, name: str) -> None:
    memory = open_memory(tmp_path / "sub folder" / name)
    ids = memory.add("a secret thing", **U).ids
    assert sorted(file.name for file in (tmp_path / "sub folder").iterdir()) == [name, f"{name}-shm", f"{name}-wal"]
    assert set(memory.erase(ids, **U).files) >= {name, f"{name}-wal"}
    memory.close()
    assert open_memory(tmp_path / "sub folder" / name, readonly=True).list(**U) == []


@file_alone
def test_a_symbolic_link_is_followed(tmp_path: Path, open_memory: Open) -> None:
    (tmp_path / "real").mkdir()
    link = tmp_path / "link.db"
    link.symlink_to(tmp_path / "real" / "memory.db")
    memory = open_memory(link)
    ids = memory.add("a secretcanary", **U).ids
    assert sorted(file.name for file in tmp_path.iterdir()) == ["link.db", "real"]
    receipt = memory.erase(ids, **U)
    assert receipt.clean
    assert {"memory.db", "memory.db-wal"} <= set(receipt.files)


@file_alone
@pytest.mark.parametrize("how", ["deleted", "replaced", "moved"])
def test_a_file_that_went_away_while_open(path: Path, open_memory: Open, tmp_path: Path, how: str) -> None:
    memory = open_memory()
    memory.add("a", **U)
    if how == "deleted":
        path.unlink()
    else:
        shutil.move(path, tmp_path / "elsewhere.db")
    if how == "replaced":
        path.write_bytes((tmp_path / "elsewhere.db").read_bytes())
    with pytest.raises(StoreError, match="while open"):
        memory.add("lost", **U)
    with pytest.raises(StoreError, match="while open"):
        memory.erase(all=True, **U)


def test_a_closed_memory(memory: Memory) -> None:
    memory.close()
    memory.close()
    for call in (lambda: memory.add("a", **U), lambda: memory.list(**U), lambda: memory.search("a", **U)):
        with pytest.raises(StoreError, match="closed"):
            call()


# -- rights and room


def test_readonly_searches_and_writes_nothing(
    open_memory: Open, elsewhere: Callable[[str], Path | str], tmp_path: Path
) -> None:
    open_memory().add("red wine", **U)
    memory = open_memory(readonly=True)
    assert [hit.text for hit in memory.search("wine", threshold=0, **U)] == ["red wine"]
    id_ = memory.list(**U)[0].id
    for call in (
        lambda: memory.add("b", **U), lambda: memory.update(id_, "b", **U), lambda: memory.forget(id_, **U),
        lambda: memory.erase(id_, **U), lambda: memory.undo(**U), lambda: memory.rebuild(),
        lambda: memory.reembed("fake"), lambda: memory.update(id_, attrs={"x": 1}, **U),
    ):  # fmt: skip
        with pytest.raises(StoreReadOnlyError, match="readonly=True"):
            call()
    assert memory.sleep(dry_run=True, **U).op is None
    with pytest.raises(StoreError, match=r"absent|no tenant"):
        open_memory(elsewhere("absent"), readonly=True)
    assert not (tmp_path / "absent.db").exists()


@root
@file_alone
def test_another_users_file_and_folder(tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir()
    path = folder / "memory.db"
    with Memory(path, embedder="fake") as memory:
        memory.add("red wine", **U)
    script = (
        "import os, sys\n"
        "from slowwave import Memory\n"
        "from slowwave.errors import StoreError, StoreReadOnlyError\n"
        "import slowwave.text.default, slowwave.store.sqlite\n"
        "os.setgid(65534); os.setuid(65534)\n"
        f"path = {str(path)!r}\n"
        "try:\n"
        "    memory = Memory(path, embedder='fake')\n"
        "    memory.add('b', user_id='u')\n"
        "except StoreError as error:\n"
        "    print('refused', type(error).__name__, error)\n"
        "memory = Memory(path, embedder='fake', readonly=True)\n"
        "print([hit.text for hit in memory.search('wine', threshold=0, user_id='u')])\n"
    )
    for parent in (tmp_path, *tmp_path.parents):  # so that the other user may come that far
        if parent.stat().st_uid == 0 and parent.stat().st_mode & 0o005 != 0o005:
            parent.chmod(parent.stat().st_mode | 0o005)
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert out.returncode == 0, out.stderr
    lines = out.stdout.splitlines()
    assert lines[0].startswith("refused Store")
    assert lines[1] == "['red wine']"
    assert [file.name for file in folder.iterdir()] == ["memory.db"]


@contextmanager
def mounted(folder: Path, *options: str) -> Iterator[Path]:
    """A small file system of its own; skips where the machine allows none."""
    folder.mkdir(exist_ok=True)
    done = subprocess.run(["mount", *options, str(folder)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"mounting is not allowed here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@root
@file_alone
def test_a_full_disk(tmp_path: Path, open_memory: Open) -> None:
    with mounted(tmp_path / "small", "-t", "tmpfs", "-o", "size=1500k", "tmpfs") as folder:
        memory = open_memory(folder / "memory.db")
        memory.add("kept", **U)
        written = 1
        why = ""
        while not why:
            try:
                written += len(memory.add([f"{written} {n} " + "words " * 30 for n in range(20)], **U))
            except StoreFullError as error:
                why = str(error)
        assert "nothing was written; free room" in why
        assert len(memory.list(limit=None, **U)) == written
        assert memory.search("kept", threshold=0, **U)
        assert memory.check() == []
        with suppress(StoreFullError):  # erasing needs room too; then nothing is erased
            receipt = memory.erase(filters={"text": {"contains": "kept"}}, **U)
            assert receipt.clean or receipt.open
            written -= 1
        assert len(memory.list(limit=None, **U)) == written
        memory.close()
        subprocess.run(["mount", "-o", "remount,size=50m", str(folder)], check=True)
        again = open_memory(folder / "memory.db")
        assert len(again.list(limit=None, **U)) == written
        assert again.add("room again", **U).op
        assert again.check() == []
        again.close()


@root
@file_alone
def test_a_disk_that_is_mounted_readonly(tmp_path: Path, open_memory: Open) -> None:
    with mounted(tmp_path / "disk", "-t", "tmpfs", "tmpfs") as folder:
        with Memory(folder / "memory.db", embedder="fake") as memory:
            memory.add("red wine", **U)
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
        memory = open_memory(folder / "memory.db", readonly=True)
        assert memory.search("wine", threshold=0, **U)
        with pytest.raises(StoreError):
            open_memory(folder / "memory.db").add("b", **U)
        memory.close()


@file_alone
def test_a_limit_on_the_size_of_files(path: Path) -> None:
    with Memory(path, embedder="fake") as memory:
        memory.add("kept", **U)
    script = (
        "import resource, signal\n"
        "from slowwave import Memory\n"
        "from slowwave.errors import StoreFullError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"memory = Memory({str(path)!r}, embedder='fake')\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))\n"
        "written = 0\n"
        "try:\n"
        "    for turn in range(1000):\n"
        "        written += len(memory.add([f'{turn} {n} ' + 'words ' * 20 for n in range(20)], user_id='u'))\n"
        "except StoreFullError as error:\n"
        "    print(written, flush=True)\n"
    )
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert out.returncode == 0, out.stderr
    with Memory(path, embedder="fake") as memory:
        assert len(memory.list(limit=None, **U)) == int(out.stdout) + 1
        assert memory.check() == []
    assert resource.RLIMIT_FSIZE


def test_an_undo_that_a_later_change_stands_against(memory: Memory) -> None:
    id_ = memory.add("a", **U).ids[0]
    op = memory.update(id_, attrs={"x": 1}, **U).op
    memory.update(id_, attrs={"x": 2}, **U)
    with refused(memory, ConflictError, "slowwave history"):
        memory.undo(op, **U)
    memory.undo(**U)
    memory.undo(op, **U)
    assert dict(memory.get(id_, **U).attrs) == {}
