"""Hypernetworks: do outputs held for old embeddings keep old tasks, without hurting what is new?

Run: python proofs/hypernetworks.py

a. Four permuted-digit tasks (300 digits each), target 64-32-10, hypernetwork 8-50-50, Adam 3e-3; the task is known at
   test. Beta 0, .001, .01 and .1; beside them naive finetuning, replay of 200 examples and joint training in a network
   like the target. Then the task is inferred instead, by the least entropy.
b. Three polynomials in sequence (a regression, 500 passes of 100 points), beta .005: mean squared error of each at the
   end; no part of the verdict. Sizes were set after a look at one seed.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from slowwave.bench.arms import above, bars, live, once, paired, prove, short, told
from slowwave.weights import Classifier, Learner
from slowwave.weights.base import Method
from slowwave.weights.baselines import Joint, Naive, Replay
from slowwave.weights.batch import examples
from slowwave.weights.data import digits, glyphs
from slowwave.weights.hypernetworks import HyperNetwork, Hypernetworks, likeliest_task
from slowwave.weights.objective import Regression
from slowwave.weights.stream import Experience, Stream, permuted

CLAIM = "With beta .01 old tasks are kept (backward transfer about 0), and new ones are learned as well as with 0."
BETAS = (0.0, 0.001, 0.01, 0.1)


def learner(seed: int, make: Any, epochs: int) -> Learner:
    """One arm."""
    method: Method = make()
    model: Any = Classifier(64, (32,), 10, seed=seed)
    if isinstance(method, Hypernetworks):
        model = HyperNetwork(64, (32,), 10, tasks=5, seed=seed)
    return Learner(model, [method], optimiser="adam", lr=3e-3, epochs=epochs, seed=seed)


def polynomials(seed: int, epochs: int, strength: float) -> list[float]:
    """Mean squared errors of three polynomials, learned one after the other."""
    spans = ((-4.0, -2.0), (-1.0, 1.0), (2.0, 4.0))
    curves = (lambda x: x + 3, lambda x: 2 * x**2 - 1, lambda x: (x - 3) ** 3)
    generator = torch.Generator().manual_seed(seed)
    tasks = []
    for number, ((low, high), curve) in enumerate(zip(spans, curves, strict=True)):
        x = low + (high - low) * torch.rand(100, 1, generator=generator)
        tasks.append(examples(x, curve(x)[:, 0] + 0.05 * torch.randn(100, generator=generator), number))
    made = tuple(Experience(f"polynomial {n}", partial(tasks[n].take, torch.arange(100)), n, n) for n in range(3))
    stream = Stream("polynomials", made, tuple(e.load for e in made), "domain")
    net = HyperNetwork(1, (10, 10), 1, width=2, layers=(10, 10), tasks=3, seed=seed)
    given = Learner(net, [Hypernetworks(strength)], Regression(), optimiser="adam", lr=1e-2, epochs=epochs, seed=seed)
    return [-value for value in given.learn(stream).matrix[-1]]


def inferred(data: Any, seed: int, tasks: int, epochs: int) -> float:
    """Accuracy where the task is guessed by the entropy of the answer."""
    given = learner(seed, partial(Hypernetworks, 0.01), epochs)
    stream = permuted(data, tasks, seed)
    given.learn(stream)
    right = []
    for test in stream.tests:
        batch = test()
        guessed = likeliest_task(given.model, batch.x, range(tasks))  # type: ignore[arg-type]
        said = torch.stack([given.read(batch.x, task=t).argmax(1) for t in range(tasks)])
        right.append(float((said[guessed, torch.arange(len(batch))] == batch.y).float().mean()))
    return sum(right) / len(right)


def measure(seeds: int, quick: bool) -> tuple[dict[str, Any], dict[str, bool], str]:
    """Both parts."""
    data = glyphs(train=60, test=40) if quick else digits(train=300, test=200)
    tasks, epochs = (2, 1) if quick else (4, 12)
    arms = {
        "naive": Naive,
        **{f"beta {b:g}": partial(Hypernetworks, b) for b in BETAS},
        "replay 200": partial(Replay, 200),
        "joint": Joint,
    }
    made = {name: partial(learner, make=make, epochs=epochs) for name, make in arms.items()}
    show = (lambda line: None) if quick else print
    rows = live(made, lambda seed: permuted(data, tasks, seed), seeds, show)
    guessed = told([once(f"inferred/{s}", partial(inferred, data, s, tasks, epochs)) for s in range(seeds)])
    curves = [once(f"curves/{s}", partial(polynomials, s, 3 if quick else 500, 0.005)) for s in range(min(seeds, 3))]
    errors = [told([run[n] for run in curves]) for n in range(3)]
    free, held = rows["beta 0"], rows["beta 0.01"]
    parts = {
        "beta .01 above 0": above(paired(held["accuracy"], free["accuracy"])),
        "backward transfer at .01 above -.05": held["backward transfer"]["mean"] > -0.05,
        "new tasks learned within five points of beta 0": paired(free["plasticity"], held["plasticity"])["mean"] < 0.05,
    }
    said = (
        ", ".join(
            f"{name} {short(row['accuracy'])} (backward {row['backward transfer']['mean']:+.2f}, plasticity "
            f"{row['plasticity']['mean']:.2f})"
            for name, row in rows.items()
        )
        + f"; task inferred: {short(guessed)}; polynomials' errors at the end "
        + ", ".join(f"{error['mean']:.3f}" for error in errors)
    )
    return {"permuted, task known": rows, "task inferred": guessed, "polynomials": errors}, parts, said


def draw(found: dict[str, Any], axes: Any) -> None:
    """Accuracy and plasticity."""
    bars(axes, found["permuted, task known"])


if __name__ == "__main__":
    prove("hypernetworks", CLAIM, measure, __file__, draw)
