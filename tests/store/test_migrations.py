"""Files and databases of every schema there was open, answer, and are brought up to date without losing a word."""

from __future__ import annotations

import gzip
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from postgres_server import Server
from slowwave import Memory, Scope
from slowwave.errors import SchemaError
from slowwave.store import connection as connections
from slowwave.store import postgres_connections, postgres_schema
from slowwave.store.base import AUDIT
from slowwave.store.connection import _statements
from slowwave.store.migrations import APPLICATION_ID, STEPS, VERSION

FOLDER = Path(__file__).parent / "golden"
GOLDEN = sorted(FOLDER.glob("schema_*.db.gz"))
DUMPS = sorted(FOLDER.glob("schema_*.sql.gz"))
ANA = {"user_id": "ana"}
FACTS = (  # what a schema of PostgreSQL consists of
    "SELECT 'column', c.relname || '.' || a.attname, format_type(a.atttypid, a.atttypmod) || a.attnotnull::text || "
    "a.attidentity::text || a.attcollation || coalesce(pg_get_expr(d.adbin, d.adrelid), '') FROM pg_class c "
    "JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped LEFT JOIN pg_attrdef d "
    "ON d.adrelid = c.oid AND d.adnum = a.attnum WHERE c.relkind = 'r' AND c.relnamespace = 'slowwave'::regnamespace",
    "SELECT 'index', indexname, indexdef FROM pg_indexes WHERE schemaname = 'slowwave'",
    "SELECT 'constraint', conrelid::regclass::text || conname, pg_get_constraintdef(oid) FROM pg_constraint "
    "WHERE connamespace = 'slowwave'::regnamespace",
    "SELECT 'policy', tablename, coalesce(qual, '') || coalesce(with_check, '') FROM pg_policies "
    "WHERE schemaname = 'slowwave'",
    "SELECT 'wall', relname, relrowsecurity::text || relforcerowsecurity::text FROM pg_class "
    "WHERE relnamespace = 'slowwave'::regnamespace AND relkind = 'r'",
)


@pytest.fixture(params=GOLDEN, ids=lambda file: file.name)
def golden(request: pytest.FixtureRequest, path: Path) -> Path:
    path.write_bytes(gzip.decompress(request.param.read_bytes()))
    return path


@pytest.fixture(params=[*GOLDEN, *DUMPS], ids=lambda file: file.name)
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Path | str, int]]:
    """A store of an older schema, as a path or a URL, and the number of that schema."""
    data, number = gzip.decompress(request.param.read_bytes()), int(request.param.name.split("_")[1].split(".")[0])
    if request.param in GOLDEN:
        path = tmp_path / "memory.db"
        path.write_bytes(data)
        yield path, number
        return
    server: Server = request.getfixturevalue("server")
    url = restored(server, data)
    yield url, number
    server.discard(url)


def restored(server: Server, data: bytes) -> str:
    """The URL of a new database with what a dump holds."""
    import psycopg

    url = server.empty()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(data)
    return url


def facts(url: str) -> set[tuple[str, str, str]]:
    """What the schema of a database consists of."""
    import psycopg

    with psycopg.connect(url) as connection:
        return {row for statement in FACTS for row in connection.execute(statement).fetchall()}


def version_of(file: Path) -> int:
    """The number of a file's schema, as its header tells it."""
    return int.from_bytes(file.read_bytes()[60:64])


def test_every_schema_has_its_file_and_its_dump() -> None:
    assert [file.name for file in GOLDEN] == [f"schema_{n}.db.gz" for n in range(1, VERSION + 1)]
    assert [file.name for file in DUMPS] == [f"schema_{n}.sql.gz" for n in range(1, postgres_schema.VERSION + 1)]


def test_an_old_store_opens_and_answers(old: tuple[Path | str, int], open_memory: Callable[..., Memory]) -> None:
    memory = open_memory(old[0])
    assert memory.check() == []
    texts = {engram.text for engram in memory.list(limit=None, retired=True, **ANA)}
    assert {"I live in Porto", "I was in Lisbon in May", "I was in Lisbon last May: “naïve” 🙂"} <= texts
    first = memory.list(filters={"text": "I live in Porto"}, **ANA)[0]
    assert (first.at.isoformat(), first.speaker, first.session) == ("2023-05-08T13:56:00+02:00", "Ana", "s1")
    assert first.attrs["place"] == {"x": [1, 2.5, None, True]}
    assert "I was in Lisbon in May" in {hit.text for hit in memory.search("Lisbon in May", threshold=0, **ANA)}
    corrected = memory.list(filters={"text": {"contains": "naïve"}}, retired=True, **ANA)[0]
    assert [entry.reason for entry in memory.history(corrected.id, **ANA)].count("misheard") == 1
    assert [engram.text for engram in memory.list(user_id="ben")] == ["not Ana's"]
    assert memory.list(run_id="r", **ANA) == []


def test_what_models_did_is_read_from_stores_that_have_it(
    old: tuple[Path | str, int], open_memory: Callable[..., Memory]
) -> None:
    where, version = old
    memory = open_memory(where)
    view = memory.store.view(Scope(**ANA))
    assert [one.call.prompt[:2] for one in view.calls()] == (["a1", "b2"] if version > 1 else [])
    assert [one.rejected.text for one in view.rejected()] == (["Ana lives on the moon"] if version > 1 else [])
    assert memory.erase(all=True, **ANA).clean
    assert not view.calls()
    assert not view.rejected()
    assert memory.store.scan([b"moon"]) == {}
    assert isinstance(where, str) or b"moon" not in where.read_bytes()


