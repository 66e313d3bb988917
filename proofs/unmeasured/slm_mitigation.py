"""Mitigations for staged training: does replay keep more than discounts and merges?

Run: python proofs/slm_mitigation.py

A decoder from scratch (3 layers, width 64) knows 24 invented people. Three stages follow, each of another surface
form: to copy names, to read tags, to answer about 8 new people (AdamW 1e-3, batches of 12, 15 epochs). Old ability:
the questions about the known people. Arms: in sequence; discount .25, .5 and .75 (the share of a stage's change that
stays); a merge with the first weights (.3); replay of 5, 10 and 20 % from 200 examples; replay 20 % with a discount
of .75, and with the merge; joint. Kept is the mean of old ability and the first two stages; learned is the last
stage.
"""

from __future__ import annotations

import random
from functools import partial
from typing import Any

import numpy as np

from slowwave.bench.arms import above, once, paired, prove, short, told
from slowwave.bench.biographies import again, lived, taught, world
from slowwave.weights.baselines import Joint
from slowwave.weights.batch import join
from slowwave.weights.lessons import STARTS, answers
from slowwave.weights.slm_mitigation import SLMMitigation

CLAIM = (
    "On the mean over old ability and all stages replay is above every discount and merge, and a second one beside "
    "it helps further."
)
PLAIN = ("discount 0.25", "discount 0.5", "discount 0.75", "merge 0.3")
REPLAY = ("replay 5 %", "replay 10 %", "replay 20 %")
BOTH = ("replay 20 %, discount 0.75", "replay 20 %, merge 0.3")


def one(seed: int, quick: bool) -> dict[str, Any]:
    """All arms on one decoder."""
    many, steps, epochs = (4, 4, 1) if quick else (24, 450, 15)
    given = world(seed, known=many, new=8)
    model = taught(len(given.words), join([given.told(given.known), given.asked(given.known)]), seed, steps)
    rng, names = random.Random(seed), [f"{a}an" for a in STARTS]

    def stage(form: str, value: int) -> tuple[str, Any, Any]:
        rows = [rng.sample(names, 3) for _ in range(100)]
        pairs = [(form.format(*row), row[value]) for row in rows]
        return form, answers(pairs[:60], given.words.encode), answers(pairs[60:], given.words.encode)

    known, new = given.asked(given.known), given.asked(given.new)
    stages = [
        ("known", known, known), stage("copy {} {} {} answer :", 0), stage("tag {} of {} and {} end", 1),
        ("new people", new, new),
    ]  # fmt: skip
    keep = partial(SLMMitigation, discount=1.0, base=0.0, mix=0.0, capacity=200)
    arms: dict[str, Any] = {
        "in sequence": keep,
        **{f"discount {g:g}": partial(keep, discount=g) for g in (0.25, 0.5, 0.75)},
        "merge 0.3": partial(keep, base=0.3),
        **{f"replay {100 * r:g} %": partial(keep, mix=r) for r in (0.05, 0.1, 0.2)},
        BOTH[0]: partial(keep, mix=0.2, discount=0.75),
        BOTH[1]: partial(keep, mix=0.2, base=0.3),
        "joint": Joint,
    }
    found = {}
    for name, make in arms.items():
        matrix = lived(again(model), [make()], stages, seed, epochs).record.matrix
        found[name] = {
            "mean": float(np.mean(matrix[-1])), "kept": float(np.mean(matrix[-1][:-1])), "learned": matrix[-1][-1],
            "old": matrix[-1][0], "plasticity": float(np.mean([matrix[n][n] for n in range(1, 4)])),
        }  # fmt: skip
    return found


def measure(seeds: int, quick: bool) -> tuple[dict[str, Any], dict[str, bool], str]:
    """Kept against learned."""
    runs = [once(str(seed), partial(one, seed, quick)) for seed in range(seeds)]
    rows = {name: {key: told([run[name][key] for run in runs]) for key in runs[0][name]} for name in runs[0]}

    def best(names: tuple[str, ...]) -> str:
        return max(names, key=lambda name: rows[name]["mean"]["mean"])

    plain, replay, both = best(PLAIN), best(REPLAY), best(BOTH)
    parts = {
        f"{replay} above {plain}": above(paired(rows[replay]["mean"], rows[plain]["mean"])),
        f"{replay} above sequence": above(paired(rows[replay]["mean"], rows["in sequence"]["mean"])),
        f"{both} above {replay}": above(paired(rows[both]["mean"], rows[replay]["mean"])),
        "less change kept, less learned": rows["discount 0.25"]["learned"]["mean"]
        < rows["in sequence"]["learned"]["mean"],
    }
    said = ", ".join(
        f"{name}: mean {short(row['mean'])}, kept {row['kept']['mean']:.2f} (old {row['old']['mean']:.2f}), learned "
        f"{row['learned']['mean']:.2f}"
        for name, row in rows.items()
    )
    return {"arms": rows}, parts, said


def draw(found: dict[str, Any], axes: Any) -> None:
    """The frontier of learning and keeping."""
    for name, row in found["arms"].items():
        mark = "s" if "replay" in name else "^" if name == "joint" else "o"
        axes.plot(row["learned"]["mean"], row["kept"]["mean"], mark, markersize=4)
        axes.annotate(name, (row["learned"]["mean"], row["kept"]["mean"]), fontsize=6)
    axes.set_xlabel("learned of the last stage", fontsize=8)
    axes.set_ylabel("kept of all before", fontsize=8)


if __name__ == "__main__":
    prove("slm-mitigation", CLAIM, measure, __file__, draw)
