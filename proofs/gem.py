"""GEM: do constraints from a small memory keep old tasks better than replay of the same memory, and than their average?

Run: python proofs/gem.py

600 digits a task, a perceptron 64-100-100-10, SGD .1, batches of 10, four passes; 25 memories a task. Four
permutations, and four rotations by 30 degrees. Arms: naive, GEM, A-GEM, replay from a reservoir as large as all
memories together, joint. Sizes were set after a look at one seed.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from slowwave.bench.arms import above, bars, live, paired, prove, short
from slowwave.weights import Classifier, Learner
from slowwave.weights.baselines import Joint, Naive, Replay
from slowwave.weights.data import digits, glyphs
from slowwave.weights.gem import GEM
from slowwave.weights.stream import permuted, rotated

CLAIM = (
    "GEM has less negative backward transfer and higher accuracy than naive finetuning and A-GEM on permutations and "
    "rotations, and forward transfer on rotations alone."
)


def learner(seed: int, make: Any, epochs: int) -> Learner:
    """One arm."""
    return Learner(Classifier(64, (100, 100), 10, seed=seed), [make()], lr=0.1, batch=10, epochs=epochs, seed=seed)


def measure(seeds: int, quick: bool) -> tuple[dict[str, Any], dict[str, bool], str]:
    """Both streams."""
    data = glyphs(train=60, test=40) if quick else digits(train=600, test=300)
    epochs, memories = (1, 5) if quick else (4, 25)
    arms = {
        "naive": Naive,
        "GEM": partial(GEM, memories=memories),
        "A-GEM": partial(GEM, variant="a-gem", memories=memories, many=memories),
        "replay": partial(Replay, 4 * memories),
        "joint": Joint,
    }
    made = {name: partial(learner, make=make, epochs=epochs) for name, make in arms.items()}
    show = (lambda line: None) if quick else print
    found: dict[str, Any] = {
        "permuted": live(made, lambda seed: permuted(data, 2 if quick else 4, seed), seeds, show),
        "rotated": live(made, lambda seed: rotated(data, 2 if quick else 4, 30.0), seeds, show),
    }
    parts, said = {}, []
    for name, rows in found.items():
        for other in ("naive", "A-GEM"):
            parts[f"{name}: accuracy above {other}"] = above(paired(rows["GEM"]["accuracy"], rows[other]["accuracy"]))
        parts[f"{name}: less is lost than by naive"] = above(
            paired(rows["GEM"]["backward transfer"], rows["naive"]["backward transfer"])
        )
        said.append(
            f"{name}: "
            + ", ".join(
                f"{arm} {short(row['accuracy'])} (backward {row['backward transfer']['mean']:+.2f})"
                for arm, row in rows.items()
            )
        )
    forward = [found[name]["GEM"]["forward transfer"] for name in ("rotated", "permuted")]
    parts["forward transfer on rotations, hardly any on permutations"] = (
        forward[0]["mean"] > 0.1 and abs(forward[1]["mean"]) < 0.1
    )
    said.append(f"forward transfer {short(forward[0])} and {short(forward[1])}")
    return found, parts, "; ".join(said)


def draw(found: dict[str, Any], axes: Any) -> None:
    """Both streams, side by side."""
    bars(axes, {f"{arm}, {name}": row for name, rows in found.items() for arm, row in rows.items()})


if __name__ == "__main__":
    prove("gem", CLAIM, measure, __file__, draw)
