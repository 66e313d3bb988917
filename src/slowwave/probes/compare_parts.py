"""What changed between two models on the same tokens: losses, heads, features, and how alike their states are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from slowwave.probes.activations import Chosen, Tokens, batches_of
from slowwave.probes.base import Progress
from slowwave.probes.classes import Classes
from slowwave.probes.fired import Fired, encode
from slowwave.probes.sae import Sae, SaeConfig, health, restore, save, train_sae
from slowwave.probes.subjects import Subject
from slowwave.probes.taps import Taps, anatomy
from slowwave.probes.transitions import GROUPS, groups_of, losses_of

TENFOLD = 10.0  # a feature's rate has changed when it is so much larger or smaller
LEAST = 1e-3  # and it fires at one token of a thousand in one of them


@dataclass(frozen=True)
class Pair:
    """Two models that are laid beside each other."""

    first: Subject
    second: Subject

    def same_tokens(self, texts: Sequence[str]) -> bool:
        """Whether both cut texts into the same ids."""
        return all(self.first.encode(text[:2000]) == self.second.encode(text[:2000]) for text in texts)


def mean_interval(values: Any, seed: int = 0, resamples: int = 2000) -> tuple[float | None, float | None]:
    """The 95 % bootstrap interval of a mean over items; (None, None) below three items."""
    x = np.asarray(values, float)
    if len(x) < 3:
        return None, None
    drawn = np.random.default_rng(seed).integers(0, len(x), (resamples, len(x)))
    low, high = np.percentile(x[drawn].mean(1), [2.5, 97.5])
    return float(low), float(high)


def weighted_interval(
    sums: NDArray[np.float64], counts: NDArray[np.float64], seed: int = 0, resamples: int = 2000
) -> tuple[float | None, float | None]:
    """The 95 % bootstrap interval of a mean over positions, resampling the documents that they lie in."""
    if len(sums) < 3:
        return None, None
    drawn = np.random.default_rng(seed).integers(0, len(sums), (resamples, len(sums)))
    low, high = np.percentile(sums[drawn].sum(1) / counts[drawn].sum(1), [2.5, 97.5])
    return float(low), float(high)


def changed_losses(pair: Pair, corpus: Tokens, classes: Classes, seed: int, progress: Progress) -> dict[str, Any]:
    """Group -> losses of both and their difference, paired, with an interval over documents; and tokens -> the ten
    that gained and the ten that lost most in all."""
    a, b = (losses_of(one.logits, corpus, progress) for one in (pair.first, pair.second))
    groups = groups_of(a, classes)
    out: dict[str, Any] = {}
    for place, name in enumerate(("all", *GROUPS)):
        mine = np.ones(len(groups), bool) if name == "all" else groups == place - 1
        x, y = a.loss[mine].astype(np.float64), b.loss[mine].astype(np.float64)
        if not len(x):
            out[name] = {"first": None, "second": None, "mean": None, "low": None, "high": None, "n": 0}
            continue
        _, member = np.unique(a.document[mine], return_inverse=True)
        sums, counts = np.bincount(member, weights=y - x), np.bincount(member)
        low, high = weighted_interval(np.asarray(sums, np.float64), counts.astype(np.float64), seed)
        out[name] = {
            "first": float(x.mean()), "second": float(y.mean()), "mean": float((y - x).mean()), "low": low,
            "high": high, "n": len(x),
        }  # fmt: skip
    ids, inverse, count = np.unique(a.target, return_inverse=True, return_counts=True)
    totals = [np.bincount(inverse, weights=one.loss.astype(np.float64)) for one in (a, b)]
    order = np.argsort(totals[1] - totals[0])
    chosen = list(dict.fromkeys([*order[:10].tolist(), *order[::-1][:10].tolist()]))
    pieces = pair.first.pieces(ids[chosen].tolist())
    out["tokens"] = [
        {"piece": piece, "n": int(count[n]), "first": totals[0][n] / count[n], "second": totals[1][n] / count[n]}
        for piece, n in zip(pieces, chosen, strict=True)
    ]
    return out


def similarity(x: Tensor, y: Tensor) -> float:
    """Linear CKA (Kornblith et al. 2019) of two clouds of states of the same tokens, (n, width) each.

    >>> x = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
    >>> round(similarity(x, 3 * x.flip(1) + 1), 4)
    1.0
    """
    x, y = x - x.mean(0), y - y.mean(0)
    cross = (x.T @ y).pow(2).sum()
    return float(cross / ((x.T @ x).norm() * (y.T @ y).norm()).clamp_min(1e-12))


def changed_heads(pair: Pair, some: Tokens, progress: Progress) -> list[dict[str, Any]]:
    """Each head's output in both on the same tokens: the length of the difference over the length of the first."""
    parts = anatomy(pair.first.model)
    layers, heads = len(parts.blocks), parts.heads
    wrong, whole = np.zeros((layers, heads)), np.zeros((layers, heads))
    with Taps(pair.first.model) as mine, Taps(pair.second.model) as theirs:
        for layer in range(layers):
            mine.read(layer, "heads")
            theirs.read(layer, "heads")
        for rows, ids, real in batches_of(some, 8):
            mine.run(pair.first.states, ids)
            theirs.run(pair.second.states, ids)
            chosen = torch.from_numpy(real)
            chosen[:, : max(1, some.marks)] = False
            for layer in range(layers):
                a, b = (taps.seen[layer, "heads"][chosen].view(int(chosen.sum()), heads, -1) for taps in (mine, theirs))
                wrong[layer] += (a - b).pow(2).sum((0, 2)).numpy()
                whole[layer] += a.pow(2).sum((0, 2)).numpy()
            progress("heads", rows.stop, len(some.ids))
    change = np.sqrt(wrong / np.maximum(whole, 1e-12))
    return [
        {"layer": layer, "head": head, "change": float(change[layer, head])}
        for layer in range(layers)
        for head in range(heads)
    ]


