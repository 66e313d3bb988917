"""What is asked of a learner, and refused with what to do: settings that cannot be meant, streams that do not go on."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from slowwave.errors import InputError
from slowwave.weights.base import Method
from slowwave.weights.batch import Batch
from slowwave.weights.model import Growing
from slowwave.weights.objective import NextToken, Objective
from slowwave.weights.stream import Experience, Stream

WHOLE = frozenset({"batch", "epochs", "sleep_every", "day", "evaluate_every", "evaluated", "seed"})
MOST_CLASSES = 2**20  # to which a head grows by itself
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


def check_settings(**given: Any) -> None:
    """Whether the numbers of a learner are such as it can go by; raises InputError."""
    for name, value in given.items():
        whole, least = name in WHOLE, 1 if name in ("batch", "epochs", "day") else 0
        kind = Integral if whole else Real
        if isinstance(value, bool) or not isinstance(value, kind) or not least <= float(value) < math.inf:
            number = "a whole number" if whole else "a number"
            raise InputError(f"{name} is {value!r}; give {number} {'of at least 1' if least else 'from 0 up'}")


def check_parts(model: Any, methods: Any, objective: Any, optimiser: Any, guards: Any) -> None:
    """Whether a learner is made of what it can use; raises InputError."""
    if not isinstance(model, nn.Module):
        raise InputError(f"the model is a {type(model).__name__}; give a torch module")
    if isinstance(methods, (str, Method)) or not isinstance(methods, Iterable):
        raise InputError(f"methods are a list, as in [{methods!r}]; several go together, () is none")
    if optimiser not in ("sgd", "adam", "adamw"):
        raise InputError(f"no optimiser {optimiser!r}; there are sgd, adam and adamw")
    if objective is not None and (isinstance(objective, type) or not isinstance(objective, Objective)):
        raise InputError(
            f"objective is {objective!r}; give Classification(), Regression() or NextToken() of "
            "slowwave.weights.objective, or None to have it guessed"
        )
    if not isinstance(guards or {}, Mapping):
        raise InputError(
            f"guards is a {type(guards).__name__}; give names and functions, as in {{'cloze': Cloze(items)}}"
        )
    for name, guard in (guards or {}).items():
        if not callable(guard):
            raise InputError(f"the guard {name!r} is {guard!r}; give a function of the model that returns a number")


def check_stream(stream: Any) -> None:
    """Whether it is a stream; raises InputError."""
    if not isinstance(stream, Stream):
        raise InputError(
            f"a {type(stream).__name__} is no stream; make one with slowwave.weights.stream, or give its examples "
            "to write"
        )


def check_kinds(methods: Sequence[Method], model: nn.Module, objective: Objective | None) -> None:
    """Refuse methods on labels where next tokens are learned. Where no objective says so, a model that takes tokens and
    ends in as many outputs as it has tokens does.
    """
    tokens = [m.num_embeddings for m in model.modules() if isinstance(m, nn.Embedding)]
    outputs = [m.out_features for m in model.modules() if isinstance(m, nn.Linear)]
    speaks = isinstance(objective, NextToken) or (objective is None and outputs[-1:] and outputs[-1] in tokens)
    for method in methods:
        if method.learns == "labels" and speaks:
            raise InputError(
                f"{method.name} learns from labels, and a {type(model).__name__} is to learn next tokens; leave it "
                "out, or, if the model tells classes, give the learner objective=Classification()"
            )


def check_labels(y: Tensor) -> None:
    """Refuse labels below 0."""
    if y.ndim == 1 and not y.is_floating_point() and len(y) and int(y.min()) < 0:
        raise InputError(f"the lowest label is {int(y.min())}; labels count from 0")


def refuse_floats(y: Tensor) -> None:
    """Numbers where classes are learned."""
    raise InputError(f"labels are {y.dtype}; give int64 ones to tell classes, or the learner objective=Regression()")


def check_label(label: int, head: nn.Linear) -> None:
    """Refuse a label for which the head would grow out of proportion."""
    if label >= MOST_CLASSES and label >= head.out_features:
        gigabytes = (label + 1) * head.in_features * head.weight.element_size() / 1e9
        raise InputError(
            f"label {label} would make the head grow from {head.out_features} classes to {label + 1:,} "
            f"({gigabytes:.1f} GB); labels count from 0 without gaps, number them anew, or build "
            "the model with as many classes"
        )


def check_fit(model: nn.Module, optimiser: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
    """Whether what `Learner.state` gave fits a model and its optimiser; raises InputError."""
    kept, own = state["model"], {name: tuple(part.shape) for name, part in model.state_dict().items()}
    grows = isinstance(model, Growing)
    for name, part in kept.items():
        shape = tuple(part.shape)
        if name not in own:
            raise InputError(
                f"what was kept has {name} {shape}, and this {type(model).__name__} has none; build it alike"
            )
        grown = grows and name.startswith("head.") and shape[1:] == own[name][1:] and shape[0] > own[name][0]
        if shape != own[name] and not grown:
            raise InputError(
                f"{name} is {shape} in what was kept and {own[name]} in this {type(model).__name__}; build it with the "
                "widths and classes that it had"
            )
    lacking = [] if state.get("light") else [name for name in own if name not in kept]
    if lacking:
        raise InputError(
            f"this {type(model).__name__} has {lacking[0]} ({len(lacking)} such), and what was kept has not; build it "
            "alike"
        )
    theirs, mine = (set(group["param_groups"][0]) for group in (state["optimiser"], optimiser.state_dict()))
    if theirs != mine:
        raise InputError("what was kept was trained by another optimiser than this learner's; give it the same")


def readied(given: Any, name: str, model: nn.Module) -> Tensor:
    """As a tensor that a model takes: arrays too, floats of the model's kind, whole numbers as int64."""
    try:
        out = given if isinstance(given, Tensor) else torch.as_tensor(given)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{name} is a {type(given).__name__} that is no tensor; give numbers") from error
    if out.dtype == torch.uint8 and name == "x":
        raise InputError("x is uint8; give images as float32 scaled to [0, 1], token ids as int64")
    return out.to(next(model.parameters()).dtype) if out.is_floating_point() else out.long()
