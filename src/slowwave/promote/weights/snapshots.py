"""Snapshots of what nights have trained: light files with their provenance, one of which is active. Needs no torch.

Beside the memory's file lies a folder; in it one line of descent for each scope, and in a line one folder a snapshot:
`snapshot.json` says what it is, safetensors files hold what differs from the model. A snapshot is written aside and
moved into place when it is whole; `active` names the one that `load` gives, and is exchanged by a rename.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from slowwave.errors import ConflictError, FormatError, InputError, NotFoundError
from slowwave.records import Scope

SUFFIX = ".adapters"
WORDS = "snapshot.json"
ACTIVE = "active"
NIGHT = ".night"  # a night under way


@dataclass(frozen=True)
class Snapshot:
    """What one night left behind.

    id        number of the night and the head of its hash
    parent    the snapshot that it went on from; None for the first
    scope     whose records are in it
    model, fingerprint  of the base model
    kind      "lora", "stacked", "full" or "memory": what the files hold
    method    with its `parameters`
    data      ids of the records taught, night by night
    hash      sha256 over the tensors: equal weights, equal hash
    accepted  whether the gate let it pass; `reason` says why not
    metrics   held, recall and what protected sets lost, as measured before and after
    facts     record -> whether it was held after this night
    forgotten records held before this night and not after it
    marks     record -> "superseded", "forgotten" or "erased" since
    files     name -> bytes
    """

    id: str
    parent: str | None
    scope: Mapping[str, str]
    model: str
    fingerprint: str
    kind: str
    method: str
    parameters: Mapping[str, Any]
    data: tuple[tuple[str, ...], ...]
    hash: str
    accepted: bool
    reason: str
    metrics: Mapping[str, float]
    facts: Mapping[str, bool]
    forgotten: tuple[str, ...]
    made: str
    seconds: float
    steps: int
    files: Mapping[str, int] = field(default_factory=dict)
    marks: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    note: str = ""

    @property
    def records(self) -> tuple[str, ...]:
        """Every record that was taught, in this night or before."""
        return tuple(dict.fromkeys(id_ for night in self.data for id_ in night))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        plain = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}
        return {**plain, "data": [list(night) for night in self.data]}


def folder_of(database: str) -> Path | None:
    """Where the snapshots of a memory's file lie; None for a memory in RAM or on a server."""
    return None if database == ":memory:" or "://" in database else Path(f"{database}{SUFFIX}")


