"""What the methods for language models promise: memories that change nothing at first, slots, freezing, selections."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from slowwave.checks.methods import facts, tiny_language_model
from slowwave.errors import InputError
from slowwave.weights import Classifier, Learner
from slowwave.weights.base import Method
from slowwave.weights.refresh import RefreshLearning
from slowwave.weights.sa_proj import SAProj
from slowwave.weights.sparse_memory_finetuning import MemoryLayer, SparseMemoryFinetuning, add_memory, memory_of
from slowwave.weights.spurious_forgetting import Freeze
from slowwave.weights.vectors import trainable, values

IDS = torch.randint(1, 24, (8, 4), generator=torch.Generator().manual_seed(0))


def classifier() -> Classifier:
    return Classifier(64, hidden=(24, 24), classes=6)


def test_a_memory_that_is_added_changes_nothing_until_it_is_written() -> None:
    model = tiny_language_model()
    said = model(IDS).detach()
    memory = add_memory(model, slots=64, top=4)
    assert torch.equal(model(IDS), said)
    with torch.no_grad():
        memory.values.normal_()
    assert not torch.allclose(model(IDS), said)
    with pytest.raises(InputError, match="no square; take 49 or 64"):
        add_memory(tiny_language_model(), slots=50)


def test_only_chosen_slots_move_even_with_moments_and_decay() -> None:
    method = SparseMemoryFinetuning(slots=256, top=4, train=3)
    learner = Learner(tiny_language_model(), [method], optimiser="adamw", lr=0.1, weight_decay=0.1, batch=3)
    memory = memory_of(learner.model)
    assert memory is not None
    with torch.no_grad():
        memory.values.normal_(generator=torch.Generator().manual_seed(0))
    stream = facts(2)
    for _ in range(4):
        before = memory.values.detach().clone()
        others = values({n: p for n, p in learner.model.named_parameters() if not n.endswith("memory.values")})
        learner.learn_batch(stream.experiences[0].load().take(torch.arange(3)))
        moved = (memory.values != before).any(1)
        assert 0 < int(moved.sum()) <= 3
        for name, part in others.items():
            assert torch.equal(dict(learner.model.named_parameters())[name], part)


@pytest.mark.parametrize("other", ["gem", RefreshLearning(delta=0.0)], ids=["gem", "der++"])
def test_the_slots_written_are_those_of_the_step_whatever_else_runs_the_model(other: str | Method) -> None:
    method = SparseMemoryFinetuning(slots=256, top=2, train=6, choose="tf")
    learner = Learner(tiny_language_model(), [other, method], lr=0.5, batch=3)
    stream = facts(2)
    learner.learn(stream.first(1))
    memory = memory_of(learner.model)
    assert memory is not None
    before = memory.values.detach().clone()
    batch = stream.experiences[1].load().take(torch.arange(3))
    learner.model(batch.x.clamp_min(0))
    assert memory.used is not None
    own = set(memory.used[batch.x >= 0].flatten().tolist())
    learner.task = 1
    learner.learn_batch(batch)
    assert set(torch.nonzero((memory.values != before).any(1)).flatten().tolist()) <= own


def test_slots_of_ordinary_text_are_spared() -> None:
    background = torch.randint(2, 24, (40, 4), generator=torch.Generator().manual_seed(3))
    written = {}
    for choose in ("tf", "tf-idf"):
        method = SparseMemoryFinetuning(256, top=8, train=4, choose=choose, layer=0, background=background, batch=1)
        learner = Learner(tiny_language_model(), [method], optimiser="adam", lr=0.05, batch=6, epochs=3)
        seen = method.seen.clone()
        learner.learn(facts(1))
        memory = memory_of(learner.model)
        assert memory is not None
        changed = (memory.values != 0).any(1)
        written[choose] = float(seen[changed].mean())
    assert written["tf-idf"] < written["tf"]


def test_a_layer_is_frozen_by_its_whole_name() -> None:
    class Deep(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(9, 4)
            self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(12))
            self.head = nn.Linear(4, 9)

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            x = self.embedding(ids)
            for layer in self.layers:
                x = torch.tanh(layer(x))
            out: torch.Tensor = self.head(x)
            return out

    learner = Learner(Deep(), [Freeze(layers=2)])
    assert set(Freeze(layers=2).frozen(learner)) == {
        "embedding.weight", "layers.0.weight", "layers.0.bias", "layers.1.weight", "layers.1.bias",
    }  # fmt: skip


def test_what_is_frozen_keeps_every_bit_from_the_second_period_on() -> None:
    learner = Learner(tiny_language_model(), [Freeze(layers=1)], optimiser="adamw", lr=0.01, weight_decay=0.1, batch=6)
    start = learner.model.embedding.weight.detach().clone()
    learner.learn(facts(1))
    first = learner.model.embedding.weight.detach().clone()
    head = learner.model.head.weight.detach().clone()
    assert not torch.equal(first, start)
    learner.learn(facts(2))
    assert torch.equal(learner.model.embedding.weight, first)
    assert not torch.equal(learner.model.head.weight, head)


@pytest.mark.parametrize(("part", "names"), [("attention", "qkvo"), ("gate-and-up", "gu"), ("down", "d")])
def test_a_selection_trains_its_projections_and_nothing_else(part: str, names: str) -> None:
    learner = Learner(tiny_language_model(), [SAProj(part)])  # type: ignore[arg-type]
    chosen = {name.split(".")[-2][0] for name in trainable(learner.model)}
    assert chosen == set(names)
    with pytest.raises(InputError, match="no module called"):
        Learner(classifier(), [SAProj(part)])  # type: ignore[arg-type]


def test_fitted_keys_part_what_is_unlike_and_a_kept_memory_is_the_same() -> None:
    generator = torch.Generator().manual_seed(0)
    kinds = torch.randn(4, 16, generator=generator)
    common = 20 * torch.randn(16, generator=generator)  # what all inputs share, and far larger than what parts them
    rows = common + kinds.repeat(50, 1) + 0.05 * torch.randn(200, 16, generator=generator)
    memory = MemoryLayer(16, slots=16, top=2, generator=generator)

    def shared() -> tuple[float, float]:
        """Slots read by two kinds as well, and by two inputs of one kind."""
        memory(rows)
        assert memory.used is not None
        read = [set(slots.tolist()) for slots in memory.used]
        unlike = [len(read[i] & read[i + 1]) / 2 for i in range(100)]
        alike = [len(read[i] & read[i + 4]) / 2 for i in range(100)]
        return sum(unlike) / 100, sum(alike) / 100

    assert shared()[0] == 1.0  # all the same
    memory.fit(rows, generator, wide=4)
    unlike, alike = shared()
    assert unlike < alike
    with torch.no_grad():
        memory.values.normal_(generator=generator)
    other = MemoryLayer(16, slots=16, top=2)
    other.take(memory.state_dict())
    assert torch.equal(other(rows), memory(rows))
    with pytest.raises(InputError, match="3 tokens are too few for 4 sub-keys"):
        memory.fit(rows[:3], generator)


def test_a_memory_beside_a_trained_model_gets_its_keys_from_ordinary_text() -> None:
    model = tiny_language_model()
    said = model(IDS).detach()
    learner = Learner(model, [SparseMemoryFinetuning(slots=16, top=4, background=IDS)])
    memory = memory_of(model)
    assert memory is not None
    assert memory.gate is None
    assert torch.equal(model(IDS), said)
    assert list(trainable(learner.model)) == [n for n, p in model.named_parameters() if p is memory.values]
