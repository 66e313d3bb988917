"""Over checkpoints and sizes: features are counted, losses split, scores taken, and the page shows them."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from slowwave.probes.activations import Tokens
from slowwave.probes.classes import classify
from slowwave.probes.decoder import Decoder, DecoderConfig
from slowwave.probes.fired import fired_of
from slowwave.probes.function_tokens import FunctionTokens
from slowwave.probes.growth import features_that_fire, matched
from slowwave.probes.over_training import losses_at, single_targets, top_predictions
from slowwave.probes.reactivation import _common, strips
from slowwave.probes.sae import Sae, SaeConfig
from slowwave.probes.sae_score import cross_entropy_score, some_of
from slowwave.probes.small_english import SmallTraining, english
from slowwave.probes.subjects import Subject
from slowwave.probes.transitions import Losses


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


class Letters:
    """Ids are letters, and a space in front makes another one."""

    def encode(self, text: str, add_special_tokens: bool = False) -> list[int]:
        return [ord(c) % 32 for c in text]

    def decode(self, ids: list[int]) -> str:
        return "".join(chr(96 + i) for i in ids)


@pytest.fixture(scope="module")
def tiny() -> Subject:
    model = Decoder(DecoderConfig(vocabulary=32, width=16, layers=2, heads=2, context=32), seed=0)
    return Subject("tiny", model.eval().requires_grad_(False), Letters())


def test_features_are_counted_once_or_where_they_fire_often() -> None:
    active = np.zeros((1000, 6))
    active[:, 0], active[::10, 1], active[0, 2] = 1, 1, 1
    fired = fired_of(active)
    assert features_that_fire(fired) == 3
    assert features_that_fire(fired, 0.05) == 2
    counts = [{"score": 0.9, "once": 300}, {"score": 0.5, "once": 100}]
    assert matched(counts, 0.7) == pytest.approx(200)
    assert matched(counts, 0.95) is None


def test_a_score_is_one_for_what_changes_nothing_and_zero_for_nothing(tiny: Subject) -> None:
    ids = np.random.default_rng(0).integers(0, 32, (12, 20)).astype(np.int32)
    tokens = Tokens(ids, np.arange(12, dtype=np.int32), np.zeros(12, np.int32))

    class Same(Sae):
        def forward(self, raw: torch.Tensor) -> torch.Tensor:
            return raw

    class Nothing(Sae):
        def forward(self, raw: torch.Tensor) -> torch.Tensor:
            return torch.zeros_like(raw)

    assert cross_entropy_score(tiny, Same(SaeConfig(16, 32, k=2)), 0, tokens).share == pytest.approx(1.0)
    assert cross_entropy_score(tiny, Nothing(SaeConfig(16, 32, k=2)), 0, tokens).share == pytest.approx(0.0)
    assert some_of(tokens, 60).ids.shape == (3, 20)


def test_a_word_is_counted_with_and_without_a_space() -> None:
    losses = Losses(
        np.array([1.0, 2.0, 3.0, 9.0], np.float32), np.zeros(4, np.int32), np.array([5, 6, 5, 7], np.int32),
        np.zeros(4, np.int32),
    )  # fmt: skip
    found = single_targets(losses, {5: " the", 6: "the", 7: "them"}, ("the", "of"))
    assert found == {"the": {"loss": 2.0, "n": 3}, "of": {"loss": None, "n": 0}}


def test_predictions_of_a_sentence_are_the_likeliest_tokens(tiny: Subject) -> None:
    shares = tiny.logits(torch.tensor([tiny.encode("abcd")]))[0].softmax(-1)
    found = top_predictions(tiny, "abcd")
    assert [one["token"] for one in found] == list("bcd")
    for place, one in enumerate(found):
        assert one["guess"] == tiny.decode([int(shares[place].argmax())])
        assert one["share_of_token"] == pytest.approx(float(shares[place, tiny.encode("abcd")[place + 1]]), abs=1e-4)


def test_losses_at_a_model_add_up(tiny: Subject) -> None:
    ids = np.random.default_rng(1).zipf(1.6, (40, 24)).clip(max=31).astype(np.int32)
    tokens = Tokens(ids, np.arange(40, dtype=np.int32), np.zeros(40, np.int32))
    found = losses_at(tiny, tokens, classify(tokens), [classify(tokens, 0.6)], targets=("a",), sentence="abc")
    assert sum(one["contribution"] for one in found["groups"].values()) == pytest.approx(found["mean"])
    parted = found["parted"]
    assert parted["c>c"]["n"] + parted["c>c within a word"]["n"] == found["groups"]["c>c"]["n"]
    assert set(found["by_share"]) == {"0.6"}
    assert found["mean"] == pytest.approx(math.log(32), abs=0.5)  # an untrained model guesses


def test_strips_take_the_features_in_which_prompts_differ(tiny: Subject) -> None:
    sae = Sae(SaeConfig(16, 64, k=6)).requires_grad_(False)
    found = strips(tiny, sae, 0, ["abcxde", "abcyde"])
    assert _common([tiny.ask("abcxde"), tiny.ask("abcyde")]) == 3
    assert len(found["features"]) == len(set(found["features"])) <= 5
    own = found["features"][0]
    values = [prompt["values"][found["features"].index(own)] for prompt in found["prompts"]]
    assert max(values[0][3:]) > max(values[1][3:])
    assert strips(tiny, sae, 0, ["abc"], [7])["features"] == [7]


def test_checkpoints_and_sizes_of_a_training_reach_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from slowwave.data import dracula
    from slowwave.probes.texts import documents

    text = english(documents(dracula.text()[:60_000], 600), vocabulary=400, context=96)
    assert len(text.held_out) > 5
    training = SmallTraining("small", 0, tmp_path / "small", steps=12, keep=(0, 4, 12))
    trail = training.run(text)
    assert trail.steps() == [0, 4, 12]
    trail.folder.joinpath("step-0000012.pt").unlink()
    training.run(text)  # what is missing is trained again, from what is there
    models = {f"step-{step}": training.at(text, step) for step in (0, 4, 12)}
    monkeypatch.setattr("slowwave.probes.function_tokens.load", lambda name: models[name])
    probe = FunctionTokens(
        tokens=6000, loss_tokens=800, expansion=2, k=4, context=96, epochs=1, traits=(), layers=(0,),
        checkpoints=list(models), sizes=["step-0", "step-12"],
    )  # fmt: skip
    finding = probe.run(models["step-12"], list(text.held_out) * 3, tmp_path / "out")
    curve = [one["mean"] for one in finding.values["over_training"]]
    assert curve == sorted(curve, reverse=True)
    assert len(finding.values["growth"]) == 3
    counts = finding.values["growth"][0]["counts"]
    assert [count["k"] for count in counts] == [2, 4, 8]
    assert all(0 < count["once"] <= count["latents"] for count in counts)
    for name in ("loss-over-training", "growth", "loss-over-size"):
        assert (tmp_path / "out" / f"{name}.png").is_file()
    assert any(verdict.claim == "Function targets are learnt first" for verdict in finding.verdicts)
