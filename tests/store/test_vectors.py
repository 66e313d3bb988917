"""The codec and the exact index against plain NumPy."""

import threading

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from slowwave.errors import InputError, StoreCorruptError
from slowwave.store.vectors import ExactIndex, Found, decode, encode, quantise, rescore

DTYPES = ["float32", "int8"]


def unit_rows(count, dim=48, seed=0):
    rows = np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def filled(count, dtype="float32", dim=48):
    index, rows = ExactIndex(dim, dtype), unit_rows(count, dim)
    index.extend(np.arange(count) * 3, rows)
    return index, rows


def test_float32_comes_back_bit_for_bit():
    rows = unit_rows(20)
    assert np.array_equal(decode(encode(rows, "float32"), 48, "float32"), rows)


def test_int8_comes_back_as_unit_rows_that_point_the_same_way():
    rows = unit_rows(500, 384)
    blobs = encode(rows, "int8")
    back = decode(blobs, 384, "int8")
    assert {len(blob) for blob in blobs} == {388}
    assert back.dtype == np.float32
    assert np.allclose(np.linalg.norm(back, axis=1), 1, atol=1e-6)
    assert np.abs(back @ rows.T - rows @ rows.T).max() < 0.005


def test_quantising_twice_changes_nothing():
    values, scales = quantise(unit_rows(200))
    again, scales_again = quantise(values * scales[:, None])
    assert np.array_equal(values, again)
    assert np.allclose(scales, scales_again, rtol=1e-6)


def test_no_vectors_make_no_blobs_and_back():
    assert encode(np.empty((0, 8), np.float32)) == []
    assert decode([], 8).shape == (0, 8)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_blob_cut_short_is_named(dtype):
    blobs = encode(unit_rows(3), dtype)
    with pytest.raises(StoreCorruptError, match="vector 1 of 3"):
        decode([blobs[0], blobs[1][:-1], blobs[2]], 48, dtype)


@pytest.mark.parametrize(
    "bad", [np.zeros((1, 4)), np.ones((1, 4)), np.full((1, 4), np.nan), np.ones(4), np.ones((1, 0))]
)
def test_what_is_no_unit_row_is_refused(bad):
    with pytest.raises(InputError):
        encode(bad.astype(np.float32))
    with pytest.raises(InputError):
        ExactIndex(4).extend([1], bad.astype(np.float32))


def test_an_unknown_dtype_is_refused():
    for act in (lambda: encode(unit_rows(1), "int4"), lambda: decode([], 4, "int4"), lambda: ExactIndex(4, "int4")):
        with pytest.raises(InputError, match="int4"):
            act()


@pytest.mark.parametrize("dtype", DTYPES)
def test_search_is_the_scan(dtype):
    index, rows = filled(1500, dtype)
    query = unit_rows(1, seed=9)[0]
    scores = decode(encode(rows, dtype), 48, dtype) @ query
    found = index.search(query, 20)
    best = np.argsort(-scores)[:20]
    assert np.array_equal(found.ids, best * 3)
    assert np.allclose(found.scores, scores[best], atol=1e-6)
    assert found.mean == pytest.approx(scores.mean(), abs=1e-6)
    assert found.std == pytest.approx(scores.std(), abs=1e-6)


def test_equal_scores_come_in_the_order_of_their_rows():
    index = ExactIndex(2)
    index.extend(range(8), np.tile(np.array([[1, 0]], np.float32), (8, 1)))
    assert index.search(np.array([1, 0], np.float32), 8).ids.tolist() == list(range(8))


