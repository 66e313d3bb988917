"""Samples in the real layouts, small and made for these tests, and short ways to read them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from slowwave.formats import FORMATS, Junk, format_of
from slowwave.records import Item

LISBON = ZoneInfo("Europe/Lisbon")


@dataclass
class Reading:
    """What a reader gave, apart."""

    items: list[Item]
    junk: list[Junk]

    @property
    def texts(self) -> list[str]:
        return [item.text for item in self.items]

    @property
    def reasons(self) -> list[str]:
        return [junk.reason for junk in self.junk]

    def item(self, part: str) -> Item:
        (found,) = [item for item in self.items if part in item.text]
        return found


@pytest.fixture
def samples() -> Path:
    return Path(__file__).parent / "samples"


@pytest.fixture
def reading() -> Callable[..., Reading]:
    def read(path: Path, name: str | None = None, zone: tzinfo = LISBON) -> Reading:
        known = FORMATS[name] if name else format_of(path)
        taken = list(known.read(path, zone))
        return Reading([t for t in taken if isinstance(t, Item)], [t for t in taken if isinstance(t, Junk)])

    return read
