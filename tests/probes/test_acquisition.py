"""Planted curves are read back exactly, and a tiny model shows the saw-tooth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from slowwave.errors import InputError
from slowwave.probes import SYSTEMS
from slowwave.probes.acquisition import (
    SCENARIOS,
    Acquisition,
    effectivity,
    forgetting,
    log_line,
    retainability,
    within_fences,
)
from slowwave.probes.decoder import Decoder, DecoderConfig
from slowwave.probes.fictions import DEPTHS, fictions, random_words, scrambled, sentences
from slowwave.probes.generators import WordTokenizer
from slowwave.probes.subjects import Subject
from slowwave.probes.training import Schedule, rows_sampler, train
from slowwave.probes.tuning import padded


@pytest.fixture(scope="module")
def subject(texts: list[str]) -> Subject:
    """A decoder that knows what such passages look like, so that a lift is of the fact and not of its kind."""
    torch.set_num_threads(1)
    said = [text for one in fictions(32, 0) for text in (*one.passages, *one.answers())]
    tokenizer = WordTokenizer(said)
    model = Decoder(DecoderConfig(vocabulary=len(tokenizer), width=32, layers=2, heads=2, context=64), seed=0)
    rows = padded([tokenizer.encode(text) for text in texts], 48).numpy()
    train(model, rows_sampler(rows, 8, 0), Schedule(100, lr=5e-3, warm_up=10))
    return Subject("tiny", model.eval(), tokenizer)


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return [passage for one in fictions(30, 99) for passage in one.passages]


def test_a_planted_line_gives_its_slope_and_its_longest_gap() -> None:
    t = np.arange(1.0, 2000.0)
    found = log_line(t, 0.9 - 0.08 * np.log(t))
    assert found["a"] == pytest.approx(0.08)
    assert found["b"] == pytest.approx(0.9)
    assert found["r2"] == pytest.approx(1.0)
    assert found["tau"] == pytest.approx(76_880, abs=1)


def test_jumps_of_known_height_are_read_exactly() -> None:
    """Exposures at 20, 70, 120 lift by 1.0, 0.5, 0.25 at once; after the last the lift decays as planted."""
    times = np.arange(0, 1121)
    curve = np.full(len(times), -5.0)
    for told, lift in ((20, 1.0), (70, 0.5), (120, 0.25)):
        curve[times > told] += lift
    peak = 1.75
    t = (times[times > 121] - 121).astype(float)
    curve[times > 121] = -5.0 + peak * (0.9 - 0.08 * np.log(t))
    assert effectivity(times, curve, 20, 50) == 1.0
    assert effectivity(times, curve, 70, 50) == 0.5
    assert effectivity(times, curve, 120, 50) == 0.25
    kept = retainability(times, curve, 20, 120, 50)
    assert kept is not None
    np.testing.assert_allclose(kept[1], 0.9 - 0.08 * np.log(kept[0]), atol=1e-12)
    line = forgetting([kept, kept, kept], 0)
    assert line["a"] == pytest.approx(0.08, rel=2e-2)  # on a grid of whole updates between measurements
    assert line["tau"] == pytest.approx(76_880, rel=0.3)
    exact = log_line(*kept)
    assert exact["a"] == pytest.approx(0.08)
    assert exact["tau"] == pytest.approx(76_880, abs=1)


def test_what_was_never_lifted_cannot_be_lost() -> None:
    times = np.arange(100)
    assert retainability(times, np.full(100, -3.0), 10, 10, 20) is None
    assert forgetting([], 0)["a"] is None


def test_outliers_are_left_out_by_their_quartiles() -> None:
    values = np.array([1.0, 1.1, 0.9, 1.0, 1.05, 9.0])
    assert within_fences(values).tolist() == [True] * 5 + [False]


def test_facts_told_are_lifted_and_others_are_not(
    subject: Subject, texts: list[str], tmp_path: Path, monkeypatch
) -> None:
    probe = Acquisition(facts=3, exposures=5, gap=4, after=12, batch=1, context=64, lr=5e-3, every=6)
    finding = probe.run(subject, texts, tmp_path)
    lifted = finding.values["effectivity"]
    table = np.array(finding.values["curves"]["curves"])
    scenario = np.array(finding.values["curves"]["scenario"])
    at_last = finding.values["curves"]["times"].index(finding.values["curves"]["told"][-1] + 2)
    rise = {name: float((table[scenario == name, at_last] - table[scenario == name, 0]).mean()) for name in SCENARIOS}
    assert rise["duplicate"] > rise["never"] + 0.1
    assert set(lifted) == {f"{name} {depth}" for name in SCENARIOS for depth in DEPTHS}
    assert len(finding.values["curves"]["curves"]) == 3 * 4 * 9
    assert {*finding.values["curves"]["depth"]} == set(DEPTHS)
    assert finding.verdicts[0].null is not None
    assert any("too few for a slope" in limit for limit in finding.limits)
    assert len(list(tmp_path.glob("*.png"))) == 2
    monkeypatch.setattr(Acquisition, "train", lambda *args: pytest.fail("trained twice"))
    assert probe.run(subject, texts, tmp_path).values == finding.values


def test_a_run_repeats_under_its_seed_and_leaves_the_model_alone(subject: Subject, texts: list[str]) -> None:
    before = [p.clone() for p in subject.model.parameters()]
    one, two = (
        SYSTEMS["acquisition"](quick=True, exposures=1, gap=4, after=4).run(subject, texts).values for _ in range(2)
    )
    assert one == two
    assert all(torch.equal(a, b) for a, b in zip(before, subject.model.parameters(), strict=True))
    with pytest.raises(InputError, match="give at least 8"):
        Acquisition().run(subject, ["one two three four"])


def test_fictions_hold_what_their_probes_ask() -> None:
    some = fictions(12, 3)
    assert len({one.name for one in some}) == 12
    for one in some:
        first = one.passages[0]
        told = [p for p in one.probes if p.depth == "memorisation"]
        assert all(f"{p.prompt} {p.target}" in first for p in told)
        others = [p for p in one.probes if p.depth != "memorisation"]
        assert not any(p.prompt in passage for p in others for passage in one.passages)
        assert all(p.target in passage for p in one.probes for passage in one.passages)
    studied = sentences(20, 1)
    assert len({one.text for one in studied}) == 20
    assert all(len({one.text, one.paraphrase, one.synonym}) == 3 for one in studied)
    assert all(len(one.text.split()) == len(one.synonym.split()) for one in studied)
    assert sorted(scrambled("night owl")) == sorted("night owl")
    assert len(random_words(3, 5, ["a", "b"])[0].split()) == 5
