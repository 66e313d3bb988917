"""Benchmarks of other libraries are fed in: by the shape that continuum's scenarios and Avalanche's streams have."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from slowwave.errors import InputError
from slowwave.weights import Classifier, Learner
from slowwave.weights.data import glyphs
from slowwave.weights.stream import of_benchmark, of_datasets

DATA = glyphs(classes=4, train=80, test=40)


class TaskSet:
    """As continuum's: (x, y, task) by index, x as torchvision's ToTensor gives it, y a number of numpy."""

    def __init__(self, part, labels) -> None:
        chosen = torch.isin(part.y, torch.tensor(labels))
        self._x, self._y = part.x[chosen][:, None], part.y[chosen].numpy()

    def __len__(self) -> int:
        return len(self._y)

    def __getitem__(self, index: int):
        return self._x[index], np.int64(self._y[index]), 0


def test_a_scenario_of_continuum_is_learned_from() -> None:
    scenario = [TaskSet(DATA.train, labels) for labels in ([0, 1], [2, 3])]  # iterated over as ClassIncremental is
    stream = of_datasets(list(scenario), [TaskSet(DATA.test, labels) for labels in ([0, 1], [2, 3])])
    assert [e.classes for e in stream] == [(0, 1), (2, 3)]
    assert stream.classes == 4
    record = Learner(Classifier(64, classes=4), ["replay"], optimiser="adam", lr=3e-3, epochs=8).learn(stream)
    assert record.matrix[-1][1] > 0.6


def test_a_benchmark_of_avalanche_is_learned_from() -> None:
    experiences = [SimpleNamespace(dataset=TaskSet(DATA.train, labels)) for labels in ([0, 1], [2, 3])]
    tests = [SimpleNamespace(dataset=TaskSet(DATA.test, labels)) for labels in ([0, 1], [2, 3])]
    stream = of_benchmark(SimpleNamespace(train_stream=experiences, test_stream=tests), "task")
    assert stream.objective().masks == {0: [0, 1], 1: [2, 3]}
    record = Learner(Classifier(64, classes=4), optimiser="adam", lr=3e-3, epochs=8).learn(stream)
    assert len(record.matrix) == 2


def test_what_does_not_fit_together_is_refused() -> None:
    one = TaskSet(DATA.train, [0])
    with pytest.raises(InputError, match="2 data sets to train on and 1 to test on"):
        of_datasets([one, one], [one])
    with pytest.raises(InputError, match="is empty"):
        of_datasets([one, TaskSet(DATA.train, [9])])
