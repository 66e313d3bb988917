import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slowwave.ops.calibration import (
    THRESHOLD,
    Calibration,
    Evidence,
    cover,
    hit_scores,
    names_known,
    probability,
    support,
)

unit = st.floats(0, 1)


def test_a_near_record_with_the_words_passes_and_a_far_one_does_not():
    assert probability(Evidence(nearest=0.7, support=1.2)) > 0.9
    assert probability(Evidence(nearest=0.25, support=0.3)) < THRESHOLD


def test_an_unknown_name_counts_against_and_a_known_one_for():
    middling = Evidence(nearest=0.5, support=0.6)
    known = Evidence(nearest=0.5, support=0.6, names=1.0)
    unknown = Evidence(nearest=0.5, support=0.6, names=-1.0)
    assert probability(unknown) < THRESHOLD < probability(middling) < probability(known)


@given(unit, st.floats(0, 2), st.floats(-1, 1), unit, unit)
def test_more_evidence_never_lowers_the_probability(nearest, both, names, unknown, time):
    base = probability(Evidence(nearest, both, names, unknown, time))
    assert 0 < base < 1
    assert probability(Evidence(nearest + 0.1, both, names, unknown, time)) > base
    assert probability(Evidence(nearest, both + 0.1, names, unknown, time)) > base
    assert probability(Evidence(nearest, both, names + 0.1, unknown, time)) > base
    assert probability(Evidence(nearest, both, names, unknown, time + 0.1)) > base
    assert probability(Evidence(nearest, both, names, unknown + 0.4, time)) < base


def test_without_vectors_the_words_decide():
    assert probability(Evidence(nearest=math.nan, support=1.0)) > THRESHOLD
    assert probability(Evidence(nearest=math.nan, support=0.2)) < THRESHOLD


def test_cover_is_one_where_each_word_occurs_once_in_a_record_of_average_length():
    frequency = {"rome": 1, "studio": 5, "absent": 0}
    idf = {word: math.log1p((100 - n + 0.5) / (n + 0.5)) for word, n in frequency.items()}
    found = cover([sum(idf.values()), idf["rome"], 0.0, -1.0], frequency, 100)
    assert found == pytest.approx([1.0, idf["rome"] / sum(idf.values()), 0.0, 0.0])


def test_without_telling_words_nothing_is_covered():
    assert cover([1.0, 2.0], {}, 100).tolist() == [0.0, 0.0]


def test_support_wants_meaning_and_words_in_one_record():
    assert support([0.5, 0.0], [0.0, 0.9]) == pytest.approx(0.9)
    assert support([0.5, 0.0], [0.9, 0.0]) == pytest.approx(1.4)
    assert support([0.5], [7.0]) == pytest.approx(1.5)
    assert support([math.nan], [0.4]) == pytest.approx(0.4)
    assert support([], []) == 0.0


def test_names_are_known_between_minus_one_and_one():
    assert names_known(2, 0) == 1.0
    assert names_known(1, 1) == 0.0
    assert names_known(0, 3) == -1.0
    assert names_known(0, 0) == 0.0


@given(st.lists(st.floats(-50, 50), max_size=20), st.floats(0.001, 0.999))
def test_hits_keep_their_order_and_the_best_gets_the_probability(ranked, best):
    found = hit_scores(ranked, best)
    assert len(found) == len(ranked)
    if ranked:
        assert found.max() == pytest.approx(best)
        assert (found >= 0).all()
        assert (np.diff(found[np.argsort(ranked)]) >= 0).all()


def test_log_odds_fall_with_the_distance_from_the_best():
    found = hit_scores([5.0, 3.0], 0.5, Calibration(fall=0.5))
    assert np.log(found / (1 - found)) == pytest.approx([0.0, -1.0])


def test_certainty_stays_certainty():
    assert hit_scores([2.0, 1.0], 1.0).tolist() == pytest.approx([1.0, 1.0])
    assert hit_scores([2.0, 1.0], 0.0).tolist() == pytest.approx([0.0, 0.0])
