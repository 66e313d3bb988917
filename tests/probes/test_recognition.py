"""What was read is told from what was not, and completed; chance stays chance."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest
import torch

from slowwave.cloze.scoring import logprobs
from slowwave.errors import InputError
from slowwave.probes import SYSTEMS
from slowwave.probes.decoder import Decoder, DecoderConfig
from slowwave.probes.fictions import fictions, sentences
from slowwave.probes.generators import WordTokenizer
from slowwave.probes.recognition import Recognition, completed, d_prime, recognised, rouge_l
from slowwave.probes.subjects import Subject


class Table(torch.nn.Module):
    """An n-gram table: after the words so far, what followed them in what it was filled with, as often as it did."""

    def __init__(self, rows: list[list[int]], vocabulary: int) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        self.table: dict[tuple[int, ...], Counter[int]] = {}
        for row in rows:
            for n in range(1, len(row)):
                self.table.setdefault(tuple(row[:n]), Counter())[row[n]] += 1

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        out = torch.zeros(*ids.shape, self.vocabulary)
        for b, row in enumerate(ids.tolist()):
            for n in range(len(row)):
                for then, count in self.table.get(tuple(row[: n + 1]), Counter()).items():
                    out[b, n, then] = 20 + np.log(count)
        return out


def test_a_table_filled_with_the_study_recognises_and_recalls_all() -> None:
    some = sentences(40, 0)
    studied, foils = some[:20], some[20:]
    tokenizer = WordTokenizer([one.text for one in some] + [one.paraphrase for one in some])
    subject = Subject("table", Table([tokenizer.encode(one.text) for one in studied], len(tokenizer)), tokenizer)
    for others in ([one.text for one in foils], [one.paraphrase for one in studied]):
        both = [tokenizer.encode(text) for text in [*(one.text for one in studied), *others]]
        losses = [-float(one.mean()) for one in logprobs(subject, both)]
        assert np.mean(recognised(losses[:20], losses[20:])) == 1.0
    assert completed(subject, [one.text for one in studied]) == [1.0] * 20
    assert np.mean(completed(subject, [one.text for one in foils])) < 0.5


def test_random_losses_are_at_chance_within_binomial_limits() -> None:
    rng = np.random.default_rng(0)
    found = recognised(rng.normal(size=10_000).tolist(), rng.normal(size=10_000).tolist())
    assert abs(np.mean(found) - 0.5) < NormalDist().inv_cdf(0.999) * 0.5 / 100
    assert recognised([1.0], [1.0]) == [0.5]


def test_accuracy_as_a_distance() -> None:
    assert d_prime(0.976) == pytest.approx(2.80, abs=0.005)
    assert d_prime(0.5) == pytest.approx(0)
    assert d_prime(1.0, 60) < 5


def test_a_completion_is_scored_by_its_longest_common_subsequence() -> None:
    assert rouge_l([1, 2, 3], [1, 2, 3]) == 1.0
    assert rouge_l([1, 9, 3], [1, 2, 3]) == pytest.approx(2 / 3)
    assert rouge_l([7, 8], [1, 2]) == 0.0
    assert rouge_l([], [1]) == 0.0


def test_a_study_is_remembered_and_reading_on_is_tested(tmp_path: Path, monkeypatch) -> None:
    torch.set_num_threads(1)
    texts = [passage for one in fictions(20, 5) for passage in one.passages[:2]]
    known = sentences(200, 0)
    words = [t for one in known for t in (one.text, one.paraphrase, one.synonym)]
    tokenizer = WordTokenizer([*words, *texts])
    model = Decoder(DecoderConfig(vocabulary=len(tokenizer), width=48, layers=2, heads=4, context=64), seed=0)
    subject = Subject("tiny", model.eval(), tokenizer)
    probe = Recognition(sentences=8, epochs=10, lr=8e-3, updates=4, rows=2, context=32, tests=2)
    finding = probe.run(subject, texts, tmp_path)
    tests = finding.values["tests"]
    assert [t["when"] for t in tests] == ["before", *["studied"] * 10, "retained", "retained"]
    assert np.mean(tests[10]["recognition"]["other sentence"]) == 1.0
    assert np.mean(tests[10]["recall"]) > np.mean(tests[0]["recall"]) + 0.3
    assert "scrambled or natural" not in tests[0]["recognition"]  # its tokenizer knows no such words
    assert any("scrambled" in limit for limit in finding.limits)
    assert len(list(tmp_path.glob("*.png"))) == 2
    monkeypatch.setattr(Recognition, "study", lambda *args: pytest.fail("studied twice"))
    assert probe.run(subject, texts, tmp_path).values == finding.values


def test_bad_options_are_told() -> None:
    with pytest.raises(InputError, match="epochs is 0"):
        SYSTEMS["recognition"](epochs=0)
    with pytest.raises(InputError, match="plain words"):
        Recognition().material(Subject("", None, WordTokenizer(["a b"])), ["one two"])
