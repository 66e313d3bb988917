"""The default store and the shipped embedders are held to the shipped contracts, check by check."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from postgres_server import Server
from slowwave.checks import EMBEDDER_CHECKS, STORE_CHECKS, Bench, check_embedder, check_store
from slowwave.checks.finding import FINDING
from slowwave.models import resolve_embedder
from slowwave.models.base import Embedder, FakeEmbedder
from slowwave.records import Scope
from slowwave.store.base import Applied, Operation, Store, View
from slowwave.store.sqlite import SqliteStore
from slowwave.store.sqlite_view import SqliteView


@pytest.mark.parametrize("check", STORE_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("vector_dtype", ["int8", "float32"])
def test_sqlite_store(check: Callable[[Bench], None], vector_dtype: str, tmp_path: Path) -> None:
    def factory(path: Path, **options: Any) -> Store:
        return SqliteStore(path, durable=False, vector_dtype=vector_dtype, **options)

    bench = Bench(factory, tmp_path)
    try:
        check(bench)
    finally:
        for store in bench.stores:
            store.close()


@pytest.mark.parametrize(
    ("vector_dtype", "check"),
    [*(("int8", check) for check in STORE_CHECKS), *(("float32", check) for check in FINDING)],
)
def test_postgres_store(check: Callable[[Bench], None], vector_dtype: str, tmp_path: Path, server: Server) -> None:
    urls: dict[Path, str] = {}  # a path of the check's is a database of the server's

    def factory(path: Path, **options: Any) -> Store:
        from slowwave.store.postgres import PostgresStore

        fresh = server.empty if options.get("readonly") else server.database  # row numbers from 1, as in a file
        url = urls[path] if path in urls else urls.setdefault(path, fresh())
        return PostgresStore(url, durable=False, vector_dtype=vector_dtype, **options)

    bench = Bench(factory, tmp_path)
    try:
        check(bench)
    finally:
        for store in bench.stores:
            store.close()
        server.discard(*urls.values())


@pytest.mark.parametrize("check", EMBEDDER_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("spec", ["fake", "minilm"])
def test_embedder(check: Callable[[Embedder], None], spec: str) -> None:
    check(resolve_embedder(spec, threads=2))


def test_every_method_of_the_contract_is_exercised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called: set[str] = set()

    def record(owner: type, name: str) -> None:
        method = getattr(owner, name)

        def spy(self: Any, *args: Any, **kwargs: Any) -> Any:
            called.add(name)
            return method(self, *args, **kwargs)

        monkeypatch.setattr(owner, name, spy)

    due = {*View.__abstractmethods__, *Store.__abstractmethods__}
    for owner, names in ((SqliteView, View.__abstractmethods__), (SqliteStore, Store.__abstractmethods__)):
        for name in names:
            record(owner, name)
    check_store(SqliteStore, show=lambda line: None)
    assert due - called == set()


class Leaky(SqliteStore):
    """A store that forgets the scope in one read."""

    def view(self, scope: Scope) -> SqliteView:
        view = super().view(scope)
        if scope.user_id == "ben":
            view.count = lambda want: SqliteView(self, Scope(user_id="ana")).count(want)  # type: ignore[method-assign]
        return view


class Halving(SqliteStore):
    """A store that commits each change by itself."""

    def apply(self, operation: Operation, changes: Any, index: Any) -> Applied:
        for change in changes[:-1]:
            super().apply(operation, [change], index)
        return super().apply(operation, changes[-1:], index)


@pytest.mark.parametrize("store", [Leaky, Halving])
def test_a_faulty_store_is_found_out(store: type[SqliteStore]) -> None:
    with pytest.raises(AssertionError, match=r"^[a-z_]+: "):
        check_store(store, show=lambda line: None)


def test_a_faulty_embedder_is_found_out() -> None:
    class Long(FakeEmbedder):
        def embed(self, texts: Any) -> Any:
            return 2 * super().embed(texts)

    with pytest.raises(AssertionError, match="it_gives_unit_rows_of_float32: lengths"):
        check_embedder(Long(), show=lambda line: None)


def test_skips_are_printed_with_their_reason_and_need_one(capsys: pytest.CaptureFixture[str]) -> None:
    reason = "this one has no texts"
    check_embedder(FakeEmbedder(), skip={"it_takes_any_text": reason})
    lines = capsys.readouterr().out.splitlines()
    assert f"skipped  it_takes_any_text: {reason}" in lines
    assert len(lines) == len(EMBEDDER_CHECKS)
    with pytest.raises(AssertionError, match="written reason"):
        check_embedder(FakeEmbedder(), skip={"it_takes_any_text": " "})
    with pytest.raises(AssertionError, match="no check flies"):
        check_embedder(FakeEmbedder(), skip={"flies": "it has wings"})
