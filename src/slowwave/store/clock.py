"""Times as the store keeps them: microseconds since 1970 in UTC, and the zone they were said in."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from slowwave.errors import InputError

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
FORMS = "give a datetime, a date, or ISO 8601 text such as 2023-05-08 or 2023-05-08T13:56+02:00"


def to_micros(moment: datetime) -> int:
    """An aware datetime -> microseconds since 1970 UTC; exact for the years 1 to 9999."""
    return (moment - EPOCH) // MICROSECOND


def zone_name(moment: datetime) -> str:
    """The name under which the zone is kept: an IANA key where there is one, else an offset such as "+02:00"."""
    key = getattr(moment.tzinfo, "key", None)
    if isinstance(key, str):
        return key
    offset = moment.utcoffset() or timedelta()
    if not offset:
        return "UTC"
    sign = "-" if offset < timedelta() else "+"
    seconds = abs(int(offset.total_seconds()))
    text = f"{sign}{seconds // 3600:02d}:{seconds % 3600 // 60:02d}"
    return text if seconds % 60 == 0 else f"{text}:{seconds % 60:02d}"


@lru_cache(maxsize=512)
def zone_of(name: str) -> tzinfo:
    """The zone of a kept name; one that this machine does not know is read as UTC, and the name stays kept."""
    if name == "UTC":
        return UTC
    if name[:1] in "+-":
        parts = [int(part) for part in name[1:].split(":")]
        offset = timedelta(hours=parts[0], minutes=parts[1], seconds=parts[2] if len(parts) > 2 else 0)
        return timezone(-offset if name[0] == "-" else offset)
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return UTC


def from_micros(micros: int, zone: str = "UTC") -> datetime:
    """Microseconds -> an aware datetime in the zone kept (UTC where that would leave the years 1 to 9999)."""
    moment = EPOCH + timedelta(microseconds=micros)
    try:
        return moment.astimezone(zone_of(zone))
    except OverflowError:
        return moment


def aware(moment: datetime, zone: tzinfo, name: str = "time") -> datetime:
    """A naive time is read in `zone`; one that UTC cannot express (around the years 1 and 9999) is an InputError."""
    if moment.tzinfo is None or moment.utcoffset() is None:
        moment = moment.replace(tzinfo=zone)
    try:
        moment.astimezone(UTC)
    except (OverflowError, ValueError) as error:
        raise InputError(f"{name} is {moment}, outside the years 1 to 9999 in UTC; give one inside") from error
    return moment


def parse_moment(value: object, zone: tzinfo, name: str = "at") -> datetime:
    """A datetime, date, ISO 8601 text, or seconds since 1970 -> an aware datetime."""
    if isinstance(value, datetime):
        return aware(value, zone, name)
    if isinstance(value, date):
        return aware(datetime(value.year, value.month, value.day), zone, name)
    if isinstance(value, bool):
        raise InputError(f"{name} is {value!r}; {FORMS}")
    if isinstance(value, (int, float)):
        try:
            return datetime.fromtimestamp(value, UTC)
        except (OverflowError, ValueError, OSError) as error:
            raise InputError(f"{name} is {value!r} seconds since 1970, which is outside the years 1 to 9999") from error
    if isinstance(value, str):
        try:
            return aware(datetime.fromisoformat(value.strip()), zone, name)
        except ValueError as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{name} is {value!r:.60}; {FORMS}") from error
    raise InputError(f"{name} is a {type(value).__name__}; {FORMS}")
