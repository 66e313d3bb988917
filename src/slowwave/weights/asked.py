"""What is asked of a learner, and refused with what to do: settings that cannot be meant, streams that do not go on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from slowwave.errors import InputError
from slowwave.weights.batch import Batch
from slowwave.weights.stream import Experience, Stream

Mark = tuple[str, int, int, float, float]  # name, task, how many examples, and two sums over them


def mark(experience: Experience, given: Batch) -> Mark:
    """By which an experience is known again: two streams may call theirs alike and hold other examples."""
    flat = given.x.flatten(1).double()
    along = flat @ torch.cos(1.7 * torch.arange(flat.shape[1], dtype=torch.float64))
    labels = given.y.double().flatten(1).mean(1) if given.y.ndim > 1 else given.y.double()
    many = max(1, len(given))
    return experience.name, experience.task, len(given), float(along.sum()) / many, float(along @ labels) / many


def apart(lived: Sequence[Mark], stream: Stream, ended: int) -> str:
    """Where a stream is not the one that was lived through; "" where it goes on from there.

    ended  how many experiences have ended; the last of them is looked into, of the others the names
    """
    if len(stream) < ended:
        return f"it has come further than the {len(stream)} that are asked for"
    for number, (was, now) in enumerate(zip(lived, stream, strict=False)):
        if was[:2] != (now.name, now.task):
            return f"experience {number} was {was[0]!r} of task {was[1]}, and is {now.name!r} of task {now.task}"
    for number in sorted({max(0, ended - 1), len(lived) - 1} if lived else ()):
        if number < len(stream):
            found = mark(stream.experiences[number], stream.experiences[number].load())
            if found[2] != lived[number][2]:
                return f"experience {number} had {lived[number][2]} examples, and has {found[2]}"
            if not np.allclose(found[3:], lived[number][3:], rtol=1e-3, atol=1e-6):
                return f"experience {number}, {found[0]!r}, has other examples"
    return ""


class Lived(NamedTuple):
    """Which stream a learner is on."""

    name: str
    scenario: str
    boundaries: bool


def goes_on(was: Lived | None, lived: Sequence[Mark], ended: int, stream: Stream, folder: str | Path | None) -> Lived:
    """The stream that is asked for, if its beginning is what was lived through so far.

    was     the one that was lived; None where there was none
    ended   how many of its experiences have
    folder  where its life is kept, which also holds whether there were boundaries
    raises  InputError where it is another
    """
    asked = Lived(stream.name, stream.scenario, stream.boundaries)
    if was is None:
        return asked
    found = apart(lived, stream, ended)
    if not found and was.scenario != asked.scenario:
        found = f"it was lived through as {was.scenario}-incremental, and is asked for as {asked.scenario}-incremental"
    if not found and folder is not None and was.boundaries != asked.boundaries:
        found = f"it was lived through with{'' if was.boundaries else 'out'} boundaries, and is asked for otherwise"
    if found:
        raise InputError(
            f"asked to learn {asked.name!r} ({len(stream)} experiences), but {folder or 'this learner'} holds a life "
            f"on {was.name!r}, {ended} experiences so far: {found}; give "
            f"{'another folder' if folder else 'a new Learner'}, or the stream that it was on"
        )
    return asked


def check_settings(**given: float) -> None:
    """Whether the numbers of a learner are such as it can go by; raises InputError."""
    for name, value in given.items():
        least = 1 if name in ("batch", "epochs", "day") else 0
        if not least <= value < math.inf:
            raise InputError(f"{name} is {value}; give {'a number of at least 1' if least else 'a number from 0 up'}")
