"""Every method of the weights form is held to the shipped contract, check by check."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from slowwave.checks import METHOD_CHECKS
from slowwave.checks.methods import (
    MethodFactory,
    it_lives_without_boundaries,
    it_works_beside_replay_and_ewc,
    its_room_is_told,
)
from slowwave.weights import METHODS, SYSTEMS
from slowwave.weights.baselines import Naive, Replay
from slowwave.weights.batch import Batch
from slowwave.weights.learner import Learner


@pytest.mark.parametrize("check", METHOD_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", METHODS)
def test_method(name: str, check: Callable[[MethodFactory], None]) -> None:
    if name not in SYSTEMS and check.__name__ == "its_row_in_the_atlas_is_filled":
        pytest.skip("a baseline follows no paper")
    check(METHODS[name])


class Silent(Replay):
    """Tells of no bytes."""

    bytes = 0  # type: ignore[assignment]


class Boasting(Naive):
    """Tells of a buffer that it does not hold."""

    bytes = 56_000  # type: ignore[assignment]


class Standing(Naive):
    """Learns nothing."""

    def grad_transform(self, learner: Learner, gradient: Tensor, batch: Batch) -> Tensor:
        return torch.zeros_like(gradient)


class Alone(Naive):
    """Takes what others replay out of the loss."""

    def sample_weights(self, learner: Learner, batch: Batch, losses: Tensor, logits: Tensor) -> Tensor:
        return (~batch.old).float()


class Leaking(Naive):
    """Freezes a layer, and moves it all the same."""

    def prepare(self, learner: Learner) -> None:
        learner.model.layers[0].weight.requires_grad_(False)  # type: ignore[index, union-attr]

    def after_step(self, learner: Learner, batch: Batch, logits: Tensor) -> None:
        learner.model.layers[0].weight.data.mul_(0.99)  # type: ignore[index, union-attr]


@pytest.mark.parametrize(
    ("check", "flawed", "said"),
    [
        (its_room_is_told, Silent, "tells of 0 bytes, and the tensors of its state have"),
        (its_room_is_told, Boasting, "tells of 56,000 bytes, and the tensors of its state have 0"),
        (it_lives_without_boundaries, Standing, "no loss falls"),
        (it_works_beside_replay_and_ewc, Alone, "no example of the first period is in the loss"),
        (it_works_beside_replay_and_ewc, Leaking, "parameters moved that are not trained"),
    ],
)
def test_the_contract_finds_out_a_method_that_does_not_hold_it(check: Any, flawed: Any, said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        check(flawed)
