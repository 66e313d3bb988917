"""The arguments of Memory's verbs, checked: each comes back as the engine wants it, or as an InputError."""

from __future__ import annotations

import os
import zoneinfo
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Any

from slowwave.errors import InputError, ScopeError
from slowwave.ops.intake import check_text
from slowwave.records import KINDS, SCOPE_FIELDS, Scope, ScopeArgs, scope_of
from slowwave.store import is_url
from slowwave.store.base import Want
from slowwave.store.clock import parse_moment
from slowwave.store.filters import parse

SCHEMES = ("postgresql:", "postgres:", "http:", "https:")
Moment = datetime | str | float | None


def default_path() -> str:
    """SLOWWAVE_DB, else memory.db under SLOWWAVE_HOME, else ~/.slowwave/memory.db."""
    if given := os.environ.get("SLOWWAVE_DB"):
        return given if is_url(given) else str(Path(given).expanduser())
    return str(Path(os.environ.get("SLOWWAVE_HOME") or "~/.slowwave").expanduser() / "memory.db")


def path_of(path: str | Path | None) -> str:
    """The path of a memory as text; None is `default_path()`."""
    if path is None:
        return default_path()
    if not isinstance(path, (str, Path)) or not str(path).strip() or "\0" in str(path):
        raise InputError(f'path is {path!r:.80}; give the path of a file, or ":memory:"')
    if isinstance(path, Path) and path.parts[0] in SCHEMES:
        raise InputError(f"path is {path!r:.80}, which has lost a slash of its address; give the address as text")
    return str(path)


def mapping_of(name: str, value: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """A dictionary, empty for None."""
    if value is not None and not isinstance(value, Mapping):
        raise InputError(f"{name} is a {type(value).__name__}; it must be a dictionary")
    return value or {}


def zone_named(zone: str | tzinfo) -> tzinfo:
    """A zone by name, or as it is given."""
    if isinstance(zone, tzinfo):
        return zone
    try:
        return UTC if zone == "UTC" else zoneinfo.ZoneInfo(zone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, TypeError, OSError) as error:
        raise InputError(f"zone is {zone!r}; give an IANA name such as Europe/London") from error


def scope_and_filters(scope: ScopeArgs, filters: Mapping[str, Any] | None) -> tuple[Scope, Mapping[str, Any] | None]:
    """Scope fields named in `filters` count as arguments where those are left out, as mem0's users write them."""
    if filters is None or not isinstance(filters, dict):
        return scope_of(scope), filters
    given: dict[str, Any] = dict(scope)
    rest = dict(filters)
    groups = rest.get("AND") if isinstance(rest.get("AND"), list) else []
    for part in [rest, *(group for group in groups or [] if isinstance(group, dict))]:
        for name in SCOPE_FIELDS:
            value = part.get(name)
            value = value.get("eq") if isinstance(value, dict) and list(value) == ["eq"] else value
            if given.get(name) is None and isinstance(value, str) and value != "*":
                given[name] = value
    for name in SCOPE_FIELDS:
        if rest.get(name) == given.get(name):
            rest.pop(name, None)
    if not any(given.get(name) for name in SCOPE_FIELDS) and any(name in str(filters) for name in SCOPE_FIELDS):
        raise ScopeError(
            f"the scope must be one value, such as user_id='ana'; filters holds {filters!r:.80}, which names none"
        )
    return scope_of(given), rest or None


def query_of(query: str) -> str:
    """A question that is there and can be kept; cut at 10,000 characters."""
    if not isinstance(query, str) or not query.strip():
        raise InputError(f"query is {query!r:.60}; give a question or some words")
    check_text(query, "query")
    return query[:10_000]


def count_of(name: str, value: int) -> int:
    """A whole number from 1 to a million."""
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 1_000_000:
        raise InputError(f"{name} is {value!r}; it must be a whole number from 1 to 1,000,000")
    return value


def threshold_of(value: float | None) -> float | None:
    """None, or a number in [0, 1]."""
    if value is not None and not (isinstance(value, (int, float)) and 0 <= value <= 1):
        raise InputError(f"threshold is {value!r}; it must lie in [0, 1]")
    return value


def positive(name: str, value: float, at_most: float = 1e9) -> float:
    """A number above 0."""
    if not isinstance(value, (int, float)) or not 0 < value <= at_most:
        raise InputError(f"{name} is {value!r}; it must be a number above 0 and at most {at_most:g}")
    return value


def want_of(
    kinds: Sequence[str] | None,
    filters: Mapping[str, Any] | None,
    at: Moment,
    as_of: Moment,
    zone: tzinfo,
    retired: bool = False,
) -> Want:
    """Which engrams a read is about."""
    if kinds is not None:
        if not isinstance(kinds, (str, Sequence, set, frozenset)):
            raise InputError(f"kinds is a {type(kinds).__name__}; give a list of {', '.join(KINDS)}")
        kinds = (kinds,) if isinstance(kinds, str) else tuple(kinds)
        unknown = [kind for kind in kinds if kind not in KINDS]
        if unknown:
            raise InputError(f"kinds has {', '.join(map(str, unknown))}; there are {', '.join(KINDS)}")
    return Want(
        kinds=None if kinds is None else tuple(kinds),
        where=parse(filters, zone),
        at=None if at is None else parse_moment(at, zone),
        as_of=None if as_of is None else parse_moment(as_of, zone, "as_of"),
        retired=retired,
    )
