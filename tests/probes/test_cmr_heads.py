"""Heads are read, fitted and taken away one by one; a head made by hand is found for what it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from slowwave.errors import InputError
from slowwave.probes import SYSTEMS
from slowwave.probes.cmr import lag_curve
from slowwave.probes.cmr_heads import CmrHeads, ablated, attention_by_lag, chosen_heads, copying_scores
from slowwave.probes.decoder import Decoder, DecoderConfig
from slowwave.probes.generators import WordTokenizer
from slowwave.probes.subjects import Subject, attending
from slowwave.probes.taps import Taps

WORDS = [f"w{n}" for n in range(80)]


@pytest.fixture(scope="module")
def subject() -> Subject:
    torch.set_num_threads(1)
    config = DecoderConfig(vocabulary=81, width=32, layers=2, heads=4, context=64)
    return Subject("tiny", Decoder(config, seed=0).eval(), WordTokenizer(WORDS))


@pytest.fixture(scope="module")
def texts() -> list[str]:
    rng = np.random.default_rng(0)
    return [" ".join(rng.choice(WORDS, 60)) for _ in range(40)]


def test_the_instrument_runs_and_writes_its_page(
    subject: Subject, texts: list[str], tmp_path: Path, monkeypatch
) -> None:
    probe = SYSTEMS["cmr-heads"](quick=True, items=20, lags=3, context=40)
    finding = probe.run(subject, texts, tmp_path)
    heads = finding.values["heads"]["heads"]
    assert [(h["layer"], h["head"]) for h in heads] == [(layer, head) for layer in range(2) for head in range(4)]
    assert all(h["distance"] is None or 0 <= h["distance"] <= 1 for h in heads)
    assert set(finding.values["ablation"]) == {"whole", "best", "random 0", "random 1"}
    assert len(list(tmp_path.glob("*.png"))) == 3
    monkeypatch.setattr(CmrHeads, "heads", lambda *args: pytest.fail("measured twice"))
    assert (
        SYSTEMS["cmr-heads"](quick=True, items=20, lags=3, context=40).run(subject, texts, tmp_path).values
        == finding.values
    )


def test_lists_are_said_twice_after_a_first_token_that_is_left_out(subject: Subject, texts: list[str]) -> None:
    lists = CmrHeads(items=20, lags=3).lists(subject, texts)
    assert lists.shape == (16, 41)
    assert (lists[:, 1:21] == lists[:, 21:]).all()
    assert all(len(set(row[1:21].tolist())) == 20 for row in lists)
    with pytest.raises(InputError, match="at least 31"):
        CmrHeads().lists(subject, ["w1 w2 w3 w4"])


def test_lags_count_from_the_first_copy(subject: Subject, monkeypatch) -> None:
    """A pattern made by hand, attention on the token after the first copy and nothing else, comes back as lag 1."""
    items = 12
    made = torch.zeros(2, 4, 1 + 2 * items, 1 + 2 * items)
    for place in range(items - 1):
        made[:, 2, 1 + items + place, 1 + place + 1] = 0.75
    monkeypatch.setattr("slowwave.probes.taps._weights", lambda out: made)
    found = attention_by_lag(subject, np.zeros((2, 1 + 2 * items), np.int64), 3)
    due = np.zeros((4, 7))
    due[2, 4] = 0.75
    np.testing.assert_allclose(found[0], due)


def test_attention_is_full_only_while_it_is_read(subject: Subject) -> None:
    ids = torch.arange(12)[None]
    plain = subject.logits(ids)
    with attending(subject), Taps(subject.model) as taps:
        taps.read(0, "attention")
        read = subject.logits(ids)
        np.testing.assert_allclose(taps.seen[0, "attention"].sum(-1), 1.0, atol=1e-5)
    torch.testing.assert_close(read, plain, atol=1e-4, rtol=1e-4)
    assert not any(block.self_attn.keep_weights for block in subject.model.blocks)


def test_without_a_head_is_without_its_columns_of_the_output_projection(subject: Subject) -> None:
    ids = torch.arange(12)[None]
    plain = subject.logits(ids)
    with ablated(subject, [(0, 1), (1, 3)]):
        without = subject.logits(ids)
    weights = [subject.model.blocks[layer].self_attn.o_proj.weight for layer in (0, 1)]
    kept = [w.detach().clone() for w in weights]
    with torch.no_grad():
        weights[0][:, 8:16] = 0
        weights[1][:, 24:32] = 0
        due = subject.logits(ids)
        for weight, old in zip(weights, kept, strict=True):
            weight.copy_(old)
    torch.testing.assert_close(without, due)
    torch.testing.assert_close(subject.logits(ids), plain)


def test_a_head_that_writes_what_it_reads_copies(subject: Subject) -> None:
    model = Decoder(DecoderConfig(vocabulary=81, width=32, layers=1, heads=4, context=64), seed=1)
    with torch.no_grad():
        attention = model.blocks[0].self_attn
        attention.o_proj.weight[:, :8] = attention.v_proj.weight[:8].T  # writes back what it read
        attention.o_proj.weight[:, 8:16] = -attention.v_proj.weight[8:16].T  # writes its opposite
    found = copying_scores(Subject("", model, subject.tokenizer))
    assert found is not None
    np.testing.assert_allclose(found[0, :2], [1, -1], atol=1e-6)


def test_the_heads_to_take_away_are_the_closest_that_look_ahead() -> None:
    curve = lag_curve(0.6, 1.0, 0.2, 3)
    heads = [
        {"layer": 0, "head": n, "distance": d, "attention": a.tolist(), "matching": float(a[4])}
        for n, (d, a) in enumerate([(0.3, curve), (0.01, curve[::-1]), (0.05, curve), (None, curve)])
    ]
    assert chosen_heads({"heads": heads}, 0.5) == [(0, 2), (0, 0)]
    with pytest.raises(InputError, match=r"share is 0\.9"):
        CmrHeads(share=0.9)
