import numpy as np
import pytest

from slowwave.ops.neighbours import Shape, adjacent, best_of_session, needs_context, shape, taken_from


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I went to Rome.", Shape(4, 0)),
        ("Really? I went to Rome.", Shape(5, 1)),
        ("I went. You?", Shape(3, 2)),
        ('She asked "why?"', Shape(3, 2)),
        ("Do you like it? [image: a photo of a dog]", Shape(10, 2)),
        ("你去过罗马吗？", Shape(1, 2)),
        ("", Shape(0, 0)),
    ],
)
def test_shape_counts_words_and_sees_questions(text, expected):
    assert shape(text) == expected


def test_neighbours_are_found_within_a_session_in_any_order():
    before, after = adjacent([7, 7, 8, 7, -1, -1], [2, 1, 2, 4, 0, 1])
    assert before.tolist() == [1, -1, -1, -1, -1, -1]
    assert after.tolist() == [-1, 0, -1, -1, -1, -1]


def test_nothing_is_taken_from_a_missing_neighbour():
    assert taken_from([5.0, 7.0], np.array([-1, 0])).tolist() == [0.0, 5.0]
    assert taken_from([], np.array([], dtype=np.int64)).tolist() == []


def test_short_texts_lean_fully_and_long_ones_little():
    assert needs_context([0, 10, 60, 120, 600], 60).tolist() == [1.0, 1.0, 1.0, 0.5, 0.1]


def test_the_best_of_a_session_counts_for_all_of_it_and_loners_for_themselves():
    assert best_of_session([1.0, 3.0, 2.0, 9.0, 4.0], [0, 0, 1, -1, -1]).tolist() == [3.0, 3.0, 2.0, 9.0, 4.0]
    assert best_of_session([], []).tolist() == []