def test_allowed_rows_alone_are_found_but_all_count_in_the_mean():
    index, rows = filled(300)
    query = unit_rows(1, seed=9)[0]
    scores = rows @ query
    allowed = np.array([297, 3, 3, 30, 31, 10**9])  # unsorted, one twice, two not there
    found = index.search(query, 10, allowed)
    assert found.ids.tolist() == sorted([3, 30, 297], key=lambda n: -scores[n // 3])
    assert found.mean == pytest.approx(scores.mean(), abs=1e-6)
    assert index.search(query, 10, np.empty(0, np.int64)).ids.tolist() == []


def test_an_empty_index_finds_nothing():
    found = ExactIndex(4).search(np.array([1, 0, 0, 0], np.float32), 5)
    assert (len(found.ids), len(found.scores), found.mean, found.std) == (0, 0, 0.0, 0.0)


def test_scores_of_rows_in_their_order_and_nan_for_one_that_is_not_there():
    index, rows = filled(30)
    query = unit_rows(1, seed=9)[0]
    scores = index.scores(query, [9, 4, 0])
    assert np.allclose(scores[[0, 2]], (rows @ query)[[3, 0]], atol=1e-6)
    assert np.isnan(scores[1])


@pytest.mark.parametrize(
    ("query", "k"), [(np.ones(5), 1), (np.ones((1, 4)), 1), (np.array([np.inf, 0, 0, 0]), 1), (np.ones(4), 0)]
)
def test_a_query_that_cannot_be_used_is_refused(query, k):
    index, _ = filled(3, dim=4)
    with pytest.raises(InputError):
        index.search(query.astype(np.float32), k)


def test_an_id_given_twice_is_refused_and_leaves_nothing():
    index, rows = filled(5)
    for ids in ([100, 100], [100, 3]):
        with pytest.raises(InputError, match=str(ids[1])):
            index.extend(ids, rows[:2])
    with pytest.raises(InputError, match="2 ids came with 1"):
        index.extend([100, 101], rows[:1])
    assert len(index) == 5
    assert index.highest == 12


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_removed_row_leaves_no_bytes_in_memory(dtype):
    index, rows = filled(50, dtype)
    assert index.remove([6, 6, 7]) == 1
    table = index._table
    trace = rows[2] if dtype == "float32" else quantise(rows[2:3])[0][0]
    assert trace.tobytes() not in table.data.tobytes()
    assert rows[3].tobytes() in filled(50)[0]._table.data.tobytes()  # the probe does find what is there


def test_int8_takes_a_quarter_of_the_memory():
    wide, narrow = ExactIndex(384, capacity=1000), ExactIndex(384, "int8", capacity=1000)
    assert wide.nbytes / narrow.nbytes == pytest.approx(4, abs=0.15)


def test_adding_one_by_one_copies_seldom():
    index, arrays = ExactIndex(4), set()
    for n, row in enumerate(unit_rows(5000, 4)):
        index.extend([n], row[None])
        arrays.add(id(index._table.ids))
        keep = index._table.ids  # noqa: F841 - held, so that no later array gets its address
    assert len(arrays) <= 8


def test_rescore_orders_the_candidates_that_are_left():
    rows, query = unit_rows(6), unit_rows(1, seed=9)[0]
    scores = rows @ query
    found = rescore(Found(np.arange(7), np.ones(7, np.float32), 0.5, 0.25), query, [10, 11, 12, 13, 14, 15], rows, 3)
    assert found.ids.tolist() == (np.argsort(-scores)[:3] + 10).tolist()
    assert (found.mean, found.std) == (0.5, 0.25)


@pytest.mark.parametrize("dtype", DTYPES)
def test_searches_stay_right_while_rows_come_and_go(dtype):
    """Rows 0..99 stay. Others point away from the query, so the best ten are always the same."""
    dim, rng = 16, np.random.default_rng(0)
    query = np.eye(dim, dtype=np.float32)[0]
    near = unit_rows(100, dim) * 0.2 + query
    near /= np.linalg.norm(near, axis=1, keepdims=True)
    away = unit_rows(400, dim, seed=2)
    away[:, 0] = -np.abs(away[:, 0])
    index = ExactIndex(dim, dtype)
    index.extend(range(100), near)
    expected, wrong, stop = index.search(query, 10), [], threading.Event()

    def look():
        while not stop.is_set():
            found = index.search(query, 10)
            if not (np.array_equal(found.ids, expected.ids) and np.allclose(found.scores, expected.scores)):
                wrong.append(found)

    readers = [threading.Thread(target=look) for _ in range(3)]
    for reader in readers:
        reader.start()
    start = 100
    for _ in range(60):
        index.extend(range(start, start + 400), away)
        index.remove(rng.permutation(np.arange(start, start + 400)))
        start += 400
    stop.set()
    for reader in readers:
        reader.join()
    assert wrong == []
    assert len(index) == 100


class IndexAgainstDictionary(RuleBasedStateMachine):
    """Any order of extend, remove and search gives what a dictionary of rows gives."""

    def __init__(self):
        super().__init__()
        self.rows = unit_rows(60, 6)
        self.index = ExactIndex(6)
        self.there = set()

    @rule(ids=st.lists(st.integers(0, 59), unique=True, max_size=12))
    def extend(self, ids):
        if self.there & set(ids):
            with pytest.raises(InputError, match="already"):
                self.index.extend(ids, self.rows[ids].reshape(-1, 6))
        else:
            self.index.extend(ids, self.rows[ids].reshape(-1, 6))
            self.there |= set(ids)

    @rule(ids=st.lists(st.integers(0, 59), max_size=6))
    def remove(self, ids):
        assert self.index.remove(ids) == len(self.there & set(ids))
        self.there -= set(ids)

    @rule(query=st.integers(0, 59), k=st.integers(1, 70), allowed=st.none() | st.lists(st.integers(0, 70)))
    def search(self, query, k, allowed):
        found = self.index.search(self.rows[query], k, None if allowed is None else np.array(allowed, np.int64))
        ids = np.array(sorted(self.there), dtype=np.int64)
        scores = self.rows[ids] @ self.rows[query]
        pool = [n for n in ids if allowed is None or n in allowed]
        assert found.ids.tolist() == sorted(pool, key=lambda n: -float(self.rows[n] @ self.rows[query]))[:k]
        assert found.mean == pytest.approx(scores.mean() if len(ids) else 0, abs=1e-6)
        assert found.std == pytest.approx(scores.std() if len(ids) else 0, abs=1e-6)

    @invariant()
    def holds_what_it_should(self):
        ids, vectors = self.index.rows()
        assert len(self.index) == len(self.there)
        assert set(ids.tolist()) == self.there
        assert np.array_equal(self.index.ids(), ids)
        assert np.array_equal(vectors, self.rows[ids])
        assert np.allclose(self.index.scores(self.rows[0], ids), vectors @ self.rows[0], atol=1e-6)


TestIndexAgainstDictionary = IndexAgainstDictionary.TestCase
TestIndexAgainstDictionary.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
