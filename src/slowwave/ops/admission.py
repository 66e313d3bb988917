"""Gates that admit a change only where trials with it come out better than trials without it, beyond chance.

A gate takes trials, not records: what is on trial may be one memory (SEDM), a batch of updates or a whole night (DMM
Gov). Few trials are noisy, so those of one task and seed are paired and the gain is put to an exact test.

Source: SEDM (2025, arXiv 2509.09498): S = gain in reward - cost * added latency - cost * added tokens, admitted if
S >= a threshold. Differs: the paper publishes none of the three numbers and has no test.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from slowwave.errors import InputError

EXACT = 16  # pairs up to which every assignment of signs is tried
DRAWS = 20_000  # random assignments beyond that, from a fixed seed
NEAR = 1e-9  # two sums this close are the same


@dataclass(frozen=True, slots=True)
class Trial:
    """What one run of a task came to.

    reward      higher is better, usually 0 to 1
    tokens      of the prompt and the reply
    latency_ms  wall time
    seed, task  two trials with the same of both are a pair
    """

    reward: float
    tokens: float = 0.0
    latency_ms: float = 0.0
    seed: int = 0
    task: str = ""


@dataclass(frozen=True, slots=True)
class Ruling:
    """What a gate decided, and on what.

    admitted  whether the change may take effect
    decided   False where there were too few trials to say; it is then not admitted
    score     mean S over the pairs (unpaired: the difference of the means), in units of reward
    p         one-sided: how often chance alone would give such a score
    trials    pairs, or where `paired` is False the trials of the smaller side
    gain      of that score, what the reward gave
    tokens, latency_ms  what one trial costs more with the change
    reason    a sentence with the numbers
    """

    admitted: bool
    score: float
    p: float
    trials: int
    reason: str
    gain: float = 0.0
    tokens: float = 0.0
    latency_ms: float = 0.0
    paired: bool = True
    decided: bool = True

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, rounded: what an engram's attrs and a journal keep."""
        out: dict[str, Any] = {}
        for f in fields(self):
            value = getattr(self, f.name)
            out[f.name] = round(value, 6) if isinstance(value, float) else value
        return out


Replay = Callable[[str, str | None, int], "Trial | Mapping[str, float] | float"]
"""(task, memory or None, seed) -> how the task went with the memory at hand, or without; a bare number is a reward."""


@dataclass(frozen=True, slots=True)
class Gate:
    """The rule of admission. The paper names the first three and publishes no values.

    latency_cost  lambda_L, reward that a millisecond is worth (1e-6: ten seconds cost 0.01)
    token_cost    lambda_T, reward that a token is worth (1e-5: a thousand tokens cost 0.01)
    threshold     eta, the least mean S
    level         the largest p; 1 is the paper's rule, without a test. Eight pairs of yes and no show little: at 0.05
                  they find a fifth of the gains of 0.4. At 0.35 they find five in six and let pass one in forty harms
                  and half as many idle changes as the paper's rule does (see `proofs/sedm.py`)
    fewest        trials on either side below which nothing is decided
    """

    latency_cost: float = 1e-6
    token_cost: float = 1e-5
    threshold: float = 0.01
    level: float = 0.35
    fewest: int = 2

    def judge(self, with_: Sequence[Trial], without: Sequence[Trial]) -> Ruling:
        """Rule on trials with the change and without it: paired by task and seed where each has its partner."""
        pairs = _pairs(with_, without)
        if pairs is not None:
            return self.weigh([self._worth(a) - self._worth(b) for a, b in pairs], *_changes(with_, without))
        return self._unpaired(with_, without)

    def weigh(
        self, differences: ArrayLike, gain: float | None = None, tokens: float = 0.0, latency_ms: float = 0.0
    ) -> Ruling:
        """Rule on paired differences, (n,) in units of reward, positive where the change is better."""
        d = np.asarray(differences, dtype=np.float64).ravel()
        if not np.isfinite(d).all():
            raise InputError(f"a difference is not finite: {d.tolist()}; every trial needs a reward")
        if len(d) < self.fewest:
            return _undecided(len(d), self.fewest, paired=True)
        score, p = float(d.mean()), sign_flip(d)
        return self._ruling(score, p, len(d), score if gain is None else gain, tokens, latency_ms, True)

    def _unpaired(self, with_: Sequence[Trial], without: Sequence[Trial]) -> Ruling:
        trials = min(len(with_), len(without))
        if trials < self.fewest:
            return _undecided(trials, self.fewest, paired=False)
        a, b = [self._worth(t) for t in with_], [self._worth(t) for t in without]
        score = float(np.mean(a) - np.mean(b))
        return self._ruling(score, shuffled(a, b), trials, *_changes(with_, without), False)

    def _worth(self, trial: Trial) -> float:
        return trial.reward - self.latency_cost * trial.latency_ms - self.token_cost * trial.tokens

    def _ruling(
        self, score: float, p: float, trials: int, gain: float, tokens: float, latency_ms: float, paired: bool
    ) -> Ruling:
        good, sure = score >= self.threshold, p <= self.level + NEAR
        what = f"{trials} {'pairs' if paired else 'trials a side, unpaired'}"
        told = f"S = {score:+.3f} (reward {gain:+.3f}, tokens {tokens:+.0f}) over {what}, p = {p:.3f}"
        if not good:
            told += f": below {self.threshold}"
        elif not sure:
            told += f": chance does as well more often than {self.level}"
        return Ruling(good and sure, score, p, trials, told, gain, tokens, latency_ms, paired)


