"""Hits that another record contradicts: told in `why`, and of two that contradict each other the later stands first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from slowwave.records import Engram, Hit
from slowwave.store.base import View

SHOWN = 60  # characters of the other record


def tell_disputes(view: View, hits: Sequence[Hit], present: bool) -> list[Hit]:
    """The hits, each with what stands against it; where the present is asked for, the later of two goes first.

    A tie is of what a night could not decide: both stay, and whoever reads is told of both.
    """
    ties = view.links([hit.id for hit in hits], ("contradicts",)) if hits else []
    if not ties:
        return list(hits)
    others = view.get(list(dict.fromkeys(end for tie in ties for end in (tie.source, tie.target))))
    against: dict[str, list[Engram]] = {}
    for tie in ties:
        for one, other in ((tie.source, tie.target), (tie.target, tie.source)):
            if one in others and other in others and others[other].retired is None:
                against.setdefault(one, []).append(others[other])
    told = [replace(hit, why=f"{hit.why}; {_told(against[hit.id])}") if hit.id in against else hit for hit in hits]
    if present:
        for hit in list(told):
            for older in against.get(hit.id, ()):
                _put_first(told, hit, older)
    return told


def _told(others: Sequence[Engram]) -> str:
    said = [f"{other.text[:SHOWN]!r} ({other.at:%Y-%m-%d})" for other in others[:2]]
    return f"contradicts {' and '.join(said)}"


def _put_first(hits: list[Hit], hit: Hit, other: Engram) -> None:
    """Move the hit right above an older one that it contradicts."""
    place = next((n for n, one in enumerate(hits) if one.id == hit.id), None)
    above = next((n for n, one in enumerate(hits) if one.id == other.id), None)
    if place is None or above is None or above > place or hits[place].engram.at <= other.at:
        return
    later = hits.pop(place)
    hits.insert(above, replace(later, score=max(later.score, hits[above].score)))
