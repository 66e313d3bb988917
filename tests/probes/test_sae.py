"""An autoencoder finds planted directions, is judged by its health, and loads to the same latents."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from slowwave.errors import FormatError, InputError
from slowwave.probes.fired import encode
from slowwave.probes.growth import features_that_fire
from slowwave.probes.sae import SaeConfig, health, restore, save, train_sae

D, PLANTED, ACTIVE = 32, 48, 3


def planted(seed: int, n: int = 8192) -> tuple[np.ndarray, np.ndarray]:
    """(activations (n, D), directions (PLANTED, D)): each row a sum of a few random directions, off the origin."""
    rng = np.random.default_rng(seed)
    directions = rng.normal(size=(PLANTED, D))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    rows = np.zeros((n, D))
    for row in rows:
        for place in rng.choice(PLANTED, ACTIVE, replace=False):
            row += rng.uniform(0.5, 1.5) * directions[place]
    return (rows * 7 + 3).astype(np.float32), directions


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.mark.parametrize("kind", ["topk", "batchtopk", "jumprelu"])
def test_planted_directions_are_found(kind: str) -> None:
    rows, directions = planted(0)
    config = SaeConfig(width=D, latents=96, kind=kind, k=ACTIVE, batch=256, lr=3e-3, dead_after=4000)
    if kind == "jumprelu":
        config = replace(config, threshold=0.5, bandwidth=0.5, penalty=0.02)
    sae = train_sae(rows, config, epochs=8)
    state = health(sae, planted(0, 2048)[0])
    assert state.explained > 0.8, state.line()
    assert 1 < state.l0 < 12, state.line()
    if kind == "jumprelu":
        return  # 250 steps are too few for its thresholds to part all the directions
    rows_ = torch.nn.functional.normalize(sae.W_dec, dim=1).numpy()
    best = np.abs(rows_ @ directions.T).max(0)
    assert (best > 0.9).mean() > 0.8, f"{(best > 0.9).mean():.0%} of the planted directions are found"


@pytest.mark.parametrize("many", [64, 128, 256])
def test_a_trained_autoencoder_counts_the_planted_directions_within_5_percent(many: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(many)
    basis = np.linalg.qr(rng.normal(size=(many, many)))[0]
    used = rng.random((8000, many)).argsort(1)[:, :2]
    rows = (basis[used] * rng.uniform(0.5, 1.5, (8000, 2, 1))).sum(1).astype(np.float32)
    config = SaeConfig(many, 2 * many, k=2, batch=256, lr=3e-3, dead_after=2000)
    sae = train_sae(rows[:6000], config, epochs=12)
    count = features_that_fire(encode(sae, rows[6000:], tmp_path))  # of twice as many, on rows it was not fit to
    assert count == pytest.approx(many, rel=0.05)


def test_the_same_seed_gives_the_same_weights() -> None:
    rows, _ = planted(1, 2048)
    config = SaeConfig(width=D, latents=64, k=ACTIVE, batch=256)
    a, b = train_sae(rows, config, epochs=1), train_sae(rows, config, epochs=1)
    assert torch.equal(a.W_enc, b.W_enc)


@pytest.mark.parametrize("kind", ["topk", "batchtopk", "jumprelu"])
def test_what_is_saved_loads_to_the_same_latents(kind: str, tmp_path: Path) -> None:
    rows, _ = planted(2, 1024)
    sae = train_sae(rows, SaeConfig(width=D, latents=64, kind=kind, k=ACTIVE, batch=256), epochs=2)
    save(sae, tmp_path)
    again = restore(tmp_path)
    raw = torch.as_tensor(rows)
    torch.testing.assert_close(again.encode(raw), sae.encode(raw), atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(again(raw), sae(raw), atol=1e-3, rtol=1e-3)


def test_bad_input_is_told(tmp_path: Path) -> None:
    rows, _ = planted(3, 128)
    with pytest.raises(InputError, match="there are 128 activations and a batch is 2048"):
        train_sae(rows, SaeConfig(width=D, latents=64))
    rows[0, 0] = np.nan
    with pytest.raises(InputError, match="no finite numbers"):
        train_sae(rows, SaeConfig(width=D, latents=64, batch=64))
    with pytest.raises(FormatError, match="no autoencoder"):
        restore(tmp_path)
