"""One night's training: lessons through the one learner, saved as it goes, so that a killed one goes on from there."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from slowwave.errors import FormatError, InputError, SlowwaveError
from slowwave.promote.weights.adapter import Adapter
from slowwave.promote.weights.general import General
from slowwave.promote.weights.lessons import Lesson
from slowwave.promote.weights.rehearsal import Rehearsal
from slowwave.promote.weights.snapshots import read
from slowwave.promote.weights.student import Student
from slowwave.weights import METHODS
from slowwave.weights.base import Method
from slowwave.weights.batch import Batch
from slowwave.weights.learner import Learner
from slowwave.weights.lessons import answers
from slowwave.weights.objective import NextToken
from slowwave.weights.sparse_memory_finetuning import SparseMemoryFinetuning, fit
from slowwave.weights.spurious_forgetting import Freeze

Progress = Callable[[str, int, int], None]
GUARDS = ("ewc", "spurious-forgetting", "sa-proj")  # methods that keep no text, and so may be kept with a snapshot
STATE, METHODS_FILE = "state.pt", "methods.pt"


@dataclass(frozen=True)
class Trained:
    """What a training took."""

    steps: int
    seconds: float
    loss: float
    resumed: int


def batch_of(lessons: Sequence[Lesson], student: Student, join: str = " ") -> Batch:
    """Every sentence that is taught, its value alone to be learned, with the full stop after it."""
    pairs = [(before, f"{join}{value}.") for one in lessons for before, value in one.pairs]
    return answers(pairs, student.subject.encode)


def guards_of(adapter: Adapter) -> list[Method]:
    """The further methods that protect what there was. A model that comes trained has its first task behind it: what is
    frozen from the second on stays from the first night on.

    raises  InputError for one that there is not, or that would keep texts beside the weights
    """
    for name in adapter.protect:
        if name not in GUARDS:
            raise InputError(f"protect names {name!r}; beside rehearsal there are {', '.join(GUARDS)}")
        if name == "sa-proj" and adapter.kind in ("stacked", "memory"):
            raise InputError(f"{adapter.method} has its own choice of what it trains; leave sa-proj out of protect")
    return [Freeze(since=0) if name == Freeze.name else METHODS[name]() for name in adapter.protect]


def train(
    student: Student, methods: Sequence[Method], new: Sequence[Lesson], old: Sequence[Lesson], general: General,
    nights: int, folder: Path, before: Path | None, progress: Progress,
) -> tuple[Trained, list[Method]]:  # fmt: skip
    """Train on the lessons of a night, then let the methods sleep.

    nights  how many came before
    folder  where it is saved meanwhile
    before  folder of the parent snapshot, where the guards' own state is
    """
    adapter, begun = student.adapter, time.perf_counter()
    batch = batch_of(new, student)
    earlier = batch_of(old, student) if old and adapter.replay else None
    guards = guards_of(adapter)
    rehearsal = [Rehearsal(earlier, general, adapter.replay, adapter.strength)] if adapter.replay else []
    learner = Learner(
        student.model, [*rehearsal, *guards, *methods], NextToken(),
        optimiser="sgd" if adapter.kind == "memory" else "adamw", lr=adapter.rate,
        clip=0.0 if adapter.kind == "memory" else 1.0, batch=adapter.batch, day=max(1, len(batch)), seed=adapter.seed,
    )  # fmt: skip
    learner.period = nights
    for method in learner.methods:
        if isinstance(method, SparseMemoryFinetuning):
            if before is None:
                fit(student.model, general.rows, torch.Generator().manual_seed(adapter.seed))
            method.note(student.model, general.rows)
    if guards:
        _wake(learner, guards, before, general)
    resumed = _resume(learner, student, folder, _plan(adapter, new, old, before))
    per = math.ceil(len(batch) / adapter.batch)
    total, loss = per * adapter.epochs, 0.0
    for step in range(resumed, total):
        epoch, place = divmod(step, per)
        order = np.random.default_rng([adapter.seed, nights, epoch]).permutation(len(batch))
        rows = torch.from_numpy(order[place * adapter.batch : (place + 1) * adapter.batch])
        _paced(learner, adapter, step, total)
        loss = learner.write(batch.x[rows], batch.y[rows])
        progress("train", step + 1, total)
        if adapter.save_every and (step + 1) % adapter.save_every == 0 and step + 1 < total:
            _save(learner, folder, step + 1, _plan(adapter, new, old, before))
    student.model.eval()
    learner.sleep(ids=tuple(one.id for one in new))
    return Trained(total, time.perf_counter() - begun, loss, resumed), guards


def _paced(learner: Learner, adapter: Adapter, step: int, total: int) -> None:
    """A tenth of the steps to warm up, then down to a tenth of the rate, along a cosine."""
    warm = max(1, total // 10)
    share = min(1.0, (step + 1) / warm)
    if step >= warm:
        share = 0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, total - warm)))
    learner.lr = adapter.rate * share


def _wake(learner: Learner, guards: Sequence[Method], before: Path | None, general: General) -> None:
    """What guards hold from the nights before; at first, what matters for ordinary language."""
    kept = {} if before is None else _kept(before)
    rows = general.rows[:32]
    day = Batch(rows, rows, torch.zeros(len(rows), dtype=torch.int64))
    for method in guards:
        if method.name in kept:
            method.load(kept[method.name])
        else:
            method.sleep(learner, day)


def _kept(before: Path) -> dict[str, Any]:
    """What the guards of a snapshot held, by name; nothing of an adapter that was added up, since a new one follows.

    raises  FormatError where the file is damaged
    """
    file, made = before / METHODS_FILE, read(before)
    if not file.is_file() or made.kind == "stacked":
        return {}
    try:
        return dict(zip(made.parameters["protect"], torch.load(file, weights_only=True), strict=True))
    except Exception as error:
        raise FormatError(f"{file} cannot be read ({error!s:.100}); roll back to another snapshot") from error


def keep_guards(guards: Sequence[Method], folder: Path) -> None:
    """Write what the guards hold beside the weights."""
    if guards:
        torch.save([method.state() for method in guards], folder / METHODS_FILE)


# -- a night that may be killed


def _plan(adapter: Adapter, new: Sequence[Lesson], old: Sequence[Lesson], before: Path | None) -> str:
    """What a night is about, as a hash: one that was killed goes on only if nothing of it has changed."""
    about: Mapping[str, Any] = {
        "parameters": adapter.parameters(), "parent": None if before is None else before.name,
        "new": [[one.id, *one.taught] for one in new], "old": [[one.id, *one.taught] for one in old],
    }  # fmt: skip
    return hashlib.sha256(json.dumps(about, sort_keys=True, default=str).encode()).hexdigest()


def _save(learner: Learner, folder: Path, step: int, plan: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    torch.save({"step": step, "plan": plan, "learner": learner.state(light=True)}, folder / f"{STATE}.new")
    os.replace(folder / f"{STATE}.new", folder / STATE)


def _resume(learner: Learner, student: Student, folder: Path, plan: str) -> int:
    """The step to go on from; 0 where there is nothing, or something else, to go on from."""
    if (folder / STATE).is_file():
        with suppress(OSError, RuntimeError, ValueError, KeyError, EOFError, SlowwaveError):
            kept = torch.load(folder / STATE, weights_only=True)
            if kept["plan"] == plan:
                learner.take_over(kept["learner"])
                return int(kept["step"])
    shutil.rmtree(folder, ignore_errors=True)
    return 0
