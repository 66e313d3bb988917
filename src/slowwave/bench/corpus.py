"""The texts that speed is measured on: sentences of old novels, their vectors, and held-out sentences as queries.

Below `BASE` records every text is one sentence and every vector is the encoder's own. Encoding 100,000 texts takes a
small machine a quarter of an hour, so beyond `BASE` a text is two sentences of the base joined, and its vector is
their mean plus noise, scaled to unit length. The noise is set so that such a vector lies as far from the mean of its
parts as the encoder's own vector of the joined text does (cosine 0.93, measured on 300 pairs). Speed and size depend
on neither; `made_up` says how many there are, and results should state it.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import random
import re
from functools import lru_cache
from pathlib import Path

import numpy as np

from slowwave.errors import InputError, NotFoundError
from slowwave.models.base import Embedder, Vectors

BASE = 12_000  # sentences with a vector of their own
HELD_OUT = 4_000  # sentences kept for queries and extras; never among the records
EXTRAS = 2_000  # of those, for `extras`
PAIR_COSINE = 0.93  # between the vector of two joined sentences and the mean of their vectors


def texts(n: int, seed: int = 0, folder: Path | None = None) -> list[str]:
    """n distinct texts; the first m of n are the same whatever n is."""
    pool = _pool(seed, _books(folder))
    return pool[: min(n, BASE)] + [f"{pool[a]} {pool[b]}" for a, b in _pairs(made_up(n), seed)]


def queries(n: int, seed: int = 0, folder: Path | None = None) -> list[str]:
    """n sentences (4 to 14 words) of the same books that are not among the texts."""
    pool = _pool(seed, _books(folder))[BASE + EXTRAS : BASE + HELD_OUT]
    short = [text for text in pool if len(text.split()) <= 14]
    if n > len(short):
        raise InputError(f"{n} queries were asked for; this corpus holds back {len(short)}")
    return short[:n]


def extras(n: int, seed: int = 0, folder: Path | None = None) -> list[str]:
    """n more sentences, to add to a store that holds the texts already; neither texts nor queries."""
    if n > EXTRAS:
        raise InputError(f"{n} extra texts were asked for; this corpus holds back {EXTRAS}")
    return _pool(seed, _books(folder))[BASE : BASE + n]


def made_up(n: int) -> int:
    """How many of n texts are joined pairs with averaged vectors."""
    return max(0, n - BASE)


def vectors(
    n: int, embedder: Embedder, seed: int = 0, folder: Path | None = None, cache: Path | None = None
) -> Vectors:
    """(n, dim) float32 unit rows of `texts(n, seed)`; see the top of this file for rows beyond BASE.

    cache  folder where the encoder's part is kept as .npy; None keeps nothing
    """
    base = encoded(texts(BASE if n > BASE else n, seed, folder), embedder, cache)
    if n <= BASE:
        return base
    pairs = np.array(_pairs(made_up(n), seed))
    mean = base[pairs[:, 0]] + base[pairs[:, 1]]
    mean /= np.linalg.norm(mean, axis=1, keepdims=True)
    noise = np.random.default_rng(seed).standard_normal(mean.shape, dtype=np.float32)
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    joined = mean + noise * np.float32(np.tan(np.arccos(PAIR_COSINE)))
    joined /= np.linalg.norm(joined, axis=1, keepdims=True)
    return np.concatenate([base, joined.astype(np.float32)])


def encoded(items: list[str], embedder: Embedder, cache: Path | None = None) -> Vectors:
    """The encoder's own vectors of some texts, kept in `cache` under a name made of the texts and the encoder."""
    if cache is None:
        return embedder.embed(items)
    digest = hashlib.sha256("\0".join([embedder.name, *items]).encode()).hexdigest()[:16]
    file = cache / f"vectors-{digest}.npy"
    if file.is_file():
        return np.asarray(np.load(file), dtype=np.float32)
    rows = embedder.embed(items)
    cache.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(f".{os.getpid()}.npy")  # renamed when whole, so that a stopped run leaves no half file
    np.save(part, rows)
    part.replace(file)
    return rows


def default_cache() -> Path:
    """`~/.slowwave/bench-corpus`, or the same under SLOWWAVE_HOME."""
    return Path(os.environ.get("SLOWWAVE_HOME") or Path.home() / ".slowwave") / "bench-corpus"


def _books(folder: Path | None) -> Path:
    """The folder of .txt.gz books: the one given, else in SLOWWAVE_DATA, else beside the checkout."""
    places = [folder] if folder else []
    if not places and (data := os.environ.get("SLOWWAVE_DATA")):
        places = [Path(data) / "classic_books"]
    if not places:
        places = [Path(__file__).resolve().parents[4] / "shared" / "data" / "classic_books"]
    if not any(places[0].glob("*.txt.gz")):
        raise NotFoundError(f"no books (*.txt.gz) in {places[0]}; set SLOWWAVE_DATA to the folder of research data")
    return places[0]


@lru_cache(maxsize=4)
def _pool(seed: int, folder: Path) -> list[str]:
    """BASE + HELD_OUT distinct sentences of 4 to 40 words, in an order that the seed decides."""
    found: dict[str, None] = {}
    for file in sorted(folder.glob("*.txt.gz")):
        with gzip.open(file, "rt", encoding="utf-8") as handle:
            found.update(dict.fromkeys(_sentences(handle.read())))
    pool = list(found)
    if len(pool) < BASE + HELD_OUT:
        raise InputError(f"{folder} holds {len(pool)} sentences; {BASE + HELD_OUT} are needed")
    return random.Random(seed).sample(pool, BASE + HELD_OUT)


def _sentences(book: str) -> list[str]:
    out = []
    for block in re.split(r"\n\s*\n", book):
        line = " ".join(block.replace("_", "").split())
        if line and line[0] not in "#-*|":
            ends = re.split(r"(?<=[.!?])[\"”’]?\s+(?=[\"“A-Z])", line)
            out += [text for text in ends if 4 <= len(text.split()) <= 40 and len(text) <= 240]
    return out


def _pairs(n: int, seed: int) -> list[tuple[int, int]]:
    """n distinct pairs of different base sentences; the first m of n are the same whatever n is."""
    rng, seen = random.Random(seed + 1), dict[tuple[int, int], None]()
    while len(seen) < n:
        a, b = rng.randrange(BASE), rng.randrange(BASE)
        if a != b:
            seen[a, b] = None
    return list(seen)
