"""The exact cases of the geometry and the CMR instruments."""

from __future__ import annotations

import numpy as np
import pytest

from slowwave.errors import InputError
from slowwave.probes.cmr import association, best_fit, bumps, distance, first_recall, grid, lag_curve
from slowwave.probes.spectra import alpha_req, eigenvalues, rankme, resampled


def test_rank_and_decay_of_known_spectra() -> None:
    assert rankme(np.full(32, 0.7)) == pytest.approx(32.0)
    assert rankme(0.5 ** np.arange(1, 60)) == pytest.approx(4.0, abs=1e-6)
    assert alpha_req(np.arange(1, 201) ** -1.3) == pytest.approx(1.3)
    assert np.isnan(alpha_req(np.ones(12)))


def test_eigenvalues_are_those_of_the_covariance_whichever_side_is_smaller() -> None:
    rng = np.random.default_rng(0)
    for shape in ((200, 20), (20, 200)):
        states = rng.normal(size=shape) * np.linspace(1, 3, shape[1]) + 5
        due = np.sort(np.linalg.eigvalsh(np.cov(states.T, bias=True)))[::-1][: min(shape)]
        np.testing.assert_allclose(eigenvalues(states)[: len(due) - 1], due[:-1], atol=1e-8)
    with pytest.raises(InputError, match="at least two"):
        eigenvalues(np.ones((1, 4)))
    with pytest.raises(InputError, match="finite"):
        eigenvalues(np.array([[1.0], [np.nan]]))


@pytest.mark.parametrize(("many", "due"), [(256, 154), (1024, 226), (4096, 248), (15_000, 254)])
def test_isotropic_data_show_how_the_number_of_states_biases_the_rank(many: int, due: int) -> None:
    states = np.random.default_rng(1).normal(size=(many, 256))
    assert rankme(eigenvalues(states)) == pytest.approx(due, abs=2)


def test_intervals_lie_about_the_value_and_are_as_wide_as_fresh_samples_are_apart() -> None:
    def drawn(seed: int) -> np.ndarray:
        return np.random.default_rng(seed).normal(size=(400, 120)) * np.arange(1, 121) ** -0.5

    (low, high), (least, most) = resampled(drawn(0), 40, 0)
    spectrum = eigenvalues(drawn(0))
    assert low < rankme(spectrum) < high
    assert least < alpha_req(spectrum) < most
    fresh = np.percentile([rankme(eigenvalues(drawn(n))) for n in range(40)], [2.5, 97.5])
    assert high - low == pytest.approx(fresh[1] - fresh[0], rel=0.6)


@pytest.mark.parametrize("b_enc", [0.2, 0.5, 0.9])
def test_first_recall_falls_geometrically_with_the_lag(b_enc: float) -> None:
    found = first_recall(60, start=10, b_enc=b_enc)
    for lag in range(1, 20):
        assert found[10 + lag] == pytest.approx(b_enc * (1 - b_enc) ** (lag - 1))
    assert found[:11].sum() == 0


def test_full_drift_is_pure_chaining() -> None:
    curve = lag_curve(b_enc=1.0, b_rec=1.0, gamma=0.0, lags=5)
    due = np.zeros(11)
    due[6] = 1.0  # the next item and no other
    np.testing.assert_allclose(curve, due, atol=1e-12)


def test_what_an_item_brings_back_calls_what_stood_before_it_too() -> None:
    forward, both = lag_curve(0.5, 1.0, 0.0, 5), lag_curve(0.5, 1.0, 1.0, 5)
    assert forward[:6].sum() == 0
    ratio = [0.5 ** abs(lag) for lag in range(-5, 6)]
    np.testing.assert_allclose(both / both[5], ratio, rtol=1e-6)  # the studied contexts: even on both sides


def test_curves_of_the_grid_fit_themselves() -> None:
    points, curves = grid(np.array([0.3, 0.6, 0.9]), np.array([0.5, 1.0]), np.array([0.0, 0.5]))
    for point, curve in zip(points, curves, strict=True):
        found, where = best_fit(points, curves, 3 * curve + 0.2)
        assert found == pytest.approx(0, abs=1e-12)
        assert distance(curves[(points == where).all(1)][0], curve) == pytest.approx(0, abs=1e-12)
        assert (point == where).all() or np.allclose(curves[(points == where).all(1)][0], curve)


def test_a_constant_and_a_peak_before_the_item_are_no_recall() -> None:
    points, curves = grid(np.linspace(0.1, 1, 6), np.linspace(0.1, 1, 5), np.linspace(0, 1, 4))
    assert best_fit(points, curves, np.full(11, 0.1))[0] == float("inf")
    lags = np.arange(-5, 6)
    peak = np.exp(-((lags + 2) ** 2) / 4.0)
    assert best_fit(points, curves, peak)[0] > 0.1
    assert bumps(peak[None])[0] < 1e-2


def test_association_has_an_absorbing_end() -> None:
    ties = association(5, 0.5)
    assert ties.shape == (6, 6)
    assert ties[4, 5] == pytest.approx(1.0)
    assert ties[5].sum() == 0
