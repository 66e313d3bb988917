"""Soft clusters find groups that are there, may overlap, repeat exactly, and make trees that end."""

from __future__ import annotations

import numpy as np
import pytest

from slowwave.errors import InputError
from slowwave.ops.clusters import best_mixture, bounded_clusters, fit, reduced, soft_clusters, tree


def blobs(groups, size, spread=0.3, dim=24, seed=0):
    """(vectors, group of each)."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(groups, dim))
    label = np.repeat(np.arange(groups), size)
    return centres[label] + spread * rng.normal(size=(groups * size, dim)), label


@pytest.mark.parametrize(("groups", "size"), [(2, 12), (4, 15), (7, 10)])
def test_groups_that_are_there_are_found(groups, size):
    vectors, label = blobs(groups, size)
    found = soft_clusters(vectors)
    assert len(found) == groups
    assert all(len({int(label[place]) for place in group}) == 1 for group in found)


def test_one_cloud_is_one_cluster():
    vectors = np.random.default_rng(3).normal(size=(80, 3))
    assert len(soft_clusters(vectors)) <= 2


def test_a_point_between_two_groups_belongs_to_both():
    left, right = np.random.default_rng(0).normal(size=(2, 20, 2)) * 0.8 + np.array([[[-2.0, 0]], [[2.0, 0]]])
    points = np.vstack([left, right, [[0.0, 0.0]]])
    shares = fit(points, 2).shares(points)
    assert shares[-1].min() > 0.01
    assert shares.sum(axis=1) == pytest.approx(np.ones(41))
    assert sum(40 in group for group in soft_clusters(points)) == 2


def test_the_same_vectors_give_the_same_clusters_and_every_place_is_in_one():
    vectors, _ = blobs(5, 9, spread=0.8)
    found = soft_clusters(vectors)
    assert found == soft_clusters(vectors)
    assert sorted({place for group in found for place in group}) == list(range(45))


def test_the_fit_is_the_one_that_explains_most():
    points = reduced(blobs(3, 20)[0], 10)
    assert best_mixture(points).bic <= min(fit(points, k).bic for k in (1, 2, 3))
    means = fit(points, 1).means[0]
    assert means == pytest.approx(points.mean(axis=0)), "one part is the mean of all"


def test_points_that_are_all_the_same_are_one_cluster():
    assert soft_clusters(np.ones((6, 5))) == [[0, 1, 2, 3, 4, 5]]


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_a_handful_of_points_is_no_trouble(n):
    vectors = np.random.default_rng(0).normal(size=(n, 8))
    assert sorted({place for group in soft_clusters(vectors) for place in group}) == list(range(n))


@pytest.mark.parametrize("spread", [0.3, 3.0])
def test_no_cluster_is_larger_than_it_may_be_and_none_is_lost(spread):
    vectors, _ = blobs(3, 40, spread=spread)
    found = bounded_clusters(vectors, 10)
    assert max(map(len, found)) <= 10
    assert sorted({place for group in found for place in group}) == list(range(120))
    assert bounded_clusters(np.ones((30, 4)), 5), "points that nothing tells apart are halved"
    with pytest.raises(InputError, match="at least 2"):
        bounded_clusters(vectors, 1)


def test_reduction_keeps_distances_along_the_main_axes_and_its_signs():
    rng = np.random.default_rng(1)
    flat = rng.normal(size=(30, 3)) @ rng.normal(size=(3, 50))
    low = reduced(flat, 10)
    assert low.shape == (30, 3)
    assert np.linalg.norm(low[0] - low[1]) == pytest.approx(np.linalg.norm(flat[0] - flat[1]))
    assert reduced(flat, 2) == pytest.approx(low[:, :2])


def test_a_tree_sums_up_level_by_level_and_ends():
    vectors, _ = blobs(9, 8)
    seen = []

    def sum_up(level, places):
        seen.append((level, list(places)))
        rows = vectors if level == 1 else np.stack(made[level - 1])
        made.setdefault(level, []).append(rows[list(places)].mean(axis=0))
        return made[level][-1]

    made = {}
    levels = tree(vectors, sum_up, levels=5, largest=10)
    sizes = [sum(level == n for level, _ in seen) for n in range(1, levels + 1)]
    assert 1 <= levels <= 5
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] >= 9
    assert {place for level, places in seen if level == 1 for place in places} == set(range(72))


def test_a_tree_stops_where_nothing_can_be_summed_up():
    vectors, _ = blobs(4, 10)
    assert tree(vectors, lambda level, places: None) == 1
    assert tree(vectors[:1], lambda level, places: vectors[0]) == 0
    assert tree(vectors, lambda level, places: vectors[places[0]], levels=1) == 1
