"""PCA-OGD: do principal directions of old gradients protect more than as many single gradients, where tasks are alike?

Run: python proofs/pca_ogd.py

600 digits, turned by 10 degrees a task, eight tasks, a perceptron 64-100-100-10, SGD .1, 20 epochs; 40 directions a
task, from 400 gradients. Arms: naive, OGD, PCA-OGD, replay of as many bytes, joint. Then what share of the gradients'
squared length 40 directions hold, on turned and on permuted digits; and whether tangent features that overlap more go
with more forgetting, over two tasks at angles of 10 to 90 degrees.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch

from slowwave.bench.arms import above, bars, live, once, paired, prove, short, told
from slowwave.weights import Classifier, Learner
from slowwave.weights.baselines import Joint, Naive, Replay
from slowwave.weights.data import Data, digits, glyphs
from slowwave.weights.objective import Classification
from slowwave.weights.pca_ogd import PCAOGD
from slowwave.weights.stream import permuted, rotated
from slowwave.weights.vectors import output_gradients, overlap

CLAIM = (
    "On rotated digits PCA-OGD forgets less than OGD and naive finetuning at equal plasticity; its directions hold "
    "more of the gradients of rotated digits than of permuted ones."
)


def learner(seed: int, make: Any, epochs: int) -> Learner:
    """One arm."""
    return Learner(Classifier(64, (100, 100), 10, seed=seed), [make()], lr=0.1, epochs=epochs, seed=seed)


def mass(data: Data, seed: int, epochs: int, keep: int, samples: int, kind: str) -> float:
    """The share of the second task's gradients that the directions hold after two tasks."""
    given = learner(seed, partial(PCAOGD, keep=keep, samples=samples), epochs)
    given.learn(rotated(data, 2, 10.0) if kind == "rotated" else permuted(data, 2, seed))
    return given.reports[1]["pca-ogd"]["mass kept"]


def at_angle(data: Data, degrees: float, seed: int, epochs: int) -> tuple[float, float]:
    """(overlap of the two tasks' tangent features after the first, how much of it is then forgotten)."""
    given = learner(seed, Naive, epochs)
    stream = rotated(data, 2, degrees)
    given.learn(stream.first(1))
    features = [
        output_gradients(given.model, Classification(), e.load().take(torch.arange(60))) for e in stream.experiences
    ]
    alike = float(overlap(features[0], features[1], 20).mean())
    record = given.learn(stream)
    return alike, record.summary()["forgetting"]


def measure(seeds: int, quick: bool) -> tuple[dict[str, Any], dict[str, bool], str]:
    """The three questions."""
    data = glyphs(train=80, test=40) if quick else digits(train=600, test=300)
    tasks, epochs, keep, samples = (2, 2, 10, 40) if quick else (8, 20, 40, 400)
    model = Classifier(64, (100, 100), 10)
    room = keep * tasks * sum(p.numel() for p in model.parameters()) // (64 + 3)  # examples of the same bytes
    arms = {
        "naive": Naive,
        "OGD": partial(PCAOGD, variant="ogd", keep=keep),
        "PCA-OGD": partial(PCAOGD, keep=keep, samples=samples),
        "replay": partial(Replay, min(room, len(data.train) * tasks)),
        "joint": Joint,
    }
    show = (lambda line: None) if quick else print
    rows = live(
        {name: partial(learner, make=make, epochs=epochs) for name, make in arms.items()},
        lambda seed: rotated(data, tasks, 10.0), seeds, show,
    )  # fmt: skip
    held = {
        kind: told([once(f"{kind}/{s}", partial(mass, data, s, epochs, keep, samples, kind)) for s in range(seeds)])
        for kind in ("rotated", "permuted")
    }
    angles = (10.0, 45.0) if quick else (10.0, 30.0, 60.0, 90.0)
    curve = {a: [once(f"{a}/{s}", partial(at_angle, data, a, s, epochs)) for s in range(min(3, seeds))] for a in angles}
    alike, lost = ([np.mean([pair[i] for pair in curve[a]]) for a in angles] for i in (0, 1))
    correlation = float(np.corrcoef(alike, lost)[0, 1])
    parts = {
        "more accurate than OGD": above(paired(rows["PCA-OGD"]["accuracy"], rows["OGD"]["accuracy"])),
        "OGD than naive": above(paired(rows["OGD"]["accuracy"], rows["naive"]["accuracy"])),
        "plasticity within five points": rows["naive"]["plasticity"]["mean"] - rows["PCA-OGD"]["plasticity"]["mean"]
        < 0.05,
        "more of rotated gradients is held than of permuted": above(paired(held["rotated"], held["permuted"])),
    }
    said = (
        ", ".join(f"{arm} {short(row['accuracy'])} (forgetting {row['forgetting']['mean']:.2f}, plasticity "
                  f"{row['plasticity']['mean']:.2f})" for arm, row in rows.items())
        + f"; held by {keep} directions: rotated {short(held['rotated'])}, permuted {short(held['permuted'])}; overlap "
        f"against forgetting over angles: r = {correlation:.2f}"
    )  # fmt: skip
    found = {
        "rotated, domain-incremental": rows, "mass held": held, "correlation": round(correlation, 3),
        "angles": {str(a): {"overlap": round(float(x), 4), "forgetting": round(float(y), 4)}
                   for a, x, y in zip(angles, alike, lost, strict=True)},
    }  # fmt: skip
    return found, parts, said


def draw(found: dict[str, Any], axes: Any) -> None:
    """Accuracy and plasticity of the arms."""
    bars(axes, found["rotated, domain-incremental"])


if __name__ == "__main__":
    prove("pca-ogd", CLAIM, measure, __file__, draw)
