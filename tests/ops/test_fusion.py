import numpy as np
import pytest

from slowwave.errors import InputError
from slowwave.ops.fusion import Candidates, Weights, fuse, peak_scaled, standardised, unite


def candidates(n, **given):
    fill = {
        "dense": np.full(n, 0.2),
        "lexical": np.zeros(n),
        "speaker": np.zeros(n),
        "time": np.zeros(n),
        "session": np.full(n, -1),
        "before": np.full(n, -1),
        "after": np.full(n, -1),
        "words": np.full(n, 10),
        "asks": np.zeros(n, dtype=np.int64),
    }
    return Candidates(**{**fill, **{name: np.array(value) for name, value in given.items()}})


def test_the_channels_add_up_to_the_score():
    rng = np.random.default_rng(0)
    n = 30
    given = candidates(
        n,
        dense=rng.normal(0.2, 0.1, n),
        lexical=rng.exponential(2, n),
        speaker=rng.integers(0, 2, n),
        time=rng.random(n),
        session=rng.integers(-1, 4, n),
        before=rng.integers(-1, n, n),
        after=rng.integers(-1, n, n),
        words=rng.integers(0, 300, n),
        asks=rng.integers(0, 3, n),
    )
    found = fuse(given, 0.2, 0.1)
    assert np.allclose(sum(found.channels.values()), found.score)
    assert sum(found.explain(3).values()) == pytest.approx(found.score[3])
    assert all(np.any(values != 0) for values in found.channels.values())


def test_each_channel_has_the_weight_that_is_written_down():
    w = Weights()
    found = fuse(candidates(3, dense=[0.3, 0.2, 0.2], lexical=[5.0, 10.0, 0.0], speaker=[0, 0, 1]), 0.2, 0.05)
    assert found.channels["dense"] == pytest.approx([2.0, 0.0, 0.0])
    assert found.channels["lexical"] == pytest.approx([w.lexical * w.lexical_peak / 2, w.lexical * w.lexical_peak, 0.0])
    assert found.channels["speaker"] == pytest.approx([0.0, 0.0, w.speaker])


def test_an_answer_profits_from_the_question_before_it():
    asked = candidates(3, dense=[0.5, 0.2, 0.2], before=[-1, 0, -1], asks=[2, 0, 0])
    found = fuse(asked, 0.2, 0.1)
    assert found.score[1] > found.score[2]
    told = fuse(candidates(3, dense=[0.5, 0.2, 0.2], before=[-1, 0, -1]), 0.2, 0.1)
    assert told.score[1] == told.score[2]


def test_words_are_lent_both_ways_and_less_to_long_texts():
    found = fuse(candidates(4, lexical=[0, 8.0, 0, 0], before=[-1, 0, 1, -1], after=[1, 2, -1, -1]), 0.2, 0.1)
    assert found.score[0] == found.score[2] > found.score[3]
    given = candidates(4, lexical=[0, 8.0, 0, 0], before=[-1, 0, 1, -1], after=[1, 2, -1, -1], words=[10, 10, 600, 10])
    long = fuse(given, 0.2, 0.1)
    assert long.channels["around"][2] == pytest.approx(found.channels["around"][2] / 10)


def test_a_short_question_ranks_below_a_statement():
    assert fuse(candidates(2, asks=[2, 0]), 0.2, 0.1).order().tolist() == [1, 0]


def test_a_record_gains_from_the_best_of_its_session():
    found = fuse(candidates(3, dense=[0.5, 0.2, 0.2], session=[4, 4, 5]), 0.2, 0.1)
    assert found.score[1] > found.score[2]


def test_the_time_that_the_query_names_counts():
    assert fuse(candidates(2, time=[0.0, 0.5]), 0.2, 0.1).order().tolist() == [1, 0]


def test_records_without_a_vector_are_ranked_by_the_rest():
    found = fuse(candidates(2, dense=[np.nan, np.nan], lexical=[1.0, 2.0]), 0.0, 1.0)
    assert found.order().tolist() == [1, 0]
    assert np.isfinite(found.score).all()


def test_equal_scores_keep_their_order_and_nothing_gives_nothing():
    assert fuse(candidates(4), 0.2, 0.1).order().tolist() == [0, 1, 2, 3]
    assert fuse(candidates(0), 0.0, 0.0).order().tolist() == []


def test_arrays_of_different_length_are_refused():
    with pytest.raises(InputError, match="differ in length"):
        candidates(3, dense=[0.1])


def test_like_cosines_and_absent_words_say_nothing():
    assert standardised([0.3, 0.3], 0.3, 0.0).tolist() == [0.0, 0.0]
    assert peak_scaled([0.0, 0.0], 4.0).tolist() == [0.0, 0.0]


def test_result_lists_are_united_without_repeats():
    assert unite([3, 1], [1, 2], [3]) == [3, 1, 2]