class Snapshots:
    """The snapshots of one scope: `Snapshots(folder, scope)`.

    >>> Snapshots(Path("nowhere"), Scope(user_id="ana")).list()
    []
    """

    def __init__(self, folder: str | Path, scope: Scope) -> None:
        self.scope = scope
        self.line = Path(folder) / hashlib.sha256(json.dumps(scope.to_dict(), sort_keys=True).encode()).hexdigest()[:16]

    # -- read

    def list(self) -> list[Snapshot]:
        """All of them, the first night first."""
        if not self.line.is_dir():
            return []
        found = [read(path) for path in self.line.iterdir() if (path / WORDS).is_file() and path.name[0] != "."]
        return sorted(found, key=lambda one: (number(one.id), one.id))

    def get(self, id_: str) -> Snapshot:
        """One by its id, or by a beginning of it that fits one alone.

        raises  NotFoundError
        """
        found = [one for one in self.list() if one.id == id_] or [one for one in self.list() if one.id.startswith(id_)]
        if not id_ or len(found) != 1:
            some = ", ".join(one.id for one in self.list()) or "none yet; slowwave sleep --into adapter.toml makes one"
            raise NotFoundError(f"{len(found)} snapshots of {self.scope} are called {id_!r:.60}; there are {some}")
        return found[0]

    @property
    def active(self) -> Snapshot | None:
        """The one in use; None where there is none."""
        file = self.line / ACTIVE
        return self.get(file.read_text("utf-8").strip()) if file.is_file() else None

    def path(self, id_: str) -> Path:
        """The folder of a snapshot."""
        return self.line / self.get(id_).id

    def differences(self, first: str, second: str) -> dict[str, Any]:
        """What tells two snapshots apart: parameters, metrics and records."""
        a, b = self.get(first), self.get(second)
        changed = {
            name: [a.parameters.get(name), b.parameters.get(name)]
            for name in sorted({*a.parameters, *b.parameters})
            if a.parameters.get(name) != b.parameters.get(name)
        }
        metrics = {name: [a.metrics.get(name), b.metrics.get(name)] for name in sorted({*a.metrics, *b.metrics})}
        mine, theirs = set(a.records), set(b.records)
        return {
            "first": a.id, "second": b.id, "same weights": a.hash == b.hash, "parameters": changed, "metrics": metrics,
            "records of the first alone": sorted(mine - theirs), "records of the second alone": sorted(theirs - mine),
            "held by the first alone": sorted(i for i, held in a.facts.items() if held and not b.facts.get(i)),
            "held by the second alone": sorted(i for i, held in b.facts.items() if held and not a.facts.get(i)),
        }  # fmt: skip

    # -- change

    def activate(self, id_: str | None, force: bool = False) -> Snapshot | None:
        """Use this one from now on; None uses the bare model.

        force   also one that the gate refused
        raises  ConflictError for one that was refused
        """
        chosen = None if id_ is None else self.get(id_)
        if chosen is not None and not chosen.accepted and not force:
            raise ConflictError(f"{chosen.id} was refused: {chosen.reason}; use it all the same with force")
        file = self.line / ACTIVE
        if chosen is None:
            file.unlink(missing_ok=True)
        else:
            _written(file, chosen.id + "\n")
        return chosen

    def rollback(self, force: bool = False) -> Snapshot | None:
        """Use the parent of the active one; None where that is the bare model.

        force   the bare model, where the parent was removed
        raises  NotFoundError where none is active, or the parent was removed
        """
        now = self.active
        if now is None:
            raise NotFoundError(f"no snapshot of {self.scope} is active; there is nothing to go back from")
        if now.parent is None or (self.line / now.parent / WORDS).is_file():
            return self.activate(now.parent, force=True)
        if not force:
            raise NotFoundError(
                f"{now.parent}, from which {now.id} went on, was removed; activate another, or use the bare model with "
                "force"
            )
        return self.activate(None)

    def remove(self, id_: str) -> Snapshot:
        """Delete the files of a snapshot. raises ConflictError for the active one."""
        gone = self.get(id_)
        if self.active is not None and self.active.id == gone.id:
            raise ConflictError(f"{gone.id} is active; activate another, or roll back, before it is removed")
        shutil.rmtree(self.line / gone.id)
        return gone

    def begin(self) -> Path:
        """An empty folder to write the next snapshot into."""
        self.line.mkdir(parents=True, exist_ok=True)
        aside = self.line / f".new-{os.getpid()}"
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir()
        return aside

    def finish(self, aside: Path, made: Snapshot) -> Snapshot:
        """Move what was written aside into its place: whole, or not at all."""
        made = replace(made, files={path.name: path.stat().st_size for path in sorted(aside.iterdir())})
        _written(aside / WORDS, json.dumps(made.to_dict(), indent=1) + "\n")
        target = self.line / made.id
        if target.exists():  # the same weights, trained again
            shutil.rmtree(target)
        os.replace(aside, target)
        return made

    def next_id(self, hash_: str) -> str:
        """The name of a snapshot to be."""
        return f"{max((number(one.id) for one in self.list()), default=0) + 1:04d}-{hash_[:8]}"

    def mark(self, records: Mapping[str, str]) -> Sequence[str]:
        """Note what became of records since they were taught (record -> what, "" takes a mark back); the snapshots that
        hold any of them.
        """
        touched = []
        for one in self.list():
            mine = {id_: records[id_] for id_ in one.records if id_ in records}
            if mine:
                touched.append(one.id)
            marks = {id_: what for id_, what in {**one.marks, **mine}.items() if what}
            if marks != one.marks:
                words = json.dumps(replace(one, marks=marks).to_dict(), indent=1)
                _written(self.line / one.id / WORDS, words + "\n")
        return touched

    @property
    def night(self) -> Path:
        """Where a night under way keeps what it needs to go on."""
        return self.line / NIGHT

    def sweep(self) -> None:
        """Delete what killed nights left aside."""
        for path in self.line.glob(".new-*") if self.line.is_dir() else ():
            shutil.rmtree(path, ignore_errors=True)


def lines(folder: Path) -> Iterator[Snapshots]:
    """Every line of descent in a folder, whatever its scope."""
    for line in sorted(folder.iterdir()) if folder.is_dir() else ():
        words = next((path for path in sorted(line.glob(f"*/{WORDS}")) if path.parent.name[0] != "."), None)
        if words is not None:
            yield Snapshots(folder, Scope(**read(words.parent).scope))


def read(path: Path) -> Snapshot:
    """What a folder says of itself.

    raises  FormatError
    """
    try:
        words = json.loads((path / WORDS).read_text("utf-8"))
        words["data"] = tuple(tuple(night) for night in words["data"])
        words["forgotten"] = tuple(words["forgotten"])
        return Snapshot(**words)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise FormatError(f"{path / WORDS} is no description of a snapshot ({error}); remove the folder") from error


def number(id_: str) -> int:
    """The number of the night in an id."""
    head = id_.partition("-")[0]
    return int(head) if head.isdigit() else 0


def holding(folder: Path | None, records: Collection[str]) -> list[tuple[Snapshots, list[str]]]:
    """The lines that hold any of these records, each with its snapshots that do."""
    out = []
    for line in lines(folder) if folder is not None and records else ():
        mine = [one.id for one in line.list() if not set(records).isdisjoint(one.records)]
        if mine:
            out.append((line, mine))
    return out


def drop_night(folder: Path | None) -> None:
    """Delete what nights under way have kept: their lessons are made from records."""
    for path in folder.glob(f"*/{NIGHT}") if folder is not None and folder.is_dir() else ():
        shutil.rmtree(path, ignore_errors=True)


def _written(path: Path, text: str) -> None:
    new = path.with_name(path.name + ".new")
    with new.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(new, path)


def check_parent(parent: Snapshot | None, fingerprint: str, kind: str) -> None:
    """Whether a night may go on from the active snapshot.

    raises  InputError where it is of another model or kind
    """
    if parent is None:
        return
    if parent.fingerprint != fingerprint:
        raise InputError(
            f"the active snapshot {parent.id} is of {parent.model}, and this is another model; give another folder, or "
            "roll back to the bare model"
        )
    if parent.kind != kind:
        raise InputError(
            f"the active snapshot {parent.id} was made by {parent.method} and holds {parent.kind!r}; go on with a "
            f"method of that kind, give another folder, or roll back to the bare model"
        )
