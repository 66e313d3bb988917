"""What the engine's tests share: a clock that ticks when asked, memories of a passing folder, Hypothesis' profiles.

Hypothesis is derandomised, so that a run is repeatable; SLOWWAVE_HYPOTHESIS=explore looks further, with new examples.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from postgres_server import Server, running
from slowwave import Memory
from ticking import Clock

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
import onnxruntime  # noqa: F401 - before any test imports usearch: the other order crashes the process

settings.register_profile(
    "steady", derandomize=True, deadline=None, max_examples=60, suppress_health_check=list(HealthCheck)
)
settings.register_profile("explore", deadline=None, max_examples=1500, suppress_health_check=list(HealthCheck))
settings.load_profile(os.environ.get("SLOWWAVE_HYPOTHESIS", "steady"))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "memory.db"


@pytest.fixture
def open_memory(path: Path, clock: Clock) -> Iterator[Callable[..., Memory]]:
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