def replayed(replay: Replay, task: str, memory: str, seeds: Sequence[int]) -> tuple[list[Trial], list[Trial]]:
    """The A/B replay of one task: (with the memory, without it), a pair of trials a seed."""
    with_ = [as_trial(replay(task, memory, seed), task, seed) for seed in seeds]
    return with_, [as_trial(replay(task, None, seed), task, seed) for seed in seeds]


def as_trial(given: Trial | Mapping[str, Any] | float, task: str = "", seed: int = 0) -> Trial:
    """What a replay gave, as a Trial of this task and seed; an InputError if it holds no finite reward."""
    values = (
        {"reward": given.reward, "tokens": given.tokens, "latency_ms": given.latency_ms}
        if isinstance(given, Trial)
        else {name: given.get(name, 0.0) for name in ("tokens", "latency_ms")} | {"reward": given.get("reward")}
        if isinstance(given, Mapping)
        else {"reward": given}
    )
    for name, value in values.items():
        if isinstance(value, str) or not isinstance(value, (int, float, np.number)) or not np.isfinite(value):
            raise InputError(f"{name} of a trial of {task!r:.60} is {value!r:.40}; it must be a finite number")
    return Trial(**{name: float(value) for name, value in values.items()}, seed=seed, task=task)


def sign_flip(differences: ArrayLike) -> float:
    """One-sided p of paired differences under "either of a pair might as well have been the other".

    differences  (n,); exact up to 16 pairs, by 20,000 draws from a fixed seed beyond
    returns      the share of sign assignments whose sum is at least the observed one; 1.0 for no pairs
    """
    d: NDArray[np.float64] = np.asarray(differences, dtype=np.float64).ravel()
    if not len(d):
        return 1.0
    if len(d) <= EXACT:
        bits = np.arange(2 ** len(d))[:, None] >> np.arange(len(d)) & 1
        return float(np.mean((1 - 2 * bits) @ d >= d.sum() - NEAR))
    signs = np.random.default_rng(0).choice([-1.0, 1.0], (DRAWS, len(d)))
    return float((1 + np.sum(signs @ d >= d.sum() - NEAR)) / (1 + DRAWS))


def shuffled(with_: ArrayLike, without: ArrayLike) -> float:
    """One-sided p of two unpaired samples: how often shuffled labels give such a difference of the means."""
    a, b = np.asarray(with_, dtype=np.float64), np.asarray(without, dtype=np.float64)
    if not len(a) or not len(b):
        return 1.0
    both, rng = np.concatenate([a, b]), np.random.default_rng(0)
    order = rng.permuted(np.tile(np.arange(len(both)), (DRAWS // 4, 1)), axis=1)
    sums = both[order[:, : len(a)]].sum(axis=1)
    return float((1 + np.sum(sums >= a.sum() - NEAR)) / (1 + len(sums)))


def _pairs(with_: Sequence[Trial], without: Sequence[Trial]) -> list[tuple[Trial, Trial]] | None:
    """Trials side by side by task and seed; None where one has no partner, or two."""
    partners = {(t.task, t.seed): t for t in without}
    keys = [(t.task, t.seed) for t in with_]
    if not keys or len(partners) != len(without) or len(set(keys)) != len(keys) or set(keys) != set(partners):
        return None
    return [(t, partners[key]) for t, key in zip(with_, keys, strict=True)]


def _changes(with_: Sequence[Trial], without: Sequence[Trial]) -> tuple[float, float, float]:
    """What the change adds to the mean reward, tokens and latency of a trial."""
    return (
        float(np.mean([t.reward for t in with_]) - np.mean([t.reward for t in without])),
        float(np.mean([t.tokens for t in with_]) - np.mean([t.tokens for t in without])),
        float(np.mean([t.latency_ms for t in with_]) - np.mean([t.latency_ms for t in without])),
    )


def _undecided(trials: int, fewest: int, paired: bool) -> Ruling:
    what = "pairs" if paired else "trials a side"
    return Ruling(
        False, 0.0, 1.0, trials, f"{trials} {what}; at least {fewest} are needed", paired=paired, decided=False
    )
