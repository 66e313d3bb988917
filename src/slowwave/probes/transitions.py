"""Loss by transition: the class of the token that is read, times the class of the token that is predicted.

Source: Zhang, Lin, Li 2025. f is function, c is content; "f>c" is the loss of a content token after a function token.
Ours: "c>c" is also given apart for tokens that continue a word and for those that begin one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from slowwave.probes.activations import Tokens, batches_of
from slowwave.probes.base import Progress
from slowwave.probes.classes import Classes

GROUPS = ("f>f", "f>c", "c>f", "c>c")


@dataclass(frozen=True)
class Losses:
    """Losses of every predicted token of a corpus, in reading order.

    loss       (n,) float32, nats
    current    (n,) int32, the token that was read last
    target     (n,) int32, the token that was predicted
    document   (n,) int32
    """

    loss: NDArray[np.float32]
    current: NDArray[np.int32]
    target: NDArray[np.int32]
    document: NDArray[np.int32]


def losses_of(
    logits: Callable[[Tensor], Tensor],
    tokens: Tokens,
    progress: Progress = lambda stage, done, total: None,
    batch: int = 8,
) -> Losses:
    """The loss of each next token. logits: ids (batch, time) -> (batch, time, vocabulary)."""
    loss, current, target, document = [], [], [], []
    total = len(tokens.ids)
    for rows, ids, real in batches_of(tokens, batch):
        with torch.no_grad():
            raw = logits(ids)[:, :-1]
        taken = raw.gather(-1, ids[:, 1:, None])[..., 0]
        each = torch.stack([row.logsumexp(-1) for row in raw]) - taken  # by row: a vocabulary is wide
        there = real[:, 1:].copy()
        there[:, : tokens.marks] = False  # what follows a mark alone is told by no text
        loss.append(each.numpy()[there])
        current.append(ids[:, :-1].numpy()[there])
        target.append(ids[:, 1:].numpy()[there])
        document.append(np.repeat(tokens.document[rows], there.sum(1)))
        progress("loss", rows.stop, total)
    return Losses(
        np.concatenate(loss).astype(np.float32),
        np.concatenate(current).astype(np.int32),
        np.concatenate(target).astype(np.int32),
        np.concatenate(document).astype(np.int32),
    )


def groups_of(losses: Losses, classes: Classes) -> NDArray[np.int8]:
    """The transition of each predicted token, as a place in GROUPS."""
    read, next_ = classes.is_function(losses.current), classes.is_function(losses.target)
    return np.where(read, np.where(next_, 0, 1), np.where(next_, 2, 3)).astype(np.int8)


def by_transition(
    losses: Losses, groups: NDArray[np.int8], names: tuple[str, ...] = GROUPS, resamples: int = 500, seed: int = 0
) -> dict[str, dict[str, float | int | None]]:
    """Group -> mean loss with its 95 % interval over documents, share of positions, contribution (share * mean), n.

    Contributions sum to the mean loss of all positions.
    """
    _, member = np.unique(losses.document, return_inverse=True)
    many = int(member.max()) + 1
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, many, (resamples, many)) if many >= 3 else None
    out: dict[str, dict[str, float | int | None]] = {}
    for place, name in enumerate(names):
        mine = groups == place
        n = int(mine.sum())
        mean = float(losses.loss[mine].astype(np.float64).mean()) if n else None
        low = high = None
        if n and drawn is not None:
            sums = np.bincount(member[mine], weights=losses.loss[mine].astype(np.float64), minlength=many)
            counts = np.bincount(member[mine], minlength=many)
            held = counts[drawn].sum(1)
            means = sums[drawn].sum(1)[held > 0] / held[held > 0]
            low, high = (float(v) for v in np.percentile(means, [2.5, 97.5]))
        share = n / max(1, len(groups))
        out[name] = {
            "loss": mean, "low": low, "high": high, "share": share, "contribution": share * (mean or 0.0), "n": n,
        }  # fmt: skip
    return out


def split_continuations(groups: NDArray[np.int8], losses: Losses, begins: NDArray[np.bool_]) -> NDArray[np.int8]:
    """Group 3 ("c>c") parted: 3 stays for targets that begin a word, 4 is for those that continue one.

    begins  by token id: whether it begins a word
    """
    out = groups.copy()
    out[(groups == 3) & ~begins[losses.target]] = 4
    return out
