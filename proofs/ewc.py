"""EWC: does some stiffness keep old tasks while new ones are learned, and do class-incremental tasks defeat it?

Run: python proofs/ewc.py

Five permuted-digit tasks (domain-incremental), a perceptron 64-128-128-10, Adam 3e-3, 10 epochs of 300 examples. Arms:
naive, EWC over a sweep of lambda, EWC online at the middle of it, replay of 200 examples, joint. Then five pairs of
digits, class-incremental: there EWC is no better than naive finetuning.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from slowwave.bench.arms import above, bars, live, paired, prove, short
from slowwave.weights import Classifier, Learner
from slowwave.weights.base import Method
from slowwave.weights.baselines import Joint, Naive, Replay
from slowwave.weights.data import Data, digits, glyphs
from slowwave.weights.ewc import EWC
from slowwave.weights.stream import permuted, split

CLAIM = (
    "Some lambda lies at least 8 points above naive finetuning on permuted digits, a larger one kills plasticity, and "
    "class-incremental EWC equals naive finetuning."
)
STRENGTHS = (10.0, 30.0, 100.0, 3000.0)


def learner(seed: int, make: Any, epochs: int) -> Learner:
    """One arm."""
    method: Method = make()
    return Learner(
        Classifier(64, (128, 128), 10, seed=seed), [method], optimiser="adam", lr=3e-3, epochs=epochs, seed=seed
    )


def measure(seeds: int, quick: bool) -> tuple[dict[str, Any], dict[str, bool], str]:
    """Both streams."""
    data: Data = glyphs(train=60, test=40) if quick else digits(train=300, test=200)
    tasks, epochs = (2, 1) if quick else (5, 10)
    arms = {
        "naive": Naive,
        **{f"EWC {s:g}": partial(EWC, strength=s) for s in STRENGTHS},
        "EWC 30, online": partial(EWC, strength=30.0, variant="online", decay=1.0),
        "replay 200": partial(Replay, 200),
        "joint": Joint,
    }
    made = {name: partial(learner, make=make, epochs=epochs) for name, make in arms.items()}
    rows = live(made, lambda seed: permuted(data, tasks, seed), seeds, print if not quick else lambda line: None)
    few = {name: made[name] for name in ("naive", "EWC 10", "EWC 100", "replay 200")}
    pairs = live(few, lambda seed: split(data, 2, "class"), seeds)
    sweep = [f"EWC {s:g}" for s in STRENGTHS]
    best = max(sweep, key=lambda name: rows[name]["accuracy"]["mean"])
    gain = paired(rows[best]["accuracy"], rows["naive"]["accuracy"])
    stiff = paired(rows["naive"]["plasticity"], rows[sweep[-1]]["plasticity"])
    best_split = max(("EWC 10", "EWC 100"), key=lambda name: pairs[name]["accuracy"]["mean"])
    class_gain = paired(pairs[best_split]["accuracy"], pairs["naive"]["accuracy"])
    parts = {
        "a middle lambda, 8 points above naive": best != sweep[-1] and gain["mean"] >= 0.08 and above(gain),
        "the largest lambda kills plasticity": above(stiff, 0.05),
        "class-incremental, within 3 points of naive": abs(class_gain["mean"]) < 0.03,
    }
    said = (
        f"permuted digits: naive {short(rows['naive']['accuracy'])}, {best} {short(rows[best]['accuracy'])} at "
        f"plasticity {short(rows[best]['plasticity'])}, lambda 3000 {short(rows[sweep[-1]]['accuracy'])} at plasticity "
        f"{short(rows[sweep[-1]]['plasticity'])}, replay of 200 {short(rows['replay 200']['accuracy'])}, joint "
        f"{short(rows['joint']['accuracy'])}; class-incremental: naive {short(pairs['naive']['accuracy'])}, "
        f"{best_split} {short(pairs[best_split]['accuracy'])}"
    )
    return {"permuted, domain-incremental": rows, "split, class-incremental": pairs}, parts, said


def draw(found: dict[str, Any], axes: Any) -> None:
    """Accuracy and plasticity of each arm on permuted digits."""
    bars(axes, found["permuted, domain-incremental"])


if __name__ == "__main__":
    prove("ewc", CLAIM, measure, __file__, draw)
