"""Two models side by side: what changed is found, what did not change is not, and unlike models are told apart."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from slowwave.errors import InputError
from slowwave.probes.activations import tokenise
from slowwave.probes.compare import Compare
from slowwave.probes.compare_parts import Pair, changed_heads, rate, similarity, tenfold
from slowwave.probes.decoder import Decoder, DecoderConfig
from slowwave.probes.fired import Fired
from slowwave.probes.generators import WordTokenizer, biography, people
from slowwave.probes.subjects import Subject
from slowwave.probes.training import Schedule, rows_sampler, train, windows

SETTINGS = {"tokens": 5000, "expansion": 2, "k": 4, "context": 32, "epochs": 2, "sequences": 60}


@pytest.fixture(scope="module")
def texts() -> list[str]:
    torch.set_num_threads(1)
    return [" ".join(biography(person, seed=n) for n in range(3)) for person in people(80)]


@pytest.fixture(scope="module")
def before(texts: list[str]) -> Subject:
    tokenizer = WordTokenizer(texts)
    model = Decoder(DecoderConfig(vocabulary=len(tokenizer), width=32, layers=3, heads=4, context=64), seed=0)
    return Subject("before", model.eval().requires_grad_(False), tokenizer)


@pytest.fixture(scope="module")
def after(before: Subject, texts: list[str]) -> Subject:
    model = copy.deepcopy(before.model).requires_grad_(True)
    ids = [token for text in texts for token in before.encode(text)]
    train(model, rows_sampler(windows(ids, 32), 16, 0), Schedule(steps=60, lr=3e-3, warm_up=5))
    return Subject("after", model.eval().requires_grad_(False), before.tokenizer)


def test_a_training_shows_in_every_part(before: Subject, after: Subject, texts: list[str], tmp_path: Path) -> None:
    facts = [
        {"text": text, "value": text.split()[-1], "foils": ["Oslo", "Ghent", "nurse"]}
        for text in ("the home of Ana is in Lisbon", "Bo lives in Riga", "Cy works as a baker")
    ]
    known = [one for one in facts if set(one["text"].split()) <= set(" ".join(texts).split())]
    probe = Compare(other="", statements=known or "", **SETTINGS)
    probe.other = after
    finding = probe.run(before, texts, tmp_path)
    words = {verdict.claim: verdict.word for verdict in finding.verdicts}
    assert words["The second model predicts the text better"] == "holds"
    assert words["Features fire at other rates in the second model"] == "holds"
    assert finding.values["losses"]["all"]["high"] < -0.5
    assert all(0 <= value <= 1.0001 for value in finding.values["states"])
    assert len(finding.values["heads"]) == 12
    assert json.loads((tmp_path / "verdict.json").read_text())["values"]["models"] == ["before", "after"]
    page = (tmp_path / "report.html").read_text()
    for title in ("Tokens that changed most", "Heads that changed most", "Features that changed most"):
        assert title in page
    assert (tmp_path / "geometry.png").is_file()


def test_nothing_changes_between_a_model_and_itself(before: Subject, texts: list[str]) -> None:
    probe = Compare(**SETTINGS)
    probe.other = before
    finding = probe.run(before, texts)
    assert finding.values["losses"]["all"]["mean"] == 0
    assert finding.values["features"]["changed"] == 0
    assert {one["change"] for one in finding.values["heads"]} == {0.0}
    assert finding.values["states"] == pytest.approx([1, 1, 1], abs=1e-3)
    assert not [verdict for verdict in finding.verdicts if verdict.word == "holds"]


def test_the_head_that_was_changed_is_found(before: Subject, texts: list[str]) -> None:
    model = copy.deepcopy(before.model)
    model.blocks[1].self_attn.v_proj.weight.data[8:16] *= 2  # head 1 of layer 1
    other = Subject("other", model, before.tokenizer)
    found = changed_heads(Pair(before, other), tokenise(before, texts[:4], None, 32), lambda *args: None)
    assert max(found, key=lambda one: one["change"]) == {"layer": 1, "head": 1, "change": pytest.approx(1.0, abs=1e-4)}
    assert all(one["change"] < 1e-5 for one in found if one["layer"] == 0)


def test_models_of_other_tokens_or_shapes_are_told_apart(before: Subject, texts: list[str], tmp_path: Path) -> None:
    tokenizer = WordTokenizer([*texts[:1], "zebra " + " ".join(texts)])
    small = Decoder(DecoderConfig(vocabulary=len(tokenizer), width=16, layers=2, heads=2, context=64), seed=0)
    probe = Compare(**SETTINGS)
    probe.other = Subject("small", small.eval(), tokenizer)
    told = " ".join(probe.run(before, texts).limits)
    assert "tokenizers differ" in told or "layers, heads and width" in told
    with pytest.raises(InputError, match="needs two models"):
        Compare().run(before, texts)


def test_rates_and_likeness() -> None:
    fired = Fired(np.array([0, 2, 3, 3, 4]), np.array([0, 1, 1, 0]), 3)
    assert rate(fired).tolist() == [0.5, 0.5, 0.0]
    assert rate(fired, np.array([True, False, False, False])).tolist() == [1.0, 1.0, 0.0]
    assert tenfold(np.array([0.0005]), np.array([0.0])) == 0.0  # too rare to say
    x = torch.randn(40, 6)
    turn = torch.linalg.qr(torch.randn(6, 6))[0]
    assert similarity(x, 2 * x @ turn) == pytest.approx(1.0, abs=1e-5)
    assert similarity(x, torch.randn(40, 6)) < 0.6
