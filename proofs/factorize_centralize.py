"""Weight factorisation and centralisation: do adapters folded by night lose less than one adapter?

Run: python proofs/factorize_centralize.py

A decoder from scratch (3 layers, width 64) knows 24 invented people. On each of four days it is told of six new
ones, a day in a dialect of its own (one wording of four), and asked to end the sentences (AdamW, batches of 12, 20
epochs). Arms: all parameters; one adapter of rank 8 that goes on; adapters folded in every night, every second and at
the fourth (mean, and sum); adapters kept apart, with the right one chosen (an upper bound that needs to know the
day); all parameters with replay of 60; joint. What people told of before are asked afterwards is told beside.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from slowwave.bench.arms import above, bars, once, paired, prove, short, told
from slowwave.bench.biographies import again, lived, taught, world
from slowwave.weights.base import Method
from slowwave.weights.baselines import Joint, Naive, Replay
from slowwave.weights.factorize_centralize import FactorizeCentralize
from slowwave.weights.metrics import matrix_metrics

CLAIM = (
    "Folding adapters in loses fewer facts of earlier days than one adapter that goes on, at nine tenths of its "
    "accuracy on the newest day."
)


def one(seed: int, quick: bool) -> dict[str, Any]:
    """All arms on one decoder."""
    many, steps, epochs = (4, 4, 1) if quick else (24, 450, 20)
    given = world(seed, known=many, new=24)
    model = taught(len(given.words), given.told(given.known), seed, steps)
    per = len(given.new) // 4
    days = []
    for day in range(4):
        batch = given.asked(given.new[day * per : (day + 1) * per], day)
        days.append((f"day {day}", batch, batch))
    known = given.asked(given.known, 0)
    first = ("known", known, known)
    folded = partial(FactorizeCentralize, rank=8, alpha=16.0)
    arms: dict[str, tuple[Callable[[], Method], float]] = {
        "all parameters": (Naive, 1e-3),
        "one adapter": (_OneAdapter, 5e-3),
        "folded every night": (partial(folded, every=1), 5e-3),
        "every second": (partial(folded, every=2), 5e-3),
        "at the fourth": (partial(folded, every=4), 5e-3),
        "at the fourth, sum": (partial(folded, every=4, mode="sum"), 5e-3),
        "replay 60": (partial(Replay, 60), 1e-3),
        "joint": (Joint, 1e-3),
    }
    found = {}
    for name, (make, rate) in arms.items():
        method = make()
        learner = lived(
            again(model), [method], [first, *days], seed, epochs, rate, shown=partial(begin_counting, method)
        )
        matrix = np.array(learner.record.matrix)[1:, 1:]
        found[name] = matrix_metrics(matrix) | {
            "newest": float(matrix[-1, -1]), "earlier": float(matrix[-1, :-1].mean()),
            "known": learner.record.matrix[-1][0],
        }  # fmt: skip
    apart = [lived(again(model), [_OneAdapter()], [first, day], seed, epochs, 5e-3) for day in days]
    found["apart, right one chosen"] = {"accuracy": float(np.mean([a.record.matrix[1][1] for a in apart]))}
    return found


def begin_counting(method: Method) -> None:
    """The showing of what is known is no day: nothing of it waits to be folded in."""
    if isinstance(method, FactorizeCentralize):
        method.nights, method.scattered = 0, []


class _OneAdapter(FactorizeCentralize):
    """The same adapter goes on, and is never folded in."""

    def sleep(self, learner: Any, day: Any) -> dict[str, float]:
        return {}

    def __init__(self) -> None:
        super().__init__(8, 16.0)


def measure(seeds: int, quick: bool) -> tuple[dict[str, Any], dict[str, bool], str]:
    """What is kept of earlier days."""
    runs = [once(str(seed), partial(one, seed, quick)) for seed in range(seeds)]
    rows = {name: {key: told([run[name][key] for run in runs]) for key in runs[0][name]} for name in runs[0]}
    one_, ways = rows["one adapter"], ("folded every night", "every second", "at the fourth", "at the fourth, sum")
    able = [n for n in ways if rows[n]["newest"]["mean"] >= 0.9 * one_["newest"]["mean"]]
    best = max(able or ways, key=lambda name: rows[name]["earlier"]["mean"])
    parts = {
        f"{best}: nine tenths of the newest day": bool(able),
        "more of earlier days than one adapter": above(paired(rows[best]["earlier"], one_["earlier"])),
        "loses less of what it had": above(paired(rows[best]["backward transfer"], one_["backward transfer"])),
        "no less is left of people known before": paired(rows[best]["known"], one_["known"])["mean"] > -0.02,
    }
    said = ", ".join(
        f"{name}: earlier days {short(row['earlier'])}, newest {row['newest']['mean']:.2f}, backward "
        f"{row['backward transfer']['mean']:+.2f}, known {row['known']['mean']:.2f}"
        for name, row in rows.items()
        if "earlier" in row
    )
    apart = rows["apart, right one chosen"]["accuracy"]
    return {"arms": rows}, parts, f"{said}; adapters apart, the right one chosen: {short(apart)}"


def draw(found: dict[str, Any], axes: Any) -> None:
    """Earlier days and the newest."""
    bars(axes, {n: row for n, row in found["arms"].items() if "earlier" in row}, ("earlier", "newest"))


if __name__ == "__main__":
    prove("factorize-centralize", CLAIM, measure, __file__, draw)
