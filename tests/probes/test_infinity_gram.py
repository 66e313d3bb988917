"""Chances after the longest ending that a corpus holds are those counted by hand, and a model is held against them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from slowwave.errors import InputError
from slowwave.probes.geometry import Geometry, rank_correlation
from slowwave.probes.infinity_gram import InfinityGram
from slowwave.probes.subjects import Subject


def test_chances_are_those_counted_by_hand() -> None:
    gram = InfinityGram([[1, 2, 3], [1, 2, 4], [5, 2, 3]])
    assert gram.probability([1, 2], 3) == 0.5
    assert gram.probability([9, 2], 3) == 2 / 3  # 9 2 is nowhere: 2 alone counts
    assert gram.probability([5, 2], 4) == 0.0
    assert gram.probability([2, 3], 1) == 2 / 9  # nothing ever follows 2 3, nor 3: all tokens count
    assert gram.span([1], [2, 3]) == 0.5
    with pytest.raises(InputError, match="no token"):
        InfinityGram([[]])


def test_chances_are_those_of_a_plain_search() -> None:
    rng = np.random.default_rng(0)
    documents = [rng.integers(0, 3, 15).tolist() for _ in range(20)]
    gram = InfinityGram(documents)

    def counted(context: list[int], token: int) -> float:
        for length in range(len(context), -1, -1):
            ending = context[len(context) - length :]
            after = [d[n + length] for d in documents for n in range(len(d) - length) if d[n : n + length] == ending]
            if after:
                return after.count(token) / len(after)
        raise AssertionError

    for _ in range(60):
        context = rng.integers(0, 3, rng.integers(0, 9)).tolist()
        chances = [gram.probability(context, token) for token in range(3)]
        assert chances == pytest.approx([counted(context, token) for token in range(3)])
        assert sum(chances) == pytest.approx(1)


def test_equal_orders_correlate_fully_and_what_is_all_alike_not_at_all() -> None:
    a = np.linspace(-3, 0, 30)
    assert rank_correlation(a, np.exp(a).tolist(), 0)["rho"] == pytest.approx(1.0)
    assert rank_correlation(a, (-a).tolist(), 0)["rho"] == pytest.approx(-1.0)
    assert rank_correlation(a, [1.0] * 30, 0)["rho"] is None


def test_a_model_that_is_the_corpus_follows_it_fully(tmp_path: Path) -> None:
    """A table that answers with the corpus' own chances has a rank correlation of 1 with them."""
    rng = np.random.default_rng(1)
    corpus = [" ".join(map(str, rng.choice(6, 40, p=[0.4, 0.25, 0.15, 0.1, 0.06, 0.04]))) for _ in range(40)]
    texts = [" ".join(map(str, rng.integers(0, 6, 8))) for _ in range(30)]
    (tmp_path / "corpus").mkdir()
    for n, text in enumerate(corpus):
        (tmp_path / "corpus" / f"{n:02}.txt").write_text(text)

    class Words:
        def encode(self, text: str, add_special_tokens: bool = False) -> list[int]:
            return [int(word) for word in text.split() if word.isdigit()]

    subject = Subject("table", None, Words())
    probe = Geometry(context=8, sequences=30, corpus=str(tmp_path / "corpus"), span=2)
    gram = InfinityGram([subject.encode(text) for text in corpus])
    rows = probe._chosen(subject, texts)
    chances = np.log([gram.span(row[:-2], row[-2:]) + 1e-12 for row in rows.tolist()])
    found = probe.likeness(subject, texts, chances, lambda *args: None)
    assert found["rho"] == pytest.approx(1.0)
    assert found["n"] == 30
    assert 0 < found["seen"] <= 1
    with pytest.raises(InputError, match="span is 8"):
        Geometry(context=8, span=8)


def test_the_page_tells_how_a_model_follows_its_corpus(tmp_path: Path) -> None:
    from test_instruments import made_subject, made_texts

    torch.set_num_threads(1)
    texts = made_texts()
    (tmp_path / "corpus.txt").write_text("\n\n".join(texts[:100]))
    probe = Geometry(context=8, sequences=60, corpus=str(tmp_path / "corpus.txt"), span=2)
    finding = probe.run(made_subject(texts), texts[100:], tmp_path / "out")
    verdict = next(v for v in finding.verdicts if v.of == "Spearman's rho")
    assert verdict.word in ("does not hold", "cannot be told at this size")  # it was never trained
    assert -1 <= (verdict.effect or 0) <= 1
