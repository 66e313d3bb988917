"""Spurious forgetting: is what looks forgotten still there, and do frozen lower layers keep it in reach?

Run: python proofs/spurious_forgetting.py

A decoder from scratch (3 layers, width 64) learns to tell of 40 invented people and to answer questions about them
(task 0). Then it is asked about 12 new people only, until it answers (task 1: AdamW 2e-3, batches of 12, 25 epochs);
task 0 is measured every five steps. Arms: all parameters; embeddings frozen; embeddings and the lowest one or two
layers frozen; replay of 60 questions; joint. Then the recovery test: after task 1 with all parameters, 20 steps on the
questions about half of the old people; does the other half come back, and what does the same bring of people never
told of?
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

from slowwave.bench.arms import above, once, paired, prove, short, told
from slowwave.bench.biographies import again, lived, taught, world
from slowwave.weights import Learner
from slowwave.weights.base import Method
from slowwave.weights.baselines import Joint, Naive, Replay
from slowwave.weights.batch import Batch, join
from slowwave.weights.spurious_forgetting import Freeze

CLAIM = (
    "Task 0 collapses within the first steps of task 1; half of what was lost comes back by training on other people; "
    "frozen lower layers keep more of task 0 at what is learned of task 1."
)


def recovered(model: Any, half: Batch, asked: dict[str, Batch], seed: int, steps: int) -> dict[str, float]:
    """Accuracies after some steps on the questions about half of the old people."""
    learner = Learner(again(model), optimiser="adamw", lr=1e-3, batch=12, clip=1.0, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        learner.learn_batch(half.take(torch.randint(len(half), (12,), generator=generator)))
    return {name: learner.score(batch) for name, batch in asked.items()}


def one(seed: int, quick: bool) -> dict[str, Any]:
    """All arms on one decoder."""
    many, steps, epochs = (4, 4, 1) if quick else (40, 700, 25)
    given = world(seed, known=many, new=12, never=8)
    lessons = join([given.told(given.known), given.asked(given.known)])
    model = taught(len(given.words), lessons, seed, steps)
    arms: dict[str, Callable[[], Method]] = {
        "all": Naive,
        "embeddings frozen": partial(Freeze, 0),
        "1 layer frozen": partial(Freeze, 1),
        "2 layers frozen": partial(Freeze, 2),
        "replay 60": partial(Replay, 60),
        "joint": Joint,
    }
    known, new = given.asked(given.known), given.asked(given.new)
    found: dict[str, Any] = {}
    for name, make in arms.items():
        learner = lived(
            again(model),
            [make()],
            [("known people", known, known), ("new people", new, new)],
            seed,
            epochs,
            2e-3,
            every=5,
        )
        curve = [(step, said[0], said[1]) for step, period, said in learner.record.curve if period == 1]
        start = learner.record.ends[0]
        found[name] = {
            "task 0": learner.record.matrix[1][0], "task 1": learner.record.matrix[1][1],
            "task 0 before": learner.record.matrix[0][0],
            "task 0 after 30 steps": min((c[1] for c in curve if c[0] <= start + 30), default=float("nan")),
            "curve": [(step - start, a, b) for step, a, b in curve],
        }  # fmt: skip
        if name == "all":
            half = len(given.known) // 2
            asked = {
                "other half": given.asked(given.known[half:]),
                "never told of": given.asked(given.never),
            }
            before = {key: learner.score(batch) for key, batch in asked.items()}
            after = recovered(learner.model, given.asked(given.known[:half]), asked, seed, 2 if quick else 20)
            found["recovery"] = {"before": before, "after": after}
    return found


def measure(seeds: int, quick: bool) -> tuple[dict[str, Any], dict[str, bool], str]:
    """Collapse, recovery, freezing."""
    runs = [once(str(seed), partial(one, seed, quick)) for seed in range(seeds)]
    names = [name for name in runs[0] if name != "recovery"]
    keys = ("task 0 before", "task 0 after 30 steps", "task 0", "task 1")
    rows = {name: {key: told([run[name][key] for run in runs]) for key in keys} for name in names}
    recovery = {
        f"{key}, {when}": told([run["recovery"][when][key] for run in runs])
        for key in ("other half", "never told of")
        for when in ("before", "after")
    }
    frozen = max((n for n in names if "frozen" in n), key=lambda n: rows[n]["task 0"]["mean"])
    lost = rows["all"]["task 0 before"]["mean"] - recovery["other half, before"]["mean"]
    back = paired(recovery["other half, after"], recovery["other half, before"])
    parts = {
        "task 0 falls by 30 points within 30 steps": above(
            paired(rows["all"]["task 0 before"], rows["all"]["task 0 after 30 steps"]), 0.3
        ),
        "half of the loss comes back": above(back, lost / 2),
        "more comes back than of people never told of": above(
            paired(recovery["other half, after"], recovery["never told of, after"]), 0.1
        ),
        f"{frozen}: more of task 0 is kept": above(paired(rows[frozen]["task 0"], rows["all"]["task 0"])),
        "at most five points less of task 1": paired(rows["all"]["task 1"], rows[frozen]["task 1"])["mean"] < 0.05,
    }
    said = ", ".join(
        f"{name}: task 0 {short(row['task 0'])}, task 1 {short(row['task 1'])}" for name, row in rows.items()
    )
    said += "; recovery: " + ", ".join(f"{name} {short(value)}" for name, value in recovery.items())
    curves = {
        name: np.mean([run[name]["curve"] for run in runs], axis=0).round(4).tolist()
        for name in names
        if name != "joint"
    }
    return {"arms": rows, "recovery": recovery, "curves": curves}, parts, said


def draw(found: dict[str, Any], axes: Any) -> None:
    """Task 0 over the steps of task 1."""
    for name, curve in found["curves"].items():
        axes.plot([c[0] for c in curve], [c[1] for c in curve], label=name)
    axes.set_xlabel("steps of task 1", fontsize=8)
    axes.set_title("accuracy on task 0 while task 1 is learned", fontsize=9)
    axes.legend(fontsize=7, frameon=False)


if __name__ == "__main__":
    prove("spurious-forgetting", CLAIM, measure, __file__, draw)
