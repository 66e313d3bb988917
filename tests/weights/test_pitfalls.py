"""Flaws of the papers' own code and of other libraries that are not to be met here, where no other test holds them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from slowwave.checks.methods import facts, tiny_language_model
from slowwave.weights import Classifier, Learner
from slowwave.weights.data import glyphs
from slowwave.weights.ewc import EWC
from slowwave.weights.hypernetworks import HyperNetwork, Hypernetworks
from slowwave.weights.objective import Classification
from slowwave.weights.pca_ogd import PCAOGD
from slowwave.weights.remind import Remind
from slowwave.weights.rer import RER
from slowwave.weights.sa_proj import SAProj
from slowwave.weights.sparse_memory_finetuning import SparseMemoryFinetuning, memory_of
from slowwave.weights.spurious_forgetting import Freeze
from slowwave.weights.ssd import importance
from slowwave.weights.stream import permuted, split
from slowwave.weights.vectors import fisher, trainable
from slowwave.weights.view_batch import ViewBatch

DATA = glyphs(classes=6, train=90, test=60)


def normed() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(), nn.Linear(8, 6))


def test_estimating_what_matters_moves_no_statistic_and_draws_no_dropout() -> None:
    # Avalanche's importance pass ran in training mode (its issue 723)
    model = normed().train()
    before = {name: part.clone() for name, part in model.state_dict().items()}
    found = [fisher(model, Classification(), DATA.train, "exact") for _ in range(2)]
    importance(model, Classification(), DATA.train)
    learner = Learner(model, [EWC(strength=1.0)])
    learner.sleep(DATA.train)
    learner.gradient(DATA.train)
    assert all(torch.equal(part, before[name]) for name, part in model.state_dict().items())
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])
    assert model.training


def test_the_penalty_of_ewc_is_not_zero_once_the_weights_have_moved() -> None:
    # Avalanche's once was (its issue 1099)
    learner = Learner(Classifier(64, (8,), 6), [EWC(strength=10.0)], lr=0.1)
    learner.learn(permuted(DATA, 2))
    assert learner.terms["ewc: spring"] > 0


def test_a_cost_in_bytes_counts_the_codebooks_and_what_is_tested_goes_through_them() -> None:
    remind = Remind(books=4, words=8, capacity=50, many=2)
    learner = Learner(Classifier(64, (16, 16), 6), [remind], lr=0.1, epochs=2)
    learner.learn(split(DATA, 2).first(1))
    assert remind.bytes >= remind.buffer.bytes + 4 * remind.quantiser.centroids.numel()
    with torch.no_grad():
        coded = remind.quantiser.decode(remind.quantiser.encode(learner.model.lower(DATA.test.x)))
        assert torch.allclose(learner.read(DATA.test.x), learner.model.upper(coded), atol=1e-6)


@pytest.mark.parametrize("epochs", [1, 3])
def test_pairs_are_weighed_however_few_epochs_there_are(epochs: int) -> None:
    # the authors' code divides by the tenth of the number of epochs
    learner = Learner(Classifier(64, (8,), 6), [RER(30)], lr=0.1, batch=10, epochs=epochs)
    start = [p.clone() for p in learner.methods[0].net.parameters()]  # type: ignore[attr-defined]
    learner.learn(split(DATA, 2))
    now = learner.methods[0].net.parameters()  # type: ignore[attr-defined]
    assert any(not torch.equal(a, b) for a, b in zip(start, now, strict=True))


def test_old_embeddings_of_a_hypernetwork_stand_still_and_a_step_holds_few_old_tasks() -> None:
    method = Hypernetworks(strength=1.0, most=2)
    model = HyperNetwork(64, (6,), 6, tasks=5, layers=(8,))
    learner = Learner(model, [method], optimiser="adam", lr=1e-2)
    stream = permuted(DATA, 5)
    learner.learn(stream.first(1))
    first = model.embeddings[0].detach().clone()
    learner.learn(stream)
    assert torch.equal(model.embeddings[0], first)
    held: list[int] = []
    giving = HyperNetwork.weights
    model.weights = lambda e: held.append(1) or giving(model, e)  # type: ignore[method-assign, func-returns-value]
    method.loss_terms(learner, DATA.train.marked(4), torch.zeros(0))
    assert len(held) <= 2 * 2  # each once as it is, once as it was


def test_a_slot_counts_once_a_document_however_often_it_is_used() -> None:
    method = SparseMemoryFinetuning(slots=64, top=4, batch=1)
    learner = Learner(tiny_language_model(), [method])
    once = torch.tensor([[5, 9, 7, 3]])
    method.note(learner.model, once)
    assert method.documents == 1
    assert method.seen.max() == 1
    memory = memory_of(learner.model)
    assert memory is not None
    assert memory.used is not None
    assert memory.used.numel() >= int(method.seen.sum())


def test_a_selection_by_name_takes_the_bias_along() -> None:
    class Biased(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.q_proj, self.q_proj_norm = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.q_proj_norm(self.q_proj(x))
            return out

    assert set(trainable(Learner(Biased(), [SAProj()]).model)) == {"q_proj.weight", "q_proj.bias"}


def test_frozen_embeddings_that_are_tied_take_the_head_with_them() -> None:
    model = tiny_language_model()
    model.head.weight = model.embedding.weight
    learner = Learner(model, [Freeze(layers=1)], optimiser="adamw", lr=0.05, weight_decay=0.1, batch=6)
    learner.learn(facts(1))
    kept = model.head.weight.detach().clone()
    learner.learn(facts(2))
    assert model.head.weight is model.embedding.weight
    assert torch.equal(model.head.weight, kept)


def test_views_are_drawn_together_only_after_the_warm_up() -> None:
    learner = Learner(Classifier(64, (8,), 6), [ViewBatch(views=2, warm_up=3)], epochs=4)
    seen: dict[int, bool] = {}
    step = learner.learn_batch

    def noted(batch, first=None) -> float:  # type: ignore[no-untyped-def]
        loss = step(batch, first)
        seen[learner.epoch] = "view-batch: views" in learner.terms
        return loss

    learner.learn_batch = noted  # type: ignore[method-assign]
    learner.learn(permuted(DATA, 1))
    assert seen == {0: False, 1: False, 2: False, 3: True}


def test_directions_kept_are_off_older_ones_too() -> None:
    ogd = PCAOGD(keep=6, samples=40)
    Learner(Classifier(64, (8,), 6), [ogd], lr=0.1).learn(permuted(DATA, 3))
    basis = ogd.basis(ogd.rows.shape[1])
    assert basis is not None
    assert torch.allclose(basis @ basis.T, torch.eye(len(basis)), atol=1e-3)
