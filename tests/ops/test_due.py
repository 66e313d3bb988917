"""When a background night is due, told by moments alone."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slowwave.errors import InputError
from slowwave.ops.due import IDLE_SECONDS, Plan, hours_of, plan_of
from slowwave.store.base import Pulse

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
TIMES = st.times()


def quiet(seconds: float, fresh: int = 1) -> Pulse:
    return Pulse(NOON - timedelta(seconds=seconds), fresh)


def test_left_open_it_waits_for_a_minute_without_a_write() -> None:
    plan = plan_of(None, None, None, 1)
    assert plan == Plan(None, IDLE_SECONDS, (), 1)
    assert plan.against(quiet(59), NOON, None) == "written to 59 s ago"
    assert plan.against(quiet(60), NOON, None) == ""
    assert plan.against(Pulse(None, 1), NOON, None) == ""
    assert plan.against(quiet(-5), NOON, None) == "written to 0 s ago", "another machine's clock is ahead"


def test_there_must_be_news() -> None:
    plan = plan_of(None, None, None, 3)
    assert plan.against(quiet(60, 2), NOON, None) == "2 of 3 new records are there"
    assert plan.against(quiet(60, 3), NOON, None) == ""
    assert plan_of(5, None, None, 0).against(quiet(60, 0), NOON, None) == ""


def test_nights_begin_so_many_minutes_apart() -> None:
    plan = plan_of(10, 0, None, 1)
    assert plan.against(quiet(0), NOON, NOON - timedelta(minutes=9, seconds=59)).startswith("the last night began")
    assert plan.against(quiet(0), NOON, NOON - timedelta(minutes=10)) == ""
    assert plan.against(quiet(0), NOON, None) == ""


def test_hours_alone_do_not_ask_whether_anybody_writes() -> None:
    plan = plan_of(None, None, "12:00-13:00", 1)
    assert plan.against(quiet(0), NOON, None) == ""
    assert plan.against(quiet(9999), NOON - timedelta(minutes=1), None) == "it is not the hour"


def test_with_both_it_is_the_hour_or_nobody_writes() -> None:
    plan = plan_of(None, 30, "02:00-05:00", 1)
    assert plan.against(quiet(29), NOON, None) == "written to 29 s ago"
    assert plan.against(quiet(30), NOON, None) == ""
    assert plan.against(quiet(0), NOON.replace(hour=2), None) == ""


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("02:00-05:00", ["02:00", "04:59:59"], ["01:59:59", "05:00", "12:00"]),
        ("22:30-06:00", ["22:30", "23:59:59", "00:00", "05:59:59"], ["06:00", "22:29:59", "12:00"]),
        ("12-13, 01:30-2", ["12:00", "12:59", "01:30", "01:59"], ["13:00", "02:00", "01:29"]),
        ("22:00-24:00", ["22:00", "23:59:59"], ["00:00", "21:59"]),
        ("00:00-6", ["00:00", "05:59"], ["06:00", "23:59"]),
    ],
)
def test_stretches_of_the_day(text: str, inside: list[str], outside: list[str]) -> None:
    plan = plan_of(None, None, text, 1)
    for due, moments in ((True, inside), (False, outside)):
        for moment in moments:
            now = datetime.combine(NOON.date(), time.fromisoformat(moment), UTC)
            assert plan.inside(now) is due, moment


@given(TIMES, TIMES, TIMES)
def test_a_stretch_and_the_one_from_its_end_to_its_beginning_share_the_day(first: time, last: time, now: time) -> None:
    if first == last:
        return
    moment = datetime.combine(NOON.date(), now, UTC)
    there, back = Plan(hours=((first, last),)), Plan(hours=((last, first),))
    assert there.inside(moment) != back.inside(moment)


def test_hours_are_those_of_the_zone_through_summer_time() -> None:
    lisbon = ZoneInfo("Europe/Lisbon")
    plan = plan_of(None, None, "02:00-03:00", 1)
    assert plan.inside(datetime(2024, 7, 1, 1, 30, tzinfo=UTC).astimezone(lisbon))
    assert not plan.inside(datetime(2024, 12, 1, 1, 30, tzinfo=UTC).astimezone(lisbon))


BAD = "2|02:00|02:00-|25:00-03:00|02:60-03:00|2:0-3:0|02:00-02:00|a-b|02:00-05:00,|-|24:01-3|٣x-4|00:00-24:00|"


@pytest.mark.parametrize("text", BAD.split("|"))
def test_hours_that_cannot_be_read_are_named(text: str) -> None:
    with pytest.raises(InputError, match=r"hours is .*stretches of the day"):
        hours_of(text)
    with pytest.raises(InputError, match="hours"):
        plan_of(None, None, 5, 1)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"minutes": -1}, "minutes"),
        ({"minutes": float("nan")}, "minutes"),
        ({"minutes": "5"}, "minutes"),
        ({"idle_seconds": True}, "idle_seconds"),
        ({"idle_seconds": 1e9}, "idle_seconds"),
        ({"new_records": None}, "new_records"),
        ({"new_records": 0}, "how often"),
        ({"new_records": 0, "minutes": 0}, "how often"),
    ],
)
def test_a_wrong_plan_is_named(given: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        plan_of(**{"minutes": None, "idle_seconds": None, "hours": None, "new_records": 1, **given})
