"""Curvature, penalties and metrics are what their closed forms say."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from slowwave.weights import Classifier, Learner
from slowwave.weights.batch import Batch, examples
from slowwave.weights.metrics import Perplexity, curve_metrics, matrix_metrics
from slowwave.weights.objective import Classification, NextToken, Regression
from slowwave.weights.quadratic import Quadratic
from slowwave.weights.vectors import (
    fisher,
    flatten,
    gradient,
    orthonormal,
    output_gradients,
    overlap,
    squared,
    trainable,
    unflatten,
)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def linear(inputs: int, outputs: int = 1) -> nn.Linear:
    return nn.Linear(inputs, outputs, bias=False)


def test_the_fisher_of_a_gaussian_is_the_mean_square_of_its_inputs() -> None:
    x = torch.randn(50, 6, generator=seeded())
    found = fisher(linear(6), Regression(), examples(x, torch.zeros(50)))
    assert torch.allclose(found["weight"][0], x.pow(2).mean(0), atol=1e-6)


def test_the_fisher_of_a_softmax_is_its_closed_form() -> None:
    model = linear(5, 4)
    x = torch.randn(30, 5, generator=seeded(1))
    p = model(x).softmax(1).detach()
    expected = torch.einsum("nc,nd->cd", p * (1 - p), x.pow(2)) / 30  # E over labels of (1[y=c] - p_c)^2 x_d^2
    found = fisher(model, Classification(), examples(x, torch.zeros(30, dtype=torch.int64)))
    assert torch.allclose(found["weight"], expected, atol=1e-6)


def test_the_empirical_fisher_squares_each_gradient_and_not_that_of_the_batch() -> None:
    model = Classifier(5, hidden=(7,), classes=3)
    batch = examples(torch.randn(20, 5, generator=seeded(2)), torch.arange(20) % 3)
    aim = Classification()
    parameters = list(trainable(model).values())
    each = torch.stack([
        gradient(aim.losses(aim.logits(model, one), one).mean(), parameters)
        for one in (batch.take([n]) for n in range(20))
    ])  # fmt: skip
    found = flatten(list(fisher(model, aim, batch, "empirical").values()))
    assert torch.allclose(found, each.pow(2).mean(0), atol=1e-7)
    assert not torch.allclose(found, each.mean(0).pow(2), rtol=0.5)


def test_masked_classes_have_no_curvature() -> None:
    model = linear(4, 4)
    batch = examples(torch.randn(8, 4, generator=seeded()), torch.arange(8) % 2)
    found = fisher(model, Classification({0: [0, 1]}), batch)["weight"]
    assert (found[:2] > 0).all()
    assert (found[2:] == 0).all()


def test_many_springs_are_one() -> None:
    generator = seeded(3)
    spring, pairs = Quadratic(), []
    for _ in range(5):
        pairs.append((torch.rand(7, generator=generator), torch.randn(7, generator=generator)))
        spring.add({"w": pairs[-1][0]}, {"w": pairs[-1][1]})
    at = torch.randn(7, generator=generator, requires_grad=True)
    expected = sum(0.5 * (a * (at - m).pow(2)).sum() for a, m in pairs)
    assert torch.allclose(spring({"w": at}), expected, atol=1e-5)
    mine, theirs = torch.autograd.grad(spring({"w": at}), at)[0], torch.autograd.grad(expected, at)[0]
    assert torch.allclose(mine, theirs, atol=1e-5)


@pytest.mark.parametrize("rows", [1, 4, 12])
def test_two_tasks_of_linear_regression_are_forgotten_as_the_closed_form_says(rows: int) -> None:
    generator = np.random.default_rng(rows)
    x1, x2 = generator.normal(size=(2, rows, 20)) / math.sqrt(20)
    y1, y2 = generator.normal(size=(2, rows))
    w1 = np.linalg.pinv(x1) @ y1
    w2 = w1 + np.linalg.pinv(x2) @ (y2 - x2 @ w1)
    expected = ((x1 @ w2 - y1) ** 2).mean()
    model = linear(20)
    nn.init.zeros_(model.weight)
    learner = Learner(model, ["naive"], Regression(), lr=0.5 * rows, batch=rows, epochs=1)
    tasks = [examples(torch.tensor(x).float(), torch.tensor(y).float()) for x, y in ((x1, y1), (x2, y2))]
    for task in tasks:
        for _ in range(1500):
            learner.learn_batch(task)
    assert -learner.score(tasks[0]) == pytest.approx(expected, rel=2e-3)
    assert -learner.score(tasks[1]) < 1e-6


def test_a_projection_leaves_nothing_along_the_basis_and_the_basis_is_orthonormal() -> None:
    generator = seeded(4)
    basis = orthonormal(None, torch.randn(4, 30, generator=generator))
    basis = orthonormal(basis, torch.cat([torch.randn(3, 30, generator=generator), basis[:2] * 5]))
    assert len(basis) == 7  # what lay in the span already added nothing
    assert torch.allclose(basis @ basis.T, torch.eye(7), atol=1e-5)


def test_overlap_is_one_for_equal_spaces_and_zero_for_orthogonal_ones() -> None:
    rows = torch.randn(3, 10, generator=seeded(5))
    assert torch.allclose(overlap(rows, torch.randn(3, 3, generator=seeded(6)) @ rows), torch.ones(3), atol=1e-4)
    assert torch.allclose(overlap(torch.eye(6)[:2], torch.eye(6)[3:]), torch.zeros(2))


def test_tangent_features_are_gradients_of_the_own_logit() -> None:
    model = Classifier(4, hidden=(5,), classes=3)
    batch = examples(torch.randn(6, 4, generator=seeded(7)), torch.arange(6) % 3)
    found = output_gradients(model, Classification(), batch)
    for n in range(6):
        logit = model(batch.x[n : n + 1])[0, batch.y[n]]
        assert torch.allclose(found[n], gradient(logit, list(model.parameters())), atol=1e-6)


def test_a_vector_is_cut_as_it_was_joined() -> None:
    parts = [torch.randn(2, 3), torch.randn(4), torch.randn(1, 1, 2)]
    back = unflatten(flatten(parts), parts)
    assert all(torch.equal(a, b) for a, b in zip(parts, back, strict=True))
    with pytest.raises(ValueError, match="13 entries does not fill tensors of 12"):
        unflatten(torch.zeros(13), parts)


def test_the_metrics_of_a_matrix_made_by_hand() -> None:
    r = np.array([[0.9, 0.2, 0.1], [0.7, 0.8, 0.3], [0.5, 0.6, 0.7]])
    found = matrix_metrics(r, [0.1, 0.1, 0.1])
    expected = {
        "accuracy": 0.6, "plasticity": 0.8, "backward transfer": (-0.4 - 0.2) / 2, "forgetting": (0.4 + 0.2) / 2,
        "forward transfer": (0.1 + 0.2) / 2,
    }  # fmt: skip
    assert found == pytest.approx(expected)


def test_the_worst_case_and_the_gap_of_a_curve_made_by_hand() -> None:
    curve = [(5, 0, [0.9]), (10, 0, [0.8]), (15, 1, [0.2, 0.5]), (20, 1, [0.6, 0.9])]
    found = curve_metrics(curve, [10, 20])
    assert found["min-ACC"] == pytest.approx(0.2)
    assert found["WC-ACC"] == pytest.approx(0.5 * 0.9 + 0.5 * 0.2)
    assert found["stability gap"] == pytest.approx(0.6)
    assert found["steps to recover"] == 10  # halved again at step 20


def test_perplexity_of_a_model_that_knows_nothing_is_the_size_of_its_vocabulary() -> None:
    class Even(nn.Module):
        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            return torch.zeros(*ids.shape, 50)

    rows = torch.randint(0, 50, (5, 9), generator=seeded())
    rows[2, 4:] = -1
    assert Perplexity(rows, batch=2)(Even()) == pytest.approx(50, rel=1e-4)


def test_a_next_token_objective_scores_only_what_it_is_told_to() -> None:
    logits = torch.randn(1, 4, 6, generator=seeded(8))
    y = torch.tensor([[-100, -100, 3, 5]])
    batch = Batch(torch.tensor([[1, 2, 3, 5]]), y, torch.zeros(1, dtype=torch.int64))
    p = logits.log_softmax(-1)
    assert NextToken().losses(logits, batch)[0] == pytest.approx(float(-(p[0, 1, 3] + p[0, 2, 5]) / 2), abs=1e-5)
    sure = torch.full((1, 4, 6), -9.0)
    sure[0, 1, 3] = sure[0, 2, 5] = 9.0
    assert NextToken().right(sure, batch).tolist() == [1.0]
    sure[0, 2, 0] = 10.0
    assert (NextToken().right(sure, batch).tolist(), NextToken().first_right(sure, batch).tolist()) == ([0.0], [1.0])


def test_squares_are_the_same_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Classifier(4, hidden=(5,), classes=3)
    batch = examples(torch.randn(9, 4, generator=seeded(9)), torch.arange(9) % 3)
    whole = squared(model, Classification(), batch, batch.y)
    monkeypatch.setattr("slowwave.weights.vectors.CHUNK_FLOATS", 100)
    for name, part in squared(model, Classification(), batch, batch.y).items():
        assert torch.allclose(part, whole[name], atol=1e-7)
