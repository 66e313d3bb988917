"""REMIND: how much of replay is kept when each remembered feature is four bytes?

Run: python proofs/remind.py

500 digits. The network 64-128-128-10 first learns classes 0 to 3; then 4 to 9 come sorted by class, one example at a
time, once. 200 features are kept, ten replayed with each new example. Arms: none; product-quantised with 4, 8 and 16
codebooks of 32 centroids; raw features, as many items; raw features, as many bytes (centroids counted).
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from slowwave.bench.arms import above, paired, prove, short, told
from slowwave.weights import Classifier, Learner
from slowwave.weights.data import Data, digits, glyphs
from slowwave.weights.remind import Remind
from slowwave.weights.stream import Experience, Stream

CLAIM = "Quantised replay is far above none, nearer to raw replay with more codebooks, and above raw of equal bytes."
BOOKS = (4, 8, 16)


def stream(data: Data) -> Stream:
    """Classes 0 to 3, then one class after the other."""
    groups = [(0, 1, 2, 3), *((c,) for c in range(4, 10))]

    def load(group: tuple[int, ...], number: int) -> Any:
        return data.train.take(torch.isin(data.train.y, torch.tensor(group))).marked(number)

    made = tuple(Experience(f"classes {g}", partial(load, g, n), n, 0, g) for n, g in enumerate(groups))
    return Stream("sorted digits", made, (lambda: data.test,), "class", 10)


def one(data: Data, make: Any, seed: int, epochs: int) -> tuple[float, int]:
    """(accuracy over all ten classes at the end, bytes held)."""
    method = make()
    learner = Learner(Classifier(64, (128, 128), 10, seed=seed), [method], lr=0.1, epochs=epochs, seed=seed)
    whole = stream(data)
    learner.learn(whole.first(1))
    learner.batch, learner.epochs = 1, 1
    learner.learn(whole)
    return learner.record.matrix[-1][0], method.bytes


def measure(seeds: int, quick: bool) -> tuple[dict[str, Any], dict[str, bool], str]:
    """All arms."""
    data = glyphs(train=100, test=50) if quick else digits(train=500, test=300)
    items, words, epochs = (20, 8, 2) if quick else (200, 32, 20)
    equal = max(1, (items * 4 + words * 128 * 4) // (128 * 4))  # raw features of four codebooks' bytes
    arms = {
        "none": partial(Remind, books=4, words=words, capacity=items, many=0),
        **{f"PQ {b}": partial(Remind, books=b, words=words, capacity=items, many=10) for b in BOOKS},
        "raw": partial(Remind, capacity=items, many=10, raw=True),
        "raw, equal bytes": partial(Remind, capacity=equal, many=10, raw=True),
    }
    runs = {name: [one(data, make, seed, epochs) for seed in range(seeds)] for name, make in arms.items()}
    rows = {name: {"accuracy": told([a for a, _ in each]), "bytes": each[0][1]} for name, each in runs.items()}
    four, most = rows["PQ 4"]["accuracy"], rows[f"PQ {BOOKS[-1]}"]["accuracy"]
    parts = {
        "quantised far above none": above(paired(four, rows["none"]["accuracy"]), 0.2),
        "more codebooks come nearer to raw": above(paired(most, four)),
        "above raw of equal bytes": above(paired(four, rows["raw, equal bytes"]["accuracy"])),
    }
    said = ", ".join(f"{name} {short(row['accuracy'])} in {row['bytes']:,} bytes" for name, row in rows.items())
    return {"arms": rows, "items": items, "equal bytes buy raw items": equal}, parts, said


def draw(found: dict[str, Any], axes: Any) -> None:
    """Accuracy by arm."""
    names = list(found["arms"])
    values = [found["arms"][name]["accuracy"] for name in names]
    axes.bar(names, [v["mean"] for v in values], yerr=[v["mean"] - v["low"] for v in values], capsize=2)
    axes.set_title("accuracy over ten classes after the stream", fontsize=9)


if __name__ == "__main__":
    prove("remind", CLAIM, measure, __file__, draw)
