"""Applications over passing memories."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parents[1] / "models"))  # where the small model is found
from doors import Door
from fastapi.testclient import TestClient

from slowwave import Memory
from slowwave.serve import create_app


@pytest.fixture
def open_door(open_memory: Callable[..., Memory]) -> Iterator[Callable[..., Door]]:
    clients: list[TestClient] = []

    def open_(memory: Memory | None = None, **options: Any) -> Door:
        memory = memory or open_memory()
        app = create_app(memory, **options)
        client = TestClient(app, raise_server_exceptions=False)
        client.__enter__()
        clients.append(client)
        return Door(client, app, memory)

    yield open_
    for client in reversed(clients):
        client.__exit__(None, None, None)


@pytest.fixture
def door(open_door: Callable[..., Door]) -> Door:
    return open_door()
