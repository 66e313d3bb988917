"""Gradients and masks are those made by hand, a planted matrix is found by its reset, and the page is written."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from slowwave.errors import InputError
from slowwave.probes import SYSTEMS
from slowwave.probes.decoder import Decoder, DecoderConfig
from slowwave.probes.generators import WordTokenizer, ZipfGrammar
from slowwave.probes.paragraph_localiser import (
    ParagraphLocaliser,
    Part,
    accuracy,
    lower_half,
    matrices,
    parts_of,
    prefix_drops,
    random_mask,
    recited,
    resets,
    scores,
    top_mask,
)
from slowwave.probes.subjects import Subject
from slowwave.probes.training import greedy
from slowwave.probes.tuning import step

WORDS = WordTokenizer([f"w{n}" for n in range(60)])


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


class Linear(torch.nn.Module):
    """A softmax over a linear read-out of one-hot tokens: its gradient can be written down."""

    def __init__(self, words: int = 7) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn(words, words, generator=torch.Generator().manual_seed(0)))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.one_hot(ids, len(self.weight)).float() @ self.weight.T


def test_scores_on_a_linear_softmax_are_the_gradients_made_by_hand() -> None:
    model, row = Linear(), np.array([0, 3, 5, 1, 6])
    parts = [Part(0, "top", "weight", True, 0, 3), Part(0, "left", "weight", False, 0, 4)]
    found = scores(model, parts, row[None], tail=3)
    due = torch.zeros(7, 7)
    for now, then in ((3, 5), (5, 1), (1, 6)):
        chance = model.weight[:, now].softmax(0).detach()
        chance[then] -= 1
        due[:, now] += chance / 3
    assert found[0] == pytest.approx([float(due[:3].abs().max()), float(due[:, :4].abs().max())], abs=1e-6)
    mask = top_mask({"weight": due}, 0.1)["weight"]
    assert int(mask.sum()) == round(0.1 * 49)
    assert due[mask].abs().min() >= due[~mask].abs().max()
    lot = random_mask({"weight": due, "more": due}, 0.5, 0)
    assert sum(int(m.sum()) for m in lot.values()) == 49


def test_the_mask_is_the_true_top_thousandth_of_the_gradient_made_by_hand() -> None:
    model, row = Linear(100), np.random.default_rng(0).integers(0, 100, 60)
    step(model, torch.optim.SGD(model.parameters(), 0.0), torch.from_numpy(row[None]), clip=1e9)
    due = np.zeros((100, 100))
    chance = model.weight.detach().double().softmax(0).numpy()
    for now, then in itertools.pairwise(row.tolist()):
        due[:, now] += chance[:, now] / 59
        due[then, now] -= 1 / 59
    assert model.weight.grad is not None
    np.testing.assert_allclose(model.weight.grad.numpy(), due, atol=1e-7)
    mask = top_mask({"weight": model.weight.grad}, 0.001)["weight"]
    assert set(mask.flatten().nonzero()[:, 0].tolist()) == set(np.abs(due).ravel().argsort()[-10:].tolist())


def test_top_mask_reaches_over_matrices() -> None:
    grads = {"a": torch.tensor([[0.1, -9.0]]), "b": torch.tensor([[5.0], [0.2]])}
    mask = top_mask(grads, 0.5)
    assert mask["a"].tolist() == [[False, True]]
    assert mask["b"].tolist() == [[True], [False]]


def test_one_pass_recites_what_decoding_would() -> None:
    model = Decoder(DecoderConfig(vocabulary=60, width=32, layers=2, heads=2, context=32), seed=0).eval()
    rows = np.random.default_rng(0).integers(0, 60, (6, 20))
    optimiser = torch.optim.Adam(model.parameters(), 5e-3)
    for _ in range(25):
        step(model, optimiser, torch.from_numpy(rows))
    found = recited(Subject("", model, WORDS), rows, tail=10)
    for row, many in zip(rows, found, strict=True):
        said = greedy(model, row[:10].tolist(), 10)
        wrong = [a != b for a, b in zip(said, row[10:].tolist(), strict=True)]
        assert many == (wrong.index(True) if True in wrong else 10)
    assert found.max() > 0


def test_resetting_the_planted_matrix_alone_brings_back_what_was_before() -> None:
    """Twenty paragraphs are taught by one matrix; that matrix, and of all no other, set back takes all of it away."""
    model = Decoder(DecoderConfig(vocabulary=60, width=48, layers=2, heads=2, context=40), seed=0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(8 if weight.ndim == 2 else 1)  # a stream rich enough for one matrix to read
    rows = ZipfGrammar(function=6, content=54, topics=3).documents(20, 24, 5).astype(np.int64)
    subject = Subject("planted", model, WORDS)
    before = {name: value.detach().clone() for name, value in model.state_dict().items()}
    was = accuracy(subject, rows, 12)
    planted = "blocks.0.mlp.down_proj.weight"
    held = dict(model.named_parameters())
    optimiser = torch.optim.Adam([held[planted]], 1e-2)
    for _ in range(40):
        step(model, optimiser, torch.from_numpy(rows), clip=100.0)
    taught = accuracy(subject, rows, 12)
    assert taught > was + 0.5
    found = {row["weight"]: row["accuracy"] for row in resets(subject, before, rows, 12)}
    assert found.pop(planted) == pytest.approx(was)
    assert all(value == pytest.approx(taught) for value in found.values())
    assert torch.equal(held["blocks.1.mlp.down_proj.weight"], before["blocks.1.mlp.down_proj.weight"])


def test_parts_are_heads_and_matrices_and_nothing_else() -> None:
    model = Decoder(DecoderConfig(vocabulary=60, width=32, layers=2, heads=2, context=32), seed=0)
    assert len(list(matrices(model))) == 14
    parts = parts_of(model)
    assert [p.name for p in parts[:8]] == ["q 0", "q 1", "k 0", "k 1", "v 0", "v 1", "o 0", "o 1"]
    assert [p.name for p in parts[8:11]] == ["gate", "up", "down"]
    covered = sum(part.of(dict(model.named_parameters())[part.weight]).numel() for part in parts)
    assert covered == sum(dict(model.named_parameters())[name].numel() for name in matrices(model))
    share = lower_half([{"layer": 0}, {"layer": 1}], [[3.0, 1.0], [1.0, 1.0]])
    np.testing.assert_allclose(share, [0.75, 0.5])


def test_the_instrument_plants_where_nothing_is_recited(tmp_path: Path, monkeypatch) -> None:
    rng = np.random.default_rng(0)
    texts = [" ".join(f"w{n}" for n in rng.integers(0, 60, 26)) for _ in range(24)]
    model = Decoder(DecoderConfig(vocabulary=61, width=48, layers=2, heads=2, context=40), seed=0)
    subject = Subject("tiny", model.eval(), WORDS)
    kept = [p.detach().clone() for p in model.parameters()]
    probe = ParagraphLocaliser(prefix=12, tail=12, items=4, plant=4, lr=5e-3, steps=3, share=0.01)
    finding = probe.run(subject, texts, tmp_path)
    values = finding.values
    assert values["planted"]
    assert any("were planted in a copy" in limit for limit in finding.limits)
    assert set(values["unlearning"]) == {"before", "sparse", "random", "all"}
    assert np.mean(values["unlearning"]["before"]["known"]) == 1.0
    assert np.mean(values["unlearning"]["all"]["known"]) < 1.0
    assert np.array(values["prefix"]["known"]).shape == (len(values["unlearning"]["before"]["known"]), 12)
    assert min(row["recited"] for row in values["reset"]) < 1.0
    assert len(values["attention"]) == 4
    assert all(torch.equal(a, b) for a, b in zip(kept, model.parameters(), strict=True))
    assert len(list(tmp_path.glob("*.png"))) == 3
    monkeypatch.setattr(ParagraphLocaliser, "unlearn", lambda *args: pytest.fail("measured twice"))
    assert probe.run(subject, texts, tmp_path).values == values


def test_bad_options_and_poor_texts_are_told() -> None:
    subject = Subject("", Decoder(DecoderConfig(vocabulary=60, width=16, layers=1, heads=1), 0), WORDS)
    with pytest.raises(InputError, match="share is 2"):
        SYSTEMS["paragraph-localiser"](share=2)
    with pytest.raises(InputError, match="paragraphs of 100 tokens"):
        ParagraphLocaliser().rows(subject, ["w1 w2 w3"])
    assert prefix_drops(subject, np.arange(10), 4, 5, 0) == [0, 0, 0, 0]
