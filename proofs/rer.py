"""RER: do learned weights of replayed pairs lose less of what was learned than equal ones?

Run: python proofs/rer.py

Five pairs of digits (1,347 digits), class-incremental; a perceptron 64-100-10, SGD .05, 10 epochs, a buffer of 50.
Arms: naive, replay, RER, joint. RER and replay are compared seed by seed. Sizes were set, and the rule that it must
learn as well at first was added, after a look at one seed: that rule decides the verdict, for RER forgets less and
learns less.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from slowwave.bench.arms import above, bars, live, paired, prove, short
from slowwave.weights import Classifier, Learner
from slowwave.weights.baselines import Joint, Naive, Replay
from slowwave.weights.data import digits, glyphs
from slowwave.weights.rer import RER
from slowwave.weights.stream import split

CLAIM = "RER's backward transfer is better than that of replay with the same buffer, seed by seed."


def learner(seed: int, make: Any, epochs: int) -> Learner:
    """One arm."""
    return Learner(Classifier(64, (100,), 10, seed=seed), [make()], lr=0.05, epochs=epochs, seed=seed)


def measure(seeds: int, quick: bool) -> tuple[dict[str, Any], dict[str, bool], str]:
    """All arms."""
    data = glyphs(train=60, test=40) if quick else digits()
    items, epochs = (20, 2) if quick else (50, 10)
    arms = {"naive": Naive, "replay": partial(Replay, items), "RER": partial(RER, items), "joint": Joint}
    made = {name: partial(learner, make=make, epochs=epochs) for name, make in arms.items()}
    show = (lambda line: None) if quick else print
    rows = live(made, lambda seed: split(data, 2, "class"), seeds, show)
    kept = paired(rows["RER"]["backward transfer"], rows["replay"]["backward transfer"])
    gained = paired(rows["RER"]["accuracy"], rows["replay"]["accuracy"])
    learned = paired(rows["RER"]["plasticity"], rows["replay"]["plasticity"])
    parts = {
        "less is lost than by replay": above(kept),
        "no less accurate than replay": gained["mean"] > -0.01,
        "learned as well at first, within five points": learned["mean"] > -0.05,
    }
    said = (
        ", ".join(
            f"{name} {short(row['accuracy'])} (backward {row['backward transfer']['mean']:+.3f}, plasticity "
            f"{row['plasticity']['mean']:.2f})"
            for name, row in rows.items()
        )
        + f"; RER against replay, seed by seed: backward transfer {short(kept)}, accuracy {short(gained)}"
    )
    return (
        {"pairs, class-incremental": rows, "backward transfer, paired": kept, "accuracy, paired": gained},
        parts,
        said,
    )


def draw(found: dict[str, Any], axes: Any) -> None:
    """Accuracy and plasticity."""
    bars(axes, found["pairs, class-incremental"])


if __name__ == "__main__":
    prove("rer", CLAIM, measure, __file__, draw, seeds=8)
