"""A full-text index of one scope in memory: which records hold a word or words side by side, and how often.

Each record is the sequence of its stems, each stem 8 bytes of its hash, as the database keeps it. The index is these
sequences laid end to end with a gap between records, and their places sorted by stem; new records make a small index of
their own, and neighbours of like size are merged.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from slowwave.store.lexical import FEWEST, MOST, idf
from slowwave.store.stems import phrase, tokens

Ids = NDArray[np.int64]
K1, B = 1.2, 0.75  # as FTS5 has them
NONE = np.empty(0, dtype=np.int64)


def packed(text: str) -> bytes:
    """The stems of a text as they are kept."""
    return b"".join(map(hashed, tokens(text)))


@lru_cache(maxsize=65536)
def hashed(stem: str) -> bytes:
    """8 bytes for a stem; two of a million stems have the same with a chance of 1 in 30 million."""
    return hashlib.blake2b(stem.encode("utf-8", "surrogatepass"), digest_size=8).digest()


def sought(term: str) -> tuple[int, ...]:
    """The numbers of a term's stems."""
    return tuple(int.from_bytes(hashed(stem), "little", signed=True) for stem in phrase(term.replace('"', " ")))


class _Part(NamedTuple):
    """Some records: their numbers and lengths, where each begins, and every place of a stem, by stem."""

    ns: Ids
    lengths: Ids
    starts: Ids
    stems: Ids  # in the order of the records, a gap of one place between two
    keys: Ids  # sorted
    places: Ids  # of the keys


def _part(ns: Ids, lengths: Ids, counts: Ids, stems: Ids) -> _Part:
    starts = np.concatenate([[0], np.cumsum(counts + 1)[:-1]]).astype(np.int64) if len(ns) else NONE
    places = np.arange(len(stems), dtype=np.int64) + np.repeat(np.arange(len(ns), dtype=np.int64), counts)
    order = np.argsort(stems, kind="stable")
    return _Part(ns, lengths, starts, stems, stems[order], places[order])


class WordIndex:
    """The words of one scope.

    >>> index = WordIndex()
    >>> index.extend([7, 9], [packed("red wine"), packed("wine")], [3, 2])
    >>> [array.tolist() for array in index.holding("wine")]
    [[7, 9], [1, 1], [3, 2]]
    """

    def __init__(self) -> None:
        self._parts: list[_Part] = []

    def __len__(self) -> int:
        return sum(len(part.ns) for part in self._parts)

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        return sum(array.nbytes for part in self._parts for array in part)

    def extend(self, ns: Sequence[int], stems: Sequence[bytes], lengths: Sequence[int]) -> None:
        """Add records that are not in it: row numbers, packed stems, lengths by which a score is measured."""
        if not len(ns):
            return
        counts = np.fromiter((len(one) // 8 for one in stems), dtype=np.int64, count=len(stems))
        flat = np.frombuffer(b"".join(stems), dtype="<i8").astype(np.int64)
        self._parts.append(_part(np.asarray(ns, np.int64), np.asarray(lengths, np.int64), counts, flat))
        while len(self._parts) > 1 and len(self._parts[-2].stems) < 2 * len(self._parts[-1].stems) + 256:
            last, before = self._parts.pop(), self._parts.pop()
            self._parts.append(
                _part(
                    np.concatenate([before.ns, last.ns]),
                    np.concatenate([before.lengths, last.lengths]),
                    np.concatenate([_counts(before), _counts(last)]),
                    np.concatenate([before.stems, last.stems]),
                )
            )

    def holding(self, term: str) -> tuple[Ids, Ids, Ids]:
        """The records that hold a term: their numbers, how often each does, their lengths."""
        keys = sought(term)
        found = [_holding(part, keys) for part in self._parts] if keys else []
        if not found:
            return NONE, NONE, NONE
        return tuple(np.concatenate(arrays) for arrays in zip(*found, strict=True))  # type: ignore[return-value]

    def rank(self, terms: Sequence[str], mean_length: float) -> list[tuple[int, float]]:
        """Row numbers and BM25 scores of the records that hold any of the terms, best first; see `lexical.py`.

        mean_length  against which a record's length is measured
        """
        ids, scores = [NONE], [np.empty(0)]
        for term in dict.fromkeys(terms):
            ns, times, lengths = self.holding(term)
            weight = idf(max(len(self), len(ns), FEWEST), len(ns))
            part = times * (K1 + 1) / (times + K1 * (1 - B + B * lengths / max(mean_length, 1e-9)))
            if len(ns) > MOST:
                best = np.lexsort((ns, -part))[:MOST]
                ns, part = ns[best], part[best]
            ids.append(ns)
            scores.append(weight * part)
        numbers, where = np.unique(np.concatenate(ids), return_inverse=True)
        totals = np.bincount(where, weights=np.concatenate(scores), minlength=len(numbers))
        order = np.lexsort((numbers, -totals))
        return list(zip(numbers[order].tolist(), totals[order].tolist(), strict=True))


def _counts(part: _Part) -> Ids:
    ends = np.concatenate([part.starts[1:] - 1, [len(part.stems) + len(part.ns) - 1]])
    return np.asarray(ends - part.starts, dtype=np.int64)


def _holding(part: _Part, keys: tuple[int, ...]) -> tuple[Ids, Ids, Ids]:
    places = _places(part, keys[0])
    for step, key in enumerate(keys[1:], start=1):
        places = np.intersect1d(places, _places(part, key) - step, assume_unique=True)
    which, times = np.unique(np.searchsorted(part.starts, places, side="right") - 1, return_counts=True)
    return part.ns[which], times.astype(np.int64), part.lengths[which]


def _places(part: _Part, key: int) -> Ids:
    start, stop = np.searchsorted(part.keys, key, "left"), np.searchsorted(part.keys, key, "right")
    return part.places[start:stop]


__all__ = ["WordIndex", "packed"]
