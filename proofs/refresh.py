"""Refresh learning: does unlearning the current batch a little, before learning it, help DER++?

Run: python proofs/refresh.py

Five pairs of digits (1,347 digits), class-incremental; a perceptron 64-100-10, SGD .1, 20 epochs, DER++ with a buffer
of 50. Arms: delta 0 (DER++ alone), 1e-5 (the authors' value), 1e-4, 1e-3; naive; replay of as many; joint. Compared
seed by seed. That one objective holds EWC, LwF, replay and DER is an exact test (tests/weights). The budget was
raised after a first look, for all arms alike: with SGD .05 and 10 epochs nothing had learned enough (DER++ .37, joint
.82; its gains at 1e-5, 1e-4 and 1e-3 were .005, .004 and -.006).
"""

from __future__ import annotations

from functools import partial
from typing import Any

from slowwave.bench.arms import bars, live, paired, prove, short
from slowwave.weights import Classifier, Learner
from slowwave.weights.baselines import Joint, Naive, Replay
from slowwave.weights.data import digits, glyphs
from slowwave.weights.refresh import RefreshLearning
from slowwave.weights.stream import split

CLAIM = "A small delta does no harm to DER++, and gains at most a few points."
DELTAS = (0.0, 1e-5, 1e-4, 1e-3)


def learner(seed: int, make: Any, epochs: int) -> Learner:
    """One arm."""
    return Learner(Classifier(64, (100,), 10, seed=seed), [make()], lr=0.1, epochs=epochs, seed=seed)


def measure(seeds: int, quick: bool) -> tuple[dict[str, Any], dict[str, bool], str]:
    """All arms."""
    data = glyphs(train=60, test=40) if quick else digits()
    items, epochs = (20, 1) if quick else (50, 20)
    arms: dict[str, Any] = {"naive": Naive, "replay": partial(Replay, items), "joint": Joint}
    arms |= {f"delta {d:g}": partial(RefreshLearning, items, delta=d) for d in DELTAS}
    made = {name: partial(learner, make=make, epochs=epochs) for name, make in arms.items()}
    show = (lambda line: None) if quick else print
    rows = live(made, lambda seed: split(data, 2, "class"), seeds, show)
    gains = {d: paired(rows[f"delta {d:g}"]["accuracy"], rows["delta 0"]["accuracy"]) for d in DELTAS[1:]}
    parts = {"the authors' delta does no harm (two points)": gains[1e-5]["mean"] > -0.02}
    said = (
        ", ".join(f"{name} {short(row['accuracy'])}" for name, row in rows.items())
        + "; gain over delta 0, seed by seed: "
        + ", ".join(f"{d:g} {short(gain)}" for d, gain in gains.items())
        + " (budget raised after a first look, see the proof)"
    )
    return {"pairs, class-incremental": rows, "gains": {f"{d:g}": g for d, g in gains.items()}}, parts, said


def draw(found: dict[str, Any], axes: Any) -> None:
    """Accuracy and plasticity."""
    bars(axes, found["pairs, class-incremental"])


if __name__ == "__main__":
    prove("refresh", CLAIM, measure, __file__, draw, seeds=6)
