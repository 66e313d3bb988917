"""SA-Proj: do attention projections alone learn a new skill and move less of what was there before than all parameters?

Run: python proofs/sa_proj.py

A decoder from scratch (3 layers, width 64) knows 24 invented people. It is then taught two narrow skills in turn: to
count how often a word stands there (answered by a number word), and to end a made-up code (the tag of a word comes
back after "end"). Each arm stops a skill at the first look (every 10 steps) at which nine of ten held-out examples
are right, or after 400 steps. After each skill: how many of the questions about the known people are no longer
answered, and how likely a number word is as the next token of statements about them (the counting bias); at the end
the perplexity of those statements. Arms, as in the paper at one rate for all (1e-3): all parameters, attention, gate
and up, down, half of the change kept (WiSE-FT), replay, joint. Beside them low rank, and all parameters at the rate
that lost least on seed 100 of those that learned (1e-4).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from slowwave.bench.arms import above, once, paired, prove, short, told
from slowwave.bench.biographies import World, again, taught, world
from slowwave.weights import Learner
from slowwave.weights.baselines import Replay
from slowwave.weights.batch import Batch, join
from slowwave.weights.factorize_centralize import FactorizeCentralize
from slowwave.weights.lessons import STARTS, answers
from slowwave.weights.metrics import Perplexity
from slowwave.weights.sa_proj import SAProj
from slowwave.weights.ssd import put
from slowwave.weights.vectors import trainable, values

CLAIM = (
    "At equal skill, attention projections lose less of what was known than all parameters, gate and up no more than "
    "down alone, and the counting bias grows with what is lost."
)
MOST = 400  # steps a skill
NUMBERS = ("one", "two", "three", "four", "five")


def skills(given: World, seed: int, many: int) -> list[tuple[Batch, Batch]]:
    """(what is taught, what is asked) of counting and of the code."""
    rng = random.Random(seed)
    names = [f"{a}an" for a in STARTS]

    def counting() -> tuple[str, str]:
        name, times = rng.choice(names), rng.randint(1, 5)
        return "count " + " ".join([name] * times) + " answer :", NUMBERS[times - 1]

    def code() -> tuple[str, str]:
        tag, other = rng.sample(names, 2)
        return f"tag {tag} copy {other} end", tag

    out = []
    for make in (counting, code):
        pairs = [make() for _ in range(many + 40)]
        out.append((answers(pairs[:many], given.words.encode), answers(pairs[many:], given.words.encode)))
    return out


def bias(model: Any, given: World, rows: torch.Tensor) -> float:
    """Mean probability of a number word as the next token of what has nothing to do with numbers."""
    ids = [given.words.ids[word] for word in NUMBERS]
    with torch.no_grad():
        said = model(rows.clamp_min(0)).softmax(-1)[..., ids].sum(-1)
    return float(said[rows >= 0].mean())


def one(seed: int, quick: bool) -> dict[str, Any]:
    """All arms on one decoder."""
    given, model, both = begun(seed, quick)
    arms: dict[str, tuple[Callable[[], list[Any]], float]] = {
        "all parameters": (list, 1e-3),
        "all parameters, 1e-4": (list, 1e-4),
        "attention": (lambda: [SAProj("attention")], 1e-3),
        "gate and up": (lambda: [SAProj("gate-and-up")], 1e-3),
        "down": (lambda: [SAProj("down")], 1e-3),
        "low rank": (lambda: [FactorizeCentralize(rank=4, alpha=8.0)], 1e-3),
        "half of the change": (list, 1e-3),
        "replay 60": (lambda: [Replay(60)], 1e-3),
        "joint": (list, 1e-3),
    }
    most = 10 if quick else MOST
    return {name: life(name, make(), rate, given, model, both, seed, most) for name, (make, rate) in arms.items()}


def begun(seed: int, quick: bool) -> tuple[World, Any, list[tuple[Batch, Batch]]]:
    """The people, a decoder that knows them, and the skills."""
    many, steps = (4, 4) if quick else (24, 450)
    given = world(seed, known=many, new=2)
    old = join([given.told(given.known), given.asked(given.known)])
    return given, taught(len(given.words), old, seed, steps), skills(given, seed, 200)


def life(
    name: str, methods: list[Any], rate: float, given: World, model: Any, both: list[tuple[Batch, Batch]], seed: int,
    most: int,
) -> dict[str, float]:  # fmt: skip
    """One arm: two skills in turn, each until it is learned; what is left of what was known after each."""
    known, statements_ = given.asked(given.known), given.told(given.known, (0,)).x
    old = join([given.told(given.known), known])
    learner = Learner(again(model), methods, optimiser="adamw", lr=rate, batch=12, clip=1.0, seed=seed)
    if name == "replay 60":
        methods[0].buffer.add(known, 0)
        learner.epoch = 1  # the buffer holds what was before, and that alone
    shuffled = torch.Generator().manual_seed(seed)
    perplexity, start, steps = Perplexity(statements_), learner.score(known), 0
    before = perplexity(learner.model), bias(learner.model, given, statements_)
    found: dict[str, float] = {}
    for number, (lessons, asked) in enumerate(both, 1):
        material, first, own = join([old, lessons]) if name == "joint" else lessons, learner.step, 0.0
        start_values = values(trainable(learner.model))
        while learner.step < first + most:
            for _ in range(10):
                learner.learn_batch(material.take(torch.randint(len(material), (12,), generator=shuffled)))
            own = learner.score(asked)
            if own >= 0.9:
                break
        if name == "half of the change":
            now = trainable(learner.model)
            put(learner.model, {key: (part + now[key].detach()) / 2 for key, part in start_values.items()})
            own = learner.score(asked)
        steps += learner.step - first
        found |= {
            f"skill {number}": own, f"known, lost after skill {number}": start - learner.score(known),
            f"number words, more after skill {number}": bias(learner.model, given, statements_) - before[1],
        }  # fmt: skip
    return found | {
        "skill 1, at the end": learner.score(both[0][1]), "known, lost": start - learner.score(known),
        "perplexity, times": perplexity(learner.model) / before[0], "steps": float(steps),
    }  # fmt: skip


def measure(seeds: int, quick: bool) -> tuple[dict[str, Any], dict[str, bool], str]:
    """What is lost at equal skill."""
    runs = [once(str(seed), partial(one, seed, quick)) for seed in range(seeds)]
    rows = {name: {key: told([run[name][key] for run in runs]) for key in runs[0][name]} for name in runs[0]}
    lost = {name: row["known, lost"] for name, row in rows.items()}
    bias_ = {name: row["number words, more after skill 1"] for name, row in rows.items()}
    parts = {
        "attention learns both skills": min(rows["attention"][f"skill {n}"]["mean"] for n in (1, 2)) >= 0.85,
        "attention loses less than all": above(paired(lost["all parameters"], lost["attention"])),
        "than all at the rate best for them": above(paired(lost["all parameters, 1e-4"], lost["attention"])),
        "gate and up lose less than all": above(paired(lost["all parameters"], lost["gate and up"])),
        "attention loses no more than gate and up": lost["attention"]["mean"] <= lost["gate and up"]["mean"],
        "gate and up lose no more than down": lost["gate and up"]["mean"] <= lost["down"]["mean"],
        "counting biases all more than attention": above(paired(bias_["all parameters"], bias_["attention"])),
    }
    said = ", ".join(
        f"{name}: known lost {short(row['known, lost'])} ({row['known, lost after skill 1']['mean']:.2f} after the "
        f"first skill), perplexity x{row['perplexity, times']['mean']:.2f}, number words after the first "
        f"{bias_[name]['mean']:+.3f}, skills {row['skill 1']['mean']:.2f} and {row['skill 2']['mean']:.2f} in "
        f"{row['steps']['mean']:.0f} steps, of the first {row['skill 1, at the end']['mean']:.2f} left"
        for name, row in rows.items()
    )
    return {"arms": rows}, parts, said


def draw(found: dict[str, Any], axes: Any) -> None:
    """What is lost, by arm."""
    rows = found["arms"]
    names, lost = list(rows), [row["known, lost"] for row in rows.values()]
    errors = [0.0 if v["low"] is None else v["mean"] - v["low"] for v in lost]
    axes.bar(names, [v["mean"] for v in lost], yerr=errors, capsize=2)
    axes.set_xticks(range(len(names)), names, rotation=20, ha="right")
    axes.set_title("share of the questions about known people lost by two skills", fontsize=9)


if __name__ == "__main__":
    prove("sa-proj", CLAIM, measure, __file__, draw)
