"""SSD: is a class taken out while the others stay, and what does the square of a batch's gradient do in its place?

Run: python proofs/ssd.py

A perceptron 64-128-128-10 on 600 digits; one class (1, 3 or 8) is to go. Arms: dampening with alpha found by a budget
on the loss of what stays; alpha 10 on importances example by example, and alpha 10 on squared gradients of batches of
64, as published code has it; finetuning on what stays; training anew without the class. For each: accuracy on what
stays and on what goes (held-out examples), the share of weights touched, how well the loss still tells the class's
training examples from its held-out ones (area under the curve, 0.5 is not at all), and seconds.
"""

from __future__ import annotations

import copy
import time
from typing import Any

import torch

from slowwave.bench.arms import paired, prove, short, told
from slowwave.weights import Classifier, Learner
from slowwave.weights.batch import Batch
from slowwave.weights.data import Data, digits, glyphs
from slowwave.weights.objective import Classification
from slowwave.weights.ssd import SSD, dampen, membership
from slowwave.weights.stream import Experience, Stream
from slowwave.weights.vectors import trainable

BUDGETS = (0.1, 0.3, 1.0)  # nats that the mean loss of what stays may rise
CLAIM = (
    "Accuracy on the class that goes falls below 0.2 while what stays loses at most ten points, faster than retraining."
)


def stream(train: Batch) -> Stream:
    """One period."""
    return Stream("all", (Experience("all", lambda: train, 0, 0),), (lambda: train,), "class", 10)


def trained(train: Batch, seed: int, epochs: int) -> Learner:
    """A learner that notes importances."""
    learner = Learner(
        Classifier(64, (128, 128), 10, seed=seed), [SSD()], optimiser="adam", lr=1e-3, epochs=epochs, seed=seed
    )
    learner.learn(stream(train))
    return learner


def batch_importance(learner: Learner, batch: Batch, size: int = 64) -> dict[str, torch.Tensor]:
    """The mean of squared gradients of batches, as published code computes it."""
    total: dict[str, torch.Tensor] = {}
    parts = torch.randperm(len(batch), generator=torch.Generator().manual_seed(0)).split(size)
    for rows in parts:
        part = batch.take(rows)
        loss = torch.nn.functional.cross_entropy(learner.model(part.x), part.y)
        grads = torch.autograd.grad(loss, learner.trainable)
        for name, grad in zip(trainable(learner.model), grads, strict=True):
            total[name] = total.get(name, torch.zeros(())) + grad.pow(2) / len(parts)
    return total


def one(data: Data, label: int, seed: int, epochs: int) -> dict[str, dict[str, float]]:
    """All arms for one class and one seed."""
    goes, held = data.train.y == label, data.test.y == label
    out, back = data.train.take(goes), data.train.take(~goes)
    start = trained(data.train, seed, epochs)
    arms: dict[str, dict[str, float]] = {}

    def note(name: str, learner: Learner, begun: float, share: float = 0.0) -> None:
        arms[name] = {
            "seconds": time.perf_counter() - begun,
            "stays": learner.score(data.test.take(~held)),
            "goes": learner.score(data.test.take(held)),
            "membership": membership(learner.model, Classification(), out, data.test.take(held)),
            "share": share,
        }

    note("before", start, time.perf_counter())
    ways = [(f"budget {budget:g}", None, budget) for budget in BUDGETS] + [("alpha 10, each example", 10.0, 0.0)]
    for name, alpha, budget in ways:
        learner, begun = copy.deepcopy(start), time.perf_counter()
        ssd = learner.methods[0]
        assert isinstance(ssd, SSD)
        ssd.alpha, ssd.budget = alpha, budget
        report = ssd.forget(learner, out, back)
        note(name, learner, begun, report["share"])
        arms[name]["alpha"] = report["alpha"]
    learner, begun = copy.deepcopy(start), time.perf_counter()
    share = dampen(learner.model, batch_importance(learner, out), batch_importance(learner, data.train), 10.0, 1.0)
    note("alpha 10, batches of 64", learner, begun, share)
    learner, begun = copy.deepcopy(start), time.perf_counter()
    for _ in range(3):
        learner.write(back.x, back.y)
    note("finetuned on what stays", learner, begun)
    begun = time.perf_counter()
    note("trained anew", trained(back, seed, epochs), begun)
    return arms


def measure(seeds: int, quick: bool) -> tuple[dict[str, Any], dict[str, bool], str]:
    """Three classes, so many seeds."""
    data = glyphs(train=200, test=100) if quick else digits(train=600, test=400)
    labels, epochs = ((1,), 12) if quick else ((1, 3, 8), 15)
    runs = [one(data, label, seed, epochs) for seed in range(seeds) for label in labels]
    rows = {arm: {key: told([run[arm][key] for run in runs]) for key in runs[0][arm]} for arm in runs[0]}
    before, anew = rows["before"], rows["trained anew"]
    lost = {b: paired(before["stays"], rows[f"budget {b:g}"]["stays"])["mean"] for b in BUDGETS}
    gone = {b: rows[f"budget {b:g}"]["goes"] for b in BUDGETS}
    fit = [b for b in BUDGETS if gone[b]["mean"] < 0.2 and lost[b] < 0.1]
    seconds = rows[f"budget {BUDGETS[-1]:g}"]["seconds"]["mean"]
    parts = {
        "some budget takes the class below 0.2 at under ten points": bool(fit),
        "faster than training anew": seconds < anew["seconds"]["mean"],
    }
    told_budgets = ", ".join(
        f"budget {b:g}: goes {short(gone[b])} (below 0.2 in {sum(v < 0.2 for v in gone[b]['each'])} of {len(runs)} "
        f"runs), stays {short(rows[f'budget {b:g}']['stays'])}"
        for b in BUDGETS
    )
    each, batches = rows["alpha 10, each example"], rows["alpha 10, batches of 64"]
    said = (
        f"before: goes {short(before['goes'])}, stays {short(before['stays'])}; {told_budgets}; alpha 10 on each "
        f"example touches {each['share']['mean']:.1%} of the weights, on batches of 64 {batches['share']['mean']:.1%} "
        f"(goes {short(batches['goes'])}, stays {short(batches['stays'])}); finetuned on what stays, goes "
        f"{short(rows['finetuned on what stays']['goes'])}; trained anew, stays {short(anew['stays'])}; {seconds:.1f} "
        f"s against {anew['seconds']['mean']:.1f} s"
    )
    return {"arms": rows, "runs": len(runs)}, parts, said


def draw(found: dict[str, Any], axes: Any) -> None:
    """What stays against what goes."""
    for name, row in found["arms"].items():
        axes.scatter(row["goes"]["each"], row["stays"]["each"], s=14, label=name)
    axes.set_xlabel("accuracy on what is to go", fontsize=8)
    axes.set_ylabel("on what stays", fontsize=8)
    axes.legend(fontsize=6, frameon=False)


if __name__ == "__main__":
    prove("ssd", CLAIM, measure, __file__, draw)
