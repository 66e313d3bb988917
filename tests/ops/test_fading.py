"""The forgetting curve: closed form against simulation, due moments, the spacing effect."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slowwave.errors import InputError
from slowwave.ops.fading import FLOOR, LEVELS, due_before, half_life_after_use, next_halving, strength_at

START = datetime(2024, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)

moments = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
half_lives = st.floats(0.01, 1000)
strengths = st.floats(0.001, 1)


def test_strength_halves_at_each_half_life_and_not_before() -> None:
    just_before = START + 30 * DAY - timedelta(microseconds=1)
    assert strength_at(1.0, START, just_before, 30) == 1.0
    assert [strength_at(1.0, START, START + k * 30 * DAY, 30) for k in range(7)] == [*LEVELS, FLOOR, FLOOR]


def test_a_strength_below_the_floor_is_not_raised_to_it() -> None:
    assert strength_at(0.01, START, START + 900 * DAY, 30) == 0.01
    assert strength_at(0.1, START, START + 900 * DAY, 30) == FLOOR


def test_time_that_runs_backwards_weakens_nothing() -> None:
    assert strength_at(0.5, START, START - 400 * DAY, 30) == 0.5


@given(strengths, moments, st.floats(0, 20), half_lives)
def test_closed_form_equals_halving_step_by_step(strength: float, last: datetime, spans: float, half: float) -> None:
    """The simulation follows `next_halving` from moment to moment, as nights do; floats halve exactly."""
    now = last + spans * timedelta(days=half)
    simulated, visits, due = strength, 0, next_halving(strength, last, last, half)
    while due is not None and due <= now:
        simulated, visits = max(simulated / 2, min(FLOOR, strength)), visits + 1
        due = next_halving(strength, last, due, half)
    assert simulated == strength_at(strength, last, now, half)
    assert visits <= len(LEVELS) - 1


@given(strengths, moments, st.floats(0, 20), half_lives)
def test_the_next_halving_is_the_first_moment_of_a_lower_strength(
    strength: float, last: datetime, spans: float, half: float
) -> None:
    now = last + spans * timedelta(days=half)
    here, due = strength_at(strength, last, now, half), next_halving(strength, last, now, half)
    if due is None:
        assert strength_at(strength, last, now + 5000 * DAY, half) == here == min(FLOOR, strength)
    else:
        assert due > now
        assert strength_at(strength, last, due - timedelta(microseconds=1), half) == here
        assert strength_at(strength, last, due, half) < here


def test_nights_that_visit_only_what_is_due_keep_every_strength_right() -> None:
    """Two hundred records, uses at random, nights at random: stored strengths equal the closed form, visits are few."""
    rng = random.Random(7)
    half = 10.0
    last = dict.fromkeys(range(200), START)
    stored = dict.fromkeys(last, 1.0)
    now, visits, uses = START, 0, 0
    for _ in range(120):
        now += timedelta(hours=rng.randint(1, 60))
        for i in rng.sample(sorted(last), 3):
            last[i], stored[i], uses = now, 1.0, uses + 1
        cutoffs = {level: due_before(level, now, half) for level in LEVELS}
        for i, weight in stored.items():
            cutoff = cutoffs[weight]
            if cutoff is not None and last[i] <= cutoff:
                stored[i], visits = strength_at(1.0, last[i], now, half), visits + 1
        assert stored == {i: strength_at(1.0, last[i], now, half) for i in last}
    assert FLOOR in stored.values()
    assert visits <= (len(LEVELS) - 1) * (len(last) + uses)


def test_the_change_to_summer_time_moves_no_due_moment() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    last = datetime(2024, 3, 30, 12, tzinfo=berlin)  # the clock jumps an hour in the night that follows
    due = next_halving(1.0, last, last, 1)
    assert due == datetime(2024, 3, 31, 11, tzinfo=UTC)
    assert strength_at(1.0, last, datetime(2024, 3, 31, 12, 59, tzinfo=berlin), 1) == 1.0


def test_a_use_at_once_lengthens_nothing_and_a_late_one_much() -> None:
    assert half_life_after_use(30, START, START) == 30
    assert half_life_after_use(30, START, START + 30 * DAY) == 45
    gaps = [half_life_after_use(30, START, START + n * DAY) for n in (1, 10, 100, 3000)]
    assert gaps == sorted(gaps)
    assert gaps[-1] == pytest.approx(60)
    assert half_life_after_use(30, START, START + 300 * DAY, gain=0) == 30


def test_spaced_uses_outlast_massed_ones() -> None:
    def after(days: list[int]) -> float:
        half, last = 10.0, START
        for day in days:
            half, last = half_life_after_use(half, last, START + day * DAY), START + day * DAY
        return half

    assert after([10, 20, 30]) > 2 * after([1, 2, 3])


def test_the_ends_of_the_calendar_do_not_break_it() -> None:
    dawn, dusk = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    assert strength_at(1.0, dawn, dusk, 30) == FLOOR
    assert next_halving(1.0, dusk, dusk, 30) is None
    assert due_before(1.0, dawn, 30) is None
    east = datetime.min.replace(tzinfo=ZoneInfo("Asia/Tokyo"))
    assert strength_at(1.0, east, START, 30) == FLOOR


@pytest.mark.parametrize(("strength", "half"), [(0, 30), (1.1, 30), (float("nan"), 30), (1, 0), (1, -3), (1, 1e9)])
def test_values_out_of_range_are_named(strength: float, half: float) -> None:
    with pytest.raises(InputError, match="must lie in"):
        strength_at(strength, START, START, half)


def test_naive_times_and_unknown_levels_are_refused() -> None:
    with pytest.raises(InputError, match="without a zone"):
        strength_at(1.0, datetime(2024, 1, 1), START, 30)
    with pytest.raises(InputError, match="must be one of"):
        due_before(0.3, START, 30)
    with pytest.raises(InputError, match="gain"):
        half_life_after_use(30, START, START, gain=-1)
