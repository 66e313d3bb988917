"""REMIND: how much of replay is kept when each remembered feature is a few bytes?

Run: python proofs/remind.py

1,347 digits. The network 64-128-128-10 first learns classes 0 to 3; then 4 to 9 come sorted by class, one example at a
time, once. 1,000 features are kept, ten replayed with each new example. Arms: none (the upper part is finetuned);
product-quantised with 4, 8, 16 and 32 codebooks of 32 centroids; raw features, as many items; raw features of as many
bytes as four codebooks, once all counted (centroids, labels), once the features alone; all classes at once (joint).
Sizes were set, and the last but one arm added, after a look at one seed of 200 items, where all counted decided alike.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from slowwave.bench.arms import above, once, paired, prove, short, told
from slowwave.weights import Classifier, Learner
from slowwave.weights.data import Data, digits, glyphs
from slowwave.weights.remind import Remind
from slowwave.weights.stream import Experience, Stream, permuted

CLAIM = "Quantised replay is far above none, nearer to raw replay with more codebooks, and above raw of equal bytes."
BOOKS = (4, 8, 16, 32)


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


def joint(data: Data, seed: int, epochs: int) -> float:
    """All ten classes at once."""
    learner = Learner(Classifier(64, (128, 128), 10, seed=seed), lr=0.1, epochs=epochs, seed=seed)
    return learner.learn(permuted(data, 1)).matrix[-1][0]


def measure(seeds: int, quick: bool) -> tuple[dict[str, Any], dict[str, bool], str]:
    """All arms."""
    data = glyphs(train=100, test=50) if quick else digits()
    items, words, epochs = (20, 8, 2) if quick else (1000, 32, 20)
    labels = 3 * 8  # bytes beside a feature: label, task, age
    all_counted = max(1, (items * (4 + labels) + words * 128 * 4) // (128 * 4 + labels))
    alone = max(1, items * 4 // (128 * 4))
    arms = {
        "none": partial(Remind, books=4, words=words, capacity=items, many=0),
        **{f"PQ {b}": partial(Remind, books=b, words=words, capacity=items, many=10) for b in BOOKS},
        "raw": partial(Remind, capacity=items, many=10, raw=True),
        f"raw, {all_counted} items": partial(Remind, capacity=all_counted, many=10, raw=True),
        f"raw, {alone} items": partial(Remind, capacity=alone, many=10, raw=True),
    }
    runs = {
        name: [once(f"{name}/{seed}", partial(one, data, make, seed, epochs)) for seed in range(seeds)]
        for name, make in arms.items()
    }
    rows: dict[str, Any] = {
        name: {"accuracy": told([a for a, _ in each]), "bytes": each[0][1]} for name, each in runs.items()
    }
    bound = told([once(f"joint/{seed}", partial(joint, data, seed, epochs)) for seed in range(seeds)])
    four, most = rows["PQ 4"]["accuracy"], rows[f"PQ {BOOKS[-1]}"]["accuracy"]
    parts = {
        "quantised far above none": above(paired(four, rows["none"]["accuracy"]), 0.2),
        "more codebooks come nearer to raw": above(paired(most, four)),
        "above raw of equal bytes, all counted": above(paired(four, rows[f"raw, {all_counted} items"]["accuracy"])),
        "above raw of equal bytes, features alone": above(paired(four, rows[f"raw, {alone} items"]["accuracy"])),
    }
    said = ", ".join(f"{name} {short(row['accuracy'])} in {row['bytes']:,} bytes" for name, row in rows.items())
    return {"arms": rows, "joint": bound, "items": items}, parts, f"{said}, joint {short(bound)}"


def draw(found: dict[str, Any], axes: Any) -> None:
    """Accuracy by arm."""
    names = list(found["arms"])
    values = [found["arms"][name]["accuracy"] for name in names]
    errors = [0.0 if v["low"] is None else v["mean"] - v["low"] for v in values]
    axes.bar(names, [v["mean"] for v in values], yerr=errors, capsize=2)
    axes.axhline(found["joint"]["mean"], linestyle=":", color="grey")
    axes.set_xticks(range(len(names)), names, rotation=20, ha="right")
    axes.set_title("accuracy over ten classes after the stream; dotted: joint", fontsize=9)


if __name__ == "__main__":
    prove("remind", CLAIM, measure, __file__, draw)