def test_what_a_server_left_is_read_from_stores_that_have_it(
    old: tuple[Path | str, int], open_memory: Callable[..., Memory]
) -> None:
    served = old[1] > 2
    store = open_memory(old[0]).store
    assert [key.name for key in store.all_keys()] == ["laptop"] * served
    assert [one.amount for one in store.usage("2024-01-01")] == [3] * served
    assert [one.text for one in store.view(Scope(**ANA)).held()] == ["ignore all of it"] * served
    assert [row["verb"] for row in store.view(AUDIT).operations()] == ["refuse"] * served


def test_an_old_store_can_be_written_slept_on_undone_and_erased(
    old: tuple[Path | str, int], open_memory: Callable[..., Memory]
) -> None:
    memory = open_memory(old[0])
    assert memory.add("Ana likes red wine", kind="note", run_id="r", until="2030-01-01", **ANA).counts == {"UPDATE": 1}
    memory.undo(**ANA)
    memory.add("I moved to Braga in 2024", speaker="Ana", session="s3", **ANA)
    assert memory.sleep(**ANA).op is not None
    memory.undo(**ANA)
    memory.rebuild()
    assert memory.check() == []
    assert memory.erase(all=True, **ANA).clean
    assert [engram.text for engram in memory.list(user_id="ben")] == ["not Ana's"]


def test_an_old_file_can_be_read_without_being_changed(golden: Path, open_memory: Callable[..., Memory]) -> None:
    before = golden.read_bytes()
    if version_of(golden) < VERSION:
        with pytest.raises(SchemaError, match="open it once without"):
            open_memory(readonly=True)
    else:
        assert open_memory(readonly=True).search("Porto", threshold=0, **ANA)
    assert golden.read_bytes() == before


@pytest.mark.parametrize("dump", DUMPS, ids=lambda file: file.name)
def test_released_steps_of_postgres_are_never_edited(
    dump: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = DUMPS.index(dump) + 1
    kept, made = restored(server, gzip.decompress(dump.read_bytes())), server.empty()
    before = facts(kept)
    with monkeypatch.context() as patch:
        patch.setattr(postgres_connections, "STEPS", postgres_schema.STEPS[:number])
        patch.setattr(postgres_connections, "VERSION", number)
        Memory(made, embedder="fake").close()
    assert facts(made) == before, "a step that people's databases have gone through was edited; add a step below it"
    Memory(kept, embedder="fake").close()
    assert facts(kept) == facts(server.database()), "an old database is not brought to what a new one is"
    server.discard(kept, made)


@pytest.mark.parametrize("version", range(1, VERSION + 1))
def test_released_steps_are_never_edited(version: int) -> None:
    made = sqlite3.connect(":memory:")
    for step in STEPS[:version]:
        for statement in _statements(step):
            made.execute(statement)
    kept = sqlite3.connect(":memory:")
    kept.deserialize(gzip.decompress(GOLDEN[version - 1].read_bytes())[:18] + b"\x01\x01"
                     + gzip.decompress(GOLDEN[version - 1].read_bytes())[20:])  # fmt: skip
    schemas = [
        set(one.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%'"))
        for one in (made, kept)
    ]
    made.close()
    kept.close()
    assert schemas[0] == schemas[1], "a step that people's files have gone through was edited; add a step below it"


def test_a_step_that_fails_leaves_the_file_as_it_was(
    path: Path, open_memory: Callable[..., Memory], monkeypatch: pytest.MonkeyPatch
) -> None:
    open_memory().add("kept", **ANA)
    bad = "CREATE TABLE half (n INTEGER);\nCREATE TABLE half (n INTEGER);\n"
    monkeypatch.setattr(connections, "STEPS", (*STEPS, bad))
    monkeypatch.setattr(connections, "VERSION", VERSION + 1)
    with pytest.raises(Exception, match="half"):
        open_memory()
    monkeypatch.undo()
    memory = open_memory()
    assert [engram.text for engram in memory.list(**ANA)] == ["kept"]
    assert memory.check() == []


def test_a_new_step_is_taken_by_an_old_file(
    path: Path, open_memory: Callable[..., Memory], monkeypatch: pytest.MonkeyPatch
) -> None:
    open_memory().add("kept", **ANA)
    good = "CREATE TABLE more (n INTEGER) STRICT;\nINSERT INTO more SELECT n FROM engrams;\n"
    monkeypatch.setattr(connections, "STEPS", (*STEPS, good))
    monkeypatch.setattr(connections, "VERSION", VERSION + 1)
    assert [engram.text for engram in open_memory().list(**ANA)] == ["kept"]
    with sqlite3.connect(path) as other:
        assert other.execute("SELECT count(*) FROM more").fetchone() == (1,)
        assert other.execute("PRAGMA user_version").fetchone() == (VERSION + 1,)
        assert other.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
    other.close()
    monkeypatch.undo()
    with pytest.raises(SchemaError):
        open_memory()
