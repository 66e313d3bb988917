"""EWC, LwF, replay and DER++ are cases of one objective with two divergences, to 1e-6 of their gradients."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from slowwave.weights import Classifier, Learner
from slowwave.weights.baselines import LwF, Replay
from slowwave.weights.batch import join
from slowwave.weights.data import glyphs
from slowwave.weights.ewc import EWC
from slowwave.weights.objective import Classification
from slowwave.weights.one_objective import bregman, half_square, negative_entropy
from slowwave.weights.refresh import DarkReplay
from slowwave.weights.vectors import flatten, gradient

DATA = glyphs(classes=6, train=60, test=30)


@pytest.mark.parametrize("name", ["ewc", "lwf", "replay", "der++"])
def test_four_methods_are_one_objective_with_two_divergences(name: str) -> None:
    torch.manual_seed(0)
    model = Classifier(64, (24, 24), 6).double()
    new, old = DATA.train.take(torch.arange(20)), DATA.train.take(torch.arange(20, 50))
    new, old = (replace(part, x=part.x.double()) for part in (new, old))
    weights = dict(model.named_parameters())
    anchor = {n: p.detach() + 0.1 * torch.randn_like(p) for n, p in weights.items()}
    stiff = {n: torch.rand_like(p) for n, p in weights.items()}
    methods: dict[str, Any] = {
        "ewc": EWC(strength=3.0), "lwf": LwF(strength=2.0, temperature=2.0), "replay": Replay(30, many=30), "der++":
        DarkReplay(capacity=30, many=30, alpha=0.7, beta=0.4),
    }  # fmt: skip
    method = methods[name]
    learner = Learner(model, [method], Classification())
    logits = model(new.x)
    due = F.cross_entropy(logits, new.y)
    if name == "ewc":
        method.springs.add(stiff, anchor)

        def spring(p: torch.Tensor) -> torch.Tensor:
            return 0.5 * (flatten(list(stiff.values())) * p.pow(2)).sum()

        due = due + 3.0 * bregman(spring, flatten(list(weights.values())), flatten(list(anchor.values())))
    elif name == "lwf":
        method.teacher, method.met = anchor, list(range(6))
        with torch.no_grad():
            before = (torch.func.functional_call(model, anchor, (new.x,)) / 2.0).softmax(1)
        due = due + 2.0 * bregman(negative_entropy, before, (logits / 2.0).softmax(1)) / len(new)
    else:
        method.buffer.add(old, 0, torch.randn(30, 6, dtype=torch.float64) if name == "der++" else None)
        kept = method.buffer.everything()
        said = model(kept.x)
        by_labels = bregman(negative_entropy, F.one_hot(kept.y, 6).double(), said.softmax(1))
        if name == "replay":
            due = (20 * due + by_labels) / 50
        else:
            by_logits = bregman(half_square, said, kept.logits.double())
            due = due + 0.7 * 2 * by_logits / (30 * 6) + 0.4 * by_labels / 30
    whole = join([new, *([more] if (more := method.replay(learner, new)) is not None else [])])
    said = learner.logits(whole, training=True)
    loss = learner.aim().losses(said, whole).mean() + sum(method.loss_terms(learner, whole, said).values())
    ours, theirs = (gradient(value, learner.trainable) for value in (due, loss))
    assert float(theirs.norm()) > 0.1
    assert torch.allclose(ours, theirs, atol=1e-9, rtol=1e-6)
    assert due.item() == pytest.approx(loss.item(), rel=1e-6)


def test_a_divergence_is_zero_at_home_and_never_below() -> None:
    p, q = torch.randn(5, 6, dtype=torch.float64).softmax(1), torch.randn(5, 6, dtype=torch.float64).softmax(1)
    for phi in (negative_entropy, half_square):
        assert float(bregman(phi, p, p)) == pytest.approx(0, abs=1e-12)
        assert float(bregman(phi, p, q)) > 0
    assert float(bregman(negative_entropy, p, q)) == pytest.approx(float((p * (p / q).log()).sum()))
