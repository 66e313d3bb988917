"""A memory with a few facts, and an Adapter on a tiny model that is trained in a second: for the tests of nights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from slowwave import Memory
from slowwave.models.causal import fake_causal
from slowwave.promote.weights import Adapter, Snapshots
from slowwave.records import Scope

ANA: dict[str, Any] = {"user_id": "ana"}
FACTS = (("Bako", "home", "Ghent"), ("Bako", "job", "baker"), ("Feno", "home", "Riga"))


def tiny(**given: Any) -> Adapter:
    """It accepts everything unless it is told otherwise."""
    common = {"epochs": 1, "known": 0, "held": 0.0, "budget": 10.0, "slots": 64, "train": 16, "rank": 2}
    return Adapter(**{"model": fake_causal(), **common, **given})


def fact(memory: Memory, subject: str, attribute: str, value: str, **more: Any) -> str:
    """A fact added by hand; its id."""
    attrs = {"subject": subject, "attribute": attribute, "value": value, **more.pop("attrs", {})}
    scope = {"user_id": more.pop("user_id", "ana")}
    text = f"{subject}'s {attribute} is {value}"
    return memory.add(text, kind="fact", attrs=attrs, at="2026-01-01", **more, **scope).ids[0]


def filled(place: Path) -> Memory:
    """A memory that holds FACTS."""
    memory = Memory(place / "ana.db", embedder="fake")
    for one in FACTS:
        fact(memory, *one)
    return memory


def snapshots(place: Path, user: str = "ana") -> Snapshots:
    """Those beside the memory of `filled`."""
    return Snapshots(place / "ana.db.adapters", Scope(user_id=user))
