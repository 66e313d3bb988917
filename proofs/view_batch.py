"""View-Batch: does a longer rest between repetitions, at the same number of steps, lose less?

Run: python proofs/view_batch.py

Five pairs of digits (1,347 digits), class-incremental; a perceptron 64-100-10, SGD .1, 24 epochs, replay of 100. Arms:
one view; 2, 4 and 8 views with augmentation and the term between views; four views without that term; four views
without augmentation either, the rest alone; augmentation alone (three of four samples are seen augmented, in the
ordinary order); naive; joint.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from slowwave.bench.arms import above, bars, live, paired, prove, short
from slowwave.weights import Classifier, Learner
from slowwave.weights.base import Method
from slowwave.weights.baselines import Joint, Naive, Replay
from slowwave.weights.batch import Batch
from slowwave.weights.data import digits, glyphs
from slowwave.weights.stream import split
from slowwave.weights.view_batch import ViewBatch, roughened

CLAIM = "Four views lose less than one at equal steps, augmentation alone gains less, and so do eight views."


class Augmented(Method):
    """Augmentation in the ordinary order: three of four examples, as with four views."""

    name = "augmented"

    def look(self, learner: Learner, batch: Batch) -> Batch:
        from dataclasses import replace

        x = batch.x.clone()
        x[len(x) // 4 :] = roughened(x[len(x) // 4 :], learner.generator)
        return replace(batch, x=x)


def learner(seed: int, make: Any, epochs: int) -> Learner:
    """One arm."""
    return Learner(Classifier(64, (100,), 10, seed=seed), make(), lr=0.1, epochs=epochs, seed=seed)


def viewed(items: int, views: int) -> list[Method]:
    """Replay with so many views."""
    return [Replay(items), ViewBatch(views)]


def without_term(items: int) -> list[Method]:
    """Four views, augmented, not drawn to each other."""
    return [Replay(items), ViewBatch(4, strength=0.0)]


def rest_alone(items: int) -> list[Method]:
    """Each sample four times in a row, as it is, then a rest of four epochs."""
    return [Replay(items), ViewBatch(4, strength=0.0, augment=lambda x, generator: x)]


def measure(seeds: int, quick: bool) -> tuple[dict[str, Any], dict[str, bool], str]:
    """All arms."""
    data = glyphs(train=60, test=40) if quick else digits()
    items, epochs = (20, 4) if quick else (100, 24)
    arms: dict[str, Any] = {
        "naive": lambda: [Naive()],
        "1 view": lambda: [Replay(items)],
        "augmented alone": lambda: [Replay(items), Augmented()],
        **{f"{v} views": partial(viewed, items, v) for v in (2, 4, 8)},
        "4 views, no term": partial(without_term, items),
        "4 times, no augmentation": partial(rest_alone, items),
        "joint": lambda: [Joint()],
    }
    made = {name: partial(learner, make=make, epochs=epochs) for name, make in arms.items()}
    show = (lambda line: None) if quick else print
    rows = live(made, lambda seed: split(data, 2, "class"), seeds, show)
    parts = {
        "four views lose less than one": above(paired(rows["1 view"]["forgetting"], rows["4 views"]["forgetting"])),
        "four views above augmentation alone": above(
            paired(rows["4 views"]["accuracy"], rows["augmented alone"]["accuracy"])
        ),
        "eight views below four": paired(rows["4 views"]["accuracy"], rows["8 views"]["accuracy"])["mean"] > 0,
    }
    said = ", ".join(
        f"{name} {short(row['accuracy'])} (forgetting {row['forgetting']['mean']:.2f}, plasticity "
        f"{row['plasticity']['mean']:.2f})"
        for name, row in rows.items()
    )
    return {"pairs, class-incremental": rows}, parts, said


def draw(found: dict[str, Any], axes: Any) -> None:
    """Accuracy and forgetting."""
    bars(axes, found["pairs, class-incremental"], ("accuracy", "forgetting"))


if __name__ == "__main__":
    prove("view-batch", CLAIM, measure, __file__, draw)
