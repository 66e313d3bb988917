"""Sparse autoencoders over activations: TopK, BatchTopK and JumpReLU, trained here and saved as SAELens lays them out.

Activations are centred and divided by one scale, so that their mean squared norm is the width d; decoder rows have unit
length; the encoder starts as the decoder's transpose; latents that have not fired for a while learn from what is left.
Sources: Gao et al. 2024 (TopK, the auxiliary loss), Bussmann et al. 2024 (BatchTopK), Rajamanoharan et al. 2024
(JumpReLU with straight-through gradients).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from slowwave.errors import FormatError, InputError
from slowwave.probes.activations import Table
from slowwave.probes.base import Progress

Kind = Literal["topk", "batchtopk", "jumprelu"]


@dataclass(frozen=True)
class SaeConfig:
    """Sizes and settings of an autoencoder.

    width       d of the activations; `latents` how many features, 8 to 16 times d
    k           latents active a token (topk, batchtopk); the target of the penalty's schedule has no part in jumprelu
    penalty     weight of the L0 term (jumprelu)
    bandwidth   of the straight-through gradient of the threshold (jumprelu)
    lr          0 takes 2e-4 * sqrt(2**14 / latents)
    dead_after  tokens without firing after which a latent counts as dead
    """

    width: int
    latents: int
    kind: Kind = "topk"
    k: int = 32
    penalty: float = 3e-3
    bandwidth: float = 0.02
    threshold: float = 0.01
    batch: int = 2048
    lr: float = 0.0
    dead_after: int = 100_000
    auxiliary: float = 1 / 32
    seed: int = 0


@dataclass(frozen=True)
class Health:
    """Whether an autoencoder may be believed: it stands in every report.

    explained   share of the variance of held-out activations that is rebuilt
    l0          latents active a token
    dead        share of latents that never fire on them
    mean_ratio  |mean| / |standard deviation| of the raw activations: large values foretell dead latents
    """

    explained: float
    l0: float
    dead: float
    mean_ratio: float

    def line(self) -> str:
        """One line for a report."""
        return (
            f"variance explained {self.explained:.3f}, L0 {self.l0:.1f}, dead {self.dead:.1%}, "
            f"|mean|/|std| {self.mean_ratio:.2f}"
        )


class Sae(nn.Module):
    """An autoencoder of activations (n, width) raw, as they pass in the model."""

    def __init__(self, config: SaeConfig) -> None:
        super().__init__()
        self.config = config
        generator = torch.Generator().manual_seed(config.seed)
        rows = F.normalize(torch.randn(config.latents, config.width, generator=generator), dim=1)
        self.W_dec = nn.Parameter(rows)
        self.W_enc = nn.Parameter(rows.clone().t())  # rows of a latent lie together, as their gradients come
        self.b_enc = nn.Parameter(torch.zeros(config.latents))
        self.b_dec = nn.Parameter(torch.zeros(config.width))
        self.log_threshold = nn.Parameter(torch.full((config.latents,), float(np.log(config.threshold))))
        self.register_buffer("mean", torch.zeros(config.width))
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("cut", torch.zeros(()))  # of batchtopk, for single tokens

    def fit_scale(self, rows: NDArray[np.floating]) -> None:
        """Take the mean and the scale from a sample of raw activations."""
        sample = torch.as_tensor(np.asarray(rows, np.float32))
        mean = sample.mean(0)
        self.mean.copy_(mean)  # type: ignore[operator]
        norm = float((sample - mean).pow(2).sum(1).mean())
        self.scale.fill_((self.config.width / max(norm, 1e-12)) ** 0.5)  # type: ignore[operator]

    def prepare(self, raw: Tensor) -> Tensor:
        """Raw activations -> centred and scaled."""
        return (raw - self.mean) * self.scale  # type: ignore[operator]

    def pre(self, x: Tensor) -> Tensor:
        """Prepared activations (n, d) -> latents before the choice (n, latents)."""
        return (x - self.b_dec) @ self.W_enc + self.b_enc

    def activate(self, pre: Tensor, training: bool = False) -> Tensor:
        """Which latents fire, and how strongly."""
        kind, k = self.config.kind, self.config.k
        if kind == "jumprelu":
            threshold = self.log_threshold.exp()
            return F.relu(pre) * (pre > threshold)
        positive = F.relu(pre)
        if kind == "topk":
            values, places = positive.topk(k, dim=-1)
            return torch.zeros_like(positive).scatter_(-1, places, values)
        if training:
            flat = positive.flatten()
            values, places = flat.topk(min(k * len(positive), flat.numel()))
            return torch.zeros_like(flat).scatter_(0, places, values).view_as(positive)
        return positive * (positive > self.cut)  # type: ignore[operator]

    def encode(self, raw: Tensor) -> Tensor:
        """Raw activations (..., d) -> latents (..., latents), zero where they do not fire."""
        return self.activate(self.pre(self.prepare(raw)))

    def decode(self, latents: Tensor) -> Tensor:
        """Latents -> raw activations."""
        return (latents @ self.W_dec + self.b_dec) / self.scale + self.mean  # type: ignore[operator]

    def forward(self, raw: Tensor) -> Tensor:
        return self.decode(self.encode(raw))


def train_sae(
    rows: Table,
    config: SaeConfig,
    epochs: int = 3,
    progress: Progress = lambda stage, done, total: None,
    keep: Path | None = None,
) -> Sae:
    """Fit an autoencoder to raw activations (n, width), on disk or in an array; reads a batch at a time.

    keep    file in which a long training is kept every 100 steps; a training that was killed goes on from it, and ends
            with the weights that it would have had. It is taken away at the end
    raises  InputError where there are fewer rows than one batch, or they are not finite
    """
    n = len(rows)
    if n < config.batch:
        raise InputError(f"there are {n} activations and a batch is {config.batch}; give more text or a smaller batch")
    sae = Sae(config)
    chosen = np.sort(np.random.default_rng(config.seed).choice(n, min(n, 16_384), replace=False))
    sample = np.asarray(rows[chosen], np.float32)
    if not np.isfinite(sample).all():
        raise InputError("the activations hold values that are no finite numbers")
    sae.fit_scale(sample)
    lr = config.lr or 2e-4 * (2**14 / config.latents) ** 0.5
    optimiser = torch.optim.Adam(sae.parameters(), lr=lr, betas=(0.9, 0.999), fused=True)
    idle = torch.zeros(config.latents)
    per = n // config.batch
    steps, begin = epochs * per, 0
    if keep is not None and keep.is_file():
        kept = torch.load(keep, weights_only=True)
        sae.load_state_dict(kept["sae"])
        optimiser.load_state_dict(kept["optimiser"])
        idle, begin = kept["idle"], int(kept["step"])
    order = np.empty(0, np.int64)
    for step in range(begin, steps):
        epoch, place = divmod(step, per)
        if place == 0 or not len(order):
            order = np.random.default_rng([config.seed, epoch]).permutation(n)
        mine = np.sort(order[place * config.batch : (place + 1) * config.batch])
        raw = torch.as_tensor(np.asarray(rows[mine], np.float32))
        loss, fired = _loss(sae, sae.prepare(raw), idle >= config.dead_after)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        _keep_on_sphere(sae)
        for group in optimiser.param_groups:  # decay over the last fifth
            group["lr"] = lr * min(1.0, (steps - step) / max(1, steps // 5))
        optimiser.step()
        with torch.no_grad():
            sae.W_dec.div_(sae.W_dec.norm(dim=1, keepdim=True).clamp_min(1e-8))
        idle = torch.where(fired, torch.zeros_like(idle), idle + config.batch)
        if keep is not None and step % 100 == 99:
            state = {"sae": sae.state_dict(), "optimiser": optimiser.state_dict(), "idle": idle, "step": step + 1}
            torch.save(state, keep.with_suffix(".new"))
            keep.with_suffix(".new").replace(keep)
        progress("autoencoder", step + 1, steps)
    if config.kind == "batchtopk":
        _set_cut(sae, sample)
    if keep is not None:
        keep.unlink(missing_ok=True)
    return sae.eval().requires_grad_(False)


def _loss(sae: Sae, x: Tensor, dead: Tensor) -> tuple[Tensor, Tensor]:
    """(loss of a batch of prepared activations, which latents fired)."""
    config = sae.config
    if config.kind == "jumprelu":
        latents, count = _jump(sae.pre(x), sae.log_threshold.exp(), config.bandwidth)
        rebuilt = latents @ sae.W_dec + sae.b_dec
        loss = (x - rebuilt).pow(2).sum(1).mean() / config.width + config.penalty * count.mean()
        return loss, (latents > 0).any(0)
    if config.kind == "topk":
        rebuilt, fired = _TopK.apply(x, sae.W_enc, sae.b_enc, sae.W_dec, sae.b_dec, config.k)  # type: ignore[no-untyped-call]
    else:
        latents = sae.activate(sae.pre(x), training=True)
        rebuilt, fired = latents @ sae.W_dec + sae.b_dec, (latents > 0).any(0)
    error = x - rebuilt
    loss = error.pow(2).sum(1).mean() / config.width
    if dead.any():  # the strongest dead latents rebuild what is left, and so come back to life
        places = torch.nonzero(dead)[:, 0]
        held = (x - sae.b_dec) @ sae.W_enc[:, places] + sae.b_enc[places]
        values, best = held.topk(min(config.width // 2, len(places)), dim=-1)
        spare = torch.zeros_like(held).scatter_(-1, best, F.relu(values))
        left = error.detach()
        wrong = (left - spare @ sae.W_dec[places]).pow(2).sum(1).mean()
        loss = loss + config.auxiliary * wrong / left.pow(2).sum(1).mean()
    return loss, fired


class _TopK(torch.autograd.Function):
    """What a TopK autoencoder rebuilds, with gradients through the k chosen latents alone.

    Only the encoder's product is dense; all others touch k latents a token. The plain form, which the tests compare it
    with, is `activate(pre(x), training=True) @ W_dec + b_dec`.
    """

    @staticmethod
    def forward(ctx, x, W_enc, b_enc, W_dec, b_dec, k):  # type: ignore[no-untyped-def]
        centred = x - b_dec
        values, places = torch.addmm(b_enc, centred, W_enc).topk(k, dim=1, sorted=False)
        values = values.relu_()
        ctx.save_for_backward(centred, values, places, W_enc, W_dec)
        fired = torch.zeros(len(b_enc), dtype=torch.bool)
        fired[places[values > 0]] = True
        ctx.mark_non_differentiable(fired)
        return F.embedding_bag(places, W_dec, per_sample_weights=values, mode="sum") + b_dec, fired

    @staticmethod
    def backward(ctx, given, _):  # type: ignore[no-untyped-def]
        centred, values, places, W_enc, W_dec = ctx.saved_tensors
        n, k = places.shape
        pull = torch.empty_like(values)  # the gradient of each chosen latent
        for begin in range(0, n, 64):  # so that what is gathered stays in the cache
            rows = W_dec[places[begin : begin + 64]]
            pull[begin : begin + 64] = torch.bmm(rows, given[begin : begin + 64, :, None])[..., 0]
        pull *= values > 0
        flat = places.flatten()
        order = flat.argsort()
        count = torch.bincount(flat, minlength=len(W_dec))
        offsets = count.cumsum(0) - count
        row = order // k

        def summed(table: Tensor, weights: Tensor) -> Tensor:  # (latents, width): by latent, over the rows it fired on
            return F.embedding_bag(row, table, offsets, per_sample_weights=weights.flatten()[order], mode="sum")

        to_b_enc = torch.zeros(len(W_dec)).index_add_(0, flat, pull.flatten())
        to_b_dec = given.sum(0) - W_enc @ to_b_enc
        return None, summed(centred, pull).t(), to_b_enc, summed(given, values), to_b_dec, None


class _Step(torch.autograd.Function):
    """Heaviside of (pre - threshold), with a rectangle of the bandwidth as the threshold's gradient."""

    @staticmethod
    def forward(ctx, pre: Tensor, threshold: Tensor, bandwidth: float) -> Tensor:  # type: ignore[no-untyped-def]
        ctx.save_for_backward(pre, threshold)
        ctx.bandwidth = bandwidth
        return (pre > threshold).to(pre.dtype)

    @staticmethod
    def backward(ctx, given: Tensor) -> tuple[None, Tensor, None]:  # type: ignore[no-untyped-def]
        pre, threshold = ctx.saved_tensors
        near = ((pre - threshold).abs() < ctx.bandwidth / 2).to(pre.dtype) / ctx.bandwidth
        return None, (-near * given).sum(0), None


