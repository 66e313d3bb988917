"""Which records are worth keeping in weights: those that are stable, recur, still hold, and may go there."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from slowwave.promote.weights.adapter import Adapter
from slowwave.records import KINDS, Engram
from slowwave.store.base import View, Want
from slowwave.store.filters import parse

OPT_OUT = "train"  # attrs["train"] = False keeps a record, and what was made from it, out of weights
DAYS = 86_400.0


@dataclass(frozen=True)
class Selection:
    """What a night would teach, the worthiest first, and why the rest is left.

    new    records not taught before
    old    records of the nights before that still hold: rehearsed, and asked again
    left   reason -> how many records stay out for it; where nothing is new, those of other kinds are among them
    looked  at how many records
    """

    new: tuple[Engram, ...]
    old: tuple[Engram, ...]
    left: Mapping[str, int]
    looked: int = 0


def select(view: View, adapter: Adapter, now: datetime, taught: Sequence[str] = ()) -> Selection:
    """Choose among the records that the scope sees.

    taught  ids that the active snapshot holds
    """
    want = Want(kinds=adapter.kinds, where=None if adapter.filters is None else parse(adapter.filters))
    found = view.select(want)
    ids = [engram.id for engram in found]
    support, disputed = _support(view, ids), _disputed(view, ids)
    barred = _barred(view, found)
    held, left = set(taught), Counter[str]()
    new, old = [], []
    for engram in found:
        age = (now - engram.at).total_seconds() / DAYS
        many = support[engram.id] + max(1, len(engram.sources)) + (engram.used is not None)
        if reason := _reason(engram, now, age, many, adapter, barred, disputed):
            left[reason] += 1
        elif engram.id in held:
            old.append(engram)
        else:
            new.append((math.log1p(many) + engram.strength + math.log1p(max(0.0, age)) / 10, engram))
    new.sort(key=lambda one: (-one[0], one[1].id))
    if len(new) > adapter.most:
        left[f"beyond the {adapter.most} worthiest of a night"] += len(new) - adapter.most
    if not new:
        left.update(_beyond(view, adapter, len(found)))
    looked = len(new) + len(old) + sum(left.values()) - max(0, len(new) - adapter.most)
    return Selection(tuple(engram for _, engram in new[: adapter.most]), tuple(old), dict(left), looked)


def _beyond(view: View, adapter: Adapter, found: int) -> dict[str, int]:
    """What the kinds and filters that are asked for leave out."""
    out = {}
    for kind in KINDS:
        if kind not in adapter.kinds and (many := view.count(Want(kinds=(kind,)))):
            out[f"{'an' if kind[0] == 'e' else 'a'} {kind}, and kinds are {', '.join(adapter.kinds)}"] = many
    if adapter.filters is not None and (rest := view.count(Want(kinds=adapter.kinds)) - found):
        out["does not pass the filters"] = rest
    return out


def _reason(
    engram: Engram, now: datetime, age: float, many: int, adapter: Adapter, barred: set[str], disputed: set[str]
) -> str:
    """Why a record stays out; "" if it may go in."""
    if engram.until is not None:
        return "no longer true, or only for a time"
    if engram.attrs.get("expiration_date"):
        return "expires"
    if engram.at > now:
        return "not true yet"
    if engram.id in barred:
        return f"kept out by attrs {OPT_OUT!r} = false, its own or a source's"
    if engram.id in disputed:
        return "contradicted by another record in view"
    if age < adapter.least_days:
        return f"has stood for less than {adapter.least_days:g} days"
    if many < adapter.least_support and adapter.least_support > 0:
        return f"has fewer than {adapter.least_support} sources, repeats and uses"
    return ""


def _support(view: View, ids: Sequence[str]) -> Counter[str]:
    """How often each was said again."""
    return Counter(link.target for link in view.links(ids, ("supports",)))


def _disputed(view: View, ids: Sequence[str]) -> set[str]:
    """Records that another record in view contradicts."""
    links = view.links(ids, ("contradicts",))
    ends = view.get(sorted({end for link in links for end in (link.source, link.target)}))
    live = {id_ for id_, engram in ends.items() if engram.retired is None and engram.until is None}
    return {end for link in links if {link.source, link.target} <= live for end in (link.source, link.target)}


def _barred(view: View, found: Sequence[Engram]) -> set[str]:
    """Records whose owner keeps them, or what they were made from, out of weights."""
    sources = view.get(sorted({id_ for engram in found for id_ in engram.sources}))
    closed = {engram.id for engram in (*found, *sources.values()) if engram.attrs.get(OPT_OUT) is False}
    return closed | {engram.id for engram in found if not closed.isdisjoint(engram.sources)}
