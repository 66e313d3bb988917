"""EM on a line, against numbers worked out by hand and against properties that EM must have."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from slowwave.ops.mixture import FLOOR, best_cut, fit, stand_out


def test_one_round_by_hand() -> None:
    """Values 0, 1, 9, 10: the cut gives means 0.5 and 9.5 with variance 0.25, and no point doubts where it belongs."""
    mixture = fit([10.0, 0.0, 9.0, 1.0])
    assert mixture is not None
    assert mixture.means == pytest.approx([0.5, 9.5])
    assert mixture.variances == pytest.approx([0.25 + FLOOR, 0.25 + FLOOR])
    assert mixture.weights == pytest.approx([0.5, 0.5])
    one = np.log(0.5) - 0.5 * (np.log(2 * np.pi * (0.25 + FLOOR)) + 0.25 / (0.25 + FLOOR))
    assert mixture.log_likelihood == pytest.approx(4 * one)
    assert mixture.upper([0.0, 1.0, 9.0, 10.0]) == pytest.approx([0, 0, 1, 1], abs=1e-9)


def test_the_probability_of_a_value_is_bayes_rule() -> None:
    mixture = fit([0.0, 0.2, 0.3, 0.5, 0.55, 0.6, 0.9, 1.0])
    assert mixture is not None

    def density(x: float, place: int) -> float:
        spread = mixture.variances[place]
        bell = np.exp(-((x - mixture.means[place]) ** 2) / (2 * spread)) / np.sqrt(2 * np.pi * spread)
        return float(mixture.weights[place] * bell)

    for x in (0.1, 0.45, 0.8):
        assert mixture.upper([x])[0] == pytest.approx(density(x, 1) / (density(x, 0) + density(x, 1)))


@pytest.mark.parametrize("seed", range(5))
def test_the_likelihood_never_falls_and_the_end_is_a_fixed_point(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = np.concatenate([rng.normal(0.2, 0.05, 40), rng.normal(0.45, 0.1, 15)])
    steps = [fit(values, rounds=n, tolerance=-1) for n in range(1, 40)]
    likelihoods = [step.log_likelihood for step in steps if step is not None]
    assert len(likelihoods) == 39
    # The floor under the variances is no part of the likelihood, and may cost it a trifle.
    assert all(later >= earlier - 1e-4 for earlier, later in pairwise(likelihoods))
    done = fit(values, rounds=100_000, tolerance=1e-16)
    assert done is not None
    share = done.upper(values)
    assert done.means[1] == pytest.approx(np.average(values, weights=share), abs=1e-4)
    assert done.weights[1] == pytest.approx(share.mean(), abs=1e-4)


def test_two_groups_that_lie_apart_are_found() -> None:
    rng = np.random.default_rng(0)
    low, high = rng.normal(0.1, 0.02, 25), rng.normal(0.6, 0.03, 5)
    mask = stand_out(np.concatenate([high, low]))
    assert mask.tolist() == [True] * 5 + [False] * 25
    mixture = fit(np.concatenate([high, low]))
    assert mixture is not None
    assert mixture.means == pytest.approx([low.mean(), high.mean()])


def test_the_order_of_the_values_does_not_matter() -> None:
    values = np.random.default_rng(3).normal(size=30)
    turned = np.random.default_rng(4).permutation(30)
    assert stand_out(values)[turned].tolist() == stand_out(values[turned]).tolist()


@pytest.mark.parametrize("values", [[], [0.4], [0.4, 0.4, 0.4]])
def test_where_nothing_tells_values_apart_all_stand_out(values: list[float]) -> None:
    assert fit(values) is None
    assert stand_out(values).tolist() == [True] * len(values)


def test_two_values_are_a_group_each() -> None:
    assert stand_out([0.3, 0.7]).tolist() == [False, True]


def test_the_first_cut_is_the_best_of_all_cuts() -> None:
    rng = np.random.default_rng(9)
    for _ in range(20):
        v = np.sort(rng.gamma(1.0, size=int(rng.integers(2, 15))))
        costs = [((v[:c] - v[:c].mean()) ** 2).sum() + ((v[c:] - v[c:].mean()) ** 2).sum() for c in range(1, len(v))]
        assert costs[best_cut(v) - 1] == pytest.approx(min(costs))
