"""A learner kept on disk, with its provenance: parent, what it was trained on, with which methods, what came of it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from slowwave.errors import FormatError, NotFoundError


@dataclass(frozen=True)
class Snapshot:
    """What a folder of weights says of itself, in `snapshot.json`.

    hash     of the weights: equal weights, equal hash
    parent   hash of the weights from which training went on; None at first
    data     for each period, the ids of what it was trained on (records of a memory, say)
    methods  name -> parameters
    metrics  what was learned and what was lost
    """

    hash: str
    parent: str | None
    data: tuple[tuple[str, ...], ...]
    methods: dict[str, dict[str, Any]]
    metrics: dict[str, float]
    steps: int
    made: str
    file: str = "state.pt"
    versions: dict[str, str] = field(default_factory=dict)

    def holds(self, id_: str) -> bool:
        """Whether something was trained into it."""
        return any(id_ in period for period in self.data)


def digest(weights: Mapping[str, Tensor]) -> str:
    """sha256 over names, shapes and bytes."""
    total = hashlib.sha256()
    for name in sorted(weights):
        tensor = weights[name].detach().cpu().contiguous()
        total.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        total.update(tensor.view(torch.uint8).numpy().tobytes() if tensor.ndim else tensor.numpy().tobytes())
    return total.hexdigest()


def write_snapshot(
    folder: Path, state: Mapping[str, Any], parent: str | None, data: Sequence[tuple[str, ...]],
    methods: Mapping[str, Mapping[str, Any]], metrics: Mapping[str, float], steps: int,
) -> Snapshot:  # fmt: skip
    """Write the state first, then the words that name it, each by a rename: a reader never sees half of one."""
    folder.mkdir(parents=True, exist_ok=True)
    hash_ = digest(state["model"])
    file = f"state-{steps:08d}-{hash_[:8]}.pt"  # a step may be saved again with other weights, after its night
    torch.save(dict(state), folder / f"{file}.new")
    os.replace(folder / f"{file}.new", folder / file)
    made = Snapshot(
        hash_, parent, tuple(tuple(ids) for ids in data), {k: _plain(v) for k, v in methods.items()},
        {k: float(v) for k, v in metrics.items()}, steps, datetime.now(UTC).isoformat(timespec="seconds"), file,
        {"torch": str(torch.__version__)},
    )  # fmt: skip
    new = folder / "snapshot.json.new"
    new.write_text(json.dumps(asdict(made), indent=1) + "\n", encoding="utf-8")
    os.replace(new, folder / "snapshot.json")
    for old in folder.glob("state-*.pt"):
        if old.name != file:
            old.unlink()
    return made


def read_snapshot(folder: Path) -> tuple[Snapshot, dict[str, Any]]:
    """What was kept, checked against its hash.

    raises  NotFoundError, FormatError
    """
    about = describe(folder)
    file = folder / about.file
    if not file.is_file():
        raise NotFoundError(f"{folder} names {about.file}, which is not there; take another snapshot")
    try:
        state: dict[str, Any] = torch.load(file, weights_only=True)
    except Exception as error:
        raise FormatError(f"{file} cannot be read ({type(error).__name__}: {error!s:.100}); take another") from error
    if digest(state["model"]) != about.hash:
        raise FormatError(f"the weights in {file} are not those that snapshot.json names; take another snapshot")
    return about, state


def describe(folder: Path) -> Snapshot:
    """What a folder says of itself, without loading the weights."""
    path = folder / "snapshot.json"
    if not path.is_file():
        raise NotFoundError(f"no snapshot in {folder}; Learner.save(folder) makes one")
    try:
        words = json.loads(path.read_text("utf-8"))
        words["data"] = tuple(tuple(ids) for ids in words["data"])
        return Snapshot(**words)
    except (ValueError, TypeError, KeyError) as error:
        raise FormatError(f"{path} is no description of a snapshot ({error})") from error


def _plain(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """What JSON can hold; the rest as Python writes it."""
    out = {}
    for name, value in parameters.items():
        try:
            json.dumps(value)
        except (TypeError, ValueError):
            value = repr(value)
        out[name] = value
    return out
