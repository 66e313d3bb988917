"""Elephant: is a function learned point by point, in order, kept where ReLU and tanh forget it?

Run: python proofs/elephant.py

a. y = sin(pi x) for x from 0 to 2 in order, 200 points, five Adam steps on each, never again; width 1,000. Mean
   squared error over the whole range at the end. Beside them ReLU with replay of 20 points, and ReLU with as many
   steps on points in random order (joint).
b. Local elasticity: after one step at one point, how much the output moves there and far away.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from slowwave.bench.arms import once, prove, short, told
from slowwave.weights import Classifier, Learner
from slowwave.weights.base import Method
from slowwave.weights.baselines import Replay
from slowwave.weights.batch import examples
from slowwave.weights.elephant import Elephant
from slowwave.weights.objective import Regression

CLAIM = "Streaming regression ends below .02 with elephants, a tenth of ReLU and tanh; a step moves little far off."
WIDTHS = (0.08, 0.2)


def net(kind: str, seed: int, width: float, units: int) -> Learner:
    """A regression of one number on one number, the input scaled to [-1.7, 1.7]."""
    model = Classifier(1, (units,), 1, activation="tanh" if kind == "tanh" else "relu", seed=seed)
    methods: list[Method] = [Elephant(width=width, slope=8, spread=1.0)] if kind == "elephant" else []
    if kind == "relu, replay":
        methods = [Replay(20)]
    if kind == "elephant":
        with torch.no_grad():
            model.layers[0].weight.copy_(torch.ones_like(model.layers[0].weight))  # type: ignore[operator, arg-type]
    return Learner(model, methods, Regression(), optimiser="adam", lr=1e-3, batch=1, seed=seed)


def streamed(kind: str, seed: int, width: float, units: int, points: int, steps: int) -> float:
    """The error over the whole range after the stream."""
    given = net(kind, seed, width, units)
    x = torch.linspace(0, 2, points)[:, None]
    y = torch.sin(torch.pi * x[:, 0])
    scaled = (x - 1) * 1.7
    order = np.repeat(np.arange(points), steps)
    if kind == "relu, joint":
        order = np.random.default_rng(seed).permutation(order)
    for n in order:
        given.learn_batch(examples(scaled[n : n + 1], y[n : n + 1]))
    return -given.score(examples(scaled, y))


def kept(kind: str, seed: int, width: float, units: int, points: int, steps: int) -> float:
    """The same, measured once."""
    found: float = once(f"{kind} {width}/{seed}", lambda: streamed(kind, seed, width, units, points, steps))
    return found


def far_off(kind: str, seed: int, units: int) -> float:
    """Movement at the far end, as a share of that where the step was taken."""
    given = net(kind, seed, 0.08, units)
    line = torch.linspace(-1.6, 1.6, 65)[:, None]
    before = given.model(line).detach()
    given.learn_batch(examples(torch.tensor([[1.2]]), torch.tensor([1.0])))
    moved = (given.model(line).detach() - before).abs()[:, 0]
    return float(moved[8] / moved[56])  # at -1.2 and at 1.2


def measure(seeds: int, quick: bool) -> tuple[dict[str, Any], dict[str, bool], str]:
    """Both parts."""
    units, points, steps = (50, 20, 1) if quick else (1000, 200, 5)
    errors = {
        "relu": told([kept("relu", s, 0, units, points, steps) for s in range(seeds)]),
        "tanh": told([kept("tanh", s, 0, units, points, steps) for s in range(seeds)]),
        "relu, replay": told([kept("relu, replay", s, 0, units, points, steps) for s in range(seeds)]),
        "relu, joint": told([kept("relu, joint", s, 0, units, points, steps) for s in range(seeds)]),
    }
    for width in WIDTHS:
        values = [kept("elephant", s, width, units, points, steps) for s in range(seeds)]
        errors[f"elephant, width {width:g}"] = told(values)
    shares = {kind: told([far_off(kind, s, units) for s in range(seeds)]) for kind in ("relu", "tanh", "elephant")}
    mine = errors[f"elephant, width {WIDTHS[0]:g}"]["mean"]
    parts = {
        "below .02": mine < 0.02,
        "ten times below the others": 10 * mine < min(errors["relu"]["mean"], errors["tanh"]["mean"]),
        "far off, a twentieth of what relu moves": shares["elephant"]["mean"] < 0.05 * shares["relu"]["mean"],
    }
    said = (
        "mean squared error: " + ", ".join(f"{name} {short(value)}" for name, value in errors.items())
        + "; moved far off, as a share: " + ", ".join(f"{kind} {short(value)}" for kind, value in shares.items())
    )  # fmt: skip
    return {"mean squared error": errors, "moved far off": shares}, parts, said


def draw(found: dict[str, Any], axes: Any) -> None:
    """Errors on a logarithmic scale."""
    rows = found["mean squared error"]
    axes.bar(list(rows), [row["mean"] for row in rows.values()])
    axes.set_xticks(range(len(rows)), list(rows), rotation=15, ha="right")
    axes.set_yscale("log")
    axes.set_title("mean squared error after one pass in order", fontsize=9)


if __name__ == "__main__":
    prove("elephant", CLAIM, measure, __file__, draw)
