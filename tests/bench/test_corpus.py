"""The corpus of the speed benchmark: distinct, repeatable, and honest about what is made up."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from slowwave.bench import corpus
from slowwave.errors import InputError, NotFoundError
from slowwave.models.base import FakeEmbedder


@pytest.fixture(scope="module")
def books(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("books")
    lines = [f"The {i}th ship was seen off the coast of Whitby." for i in range(corpus.BASE + corpus.HELD_OUT + 500)]
    with gzip.open(folder / "ships.txt.gz", "wt", encoding="utf-8") as handle:
        handle.write("# Title: Ships\n\n" + " ".join(lines[:9000]) + "\n\n" + "\n".join(lines[9000:]))
    return folder


def test_fewer_texts_are_a_prefix_of_more(books: Path) -> None:
    many = corpus.texts(corpus.BASE + 300, folder=books)
    assert len(set(many)) == len(many) == corpus.BASE + 300
    assert corpus.texts(50, folder=books) == many[:50]
    assert corpus.texts(corpus.BASE + 7, folder=books) == many[: corpus.BASE + 7]
    assert corpus.texts(50, seed=1, folder=books) != many[:50]


def test_queries_and_extras_are_none_of_the_records(books: Path) -> None:
    records = set(corpus.texts(corpus.BASE, folder=books))
    cues, more = set(corpus.queries(200, folder=books)), set(corpus.extras(1200, folder=books))
    assert (len(cues), len(more)) == (200, 1200)
    assert not cues & records
    assert not more & records
    assert not cues & more


def test_the_vector_of_a_joined_pair_lies_where_the_file_says(books: Path) -> None:
    n = corpus.BASE + 400
    rows = corpus.vectors(n, FakeEmbedder(), folder=books)
    assert rows.shape == (n, 64)
    assert rows.dtype == np.float32
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    base = FakeEmbedder().embed(corpus.texts(corpus.BASE, folder=books))
    assert np.array_equal(rows[: corpus.BASE], base)
    pairs = np.array(corpus._pairs(400, 0))
    mean = base[pairs[:, 0]] + base[pairs[:, 1]]
    mean /= np.linalg.norm(mean, axis=1, keepdims=True)
    assert (mean * rows[corpus.BASE :]).sum(axis=1).mean() == pytest.approx(corpus.PAIR_COSINE, abs=0.03)


def test_what_was_encoded_once_is_read_from_the_cache(books: Path, tmp_path: Path) -> None:
    class Counting(FakeEmbedder):
        calls = 0

        def embed(self, texts):  # type: ignore[no-untyped-def]
            Counting.calls += 1
            return super().embed(texts)

    first = corpus.vectors(30, Counting(), folder=books, cache=tmp_path)
    again = corpus.vectors(30, Counting(), folder=books, cache=tmp_path)
    assert Counting.calls == 1
    assert np.array_equal(first, again)
    corpus.vectors(31, Counting(), folder=books, cache=tmp_path)
    assert Counting.calls == 2


def test_too_many_queries_or_no_books_is_an_error_that_says_so(books: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds back"):
        corpus.queries(100_000, folder=books)
    with pytest.raises(InputError, match="extra texts"):
        corpus.extras(corpus.EXTRAS + 1, folder=books)
    with pytest.raises(NotFoundError, match="SLOWWAVE_DATA"):
        corpus.texts(5, folder=tmp_path)
