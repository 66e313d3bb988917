"""Hashing: near vectors collide, one table misses neighbours, tables and probes find them, settings never mix."""

from __future__ import annotations

import numpy as np
import pytest

from slowwave.errors import InputError
from slowwave.ops.hashing import Buckets, agreement, codes, rotations, together


def cloud(n: int = 600, dim: int = 32, centres: int = 20, seed: int = 0) -> np.ndarray:
    """Unit rows around some directions, as texts on some topics lie."""
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((centres, dim))[rng.integers(0, centres, n)] + 0.5 * rng.standard_normal((n, dim))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def recall(tables: int, probes: int, most: int | None = None) -> tuple[float, float]:
    """(agreement with the exact ten nearest, share compared) over forty queries."""
    rows = cloud()
    index = Buckets(rotations(32, 16, tables))
    index.extend(rows)
    found, compared = [], []
    for query in rows[:40]:
        cosines = rows @ query
        candidates = index.candidates(query, probes, most)
        best = candidates[np.argsort(-cosines[candidates])[:10]]
        found.append(agreement(np.argsort(-cosines)[:10].tolist(), best.tolist()))
        compared.append(len(candidates) / len(rows))
    return float(np.mean(found)), float(np.mean(compared))


def test_a_bucket_is_the_argmax_of_the_turned_vector_and_its_negative() -> None:
    planes = rotations(dim=5, buckets=6, tables=3, seed=4)
    rows = np.random.default_rng(1).standard_normal((7, 5)).astype(np.float32)
    for row, found in zip(rows, codes(rows, planes), strict=True):
        for plane, bucket in zip(planes, found[:, 0], strict=True):
            assert bucket == np.argmax(np.concatenate([row @ plane, -(row @ plane)]))


def test_the_opposite_of_a_vector_never_shares_its_bucket() -> None:
    rows = cloud(50)
    planes = rotations(32, 16, 2)
    assert not (codes(rows, planes) == codes(-rows, planes)).any()


def test_probes_go_on_to_the_next_likeliest_buckets_and_end_with_all_of_them() -> None:
    planes = rotations(8, 4, 2)
    row = np.eye(8, dtype=np.float32)[:1]
    assert (codes(row, planes, 2)[:, :, :1] == codes(row, planes, 1)).all()
    assert sorted(codes(row, planes, 99)[0, 0].tolist()) == [0, 1, 2, 3]


def test_one_table_misses_neighbours_that_more_tables_and_probes_find() -> None:
    alone, few = recall(tables=1, probes=1)
    tables, _ = recall(tables=8, probes=1)
    probed, many = recall(tables=8, probes=4)
    assert alone < tables < probed
    assert alone < 0.85
    assert probed > 0.97
    assert few < 0.25 < many, "what is gained is paid for with comparisons"


def test_those_that_share_most_buckets_come_first_so_that_a_share_of_them_is_nearly_as_good() -> None:
    everything, compared = recall(tables=16, probes=4)
    some, capped = recall(tables=16, probes=4, most=60)
    assert compared > 0.5
    assert capped <= 0.1
    assert some > everything - 0.1


def test_candidates_of_an_empty_table_and_of_a_stranger_are_none() -> None:
    index = Buckets(rotations(4, 4, 1))
    assert index.candidates(np.ones(4, dtype=np.float32)).tolist() == []
    index.extend(np.eye(4, dtype=np.float32)[:1])
    assert index.candidates(-np.eye(4, dtype=np.float32)[0]).tolist() == []


def test_which_rows_lie_together_is_what_the_tables_give_back() -> None:
    rows = cloud(200)
    planes = rotations(32, 16, 3)
    index = Buckets(planes)
    index.extend(rows)
    for probes in (1, 3):
        for query in rows[:10]:
            mine = codes(query[None], planes, probes)[0]
            alike = np.flatnonzero(together(mine, codes(rows, planes)[:, :, 0]))
            assert alike.tolist() == sorted(index.candidates(query, probes).tolist())
    assert together(mine, codes(rows[:0], planes)[:, :, 0]).tolist() == []


def test_equal_seeds_turn_alike_and_bad_sizes_are_named() -> None:
    assert (rotations(8, 4, 2, seed=3) == rotations(8, 4, 2, seed=3)).all()
    assert (rotations(8, 4, 2, seed=3) != rotations(8, 4, 2, seed=4)).any()
    for buckets, tables in ((3, 1), (0, 1), (4, 0)):
        with pytest.raises(InputError, match="even number"):
            rotations(8, buckets, tables)
