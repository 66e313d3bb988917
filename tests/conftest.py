"""What the engine's tests share: a clock that ticks when asked, memories of a passing folder, Hypothesis' profiles.

Hypothesis is derandomised, so that a run is repeatable; SLOWWAVE_HYPOTHESIS=explore looks further, with new examples.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from postgres_server import Server, data_files, running
from slowwave import Memory
from ticking import Clock

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
import onnxruntime  # noqa: F401 - before any test imports usearch: the other order crashes the process

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as a shell starts what runs in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile(
    "steady", derandomize=True, deadline=None, max_examples=60, suppress_health_check=list(HealthCheck)
)
settings.register_profile("explore", deadline=None, max_examples=1500, suppress_health_check=list(HealthCheck))
settings.load_profile(os.environ.get("SLOWWAVE_HYPOTHESIS", "steady"))


@pytest.fixture
def clock() -> Clock:
    return Clock()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test marked `any_store` runs on each; its `path` is then a file, or the URL of a tenant of its own.

    In a file whose tests are all marked, `file_alone("why")` leaves one out that is about the file itself; with
    `any_store(alone=True)` the tenant lies in a database of its own.
    """
    item = metafunc.definition
    everywhere = item.get_closest_marker("file_alone") is None and item.get_closest_marker("any_store") is not None
    if everywhere and "store_kind" in metafunc.fixturenames:
        metafunc.parametrize("store_kind", ["sqlite", "postgres"], indirect=True)


@pytest.fixture
def store_kind(request: pytest.FixtureRequest) -> str:
    return str(getattr(request, "param", "sqlite"))


@pytest.fixture
def path(tmp_path: Path, store_kind: str, request: pytest.FixtureRequest) -> Path | str:
    if store_kind == "sqlite":
        return tmp_path / "memory.db"
    server: Server = request.getfixturevalue("server")
    marker = request.node.get_closest_marker("any_store")
    return server.alone() if marker is not None and marker.kwargs.get("alone") else server.tenant()


@pytest.fixture
def elsewhere(tmp_path: Path, store_kind: str, request: pytest.FixtureRequest) -> Callable[[str], Path | str]:
    """Where another memory of the same kind of store may lie, by a name."""
    if store_kind == "sqlite":
        return lambda name: tmp_path / f"{name}.db"
    return lambda name: str(request.getfixturevalue("server").tenant())


@pytest.fixture
def left(path: Path | str) -> Callable[[Iterable[str]], dict[str, list[str]]]:
    """Looks for words in every byte where a memory lies, whatever their case: word -> the files that hold it.

    These are the files of its folder, or those of its database; the store is not asked.
    """

    def look(words: Iterable[str]) -> dict[str, list[str]]:
        files = data_files(path) if isinstance(path, str) else (f for f in path.parent.rglob("*") if f.is_file())
        found: dict[str, list[str]] = {}
        for file in files:
            data = file.read_bytes().lower()
            for word in words:
                if word.lower().encode() in data:
                    found.setdefault(word, []).append(file.name)
        return found

    return look


@pytest.fixture
def open_memory(path: Path | str, clock: Clock) -> Iterator[Callable[..., Memory]]:
    """Opens memories on one file, and closes them."""
    opened: list[Memory] = []

    def open_(where: Path | str = path, **options: Any) -> Memory:
        opened.append(Memory(where, **{"embedder": "fake", "clock": clock, "durable": False, **options}))
        return opened[-1]

    yield open_
    for memory in opened:
        memory.close()


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A PostgreSQL server, started for the first test that asks."""
    with running() as made:
        yield made


@pytest.fixture
def memory(open_memory: Callable[..., Memory]) -> Memory:
    return open_memory()
