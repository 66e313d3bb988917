"""Mitigations for staged training: does replay keep more than discounts and merges?

Run: python proofs/slm_mitigation.py

A decoder from scratch (3 layers, width 64) knows 24 invented people. Three stages follow, each of another surface
form: to copy names, to read tags, to answer about 8 new people (AdamW 1e-3, batches of 12, 10 epochs). Old ability:
the questions about the known people. Arms: in sequence; discount .25, .5 and .75 (the share of a stage's change that
stays); merges with the first weights (.3, .5 and .7); replay of 1, 5, 10 and 20 % from 200 examples; replay of 20 %
with a discount of .75, and with the merge of .3; joint. Kept is the mean, at the end, of old ability and the first two
stages; learned is the mean of the three stages, each asked when it ends. Which replay stands for all was chosen on
seed 100; of discounts and merges, and of the two with replay, the best on the seeds told is taken.
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
    "it helps further. Replay keeps more and learns no less; a smaller share of the change keeps more and learns less."
)
DISCOUNTS, MERGES, SHARES = (0.25, 0.5, 0.75), (0.3, 0.5, 0.7), (0.01, 0.05, 0.1, 0.2)
PLAIN = (*(f"discount {g:g}" for g in DISCOUNTS), *(f"merge {w:g}" for w in MERGES))
REPLAY = "replay 20 %"
BOTH = (f"{REPLAY}, discount 0.75", f"{REPLAY}, merge 0.3")


def one(seed: int, quick: bool) -> dict[str, Any]:
    """All arms on one decoder."""
    many, steps, epochs = (4, 4, 1) if quick else (24, 450, 10)
    given = world(seed, known=many, new=8)
    model = taught(len(given.words), join([given.told(given.known), given.asked(given.known)]), seed, steps)
    rng, names = random.Random(seed), [f"{a}an" for a in STARTS]

    def stage(form: str, value: int) -> tuple[str, Any, Any]:
        rows = [rng.sample(names, 3) for _ in range(160)]
        pairs = [(form.format(*row), row[value]) for row in rows]
        return form, answers(pairs[:120], given.words.encode), answers(pairs[120:], given.words.encode)

    known, new = given.asked(given.known), given.asked(given.new)
    stages = [
        ("known", known, known), stage("copy {} {} {} answer :", 0), stage("tag {} of {} and {} end", 1),
        ("new people", new, new),
    ]  # fmt: skip
    keep = partial(SLMMitigation, discount=1.0, base=0.0, mix=0.0, capacity=200)
    arms: dict[str, Any] = {
        "in sequence": keep,
        **{f"discount {g:g}": partial(keep, discount=g) for g in DISCOUNTS},
        **{f"merge {w:g}": partial(keep, base=w) for w in MERGES},
        **{f"replay {100 * r:g} %": partial(keep, mix=r) for r in SHARES},
        BOTH[0]: partial(keep, mix=0.2, discount=0.75),
        BOTH[1]: partial(keep, mix=0.2, base=0.3),
        "joint": Joint,
    }
    found = {}
    for name, make in arms.items():
        matrix = lived(again(model), [make()], stages, seed, epochs).record.matrix
        found[name] = {
            "mean": float(np.mean(matrix[-1])), "kept": float(np.mean(matrix[-1][:-1])), "old": matrix[-1][0],
            "learned": float(np.mean([matrix[n][n] for n in range(1, 4)])), "last": matrix[-1][-1],
        }  # fmt: skip
    return found


def measure(seeds: int, quick: bool) -> tuple[dict[str, Any], dict[str, bool], str]:
    """Kept against learned."""
    runs = [once(str(seed), partial(one, seed, quick)) for seed in range(seeds)]
    rows = {name: {key: told([run[name][key] for run in runs]) for key in runs[0][name]} for name in runs[0]}

    replay, sequence = rows[REPLAY], rows["in sequence"]
    plain, both = (max(names, key=lambda name: rows[name]["mean"]["mean"]) for names in (PLAIN, BOTH))
    parts = {
        f"{REPLAY} above {plain}": above(paired(replay["mean"], rows[plain]["mean"])),
        f"{REPLAY} above sequence": above(paired(replay["mean"], sequence["mean"])),
        f"{both} above {REPLAY}": above(paired(rows[both]["mean"], replay["mean"])),
        f"{REPLAY} keeps more than each discount and merge and learns no less": all(
            replay[key]["mean"] >= rows[name][key]["mean"] for name in PLAIN for key in ("kept", "learned")
        ),
        "less change stays, less is learned": above(paired(sequence["learned"], rows["discount 0.25"]["learned"])),
    }
    said = ", ".join(
        f"{name}: mean {short(row['mean'])}, kept {row['kept']['mean']:.2f} (old {row['old']['mean']:.2f}), learned "
        f"{row['learned']['mean']:.2f} (last {row['last']['mean']:.2f})"
        for name, row in rows.items()
    )
    return {"arms": rows}, parts, said


def draw(found: dict[str, Any], axes: Any) -> None:
    """The frontier of learning and keeping."""
    for name, row in found["arms"].items():
        mark = "s" if "replay" in name else "^" if name == "joint" else "o"
        axes.plot(row["learned"]["mean"], row["kept"]["mean"], mark, markersize=4)
        axes.annotate(name, (row["learned"]["mean"], row["kept"]["mean"]), fontsize=6)
    axes.set_xlabel("learned of each stage, asked when it ends", fontsize=8)
    axes.set_ylabel("kept of all before, at the end", fontsize=8)


if __name__ == "__main__":
    prove("slm-mitigation", CLAIM, measure, __file__, draw)
