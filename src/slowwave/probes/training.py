"""Small trainings to look into: log-spaced checkpoints with the optimiser, resumable, the same under a seed."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from slowwave.errors import InputError
from slowwave.probes.base import Progress

Batch = tuple[Tensor, Sequence[int]]  # ids (batch, time) int64 with -1 as padding, and the ids of its sequences


@dataclass(frozen=True)
class Schedule:
    """Learning rate over a training: warm-up, then constant or cosine down to `last` of the peak.

    steps    of the optimiser
    lr       at the peak
    warm_up  steps
    """

    steps: int
    lr: float = 1e-3
    warm_up: int = 50
    shape: str = "cosine"
    last: float = 0.1

    def at(self, step: int) -> float:
        """The learning rate of a step, from 0."""
        if step < self.warm_up:
            return self.lr * (step + 1) / self.warm_up
        if self.shape == "constant":
            return self.lr
        part = (step - self.warm_up) / max(1, self.steps - self.warm_up)
        return self.lr * (self.last + (1 - self.last) * 0.5 * (1 + math.cos(math.pi * min(1.0, part))))


def log_spaced(steps: int, many: int = 8, first: int = 50) -> tuple[int, ...]:
    """Steps at which to keep a checkpoint: 0, then from `first` on evenly in the logarithm, the last step included."""
    if steps <= first:
        return (0, steps)
    spaced = np.unique(np.geomspace(first, steps, max(2, many - 1)).round().astype(int))
    return (0, *(int(step) for step in spaced))


class Trail:
    """The checkpoints of one training in a folder: weights, optimiser, learning rate, tokens and sequences seen."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def steps(self) -> list[int]:
        """The steps that are kept, in order."""
        return sorted(int(file.stem.split("-")[1]) for file in self.folder.glob("step-*.pt"))

    def save(self, step: int, model: nn.Module, optimiser: torch.optim.Optimizer, about: dict[str, Any]) -> None:
        """Keep a checkpoint; a kill in between leaves the one before."""
        file = self.folder / f"step-{step:07d}.pt"
        new = file.with_suffix(".new")
        torch.save({"model": model.state_dict(), "optimiser": optimiser.state_dict(), **about}, new)
        new.replace(file)

    def load(self, step: int, model: nn.Module, optimiser: torch.optim.Optimizer | None = None) -> dict[str, Any]:
        """Put a checkpoint into a model; what else was kept with it."""
        file = self.folder / f"step-{step:07d}.pt"
        if not file.is_file():
            raise InputError(f"no checkpoint of step {step} in {self.folder}; there are {self.steps()}")
        kept: dict[str, Any] = torch.load(file, weights_only=True)
        model.load_state_dict(kept.pop("model"))
        state = kept.pop("optimiser")
        if optimiser is not None:
            optimiser.load_state_dict(state)
        return kept


def train(
    model: nn.Module,
    batches: Callable[[int], Batch],
    schedule: Schedule,
    trail: Trail | None = None,
    keep: Sequence[int] = (),
    each_step: Callable[[int, float], None] | None = None,
    progress: Progress = lambda stage, done, total: None,
    weight_decay: float = 0.1,
    clip: float = 1.0,
) -> list[float]:
    """Train with AdamW; returns the loss of every step, in nats a token.

    batches    the batch of a step, a pure function of the step, so that a resumed training sees the same
    trail      where checkpoints of the steps in `keep` go; a training that was killed goes on from the last one
    each_step  called with (step, loss) before the step's update
    """
    decays = [p for p in model.parameters() if p.ndim >= 2]
    plain = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": decays, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=schedule.lr, betas=(0.9, 0.95))
    losses: list[float] = []
    seen: list[int] = []
    tokens = first = 0
    wanted = {*keep, schedule.steps} if trail is not None else set()
    if trail is not None and (done := [step for step in trail.steps() if step <= schedule.steps]):
        about = trail.load(done[-1], model, optimiser)
        first, tokens, seen, losses = done[-1], int(about["tokens"]), list(about["seen"]), list(about["losses"])
    for step in range(first, schedule.steps + 1):
        if trail is not None and step in wanted and (step > first or first == 0):
            about = {"step": step, "lr": schedule.at(step), "tokens": tokens, "seen": seen, "losses": losses}
            trail.save(step, model, optimiser, about)
        if step == schedule.steps:
            break
        ids, numbers = batches(step)
        for group in optimiser.param_groups:
            group["lr"] = schedule.at(step)
        loss = next_token_loss(model, ids)
        if each_step is not None:
            each_step(step, loss.item())
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimiser.step()
        losses.append(loss.item())
        seen.extend(numbers)
        tokens += int((ids >= 0).sum())
        progress("training", step + 1, schedule.steps)
    return losses


