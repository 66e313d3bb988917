"""MoM: do several small memories with a router recall more than one, or than one of the same size?

Run: python proofs/mom.py

Recall of 4, 8 or 16 pairs among 32 keys and values (chance 0.031): more pairs than a memory has dimensions (8). One
block of width 32, no forgetting; arms: the delta rule with one memory, MoM with four and a shared one, a single delta
rule of equal state, MoM with a router that is frozen at random, and a single one of about equal parameters.

The rule stood before the runs; steps went from 350 to 1,000 after a look at losses that had hardly fallen.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from slowwave.bench.concluding import race, verdict_of
from slowwave.bench.recall_tasks import KEYS, VOCABULARY, mqar
from slowwave.bench.recall_training import answered, trained
from slowwave.state.baselines import DeltaRule
from slowwave.state.decoder import Decoder
from slowwave.state.mom import MoM

WIDTH, DIM, HARD = 32, 8, "16 pairs"
ASKED = {f"{pairs} pairs": partial(mqar, pairs=pairs) for pairs in (4, 8, 16)}
ARMS: dict[str, Callable[[], Any]] = {
    "delta rule, 8 x 8": partial(DeltaRule, WIDTH, heads=1, dim=DIM),
    "MoM, 4 of 8 x 8 and shared": partial(MoM, WIDTH, heads=1, dim=DIM, gated=False),
    "delta rule, equal state": partial(DeltaRule, WIDTH, heads=1, dim=18),
    "MoM, frozen router": partial(MoM, WIDTH, heads=1, dim=DIM, gated=False, learned=False),
    "delta rule, equal parameters": partial(DeltaRule, WIDTH, heads=1, dim=24),
}


def run(seed: int, name: str, steps: int) -> dict[str, Any]:
    """One model trained and asked."""
    torch.manual_seed(seed)
    model = Decoder(VOCABULARY, WIDTH, [ARMS[name]])
    found = trained(model, list(ASKED.values()), steps, seed, batch=64, lr=1e-2)
    mixer: Any = model.mixers[0]
    leaves = mixer.spec().leaves
    return {
        "accuracy": answered(model, ASKED, seed, 256 if steps > 2 else 16),
        "parameters": model.trained,
        "state floats": sum(torch.Size(leaf.shape).numel() for leaf in leaves if leaf.name == "matrices"),
        **found,
    }


def judge(arms: dict[str, Any], quick: bool) -> tuple[str, str]:
    """The verdict, chosen beforehand: at 16 pairs MoM is above every other arm, its worst seed above their means."""
    found = {name: row[HARD] for name, row in arms.items()}
    mom = found["MoM, 4 of 8 x 8 and shared"]
    over = {name: mom["low"] > row["mean"] for name, row in found.items() if row is not mom}
    unlearned = max(row["4 pairs"]["high"] for row in arms.values()) < 0.5  # then training was too short to tell
    verdict = verdict_of(all(over.values()), quick or unlearned)
    told = ", ".join(f"{name} {row['mean']:.3f} [{row['low']:.3f}, {row['high']:.3f}]" for name, row in found.items())
    beaten = ", ".join(name for name, better in over.items() if better) or "none"
    return verdict, f"recall of 16 pairs: {told}; MoM is above in every seed: {beaten}"


def main() -> None:
    race(__file__, __doc__, MoM, ARMS, run, judge, tuple(ASKED), 1 / KEYS, steps=1000)


if __name__ == "__main__":
    main()
