"""Times come back as they went in, for the years 1 to 9999 and any zone; ids sort by the moment they were made."""

from __future__ import annotations

import threading
from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slowwave.errors import InputError
from slowwave.store.clock import EPOCH, from_micros, parse_moment, to_micros, zone_name
from slowwave.store.ids import ALPHABET, LENGTH, content_key, new_id

ZONES = ["Europe/London", "Asia/Kathmandu", "Pacific/Apia", "Africa/Monrovia", "America/St_Johns", "Antarctica/Troll"]
WEST = timezone(-timedelta(hours=1))
offsets = st.integers(-86_399, 86_399).map(lambda seconds: timezone(timedelta(seconds=seconds)))
zones = st.just(UTC) | st.sampled_from(ZONES).map(ZoneInfo) | offsets


@given(st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29), timezones=zones), st.integers(0, 1))
def test_a_moment_and_its_zone_come_back(moment: datetime, fold: int) -> None:
    moment = moment.replace(fold=fold)
    back = from_micros(to_micros(moment), zone_name(moment))
    assert to_micros(back) == to_micros(moment)
    real = moment.astimezone(UTC).astimezone(moment.tzinfo)  # a time that the clocks skipped is the one they showed
    assert (back.utcoffset(), back.replace(tzinfo=None)) == (real.utcoffset(), real.replace(tzinfo=None))
    assert zone_name(back) == zone_name(moment)


@given(st.datetimes(datetime.min, datetime.max), zones)
def test_every_wall_clock_is_kept_or_refused(wall: datetime, zone: timezone) -> None:
    try:
        moment = parse_moment(wall, zone)
    except InputError as error:
        why = str(error)
        outside = wall < datetime(1, 1, 3) or wall > datetime(9999, 12, 29)
        if outside and "outside the years 1 to 9999" in why:
            return
        raise
    assert to_micros(from_micros(to_micros(moment), zone_name(moment))) == to_micros(moment)


@given(st.integers(to_micros(datetime.min.replace(tzinfo=UTC)), to_micros(datetime.max.replace(tzinfo=UTC))))
def test_microseconds_are_exact(micros: int) -> None:
    assert to_micros(from_micros(micros)) == micros


@pytest.mark.parametrize(
    ("given_", "due"),
    [
        ("2023-05-08", "2023-05-08T00:00:00+01:00"), ("2023-05-08T13:56+02:00", "2023-05-08T13:56:00+02:00"),
        (" 2023-05-08T13:56Z ", "2023-05-08T13:56:00+00:00"), (date(2023, 5, 8), "2023-05-08T00:00:00+01:00"),
        (datetime(2023, 1, 8), "2023-01-08T00:00:00+00:00"), (0, "1970-01-01T00:00:00+00:00"),
        (-1.5, "1969-12-31T23:59:58.500000+00:00"),
    ],
)  # fmt: skip
def test_naive_times_are_read_in_the_zone(given_: object, due: str) -> None:
    assert parse_moment(given_, ZoneInfo("Europe/London")).isoformat() == due


@pytest.mark.parametrize(
    "bad", ["", "soon", "2023-13-01", "0000-01-01", "10000-01-01", True, None, [], 1e20, float("nan"), float("inf"),
            "0001-01-01T00:00+14:00", "9999-12-31T23:59-12:00", datetime.max.replace(tzinfo=WEST)],
)  # fmt: skip
def test_what_is_no_time_is_told_so(bad: object) -> None:
    with pytest.raises(InputError, match=r"ISO 8601|outside the years 1 to 9999"):
        parse_moment(bad, UTC)


def test_a_zone_that_this_machine_lacks_is_read_as_utc() -> None:
    assert from_micros(0, "Atlantis/Capital") == EPOCH


def test_ids_sort_by_the_moment_they_were_made() -> None:
    ids = [new_id() for _ in range(20_000)]
    assert ids == sorted(ids)
    assert len(set(ids)) == len(ids)
    assert all(len(id_) == LENGTH and set(id_) <= set(ALPHABET) for id_ in ids)


def test_threads_never_share_an_id() -> None:
    made: list[list[str]] = [[] for _ in range(4)]
    threads = [threading.Thread(target=lambda own=own: own.extend(new_id() for _ in range(5000))) for own in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id_ for own in made for id_ in own}) == 20_000
    assert all(own == sorted(own) for own in made)


short = st.text(max_size=3)
parts = st.tuples(short, short, st.none() | short, st.none() | short, st.none() | st.integers(-5, 5), st.integers(0, 2))


@given(parts, parts)
def test_content_keys_are_equal_only_for_equal_items(one: tuple[object, ...], two: tuple[object, ...]) -> None:
    same = content_key(*one) == content_key(*two)  # type: ignore[arg-type]
    assert same == (one == two)
    assert len(content_key(*one)) == 16  # type: ignore[arg-type]