def _jump(pre: Tensor, threshold: Tensor, bandwidth: float) -> tuple[Tensor, Tensor]:
    """(latents, how many fire a token), both with gradients that reach the threshold."""
    step: Tensor = _Step.apply(pre, threshold, bandwidth)  # type: ignore[no-untyped-call]
    return F.relu(pre) * step, step.sum(1)


def _keep_on_sphere(sae: Sae) -> None:
    """Take from the decoder's gradient what would only change the length of a row."""
    if sae.W_dec.grad is not None:
        along = (sae.W_dec.grad * sae.W_dec.data).sum(1, keepdim=True)
        sae.W_dec.grad -= along * sae.W_dec.data


@torch.no_grad()
def _set_cut(sae: Sae, sample: NDArray[np.float32]) -> None:
    """BatchTopK for single tokens: the least value that still fires in batches, on average."""
    least = []
    for begin in range(0, len(sample) - sae.config.batch + 1, sae.config.batch):
        x = sae.prepare(torch.as_tensor(sample[begin : begin + sae.config.batch]))
        latents = sae.activate(sae.pre(x), training=True)
        least.append(latents[latents > 0].min())
    if least:
        sae.cut.fill_(torch.stack(least).mean())  # type: ignore[operator]


@torch.no_grad()
def health(sae: Sae, rows: Table, batch: int = 4096) -> Health:
    """On held-out raw activations (n, width)."""
    total = torch.zeros(())
    wrong = torch.zeros(())
    active = 0.0
    alive = torch.zeros(sae.config.latents, dtype=torch.bool)
    sample = np.asarray(rows[:: max(1, len(rows) // 16_384)], np.float32)
    mean, deviation = sample.mean(0), sample.std(0)
    centre = torch.as_tensor(mean)
    for begin in range(0, len(rows), batch):
        raw = torch.as_tensor(np.asarray(rows[begin : begin + batch], np.float32))
        latents = sae.encode(raw)
        wrong += (raw - sae.decode(latents)).pow(2).sum()
        total += (raw - centre).pow(2).sum()
        active += float((latents > 0).sum())
        alive |= (latents > 0).any(0)
    ratio = float(np.linalg.norm(mean)) / max(float(np.linalg.norm(deviation)), 1e-12)
    return Health(float(1 - wrong / total), active / len(rows), float(1 - alive.float().mean()), ratio)


def save(sae: Sae, folder: Path) -> None:
    """cfg.json and sae_weights.safetensors, as SAELens reads them; mean and scale are folded into the weights."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    config, scale, mean = sae.config, _tensor(sae.scale), _tensor(sae.mean)
    about = {
        "architecture": "topk" if config.kind == "topk" else "jumprelu",
        "d_in": config.width,
        "d_sae": config.latents,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        "k": config.k,
        "slowwave": {**asdict(config), "cut": float(_tensor(sae.cut))},
    }
    state = {
        "W_enc": (sae.W_enc.data * scale).contiguous(),
        "W_dec": (sae.W_dec.data / scale).contiguous(),
        "b_enc": sae.b_enc.data.clone(),
        "b_dec": (mean + sae.b_dec.data / scale).contiguous(),
    }
    if config.kind != "topk":
        fixed = torch.full((config.latents,), float(_tensor(sae.cut)))
        state["threshold"] = sae.log_threshold.data.exp() if config.kind == "jumprelu" else fixed
    save_file(state, folder / "sae_weights.safetensors")
    (folder / "cfg.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")


def restore(folder: Path) -> Sae:
    """What `save` wrote; FormatError where a file is missing or of another make."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        about = dict(json.loads((folder / "cfg.json").read_text(encoding="utf-8"))["slowwave"])
        cut = float(about.pop("cut"))
        sae = Sae(SaeConfig(**about))
        state = load_file(folder / "sae_weights.safetensors")
        threshold = state.pop("threshold", None)
        sae.load_state_dict(state, strict=False)
        _tensor(sae.cut).fill_(cut)
        if threshold is not None and sae.config.kind == "jumprelu":
            sae.log_threshold.data.copy_(threshold.log())
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise FormatError(f"{folder} holds no autoencoder of slowwave's: {error}") from error
    return sae.eval().requires_grad_(False)


def _tensor(value: object) -> Tensor:
    assert isinstance(value, Tensor)
    return value
