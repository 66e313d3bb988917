"""Long work is bounded and resumable: activations, autoencoders and features go on after a kill and end the same."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import sparse

from slowwave.probes import SYSTEMS, activations
from slowwave.probes.activations import Chosen, OnDisk, Tokens, stream
from slowwave.probes.classes import classify
from slowwave.probes.decoder import Decoder, DecoderConfig
from slowwave.probes.feature_graph import graph_of
from slowwave.probes.fictions import fictions, sentences
from slowwave.probes.fired import encode, fired_of
from slowwave.probes.generators import WordTokenizer
from slowwave.probes.sae import Sae, SaeConfig, _loss, _TopK, train_sae
from slowwave.probes.subjects import Subject
from slowwave.probes.taps import Taps
from slowwave.probes.transitions import losses_of

D = 16


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def subject() -> Subject:
    model = Decoder(DecoderConfig(vocabulary=32, width=D, layers=3, heads=2, context=32), seed=1)
    return Subject("tiny", model.eval().requires_grad_(False), None)


def corpus(rows: int = 600, context: int = 24) -> Tokens:
    ids = np.random.default_rng(0).integers(0, 32, (rows, context)).astype(np.int32)
    ids[::3, 20:] = -1
    return Tokens(ids, np.arange(rows, dtype=np.int32), np.zeros(rows, np.int32))


class Killed(Exception):
    pass


def test_a_pass_may_end_after_the_last_place_that_is_looked_at(subject: Subject, tmp_path: Path) -> None:
    tokens, places = corpus(20), [(0, "block"), (1, "heads")]
    short = stream(subject, tokens, places, tmp_path / "short")
    whole = stream(subject, tokens, places, tmp_path / "whole", whole=True)
    for layer, site in places:
        assert np.array_equal(short.of(layer, site)[:], whole.of(layer, site)[:])
        assert len(short.of(layer, site)) == tokens.count
    ids, real = torch.from_numpy(tokens.ids[1:2, :24].astype(np.int64)), tokens.ids[1] >= 0
    with Taps(subject.model) as taps:
        taps.read(0)
        subject.logits(ids.clamp_min(0))
        due = taps.seen[0, "block"][0][torch.from_numpy(real)].half().numpy()
    begin = int((tokens.ids[0] >= 0).sum())
    np.testing.assert_allclose(short.of(0)[begin : begin + len(due)], due, rtol=1e-3, atol=1e-4)


def test_a_killed_stream_goes_on(subject: Subject, tmp_path: Path) -> None:
    tokens = corpus()
    due = stream(subject, tokens, [(1, "block")], tmp_path / "due").of(1)[:]

    def kill(stage: str, done: int, total: int) -> None:
        if done > 0.7 * total:
            raise Killed

    with pytest.raises(Killed):
        stream(subject, tokens, [(1, "block")], tmp_path / "killed", kill)
    seen: list[int] = []
    found = stream(subject, tokens, [(1, "block")], tmp_path / "killed", lambda stage, done, total: seen.append(done))
    assert seen[0] > 0.3 * tokens.count  # it did not begin anew
    assert np.array_equal(found.of(1)[:], due)


def test_rows_on_disk_are_read_as_from_an_array(tmp_path: Path) -> None:
    rows = np.arange(60, dtype=np.float16).reshape(20, 3)
    (tmp_path / "x.f16").write_bytes(rows.tobytes())
    table = OnDisk(tmp_path / "x.f16", (20, 3))
    chosen = Chosen(table, np.array([4, 2, 9]))
    assert np.array_equal(table[5:7], rows[5:7])
    assert np.array_equal(chosen[np.array([2, 0])], rows[[9, 4]])
    assert np.array_equal(chosen[::2], rows[[4, 9]])
    assert (len(table), len(chosen), chosen.shape) == (20, 3, (3, 3))


def test_the_fast_gradient_of_topk_is_that_of_the_plain_form() -> None:
    sae = Sae(SaeConfig(D, 48, k=5))
    with torch.no_grad():
        sae.b_enc.normal_(0, 0.2)
        sae.b_dec.normal_(0, 0.2)
    x, pull = torch.randn(70, D), torch.randn(70, D)
    parts = (sae.W_enc, sae.b_enc, sae.W_dec, sae.b_dec)
    fast, fired = _TopK.apply(x, *parts, 5)
    latents = sae.activate(sae.pre(x), training=True)
    plain = latents @ sae.W_dec + sae.b_dec
    torch.testing.assert_close(fast, plain)
    assert torch.equal(fired, (latents > 0).any(0))
    for a, b in zip(torch.autograd.grad(fast, parts, pull), torch.autograd.grad(plain, parts, pull), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_dead_latents_learn_from_what_is_left() -> None:
    sae = Sae(SaeConfig(D, 48, k=2))
    x = torch.randn(64, D)
    dead = torch.zeros(48, dtype=torch.bool)
    dead[40:] = True
    with torch.no_grad():
        sae.b_enc[40:] = -100.0  # they never fire by themselves
    loss, fired = _loss(sae, x, dead)
    loss.backward()
    assert not fired[40:].any()
    assert sae.W_dec.grad is not None
    with torch.no_grad():
        sae.b_enc[40:] = 0.0
    sae.zero_grad()
    _loss(sae, x, dead)[0].backward()
    assert (sae.W_dec.grad[40:].norm(dim=1) > 0).any()


def test_a_killed_autoencoder_ends_with_the_same_weights(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(1280, D)).astype(np.float32)
    config = SaeConfig(D, 32, k=4, batch=64, dead_after=500)
    due = train_sae(rows, config, epochs=12)

    def kill(stage: str, done: int, total: int) -> None:
        if done == 170:
            raise Killed

    keep = tmp_path / "training.pt"
    with pytest.raises(Killed):
        train_sae(rows, config, 12, kill, keep)
    seen: list[int] = []
    found = train_sae(rows, config, 12, lambda stage, done, total: seen.append(done), keep)
    assert seen[0] == 101
    for name, value in due.state_dict().items():
        assert torch.equal(value, found.state_dict()[name]), name
    assert not keep.exists()


def test_features_on_disk_are_those_in_memory(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(700, D)).astype(np.float32)
    sae = train_sae(rows, SaeConfig(D, 40, k=3, batch=100), epochs=1)
    due = sparse.csr_matrix(sae.encode(torch.from_numpy(rows)).numpy())

    def kill(stage: str, done: int, total: int) -> None:
        if done > 500:
            raise Killed

    with pytest.raises(Killed):
        encode(sae, rows, tmp_path, kill, batch=20)
    found = encode(sae, rows, tmp_path, batch=20)
    tokens = np.random.default_rng(1).integers(0, 9, 700).astype(np.int32)
    a, b = graph_of(due, tokens), graph_of(found, tokens)
    assert (a.counts != b.counts).nnz == 0
    positions = np.array([3, 500, 699])
    assert fired_of(due).at(positions).tolist() == found.at(positions).tolist()
    assert np.array_equal(found.ends, fired_of(due).ends)


def test_a_corpus_in_pieces_gives_the_graph_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    active = sparse.random(500, 30, 0.1, random_state=0, format="csr")
    tokens = rng.integers(0, 20, 500).astype(np.int32)
    whole = graph_of(active, tokens)
    monkeypatch.setattr("slowwave.probes.fired.CHUNK", 37)
    pieces = graph_of(active, tokens)
    assert (whole.counts != pieces.counts).nnz == 0
    assert whole.coverage((1, 5)) == pieces.coverage((1, 5))


KILLED = """
import sys, torch
sys.path.insert(0, sys.argv[1])
torch.set_num_threads(1)
from test_instruments import made_subject, made_texts
from slowwave.probes import SYSTEMS
texts = made_texts()
print("begun", flush=True)
SYSTEMS["function-tokens"](
    tokens=5000, loss_tokens=500, expansion=2, k=4, context=32, epochs=4, traits=(), layers=(0, 2)
).run(made_subject(texts), texts, sys.argv[2])
"""


def test_a_run_that_is_killed_outright_ends_with_the_same_verdict(tmp_path: Path) -> None:
    from test_instruments import made_subject, made_texts

    texts = made_texts()
    probe = SYSTEMS["function-tokens"](
        tokens=5000, loss_tokens=500, expansion=2, k=4, context=32, epochs=4, traits=(), layers=(0, 2)
    )
    due = probe.run(made_subject(texts), texts, tmp_path / "whole")
    done = sum(1 for _ in (tmp_path / "whole").glob("parts/*/*.json"))
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(Path(__file__).parent), str(tmp_path / "killed")],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:  # kill it once its first layer is finished
        if any((tmp_path / "killed").glob("parts/*/trained-layer-0-0.json")):
            break
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert process.stdout is not None
    process.stdout.close()
    kept = sum(1 for _ in (tmp_path / "killed").glob("parts/*/*.json"))
    assert 0 < kept < done
    assert not (tmp_path / "killed" / "verdict.json").exists()
    found = probe.run(made_subject(texts), texts, tmp_path / "killed")
    assert found.values == due.values


TRAININGS = {
    "acquisition": {
        "facts": 1,
        "exposures": 2,
        "gap": 6,
        "after": 6,
        "every": 6,
        "batch": 4,
        "context": 32,
        "lr": 1e-3,
    },
    "recognition": {"sentences": 4, "epochs": 2, "lr": 1e-3, "updates": 6, "rows": 2, "context": 32, "tests": 2},
    "paragraph-localiser": {"prefix": 8, "tail": 8, "search": 30, "items": 4, "plant": 4, "lr": 2e-3, "steps": 2},
}


@pytest.mark.parametrize("name", sorted(TRAININGS))
def test_a_killed_training_ends_with_the_same_numbers(name: str, tmp_path: Path, monkeypatch) -> None:
    texts = [passage for one in fictions(20, 5) for passage in one.passages[:2]]
    known = [text for one in sentences(30, 0) for text in (one.text, one.paraphrase, one.synonym)]
    tokenizer = WordTokenizer([*known, *texts])
    model = Decoder(DecoderConfig(vocabulary=len(tokenizer), width=32, layers=2, heads=2, context=64), seed=0).eval()
    probe = SYSTEMS[name](**TRAININGS[name])
    due = probe.run(Subject("tiny", model, tokenizer), texts)
    monkeypatch.setattr("slowwave.probes.tuning.KEEP_EVERY", 0.0)
    trained = ("training", "study", "retention", "planting")

    def kill(stage: str, done: int, total: int) -> None:
        if stage in trained and done == 8:
            raise Killed

    with pytest.raises(Killed):
        probe.run(Subject("tiny", model, tokenizer), texts, tmp_path, kill)
    assert list(tmp_path.glob("parts/*/*.pt"))
    seen: list[int] = []
    found = probe.run(
        Subject("tiny", model, tokenizer), texts, tmp_path,
        lambda stage, done, total: seen.append(done) if stage in trained else None,
    )  # fmt: skip
    assert seen[0] == 9  # it did not begin anew
    assert found.values == due.values
    assert not list(tmp_path.glob("parts/*/*.pt"))


class Words:
    """A subject whose tokens are the lengths of words, with so many marks before every text."""

    def __init__(self, marks: int = 0) -> None:
        self.marks, self.tokenizer = marks, self

    def encode(self, text: str, add_special_tokens: bool = False) -> list[int]:
        return [90] * (self.marks * add_special_tokens) + [len(word) for word in text.split()]


def test_a_mark_stands_before_every_row_and_counts_as_no_text() -> None:
    tokens = activations.tokenise(Words(1), ["a bb ccc dddd e", "ff g"], most=6, context=3)  # type: ignore[arg-type]
    assert tokens.ids.tolist() == [[90, 1, 2], [90, 3, 4], [90, 2, 1]]
    assert 90 not in classify(tokens).ids
    assert tokens.flat()[2][tokens.inside()].min() == 1
    found = losses_of(lambda ids: torch.zeros(*ids.shape, 91), tokens)
    assert 90 not in found.current
    assert (found.current.tolist(), found.target.tolist()) == ([1, 3, 2], [2, 4, 1])


def test_a_row_is_never_two_documents() -> None:
    tokens = activations.tokenise(Words(), ["a bb ccc dddd e", "ff g"], most=6, context=3)  # type: ignore[arg-type]
    assert tokens.ids.tolist() == [[1, 2, 3], [4, 1, -1]]
    assert tokens.document.tolist() == [0, 0]
