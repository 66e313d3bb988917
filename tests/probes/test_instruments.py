"""Instruments run through on a tiny decoder, write their page, and resume from what a killed run left."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from slowwave.errors import InputError
from slowwave.probes import SYSTEMS
from slowwave.probes.decoder import Decoder, DecoderConfig
from slowwave.probes.generators import WordTokenizer, biography, people
from slowwave.probes.report import as_text
from slowwave.probes.subjects import Subject, is_causal, untrained

WORDS = {"holds", "does not hold", "cannot be told at this size"}


def made_texts() -> list[str]:
    return [biography(person, seed=n) for n in range(3) for person in people(60)]


@pytest.fixture(scope="module")
def texts() -> list[str]:
    torch.set_num_threads(1)
    return made_texts()


@pytest.fixture(scope="module")
def subject(texts: list[str]) -> Subject:
    return made_subject(texts)


def made_subject(texts: list[str]) -> Subject:
    tokenizer = WordTokenizer(texts)
    model = Decoder(DecoderConfig(vocabulary=len(tokenizer), width=32, layers=3, heads=4, context=64), seed=0)
    return Subject("tiny", model.eval(), tokenizer)


def test_geometry(subject: Subject, texts: list[str], tmp_path: Path) -> None:
    finding = SYSTEMS["geometry"](context=8, sequences=200).run(subject, texts, tmp_path)
    layers = finding.values["trained"]["layers"]
    assert [row["layer"] for row in layers] == [0, 1, 2]
    assert all(1 <= row["rankme_low"] <= row["rankme_high"] <= 32 for row in layers)
    assert finding.verdicts[0].word in WORDS
    kept = json.loads((tmp_path / "verdict.json").read_text())
    assert kept["values"] == json.loads(json.dumps(finding.values))
    page = (tmp_path / "report.html").read_text()
    assert "data:image/png;base64," in page
    assert 'src="http' not in page
    assert (tmp_path / "layers.png").stat().st_size > 1000


def test_geometry_follows_checkpoints_in_their_order(
    subject: Subject, texts: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("slowwave.probes.geometry.load", lambda place: untrained(subject, int(place)))
    finding = SYSTEMS["geometry"](context=8, sequences=100, checkpoints=["3", "4"]).run(subject, texts, tmp_path)
    path = finding.values["path"]
    assert [row["name"] for row in path] == ["3", "4", "tiny"]
    assert path[-1]["rankme"] == finding.values["trained"]["layers"][-1]["rankme"]
    assert len({row["rankme"] for row in path}) == 3
    assert (tmp_path / "path.png").is_file()
    assert len(finding.verdicts) == 2


def test_phases_are_read_off_a_path() -> None:
    from slowwave.probes.geometry import phases

    found = phases([40.0, 10.0, 15.0, 30.0, 24.0])
    assert found == {"collapse": 0.25, "expansion": 3.0, "compression": 0.8}
    assert phases([2.0, 1.0]) == {"collapse": 0.5, "expansion": 1.0, "compression": 1.0}


def test_function_tokens(subject: Subject, texts: list[str], tmp_path: Path) -> None:
    probe = SYSTEMS["function-tokens"](
        quick=True, tokens=4000, loss_tokens=1500, expansion=2, k=4, context=32, prompts=(texts[0], texts[1])
    )
    finding = probe.run(subject, texts, tmp_path)
    layer = next(iter(finding.values["layers"].values()))
    assert layer["coverage"] == sorted(layer["coverage"])
    assert layer["coverage_permuted"][-1] <= 1.0
    groups = finding.values["transitions"]["groups"]
    assert sum(group["share"] for group in groups.values()) == pytest.approx(1.0)
    whole = sum(group["contribution"] for group in groups.values())
    assert whole == pytest.approx(finding.values["transitions"]["mean"], rel=1e-5)
    assert {verdict.word for verdict in finding.verdicts} <= WORDS
    assert any(limit.startswith("quick") for limit in finding.limits)
    assert all(verdict.claim in as_text(finding) for verdict in finding.verdicts)
    assert len(list(tmp_path.glob("*.png"))) == 8
    assert finding.about["cpu_seconds"] > 0
    assert finding.about["peak_mb"] is None or finding.about["peak_mb"] > 50
    first = layer["seeds"]
    made = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.json") if path.parent.parent.name == "parts"}
    probe.autoencoders = 2  # the first one, the activations and all else are kept
    again = probe.run(subject, texts, tmp_path)
    assert next(iter(again.values["layers"].values()))["seeds"][: len(first)] == first
    assert len(again.values["untrained"]["seeds"]) == 2
    assert all(path.stat().st_mtime_ns == when for path, when in made.items() if path.name != "settings.json")


def test_a_run_goes_on_from_what_was_kept(
    subject: Subject, texts: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from slowwave.probes.geometry import Geometry

    first = Geometry(context=8, sequences=100).run(subject, texts, tmp_path)
    monkeypatch.setattr(Geometry, "layers", lambda *args: pytest.fail("measured twice"))
    again = Geometry(context=8, sequences=100).run(subject, texts, tmp_path)
    assert again.values == first.values


def test_an_untrained_twin_has_the_shape_and_not_the_weights(subject: Subject) -> None:
    twin = untrained(subject, seed=5)
    for a, b in zip(subject.model.parameters(), twin.model.parameters(), strict=True):
        assert a.shape == b.shape
    assert not torch.equal(subject.model.embedding.weight, twin.model.embedding.weight)
    assert twin.name == "tiny, untrained"


def test_bad_input_is_told(subject: Subject, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="needs a model"):
        SYSTEMS["geometry"]().run(None, ["text"])
    with pytest.raises(InputError, match="there is no text"):
        SYSTEMS["geometry"]().run(subject, ["  "])
    with pytest.raises(InputError, match="no file or folder"):
        SYSTEMS["geometry"]().run(subject, tmp_path / "absent.txt")
    with pytest.raises(InputError, match=r"no \.txt file in"):
        SYSTEMS["geometry"]().run(subject, tmp_path)
    with pytest.raises(InputError, match="give more text"):
        SYSTEMS["geometry"](context=8).run(subject, ["a b c d"])
    with pytest.raises(InputError, match="layers 0 to 2"):
        SYSTEMS["function-tokens"](layers=[7]).run(subject, ["a b c"])
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(InputError, match="cannot be written to"):
        SYSTEMS["geometry"](context=8).run(subject, ["a b c d"], tmp_path / "file" / "out")


def test_a_model_that_sees_what_comes_is_no_subject(subject: Subject) -> None:
    class Encoder(torch.nn.Module):
        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            seen = torch.nn.functional.one_hot(ids, 16).float()
            return seen + seen.mean(1, keepdim=True)

    assert is_causal(subject)
    assert not is_causal(Subject("encoder", Encoder(), None))
