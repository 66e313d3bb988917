"""The exact cases of the function-token instrument: graph, loss by transition, steering search, feature growth."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import sparse

from slowwave.errors import InputError
from slowwave.probes.activations import Tokens
from slowwave.probes.classes import classify, spread
from slowwave.probes.feature_graph import graph_of, permuted, rarefied, rarefied_anywhere, ratio_interval
from slowwave.probes.steering import smallest_k
from slowwave.probes.transitions import by_transition, groups_of, losses_of, split_continuations

FUNCTION, CONTENT, DIRECTIONS = 10, 400, 512


def rows(ids: np.ndarray, context: int = 64) -> Tokens:
    """A stream as documents of one row each."""
    many = len(ids) // context
    cut = ids[: many * context].reshape(many, context).astype(np.int32)
    return Tokens(cut, np.arange(many, dtype=np.int32), np.zeros(many, np.int32))


@pytest.fixture(scope="module")
def planted():
    """A stream, its activations from orthonormal directions, and what an oracle encoder gives for them."""
    rng = np.random.default_rng(0)
    ids = np.where(rng.random(6400) < 0.5, rng.integers(0, FUNCTION, 6400), FUNCTION + rng.integers(0, CONTENT, 6400))
    ids[0] = FUNCTION
    fires = np.empty(len(ids), np.int64)
    last = -1
    for place, token in enumerate(ids):
        last = token - FUNCTION if token >= FUNCTION else last
        fires[place] = last
    basis = np.linalg.qr(rng.normal(size=(DIRECTIONS, DIRECTIONS)))[0]
    stream = basis[fires]
    latents = stream @ basis.T  # the oracle encoder
    latents[np.abs(latents) < 1e-9] = 0
    assert np.allclose(latents @ basis, stream, atol=1e-12)  # it rebuilds without an error
    return ids, fires, sparse.csr_matrix(latents)


def test_the_graph_has_exactly_the_planted_edges(planted) -> None:
    ids, fires, active = planted
    graph = graph_of(active, ids.astype(np.int32))
    due = {(int(token), int(feature)) for token, feature in zip(ids, fires, strict=True)}
    coo = graph.counts.tocoo()
    assert {(int(graph.ids[r]), int(c)) for r, c in zip(coo.row, coo.col, strict=True)} == due
    degrees = dict(zip(graph.ids.tolist(), graph.degrees().tolist(), strict=True))
    assert degrees == {token: len({f for t, f in due if t == token}) for token in degrees}
    assert all(degrees[token] == 1 for token in degrees if token >= FUNCTION)
    assert int(graph.counts.sum()) == len(ids)


def test_coverage_is_the_union_of_the_neighbours_of_the_commonest(planted) -> None:
    ids, fires, active = planted
    graph = graph_of(active, ids.astype(np.int32))
    ks = (1, 3, 10, 50, len(graph.ids))
    found = graph.coverage(ks)
    connected = len(set(fires.tolist()))
    for k, of_connected, of_all in zip(ks, found["of connected"], found["of all"], strict=True):
        union = {int(f) for t, f in zip(ids, fires, strict=True) if t in set(graph.ids[:k].tolist())}
        assert of_connected == len(union) / connected
        assert of_all == len(union) / DIRECTIONS
    assert found["of connected"][-1] == 1.0


def test_edges_at_a_share_of_occurrences(planted) -> None:
    ids, fires, active = planted
    graph = graph_of(active, ids.astype(np.int32))
    least = graph.degrees(0.01)
    for place in range(FUNCTION):
        token = graph.ids[place]
        mine = np.bincount(fires[ids == token], minlength=DIRECTIONS)
        assert least[place] == int((mine >= max(1, 0.01 * graph.often[place])).sum())


def test_permuting_labels_keeps_how_often_a_token_occurs(planted) -> None:
    ids, _, active = planted
    graph, null = graph_of(active, ids.astype(np.int32)), permuted(active, ids.astype(np.int32), seed=1)
    assert null.ids.tolist() == graph.ids.tolist()
    assert null.often.tolist() == graph.often.tolist()
    assert null.connected == graph.connected
    assert null.degrees()[FUNCTION:].sum() > graph.degrees()[FUNCTION:].sum()  # content tokens now fire anything


def test_rarefaction_takes_each_occurrence_from_another_document(planted) -> None:
    ids, _, active = planted
    tokens, document = ids.astype(np.int32), (np.arange(len(ids)) // 64).astype(np.int32)
    found = rarefied(active, tokens, document, range(FUNCTION + 20), seed=0)
    assert set(found) <= set(range(FUNCTION))  # no content token occurs in 50 documents
    assert all(1 < n <= 50 for n in found.values())
    one_document = np.zeros(len(ids), np.int32)
    assert rarefied(active, tokens, one_document, range(FUNCTION), seed=0) == {}
    assert all(25 < n <= 50 for n in rarefied_anywhere(active, 20, seed=0))
    ratio, low, high = ratio_interval([4.0] * 9, [2.0] * 9)
    assert (ratio, low, high) == (2.0, 2.0, 2.0)
    assert math.isnan(ratio_interval([], [1.0])[0])


@pytest.mark.parametrize("planted_features", [64, 128, 256])
def test_growth_counts_the_planted_features(planted_features: int) -> None:
    rng = np.random.default_rng(planted_features)
    basis = np.linalg.qr(rng.normal(size=(DIRECTIONS, DIRECTIONS)))[0][:planted_features]
    used = np.stack([rng.choice(planted_features, 4, replace=False) for _ in range(4000)])
    rows_ = basis[used].sum(1)
    latents = sparse.csr_matrix(np.where(rows_ @ basis.T > 0.5, 1.0, 0.0))
    assert graph_of(latents, np.zeros(4000, np.int32)).connected == planted_features


def test_losses_of_a_table_are_those_worked_out_by_hand() -> None:
    table = torch.tensor(
        [[0.5, 0.25, 0.125, 0.125], [0.1, 0.2, 0.3, 0.4], [0.7, 0.1, 0.1, 0.1], [0.25, 0.25, 0.25, 0.25]]
    )
    rng = np.random.default_rng(0)
    ids = rng.choice(4, 640, p=[0.5, 0.3, 0.1, 0.1])
    tokens = rows(ids)
    classes = classify(tokens, share=0.45)
    assert classes.ids[: classes.function].tolist() == [0]
    losses = losses_of(lambda x: table[x].log(), tokens)
    found = by_transition(losses, groups_of(losses, classes))
    due: dict[str, list[float]] = {name: [] for name in found}
    for row in tokens.ids:
        for a, b in itertools.pairwise(row):
            due[f"{'f' if a == 0 else 'c'}>{'f' if b == 0 else 'c'}"].append(-math.log(float(table[a, b])))
    total = sum(map(len, due.values()))
    for name, values in due.items():
        assert found[name]["loss"] == pytest.approx(sum(values) / len(values), rel=1e-6)
        assert found[name]["share"] == len(values) / total
        assert found[name]["contribution"] == pytest.approx(sum(values) / total, rel=1e-6)
        assert found[name]["low"] < found[name]["loss"] < found[name]["high"] or len(set(values)) == 1
    mean = sum(map(sum, due.values())) / total
    assert sum(part["contribution"] for part in found.values()) == pytest.approx(mean, rel=1e-6)
    begins = np.array([True, True, False, True])
    parted = by_transition(
        losses, split_continuations(groups_of(losses, classes), losses, begins), (*found, "c>c within")
    )
    assert parted["c>c"]["n"] + parted["c>c within"]["n"] == found["c>c"]["n"]


def test_the_search_finds_the_thirteenth_feature() -> None:
    found = smallest_k(lambda k: k >= 13, most=512)
    assert found.k == 13
    assert found.steady
    assert found.tried[:5] == (1, 2, 4, 8, 16)
    assert found.tried[5:8] == (12, 14, 13)  # three more tries; the rest verifies
    assert smallest_k(lambda k: False, most=64).k is None
    assert smallest_k(lambda k: k >= 1, most=64).k == 1
    assert smallest_k(lambda k: k >= 64, most=64).k == 64
    assert not smallest_k(lambda k: k in (13, 16), most=64).steady  # 14 fails: success is not steady


def test_classes_are_cut_where_the_share_is_reached() -> None:
    ids = np.repeat([5, 9, 2, 7], [40, 30, 20, 10])
    tokens = Tokens(ids.reshape(10, 10).astype(np.int32), np.arange(10, dtype=np.int32), np.zeros(10, np.int32))
    classes = classify(tokens, share=0.4)
    assert classes.ids.tolist() == [5, 9, 2, 7]
    assert classes.function == 1
    assert classify(tokens, share=0.41).function == 2
    assert classes.coverage.tolist() == [0.4, 0.3, 0.2, 0.1]
    assert classes.cumulative.tolist() == pytest.approx([0.4, 0.7, 0.9, 1.0])
    assert spread(tokens, 5, bins=5).tolist() == [20, 20, 0, 0, 0]
    with pytest.raises(InputError, match="between 0 and 1"):
        classify(tokens, share=40)


def test_zipf_is_read_off_a_zipf_corpus() -> None:
    count = (1e6 / np.arange(1, 400) ** 1.0).astype(int)
    ids = np.repeat(np.arange(399), count)
    many = len(ids) // 100
    tokens = Tokens(
        ids[: many * 100].reshape(many, 100).astype(np.int32), np.arange(many, dtype=np.int32), np.zeros(many, np.int32)
    )
    assert classify(tokens).zipf(10, 300) == pytest.approx(1.0, abs=0.02)
