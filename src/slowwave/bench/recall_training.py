"""Training one small model on recall tasks, and asking it: what the proofs and `bench state` share."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from slowwave.state.decoder import Decoder

Draw = Callable[[int, "torch.Generator"], "tuple[Tensor, Tensor]"]


def trained(
    model: Decoder, tasks: Sequence[Draw], steps: int, seed: int, batch: int = 32, lr: float = 3e-3
) -> dict[str, Any]:
    """Train in place, one task a step in turn; returns the loss by step in tenths and CPU seconds.

    The rate rises over a tenth of the steps, then falls along a cosine; gradients are cut at norm 1.
    """
    import torch

    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(1000 + seed)
    optimiser = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.01)
    warm = max(1, steps // 10)
    losses, begin = [], time.process_time()
    for step in range(steps):
        rate = lr * min(1.0, (step + 1) / warm) * (0.55 + 0.45 * math.cos(math.pi * step / steps))
        for group in optimiser.param_groups:
            group["lr"] = rate
        loss = model.loss(*tasks[step % len(tasks)](batch, generator))
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        losses.append(loss.item())
    return {"loss": _tenths(losses), "cpu_seconds": round(time.process_time() - begin, 1)}


def timed(
    model: nn.Module, loss_of: Callable[[torch.Generator], Tensor], seed: int, seconds: float, steps: int, lr: float
) -> dict[str, Any]:
    """Train in place until so many CPU seconds, or steps, are spent; returns the steps and the loss in tenths of them.

    loss_of  the loss of a fresh draw

    The rate rises over the first hundred steps and then stays; gradients are cut at norm 1.
    """
    import torch

    generator = torch.Generator().manual_seed(100 + seed)
    optimiser = torch.optim.AdamW(model.parameters(), lr=lr)
    losses: list[float] = []
    begin = time.process_time()
    while len(losses) < steps and time.process_time() - begin < seconds:
        for group in optimiser.param_groups:
            group["lr"] = lr * min(1.0, (len(losses) + 1) / 100)
        loss = loss_of(generator)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        losses.append(loss.item())
    return {"steps": len(losses), "loss": _tenths(losses)}


def accuracy(model: Decoder, task: Draw, seed: int, rows: int = 256) -> float:
    """The share of answers that are right, on streams that training did not draw."""
    import torch

    generator = torch.Generator().manual_seed(2_000_000 + seed)
    model.eval()
    with torch.no_grad():
        ids, targets = task(rows, generator)
        logits, _, _ = model(ids)
    model.train()
    wanted = targets >= 0
    return float((logits.argmax(-1)[wanted] == targets[wanted]).double().mean())


def answered(model: Decoder, tasks: Mapping[str, Draw], seed: int, rows: int = 256) -> dict[str, float]:
    """Accuracy by task."""
    return {name: round(accuracy(model, task, seed, rows), 4) for name, task in tasks.items()}


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Mean, lowest and highest over the seeds, and each."""
    each = [round(float(value), 4) for value in values]
    return {"mean": round(sum(each) / len(each), 4), "low": min(each), "high": max(each), "each": each}


def compared(each: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """Arms side by side, from their runs over the seeds: the spread of every accuracy, and of what else a run told
    the one value that all share, or each."""
    arms: dict[str, Any] = {}
    for arm, runs in each.items():
        row: dict[str, Any] = {task: spread([run["accuracy"][task] for run in runs]) for task in runs[0]["accuracy"]}
        for key in (key for key in runs[0] if key != "accuracy"):
            values = [run[key] for run in runs]
            row[key] = values[0] if all(value == values[0] for value in values) else values
        arms[arm] = row
    return arms


def _tenths(losses: Sequence[float]) -> list[float]:
    """The mean of each tenth."""
    size = max(1, len(losses) // 10)
    return [round(sum(losses[n : n + size]) / len(losses[n : n + size]), 4) for n in range(0, len(losses), size)]
