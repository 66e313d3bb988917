"""What a store's check works with: stores of a passing folder, short ways to write to them, and assertions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from slowwave.errors import SlowwaveError
from slowwave.models.base import FakeEmbedder, Vectors
from slowwave.records import Change, Engram, Scope
from slowwave.store.base import Applied, Index, Operation, Store, Want
from slowwave.store.ids import content_key, new_id

ANA, BEN = Scope(user_id="ana"), Scope(user_id="ben")
RUN = Scope(user_id="ana", run_id="r1")
START = datetime(2024, 5, 1, 9, 30, tzinfo=UTC)
DAY = timedelta(days=1)
EVERYTHING = Want(retired=True)


class StoreFactory(Protocol):
    """Makes or opens a store at a path; takes `readonly=True` too. Called twice on one path, both must work."""

    def __call__(self, path: Path, **options: Any) -> Store: ...


@dataclass
class Bench:
    """What a store's check works with: stores of a passing folder, and short ways to write."""

    factory: StoreFactory
    folder: Path
    embedder: FakeEmbedder = field(default_factory=lambda: FakeEmbedder(32))
    stores: list[Store] = field(default_factory=list)
    now: datetime = START

    def open(self, name: str = "memory.db", model: bool = True, **options: Any) -> Store:
        store = self.factory(self.folder / name, **options)
        self.stores.append(store)
        if model:
            store.set_model(self.embedder.name, self.embedder.dim)
        return store

    def engram(self, text: str, scope: Scope = ANA, **fields: Any) -> Engram:
        self.now += timedelta(seconds=1)
        given = {"id": new_id(), "kind": "episode", "at": self.now, "recorded": self.now, **fields}
        return Engram(text=text, scope=scope, **given)

    def index(self, engram: Engram, times: tuple[tuple[int, int], ...] = ()) -> Index:
        key = content_key(engram.text, engram.kind, engram.speaker, engram.origin, None, 0)
        return Index(key, engram.text, self.embedder.embed([engram.text])[0], times)

    def do(
        self, store: Store, changes: Sequence[Change], verb: str = "add", scope: Scope = ANA, **more: Any
    ) -> Applied:
        self.now += timedelta(seconds=1)
        index = {change.engram.id: self.index(change.engram) for change in changes if change.engram}
        return store.apply(Operation(new_id(), verb, scope, self.now, **more), changes, index)

    def add(self, store: Store, *texts: str, scope: Scope = ANA, **fields: Any) -> list[Engram]:
        engrams = [self.engram(text, scope, **fields) for text in texts]
        done = self.do(store, [Change("add", e.id, "", engram=e) for e in engrams], scope=scope)
        expect(len(done.changes) == len(engrams), f"{len(done.changes)} of {len(engrams)} records were added")
        return engrams

    def vector(self, text: str) -> Vectors:
        row: Vectors = self.embedder.embed([text])[0]
        return row


def expect(holds: object, message: str) -> None:
    """An assertion that `python -O` keeps."""
    if not holds:
        raise AssertionError(message)


def raises(kind: type[SlowwaveError], call: Callable[[], Any], what: str) -> SlowwaveError:
    """The error that the call raises, of this kind and with a message."""
    try:
        call()
    except kind as error:
        expect(len(str(error)) > 10, f"{what}: the error {error!r} says nothing")
        return error
    except Exception as error:
        raise AssertionError(f"{what}: {kind.__name__} was due, {error!r} came") from error
    raise AssertionError(f"{what}: {kind.__name__} was due, nothing came")


def texts(engrams: Sequence[Engram]) -> list[str]:
    """Their texts."""
    return [engram.text for engram in engrams]


def run_all(
    checks: Sequence[Callable[[Any], None]],
    run: Callable[[Callable[[Any], None]], None],
    skip: Mapping[str, str],
    show: Callable[[str], None],
) -> None:
    """Run the checks one by one; AssertionError names the first that fails, `show` takes a line for each."""
    unknown = set(skip) - {check.__name__ for check in checks}
    expect(not unknown, f"there is no check {', '.join(sorted(unknown))}")
    expect(all(reason.strip() for reason in skip.values()), "a skip needs a written reason")
    for check in checks:
        name = check.__name__
        if name in skip:
            show(f"skipped  {name}: {skip[name]}")
            continue
        try:
            run(check)
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from error
        except Exception as error:
            raise AssertionError(f"{name}: it raised {error!r}") from error
        show(f"passed   {name}")
