"""Where data is looked for, and what is kept of encoded texts."""

import sqlite3

import numpy as np
import pytest

from slowwave.bench.datasets import CachedEmbedder, KnownVectors, data_root, fingerprints, folder_of
from slowwave.errors import NotFoundError
from slowwave.models import FakeEmbedder


class Counting(FakeEmbedder):
    def __init__(self):
        super().__init__()
        self.encoded = []

    def embed(self, texts):
        self.encoded += texts
        return super().embed(texts)


def test_data_is_found_by_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("SLOWWAVE_DATA", str(tmp_path))
    assert data_root() == tmp_path
    with pytest.raises(NotFoundError, match="SLOWWAVE_DATA"):
        folder_of("locomo")
    (tmp_path / "locomo").mkdir()
    assert folder_of("locomo") == tmp_path / "locomo"


def test_fingerprints_follow_the_bytes(tmp_path):
    file = tmp_path / "a.json"
    file.write_text("1")
    before = fingerprints([file], tmp_path)
    file.write_text("2")
    assert list(before) == ["a.json"]
    assert fingerprints([file], tmp_path) != before


def test_a_text_is_encoded_once(tmp_path):
    first = Counting()
    cached = CachedEmbedder(first, tmp_path)
    rows = cached.embed(["a cat", "a dog", "a cat"])
    assert first.encoded == ["a cat", "a dog"]
    assert np.array_equal(rows, FakeEmbedder().embed(["a cat", "a dog", "a cat"]))
    cached.close()
    again = Counting()
    cached = CachedEmbedder(again, tmp_path)
    assert np.array_equal(cached.embed(["a dog", "a bird"]), FakeEmbedder().embed(["a dog", "a bird"]))
    assert again.encoded == ["a bird"]
    cached.close()


def test_the_cache_keeps_no_text(tmp_path):
    cached = CachedEmbedder(FakeEmbedder(), tmp_path)
    cached.embed(["an unmistakable sentence"])
    cached.close()
    (file,) = tmp_path.iterdir()
    assert b"unmistakable" not in file.read_bytes()
    db = sqlite3.connect(file)
    assert db.execute("SELECT count(*) FROM vectors").fetchone() == (1,)
    db.close()


def test_models_do_not_share_a_cache(tmp_path):
    small, large = CachedEmbedder(FakeEmbedder(16), tmp_path), CachedEmbedder(FakeEmbedder(32), tmp_path)
    assert small.embed(["a"]).shape == (1, 16)
    assert large.embed(["a"]).shape == (1, 32)
    small.close()
    large.close()


def test_known_vectors_are_not_encoded_again():
    inner = Counting()
    known = KnownVectors(inner)
    known.know(["a"], np.ones((1, 64), np.float32))
    assert known.embed(["a"])[0, 0] == 1
    assert inner.encoded == []
    known.embed(["b", "b"])
    assert inner.encoded == ["b"]
    assert known.embed([]).shape == (0, 64)
