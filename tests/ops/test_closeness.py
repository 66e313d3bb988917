import numpy as np
import pytest

from slowwave.ops.closeness import DAY, time_closeness

MAY = (120 * DAY, 151 * DAY)
YEAR = (0, 365 * DAY)


def test_a_record_from_within_the_stretch_is_close():
    assert time_closeness([MAY], [120 * DAY, 130 * DAY], [(), ()]).tolist() == [1.0, 1.0]


def test_what_is_told_afterwards_fades_more_slowly_than_what_is_announced():
    week_later, week_before, never = time_closeness([MAY], [158 * DAY, 113 * DAY, 800 * DAY], [(), (), ()])
    assert week_later == pytest.approx(np.exp(-1))
    assert week_before == pytest.approx(np.exp(-3.5))
    assert never < 1e-30


def test_the_times_a_text_speaks_of_count_whenever_it_was_said():
    yesterday = (130 * DAY, 131 * DAY)
    assert time_closeness([MAY], [800 * DAY], [(yesterday,)]).tolist() == [1.0]


def test_a_stretch_inside_another_matches_it_both_ways():
    assert time_closeness([MAY], [800 * DAY], [(YEAR,)]).tolist() == [1.0]
    assert time_closeness([YEAR], [800 * DAY], [(MAY,)]).tolist() == [1.0]


def test_a_partial_overlap_counts_by_its_share():
    late_may_and_june = (141 * DAY, 161 * DAY)
    assert time_closeness([MAY], [800 * DAY], [(late_may_and_june,)]).tolist() == [0.5]


def test_touching_stretches_do_not_overlap():
    june = (151 * DAY, 181 * DAY)
    assert time_closeness([MAY], [800 * DAY], [(june,)])[0] < 1e-30


def test_the_nearest_of_several_asked_stretches_counts():
    assert time_closeness([MAY, (400 * DAY, 401 * DAY)], [400 * DAY], [()]).tolist() == [1.0]


def test_a_query_without_a_time_is_close_to_nothing():
    assert time_closeness([], [5 * DAY], [(MAY,)]).tolist() == [0.0]
