"""The protocol that runs the peers, driven with peers made up here; no peer's package is needed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slowwave.bench.peers import environment, runner
from slowwave.bench.peers.contract import BLOCK, LARGE, SMALL, Encoder, Inputs, user_of
from slowwave.bench.peers.environment import PeersError
from slowwave.models.base import FakeEmbedder

RECORDS, CUES = 1000, 12

PEER = '''
"""A list of records in a JSONL file, searched by scanning."""
import json, socket
from pathlib import Path
import numpy as np
from slowwave.bench.peers.contract import Peer
from slowwave.bench.peers.protocol import main
from slowwave.models.base import FakeEmbedder

def dial():
    try:
        socket.create_connection(("192.0.2.1", 80), timeout=1)
    except OSError:
        pass

class Scan(Peer):
    name, module, packages, notes = "scan", "json", ("numpy", "no-such-package"), ("made up",)

    def __init__(self, folder, encoder, threads):
        folder.mkdir(exist_ok=True)
        self.encoder, self.file = encoder, folder / "records.jsonl"
        self.records = [json.loads(line) for line in self.file.open()] if self.file.is_file() else []
        {on_open}

    def add(self, texts, user):
        new = [dict(text=t, user=user, vector=v.tolist()) for t, v in zip(texts, self.encoder(texts))]
        self.records += new
        if {keeps}:
            with self.file.open("a") as handle:
                handle.writelines(json.dumps(record) + chr(10) for record in new)

    def flush(self):
        self.file.write_text("".join(json.dumps(record) + chr(10) for record in self.records))

    def search(self, text, user, top_k):
        mine = [r for r in self.records if r["user"] == user or {leaks}]
        scores = np.array([r["vector"] for r in mine]) @ self.encoder([text])[0]
        return [mine[i]["text"] for i in np.argsort(-scores, kind="stable")[:top_k]]

    def count(self):
        return len(self.records)

    def close(self):
        pass

if __name__ == "__main__":
    main(Scan, FakeEmbedder())
'''


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    folder = tmp_path_factory.mktemp("inputs")
    rng = np.random.default_rng(0)
    words = [f"word{i}" for i in range(500)]
    texts = [f"{i} " + " ".join(rng.choice(words, 8)) for i in range(RECORDS + runner.EXTRAS)]
    cues = [" ".join(rng.choice(words, 5)) for _ in range(CUES)]
    rows = [{"text": t, "user": user_of(i), "extra": i >= RECORDS} for i, t in enumerate(texts)]
    out = Inputs(folder / "texts.jsonl", folder / "queries.jsonl", folder / "vectors.npy")
    out.texts.write_text("".join(json.dumps(row) + "\n" for row in rows))
    out.queries.write_text("".join(json.dumps({"text": cue}) + "\n" for cue in cues))
    np.save(out.vectors, FakeEmbedder().embed(texts + cues))
    return out


def run(tmp_path: Path, inputs: Inputs, sizes: list[int], kills: int = 0, **parts: str) -> dict[str, Any]:
    script = tmp_path / "scan_peer.py"
    source = PEER
    for name, default in {"on_open": "pass", "keeps": "True", "leaks": "False"}.items():
        source = source.replace("{" + name + "}", parts.get(name, default))
    script.write_text(source)
    return runner.run_peer(script, inputs, sizes, tmp_path / "out.json", kills=kills)


def test_an_exact_and_durable_peer_scores_full_marks(tmp_path: Path, inputs: Inputs) -> None:
    found = run(tmp_path, inputs, [RECORDS], kills=1)
    size = found["sizes"][str(RECORDS)]
    assert size["load"]["records"] == size["search"]["records_after_reopen"] == RECORDS
    assert not size["load"]["cut_by_cap"]
    assert size["load"]["texts_encoded"] == size["search"]["texts_encoded"] == 0
    assert size["load"]["bytes_per_record"] > 64
    for scope, user in (("known_vector_large_scope", LARGE), ("known_vector_small_scope", SMALL)):
        ask = size["search"][scope]
        assert (ask["user"], ask["queries"], ask["recall_at_10"], ask["returned_mean"]) == (user, CUES, 1.0, 10.0)
        assert ask["other_users_texts"] == 0
        assert 0 < ask["p50_ms"] <= ask["p99_ms"]
    assert size["adds"]["encoded_batch"]["texts"] == 500
    assert size["adds"]["known_vector_single"]["adds_per_s"] > 0
    assert found["kills"]["acknowledged"] >= 10
    assert (found["kills"]["lost"], found["kills"]["would_not_open"]) == (0, 0)
    assert found["versions"]["numpy"] == np.__version__
    assert found["versions"]["no-such-package"] == "not installed as a package"
    assert found["network_attempts"] == []


def test_a_peer_that_keeps_its_records_in_memory_is_seen_to_lose_them(tmp_path: Path, inputs: Inputs) -> None:
    kills = run(tmp_path, inputs, [], kills=1, keeps="False")["kills"]
    assert kills["lost"] == kills["acknowledged"] > 0
    assert kills["rounds_with_loss"] == 1


def test_a_peer_that_cannot_open_what_it_left_is_seen(tmp_path: Path, inputs: Inputs) -> None:
    kills = run(tmp_path, inputs, [], kills=1, on_open="assert not self.records, 'broken'")["kills"]
    assert kills["would_not_open"] == 1
    assert kills["lost"] == kills["acknowledged"]
    assert "broken" in kills["each"][0]["error"]


def test_a_writer_that_stops_by_itself_is_no_kill(tmp_path: Path, inputs: Inputs) -> None:
    kills = run(tmp_path, inputs, [], kills=1, on_open="raise RuntimeError('no licence')")["kills"]
    assert (kills["rounds"], kills["failed_rounds"], kills["would_not_open"]) == (0, 1, 0)
    assert "no licence" in kills["each"][0]["failed"]


def test_a_leak_into_another_users_scope_is_counted(tmp_path: Path, inputs: Inputs) -> None:
    ask = run(tmp_path, inputs, [RECORDS], leaks="True")["sizes"][str(RECORDS)]["search"]["known_vector_small_scope"]
    assert ask["other_users_texts"] > 0
    assert ask["recall_at_10"] < 1


def test_a_call_to_the_network_is_refused_and_reported(tmp_path: Path, inputs: Inputs) -> None:
    found = run(tmp_path, inputs, [100], on_open="dial()")
    assert found["network_attempts"] == ["('192.0.2.1', 80)"]


def test_a_phase_that_fails_is_written_down(tmp_path: Path, inputs: Inputs) -> None:
    found = run(tmp_path, inputs, [100], on_open="raise RuntimeError('no licence')")
    assert "no licence" in found["sizes"]["100"]["load"]["failed"]


def test_a_script_without_a_result_is_an_error_that_shows_why(tmp_path: Path, inputs: Inputs) -> None:
    script = tmp_path / "broken_peer.py"
    script.write_text("raise SystemExit('not today')")
    with pytest.raises(PeersError, match=r"broken_peer.py gave no result .*not today"):
        runner.run_peer(script, inputs, [100], tmp_path / "out.json")


def test_the_encoder_looks_up_what_it_knows_and_encodes_the_rest() -> None:
    encoder = Encoder(FakeEmbedder())
    known = np.full((1, 64), 0.125, dtype=np.float32)
    encoder.know(["red"], known)
    assert np.array_equal(encoder(["red"]), known)
    assert encoder.encoded == 0
    assert np.array_equal(encoder(["blue"]), FakeEmbedder().embed(["blue"]))
    assert encoder.encoded == 1
    encoder.know([], known[:0])
    assert np.array_equal(encoder(["red"]), FakeEmbedder().embed(["red"]))


def test_every_tenth_block_belongs_to_the_small_scope(inputs: Inputs) -> None:
    users = [user for _, user, _ in inputs.blocks(RECORDS)]
    assert users == [LARGE] * 9 + [SMALL]
    assert user_of(9 * BLOCK - 1) == LARGE
    assert user_of(9 * BLOCK) == SMALL


def test_cuda_packages_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[list[str]] = []
    monkeypatch.setattr(environment, "plan", lambda python, wanted: ["torch", "nvidia-cublas-cu12", "Triton", "rich"])
    monkeypatch.setattr(environment, "pip", lambda python, arguments: calls.append(arguments))
    monkeypatch.setattr(environment.venv, "create", lambda folder, with_pip: None)
    with pytest.raises(PeersError, match="2 CUDA packages"):
        environment.make(tmp_path)
    assert calls == []


def test_an_environment_is_made_once_and_again_when_its_requirements_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[list[str]] = []
    monkeypatch.setattr(environment, "plan", lambda python, wanted: ["torch", "chromadb"])
    monkeypatch.setattr(environment, "pip", lambda python, arguments: calls.append(arguments))
    monkeypatch.setattr(environment.venv, "create", lambda folder, with_pip: None)
    environment.make(tmp_path)
    assert [call[0] for call in calls] == ["install", "install"]
    assert "--no-deps" in calls[1]
    environment.make(tmp_path)
    assert len(calls) == 2
    changed = tmp_path / "requirements.txt"
    changed.write_text("chromadb==9\n")
    monkeypatch.setattr(environment, "REQUIREMENTS", changed)
    environment.make(tmp_path)
    assert len(calls) == 4


@pytest.mark.parametrize("script", [path.name for path in runner.SCRIPTS.values()])
def test_every_peer_script_states_its_options_without_its_package(script: str) -> None:
    path = Path(runner.__file__).with_name(script)
    done = subprocess.run([sys.executable, str(path), "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--vectors" in done.stdout
