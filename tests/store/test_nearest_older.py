"""The block form of nearest_older agrees with one search a row."""

from __future__ import annotations

import numpy as np
import pytest

from slowwave.store.vectors import ExactIndex


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_nearest_older_is_what_single_searches_find_among_lower_numbers(dtype):
    rng = np.random.default_rng(5)
    vectors = rng.normal(size=(300, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    ids = np.arange(10, 910, 3)
    index = ExactIndex(16, dtype)
    index.extend(ids, vectors)
    index.remove([13, 400, 40])
    found = index.nearest_older([*ids[::7].tolist(), 5], 4)
    alive = [i for i in ids[::7].tolist() if i not in (13, 400, 40)]
    assert sorted(found) == alive
    _, rows = index.rows()
    by_id = dict(zip(index.ids().tolist(), rows, strict=True))
    for id_ in alive:
        older = sorted(((float(v @ by_id[id_]), i) for i, v in by_id.items() if i < id_), reverse=True)[:4]
        assert [i for i, _ in found[id_]] == [i for _, i in older]
        np.testing.assert_allclose([s for _, s in found[id_]], [s for s, _ in older], atol=1e-5)
