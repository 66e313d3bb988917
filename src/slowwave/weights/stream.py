"""Streams of experiences, with boundaries that the learner is told of or without, and builders of the usual ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from slowwave.errors import InputError
from slowwave.weights.batch import Batch, examples
from slowwave.weights.data import Data, rotated_images
from slowwave.weights.objective import Classification, NextToken, Objective

Scenario = Literal["task", "domain", "class", "next-token"]


@dataclass(frozen=True)
class Experience:
    """One stretch of a stream.

    load     makes its training examples; called once a period, so that a long stream is not in memory at once
    task     what it is an experience of; a task that recurs keeps its number
    test     which of the stream's test sets is its own
    classes  the labels that may occur
    ids      what its examples were made from, such as records of a memory: the provenance of what is trained
    """

    name: str
    load: Callable[[], Batch]
    task: int
    test: int
    classes: tuple[int, ...] = ()
    ids: tuple[str, ...] = ()


@dataclass(frozen=True)
class Stream:
    """Experiences in order, and the test sets by which forgetting is seen.

    scenario    "task": the task is known at test, and only its classes compete; "domain": the labels stay, the inputs
                change; "class": all classes compete; "next-token": a language model
    boundaries  whether the learner is told where an experience begins and ends
    """

    name: str
    experiences: tuple[Experience, ...]
    tests: tuple[Callable[[], Batch], ...]
    scenario: Scenario
    classes: int = 0
    boundaries: bool = True

    def __len__(self) -> int:
        return len(self.experiences)

    def __iter__(self) -> Iterator[Experience]:
        return iter(self.experiences)

    def objective(self) -> Objective:
        """What is to be learned from it."""
        if self.scenario == "next-token":
            return NextToken()
        return Classification({e.task: e.classes for e in self} if self.scenario == "task" else None)

    def online(self) -> Stream:
        """The same examples, and nobody says where a task ends."""
        return replace(self, boundaries=False)

    def first(self, many: int) -> Stream:
        """Its beginning; the test sets are still all of them, so that a learner can go on with the whole."""
        return replace(self, experiences=self.experiences[:many])


def _make(name: str, scenario: Scenario, parts: Sequence[tuple[str, Callable[[], Batch], Callable[[], Batch]]],
          classes: Sequence[Sequence[int]], total: int) -> Stream:  # fmt: skip
    """One test set an experience."""
    if scenario not in get_args(Scenario):
        raise InputError(f"no scenario {scenario!r}; there are {', '.join(get_args(Scenario))}")
    if not parts:
        raise InputError("a stream of no experience; ask for at least one")
    experiences = tuple(
        Experience(label, _marked(train, number), number, number, tuple(classes[number]))
        for number, (label, train, _) in enumerate(parts)
    )
    return Stream(name, experiences, tuple(_marked(t, n) for n, (_, _, t) in enumerate(parts)), scenario, total)


def _marked(load: Callable[[], Batch], task: int) -> Callable[[], Batch]:
    return lambda: load().marked(task)


def split(data: Data, per: int = 2, scenario: Scenario = "class", seed: int | None = None) -> Stream:
    """So many new classes an experience. In the domain scenario the label is the place within the pair.

    seed  of the order of the classes; None leaves it as it is
    """
    labels = np.arange(data.classes)
    if seed is not None:
        labels = np.random.default_rng(seed).permutation(labels)
    if len(labels) % per:
        raise InputError(f"{len(labels)} classes do not divide into parts of {per}")
    groups = [[int(c) for c in labels[i : i + per]] for i in range(0, len(labels), per)]

    def of(batch: Batch, group: list[int]) -> Callable[[], Batch]:
        def load() -> Batch:
            mine = batch.take(torch.isin(batch.y, torch.tensor(group)))
            if scenario != "domain":
                return mine
            place = {label: n for n, label in enumerate(group)}
            return replace(mine, y=torch.tensor([place[int(y)] for y in mine.y], dtype=torch.int64))

        return load

    parts = [(f"classes {', '.join(map(str, g))}", of(data.train, g), of(data.test, g)) for g in groups]
    shown = [list(range(per)) if scenario == "domain" else g for g in groups]
    total = per if scenario == "domain" else data.classes
    return _make(f"split {data.name}, {scenario}-incremental", scenario, parts, shown, total)


def _changed(data: Data, name: str, changes: Sequence[tuple[str, Callable[[Tensor], Tensor]]]) -> Stream:
    def of(batch: Batch, change: Callable[[Tensor], Tensor]) -> Callable[[], Batch]:
        return lambda: replace(batch, x=change(batch.x))

    parts = [(label, of(data.train, change), of(data.test, change)) for label, change in changes]
    every = list(range(data.classes))
    return _make(name, "domain", parts, [every] * len(parts), data.classes)


def permuted(data: Data, tasks: int = 5, seed: int = 0) -> Stream:
    """Each experience sees the pixels in another order; the first as they are."""

    def change(number: int) -> Callable[[Tensor], Tensor]:
        order = torch.from_numpy(np.random.default_rng([seed, number]).permutation(data.inputs))
        return lambda x: x if not number else x.flatten(1)[:, order].view(x.shape)

    changes = [(f"permutation {n}", change(n)) for n in range(tasks)]
    return _changed(data, f"permuted {data.name}", changes)


def rotated(data: Data, tasks: int = 6, step_degrees: float = 30.0) -> Stream:
    """Each experience sees the images turned further."""

    def change(degrees: float) -> Callable[[Tensor], Tensor]:
        return lambda x: rotated_images(x, degrees)

    changes = [(f"{n * step_degrees:g} degrees", change(n * step_degrees)) for n in range(tasks)]
    return _changed(data, f"rotated {data.name}, {step_degrees:g} degrees a step", changes)


def random_classes(
    data: Data, tasks: int = 400, per: int = 2, skew: float = 0.0, seed: int = 0, examples_each: int = 0
) -> Stream:
    """Hundreds of small experiences with classes drawn at random that recur (SCoLe); one test set with all classes.

    skew           0 draws classes evenly; larger makes some rare, class c in proportion to (c + 1) ** -skew
    examples_each  of an experience; 0 all of its classes
    """
    rng = np.random.default_rng(seed)
    odds = (np.arange(data.classes) + 1.0) ** -skew
    drawn = [sorted(int(c) for c in rng.choice(data.classes, per, False, odds / odds.sum())) for _ in range(tasks)]

    def of(number: int) -> Callable[[], Batch]:
        def load() -> Batch:
            mine = data.train.take(torch.isin(data.train.y, torch.tensor(drawn[number])))
            if not examples_each:
                return mine
            order = np.random.default_rng([seed, number]).permutation(len(mine))[:examples_each]
            return mine.take(torch.from_numpy(order))

        return _marked(load, number)

    made = tuple(
        Experience(f"classes {', '.join(map(str, drawn[n]))}", of(n), n, 0, tuple(drawn[n])) for n in range(tasks)
    )
    return Stream(f"random classes of {data.name}", made, (lambda: data.test,), "class", data.classes)


def recurring(base: Stream, visits: int = 30, exponent: float = 1.0, seed: int = 0) -> Stream:
    """The experiences of another stream come back: every one once in order at first, then each visit draws one with
    odds (steps since it was last there) ** -exponent, as recurrences in a natural environment fall off.
    """
    rng = np.random.default_rng(seed)
    order = list(range(len(base)))
    while len(order) < visits:
        since = np.array([len(order) - 1 - max(i for i, o in enumerate(order) if o == n) for n in range(len(base))])
        odds = np.where(since > 0, np.maximum(since, 1.0) ** -exponent, 0.0)
        order.append(int(rng.choice(len(base), p=odds / odds.sum())))
    made = tuple(base.experiences[n] for n in order[:visits])
    return replace(base, name=f"{base.name}, recurring", experiences=made)


def of_datasets(
    train: Sequence[Any], test: Sequence[Any] = (), scenario: Scenario = "class", classes: int = 0, name: str = "given"
) -> Stream:
    """A stream of other libraries' data sets: each one indexable, giving (input, label, ...), as torch's, continuum's
    task sets and the `dataset` of Avalanche's experiences do.

    classes  0 counts them in what is given
    """

    def whole(dataset: Any) -> Callable[[], Batch]:
        def load() -> Batch:
            pairs = [dataset[i] for i in range(len(dataset))]
            return examples(
                torch.stack([torch.as_tensor(p[0]).float() for p in pairs]), torch.tensor([int(p[1]) for p in pairs])
            )

        return load

    if test and len(test) != len(train):
        raise InputError(f"{len(train)} data sets to train on and {len(test)} to test on; give one test set for each")
    if not all(len(dataset) for dataset in train):
        raise InputError("a data set of the stream is empty")
    seen = [sorted({int(dataset[i][1]) for i in range(len(dataset))}) for dataset in train]
    parts = [(f"experience {n}", whole(a), whole(b)) for n, (a, b) in enumerate(zip(train, test or train, strict=True))]
    return _make(name, scenario, parts, seen, classes or max(max(labels) for labels in seen) + 1)


def of_benchmark(benchmark: Any, scenario: Scenario = "class") -> Stream:
    """A stream of an Avalanche benchmark: its `train_stream` and `test_stream`."""
    train, test = ([e.dataset for e in getattr(benchmark, part)] for part in ("train_stream", "test_stream"))
    return of_datasets(train, test, scenario, name=type(benchmark).__name__)


def of_lessons(lessons: Sequence[tuple[str, Batch, Batch, tuple[str, ...]]], name: str = "facts") -> Stream:
    """A stream for a language model: for each period its name, lessons, questions to test by, and what they came from.

    Batches hold token ids, -1 where a row has ended; y is -100 where nothing is scored.
    """
    experiences = tuple(
        Experience(label, _marked(lambda b=train: b, n), n, n, (), ids)  # type: ignore[misc]
        for n, (label, train, _, ids) in enumerate(lessons)
    )
    tests = tuple(_marked(lambda b=test: b, n) for n, (_, _, test, _) in enumerate(lessons))  # type: ignore[misc]
    return Stream(name, experiences, tests, "next-token")


class Made:
    """A test set, made when first asked for, and a part of it for quick looks."""

    def __init__(self, load: Callable[[], Batch]) -> None:
        self._load = load
        self._whole: Batch | None = None

    def __call__(self, most: int = 0) -> Batch:
        if self._whole is None:
            self._whole = self._load()
        if not most or len(self._whole) <= most:
            return self._whole
        order = np.random.default_rng(0).permutation(len(self._whole))[:most]
        return self._whole.take(torch.from_numpy(np.sort(order)))