class Both:
    """The rows of two tables, one after the other, for an autoencoder of both."""

    def __init__(self, first: Chosen, second: Chosen) -> None:
        self.first, self.second = first, second
        self.shape = (len(first) + len(second), first.shape[1])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, places: Any) -> NDArray[Any]:
        at = np.arange(len(self))[places]
        inside = at < len(self.first)
        out = np.empty((len(at), self.shape[1]), np.float16)
        out[inside] = self.first[at[inside]]
        out[~inside] = self.second[at[~inside] - len(self.first)]
        return out


def changed_features(
    pair: Pair,
    corpus: Tokens,
    tables: tuple[Chosen, Chosen],
    expansion: int,
    k: int,
    epochs: int,
    seed: int,
    folder: Path,
    progress: Progress,
) -> dict[str, Any]:
    """Rates of firing of one dictionary's features in both models, and how many changed tenfold.

    noise  the same share between the first model on the documents of even and of odd number
    """
    width = tables[0].shape[1]
    if (folder / "cfg.json").is_file():
        sae = restore(folder)
    else:
        batch = min(2048, len(tables[0]))
        config = SaeConfig(width, expansion * width, k=min(k, width), batch=batch, seed=seed)
        folder.mkdir(parents=True, exist_ok=True)
        sae = train_sae(Both(*tables), config, epochs, progress, folder / "training.pt")
        save(sae, folder)
        sae = restore(folder)
    fired = [encode(sae, table, folder / label, progress) for table, label in zip(tables, ("a", "b"), strict=True)]
    rates = [rate(one) for one in fired]
    flat, document, place = corpus.flat()
    token, even = flat[place > 0], document[place > 0] % 2 == 0
    halves = [rate(fired[0], mine) for mine in (even, ~even)]
    gap = np.abs(np.log((rates[1] + 1e-6) / (rates[0] + 1e-6)))
    gap[np.maximum(*rates) < LEAST] = 0
    most = []
    for feature in np.argsort(-gap)[:20]:
        if gap[feature] == 0:
            break
        side = int(rates[1][feature] > rates[0][feature])
        most.append(
            {
                "feature": int(feature), "first": float(rates[0][feature]), "second": float(rates[1][feature]),
                "pieces": pair.first.pieces(commonest(fired[side], int(feature), token)),
            }
        )  # fmt: skip
    return {
        "features": sae.config.latents,
        "health": [health_line(sae, table) for table in tables],
        "changed": tenfold(rates[0], rates[1]),
        "noise": tenfold(halves[0], halves[1]),
        "only_first": int(((rates[0] >= LEAST) & (rates[1] * TENFOLD <= rates[0])).sum()),
        "only_second": int(((rates[1] >= LEAST) & (rates[0] * TENFOLD <= rates[1])).sum()),
        "rates": [[round(float(v), 6) for v in one] for one in rates],
        "most": most,
    }


def tenfold(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Share of the features that fire in either whose rate is ten times larger or smaller in the other.

    >>> tenfold(np.array([0.1, 0.1, 0.0, 0.0]), np.array([0.1, 0.001, 0.2, 0.0]))
    0.6666666666666666
    """
    alive = np.maximum(a, b) >= LEAST
    far = (np.maximum(a, b) >= TENFOLD * np.minimum(a, b)) & alive
    return float(far.sum() / max(1, alive.sum()))


def rate(fired: Fired, mine: NDArray[np.bool_] | None = None) -> NDArray[np.float64]:
    """Share of the positions at which each feature fires."""
    count = np.zeros(fired.features)
    for part, piece in fired.chunks():
        rows = piece if mine is None else piece[np.flatnonzero(mine[part])]
        count += np.bincount(rows.indices, minlength=fired.features)
    many = len(fired) if mine is None else int(mine.sum())
    return np.asarray(count / max(1, many))


def commonest(fired: Fired, feature: int, token: NDArray[np.int32], many: int = 5) -> list[int]:
    """The tokens at which a feature fires most often."""
    at = np.repeat(np.arange(len(fired)), np.diff(fired.ends))[np.asarray(fired.indices) == feature]
    ids, count = np.unique(token[at], return_counts=True)
    return [int(one) for one in ids[np.argsort(-count)][:many]]


def health_line(sae: Sae, table: Chosen) -> str:
    """Whether the autoencoder may be believed on one of the models."""
    return health(sae, table[:: max(1, len(table) // (1 << 14))]).line()
