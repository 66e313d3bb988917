"""Pages over passing memories, closed afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("jinja2")

from page_client import Page

from slowwave import Memory


@pytest.fixture
def page_of() -> Iterator[Callable[..., Page]]:
    made: list[Page] = []

    def make(memory: Memory, key: str | None = None) -> Page:
        made.append(Page(memory, key))
        return made[-1]

    yield make
    for page in made:
        page.close()
