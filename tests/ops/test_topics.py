"""Groups are found, keep their size, repeat under a seed, and leave nobody out; a topic names all its members."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from slowwave.errors import InputError
from slowwave.ops.made import Made
from slowwave.ops.topics import groups, kmeans, propose_topic
from slowwave.records import Engram, Scope

NOW = datetime(2024, 6, 1, tzinfo=UTC)


def blobs(sizes, dim=16, spread=0.15, seed=0):
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((len(sizes), dim))
    rows = np.concatenate(
        [c / np.linalg.norm(c) + spread * rng.standard_normal((n, dim)) for c, n in zip(centres, sizes, strict=True)]
    )
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows.astype(np.float32), np.repeat(np.arange(len(sizes)), sizes)


@pytest.mark.parametrize("batch", [8, 256])
def test_kmeans_finds_the_groups_that_are_there(batch):
    rows, truth = blobs([30, 30, 30])
    found = kmeans(rows, 3, batch=batch)
    for group in range(3):
        assert len(set(found[truth == group].tolist())) == 1
    assert len(set(found.tolist())) == 3


def test_kmeans_repeats_under_a_seed_and_numbers_groups_by_first_mention():
    rows, _ = blobs([12, 5, 20])
    first = kmeans(rows, 3, seed=4)
    assert np.array_equal(first, kmeans(rows, 3, seed=4))
    seen = list(dict.fromkeys(first.tolist()))
    assert seen == sorted(seen)


def test_rows_that_coincide_are_one_group():
    rows = np.tile(np.eye(4, dtype=np.float32)[0], (9, 1))
    assert set(kmeans(rows, 3).tolist()) == {0}


def test_groups_keep_within_their_sizes_and_every_row_stands_in_one_place():
    rows, _ = blobs([45, 15, 4, 11])
    found, left = groups(rows, most=20, keep=10)
    assert all(10 < len(group) <= 20 for group in found)
    assert sorted([n for group in found for n in group] + left) == list(range(75))


def test_ten_are_no_group_and_eleven_are():
    rows, _ = blobs([10])
    assert groups(rows) == ([], list(range(10)))
    rows, _ = blobs([11])
    assert groups(rows) == ([list(range(11))], [])


def test_what_no_split_can_part_is_cut_in_its_order():
    rows = np.tile(np.eye(4, dtype=np.float32)[0], (47, 1))
    found, left = groups(rows)
    assert [len(group) for group in found] == [20, 20]
    assert left == list(range(40, 47))


def test_no_rows_give_no_groups_and_wrong_shapes_an_error():
    assert groups(np.zeros((0, 4), dtype=np.float32)) == ([], [])
    with pytest.raises(InputError):
        kmeans(np.zeros((0, 4)), 2)
    with pytest.raises(InputError):
        groups(np.zeros((4, 4)), most=5, keep=5)


def test_a_topic_names_its_members_as_sources_and_each_is_a_part_of_it():
    members = [Engram(f"e{n}", "fact", f"fact {n}", Scope(user_id="ana"), NOW, NOW) for n in range(3)]
    made = Made()
    topic = propose_topic("The lake", "About the lake.", members, made, NOW, {"by": "test"}, "three of a kind")
    change = made.changes[0]
    assert topic.sources == ("e0", "e1", "e2")
    assert [(link.source, link.relation, link.target) for link in change.links] == [
        (member.id, "part", topic.id) for member in members
    ]
    assert (topic.attrs["topic"], topic.attrs["members"], topic.attrs["by"]) == ("The lake", 3, "test")