def next_token_loss(model: nn.Module, ids: Tensor) -> Tensor:
    """Mean cross-entropy of every next token, in nats; -1 is padding. ids (batch, time) int64."""
    losses, real = token_losses(model, ids)
    return losses[real].mean()


def token_losses(model: nn.Module, ids: Tensor) -> tuple[Tensor, Tensor]:
    """(loss of each next token (batch, time-1), which of them are no padding)."""
    out = model(ids.clamp_min(0))
    logits = out.logits if hasattr(out, "logits") else out
    targets = ids[:, 1:]
    flat = F.cross_entropy(logits[:, :-1].flatten(0, 1).float(), targets.clamp_min(0).flatten(), reduction="none")
    return flat.view_as(targets), targets >= 0


def rows_sampler(rows: NDArray[np.integer[Any]], batch: int, seed: int) -> Callable[[int], Batch]:
    """Batches of rows (n, time) in a new random order each epoch, as a pure function of the step."""
    per = max(1, len(rows) // batch)

    def at(step: int) -> Batch:
        epoch, place = divmod(step, per)
        order = np.random.default_rng([seed, epoch]).permutation(len(rows))
        chosen = order[place * batch : (place + 1) * batch]
        return torch.from_numpy(rows[chosen].astype(np.int64)), [int(n) for n in chosen]

    return at


def span_logprob(model: nn.Module, prompts: Sequence[Sequence[int]], targets: Sequence[Sequence[int]]) -> Tensor:
    """Log-probability of each target after its prompt, summed over its tokens, in nats. (n,) float32."""
    out = []
    for start in range(0, len(prompts), 64):
        pairs = list(zip(prompts[start : start + 64], targets[start : start + 64], strict=True))
        longest = max(len(a) + len(b) for a, b in pairs)
        ids = torch.full((len(pairs), longest), -1, dtype=torch.int64)
        for row, (a, b) in enumerate(pairs):
            ids[row, : len(a) + len(b)] = torch.tensor([*a, *b])
        with torch.no_grad():
            losses, _ = token_losses(model, ids)
        for row, (a, b) in enumerate(pairs):
            out.append(-losses[row, len(a) - 1 : len(a) + len(b) - 1].sum())
    return torch.stack(out) if out else torch.zeros(0)


@torch.no_grad()
def greedy(model: nn.Module, prompt: Sequence[int], many: int) -> list[int]:
    """The likeliest continuation, a token at a time, without sampling."""
    ids = list(prompt)
    for _ in range(many):
        out = model(torch.tensor([ids]))
        logits = out.logits if hasattr(out, "logits") else out
        ids.append(int(logits[0, -1].argmax()))
    return ids[len(prompt) :]


def save_about(folder: Path, about: dict[str, Any]) -> None:
    """Plain JSON beside a trail."""
    (folder / "about.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")


def windows(ids: Sequence[int], context: int) -> NDArray[np.int32]:
    """A stream of ids as rows of `context`, the rest dropped."""
    many = len(ids) // context
    return np.asarray(ids[: many * context], np.int32).reshape(many, context)


def epochs(rows: NDArray[np.integer[Any]], batch: int, seed: int) -> Iterator[Tensor]:
    """Every row once, in a random order."""
    order = np.random.default_rng(seed).permutation(len(rows))
    for start in range(0, len(order), batch):
        yield torch.from_numpy(rows[order[start : start + batch]].astype(np.int64))
