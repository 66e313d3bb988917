"""Feature growth: how many features of a layer fire at a checkpoint, at an equal cross-entropy score.

Source: Zhang, Lin, Li 2025: one autoencoder a checkpoint, its sparsity chosen so that the scores are alike, distinct
features counted on held-out activations. Ours: TopK autoencoders of several k, the count read off at one score by
straight lines between them; and the dictionary is doubled until less than 80 % of it fires, for a count that fills its
dictionary says nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from slowwave.probes.activations import Chosen, OnDisk, Tokens, stream
from slowwave.probes.base import Progress
from slowwave.probes.fired import Fired, encode
from slowwave.probes.sae import SaeConfig, health, train_sae
from slowwave.probes.sae_score import cross_entropy_score
from slowwave.probes.subjects import Subject

SATURATED = 0.8  # of the dictionary


@dataclass(frozen=True)
class Count:
    """Features that fire on held-out activations.

    once   at any of them; `often` at one in 10,000 of them at least
    used   once / latents
    score  cross-entropy score of the autoencoder
    """

    k: int
    latents: int
    once: int
    often: int
    used: float
    score: float
    explained: float


def features_that_fire(fired: Fired, least: float = 0.0) -> int:
    """How many features fire at a share of the positions, at least once.

    >>> features_that_fire(Fired(np.array([0, 2, 3]), np.array([0, 1, 1]), 4)), features_that_fire(
    ...     Fired(np.array([0, 2, 3]), np.array([0, 1, 1]), 4), 1.0)
    (2, 1)
    """
    count = np.zeros(fired.features, np.int64)
    for _, piece in fired.chunks():
        count += np.bincount(piece.indices, minlength=fired.features)
    return int((count >= max(1, least * len(fired))).sum())


@dataclass(frozen=True)
class Growth:
    """How features are counted.

    layer    whose output is looked at
    ks       features active a token, one autoencoder each
    latents  of the dictionary at first; `most` at last
    epochs   of each training
    """

    layer: int
    ks: Sequence[int]
    latents: int
    most: int
    epochs: int = 3
    batch: int = 2048
    seed: int = 0

    def at(
        self,
        subject: Subject,
        seen: Tokens,
        held_out: Tokens,
        scored: Tokens,
        folder: Path,
        part: Callable[[str, Callable[[], Any]], Any],
        progress: Progress = lambda stage, done, total: None,
    ) -> list[dict[str, Any]]:
        """A `Count` for each k at one checkpoint, as plain values.

        seen      tokens whose activations the autoencoders are fit to; `held_out` are counted; `scored` give the score
        folder    for activations
        part      keeps what is finished, as `Workspace.part`
        """
        name = folder.name
        if not part(f"{name}-streamed", lambda: bool(self._streams(subject, seen, held_out, folder, progress))):
            raise AssertionError
        out: list[dict[str, Any]] = []
        latents = self.latents
        for k in self.ks:  # the dictionary only widens from one k to the next
            while True:
                find = lambda k=k, latents=latents: asdict(  # noqa: E731
                    self._count(subject, seen, held_out, scored, folder, k, latents, progress)
                )
                found = part(f"{name}-k{k}-{latents}", find)
                if found["used"] < SATURATED or latents * 2 > self.most:
                    break
                latents *= 2
            out.append(found)
        return out

    def _streams(self, subject: Subject, seen: Tokens, held_out: Tokens, folder: Path, progress: Progress) -> int:
        for label, tokens in (("seen", seen), ("held-out", held_out)):
            stream(subject, tokens, [(self.layer, "block")], folder / label, progress, batch=32)
        return 1

    def _count(
        self,
        subject: Subject,
        seen: Tokens,
        held_out: Tokens,
        scored: Tokens,
        folder: Path,
        k: int,
        latents: int,
        progress: Progress,
    ) -> Count:
        rows, held = (
            _inside(stream(subject, tokens, [(self.layer, "block")], folder / label).of(self.layer), tokens)
            for label, tokens in (("seen", seen), ("held-out", held_out))
        )
        config = SaeConfig(rows.shape[1], latents, k=k, batch=self.batch, seed=self.seed, dead_after=50_000)
        sae = train_sae(rows, config, self.epochs, progress)
        fired = encode(sae, held, folder / f"fired-{k}-{latents}", progress)
        once = features_that_fire(fired)
        score = cross_entropy_score(subject, sae, self.layer, scored).share
        return Count(
            k, latents, once, features_that_fire(fired, 1e-4), once / latents, score, health(sae, held).explained
        )


def _inside(table: OnDisk, tokens: Tokens) -> Chosen:
    """All rows but the first position of each row of tokens."""
    return Chosen(table, tokens.inside())


def matched(counts: Sequence[dict[str, Any]], score: float, of: str = "once") -> float | None:
    """The count at one score, by straight lines between the autoencoders; None where the score lies outside of them.

    >>> matched([{"score": 0.8, "once": 100}, {"score": 1.0, "once": 200}], 0.9)
    150.0
    """
    order = sorted(counts, key=lambda found: found["score"])
    scores = [found["score"] for found in order]
    if not scores or not scores[0] <= score <= scores[-1]:
        return None
    return float(np.interp(score, scores, [found[of] for found in order]))
