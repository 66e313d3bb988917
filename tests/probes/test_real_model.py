"""A real small model, loaded from its GGUF file: what it knows is told from what it cannot, and its heads are read."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[1] / "models"))
from small_model import small_model

from slowwave.probes.cmr_heads import CmrHeads, attention_by_lag
from slowwave.probes.holds import REFERENCE, Holds
from slowwave.probes.subjects import Subject, load
from slowwave.probes.texts import read_texts

KNOWN = ("Tokyo is the capital of Japan", "Athens is the capital of Greece", "Warsaw is the capital of Poland")
SWAPPED = ("Tokyo is the capital of Spain", "Athens is the capital of Norway", "Warsaw is the capital of Cuba")


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    return load(small_model(tmp_path_factory.mktemp("models")))


def test_a_real_model_holds_what_is_known_and_not_what_is_swapped(subject: Subject, tmp_path: Path) -> None:
    others = [text for text in REFERENCE if not any(text.startswith(known.split()[0]) for known in KNOWN)]
    probe = Holds(quick=True, statements=(*KNOWN, *SWAPPED), calibration=others[:6] + others[-3:], foils=6)
    finding = probe.run(subject, ["no text is needed"], tmp_path)
    sure = [row["confidence"] for row in finding.values["statements"]]
    assert np.mean(sure[:3]) > np.mean(sure[3:]) + 0.3, sure
    assert finding.about["quantisation"]
    assert (tmp_path / "report.html").is_file()


def test_a_real_model_has_heads_that_look_after_the_first_copy(subject: Subject) -> None:
    lists = CmrHeads(prompts=1, items=30).lists(subject, read_texts(None)[:50])
    curves = attention_by_lag(subject, lists, 5)
    assert curves.shape == (30, 9, 11)
    assert curves[:, :, 6].max() > 0.3  # an induction head
    assert subject.model.config._attn_implementation == "sdpa"  # as it was before
