"""What cannot be meant is refused before anything is computed or changed, with what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from slowwave.checks.methods import facts, tiny_language_model
from slowwave.errors import InputError
from slowwave.weights import METHODS, Classifier, Learner
from slowwave.weights.batch import examples
from slowwave.weights.data import glyphs
from slowwave.weights.objective import Classification, NextToken, Regression
from slowwave.weights.vectors import flatten

DATA = glyphs(classes=6, train=60, test=30)
LABELS_ONLY = [name for name in METHODS if METHODS[name].learns == "labels"]


def classifier(hidden: int = 8) -> Classifier:
    return Classifier(64, (hidden,), 6)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"lr": "x"}, "lr is 'x'; give a number from 0 up"),
        ({"seed": -1}, "seed is -1; give a whole number from 0 up"),
        ({"seed": "a"}, "seed is 'a'; give a whole number from 0 up"),
        ({"batch": 2.5}, "batch is 2.5; give a whole number of at least 1"),
        ({"epochs": 1.5}, "epochs is 1.5; give a whole number of at least 1"),
        ({"evaluated": -3}, "evaluated is -3"),
        ({"clip": True}, "clip is True"),
        ({"objective": "class"}, r"objective is 'class'; give Classification\(\), Regression\(\) or NextToken\(\)"),
        ({"objective": Classification}, "give Classification"),
        ({"guards": {"a": 3}}, "the guard 'a' is 3; give a function"),
        ({"guards": [len]}, "guards is a list; give names and functions"),
        ({"methods": None}, "methods are a list"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused_at_once(given: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        Learner(classifier(), **given)


def test_numbers_of_numpy_are_numbers() -> None:
    import numpy as np

    Learner(classifier(), lr=np.float32(0.1), batch=np.int64(4), seed=np.int32(3))


def test_numbers_in_place_of_labels_are_refused_and_reading_says_nothing_of_what_is_learned() -> None:
    x, y = DATA.train.x[:8], DATA.train.y[:8]
    with pytest.raises(InputError, match=r"labels are \(8,\) torch.float32 and the model gives \(8, 6\); .* int64"):
        Learner(classifier()).write(x, y.float())
    with pytest.raises(InputError, match=r"give int64 ones to tell classes, or the learner objective=Regression\(\)"):
        Learner(classifier(), objective=Classification()).write(x, y.float())
    learner = Learner(Classifier(64, (8,), 1))
    learner.read(x)
    learner.write(x, y.float())
    assert isinstance(learner.objective, Regression)


def test_a_label_far_beyond_the_others_takes_no_memory() -> None:
    learner = Learner(classifier())
    with pytest.raises(InputError, match=r"label 1000000000 would make the head grow from 6 .* \(32.0 GB\)"):
        learner.write(DATA.train.x[:2], torch.tensor([0, 10**9]))
    assert learner.score(examples(DATA.test.x[:2], torch.tensor([10**9, 10**9]))) == 0
    learner.write(DATA.train.x[:2], torch.tensor([0, 40]))
    assert learner.model.head.out_features == 41


def test_nothing_to_read_is_read_as_nothing_and_nothing_to_score_is_refused() -> None:
    assert Learner(classifier()).read(torch.zeros(0, 64)).shape == (0, 6)
    with pytest.raises(InputError, match="no example"):
        Learner(classifier()).score(DATA.test.take(torch.arange(0)))


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (lambda: Learner(classifier(12)), r"layers.0.weight is \(8, 64\) in what was kept and \(12, 64\)"),
        (lambda: Learner(Classifier(64, (8, 8), 6)), r"layers.1.weight \(2 such\)|head|layers.1.weight"),
        (lambda: Learner(Classifier(64, (8,), 9)), r"head.weight is \(6, 8\) in what was kept and \(9, 8\)"),
        (lambda: Learner(nn.Sequential(nn.Flatten(), nn.Linear(64, 6))), "and this Sequential has none"),
        (lambda: Learner(classifier(), optimiser="adam"), "another optimiser"),
    ],
)
def test_a_snapshot_of_another_model_is_refused_and_changes_nothing(tmp_path: Path, other: Any, said: str) -> None:
    learner = Learner(classifier())
    learner.write(DATA.train.x, DATA.train.y)
    learner.save(tmp_path)
    given = other()
    before = flatten(list(given.model.state_dict().values())).clone()
    with pytest.raises(InputError, match=said):
        given.load(tmp_path)
    assert torch.equal(before, flatten(list(given.model.state_dict().values())))
    smaller = Learner(Classifier(64, (8,), 2))  # a head that has grown since is no other model
    smaller.load(tmp_path)
    assert smaller.model.head.out_features == 6


@pytest.mark.parametrize("name", LABELS_ONLY)
def test_a_method_on_labels_is_refused_for_a_language_model_when_it_is_built(name: str) -> None:
    for objective in (None, NextToken()):
        with pytest.raises(InputError, match=f"{name} learns from labels, and a Tiny is to learn next tokens"):
            Learner(tiny_language_model(), [name], objective)


def test_a_model_that_does_not_show_what_it_is_is_found_out_by_its_stream() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Parameter(torch.zeros(24, 24))

        def forward(self, ids: Tensor) -> Tensor:
            return self.table[ids]

    with pytest.raises(InputError, match="lwf learns from labels"):
        Learner(Odd(), ["lwf"]).learn(facts(2))
    with pytest.raises(InputError, match="lwf learns from labels"):
        Learner(Odd(), ["lwf"]).write(torch.ones(2, 4, dtype=torch.int64), torch.ones(2, 4, dtype=torch.int64))


def test_a_classifier_of_tokens_may_use_a_method_on_labels() -> None:
    class Told(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding, self.head = nn.Embedding(9, 4), nn.Linear(4, 9)

        def forward(self, ids: Tensor) -> Tensor:
            return self.head(self.embedding(ids).mean(1))  # type: ignore[no-any-return]

    learner = Learner(Told(), ["lwf"], Classification())
    learner.write(torch.ones(4, 3, dtype=torch.int64), torch.tensor([0, 1, 2, 3]))
    learner.sleep()
    learner.write(torch.ones(4, 3, dtype=torch.int64), torch.tensor([0, 1, 2, 3]))
    assert learner.terms["lwf: teacher"] >= 0
