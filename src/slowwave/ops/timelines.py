"""Timelines: ways through typed links from a record back to where it began and on to what became of it.

    past, future = rows of links from older to newer, walked from the seed to an earliest ancestor, a latest descendant
    timeline = past + seed + future

Of a dense graph there are more ways than anybody can count, so each walk keeps the `width` best ways at every step, is
at most `length` records long, and ends early where nothing older, or newer, is tied to it. Ways are scored, never drawn
by lot: by the mean of how much their records bear on the question, each step weighed by its link.
Source: Ong et al. 2025, "THEANINE", whose code walks every way and samples one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from slowwave.ops.graph import around
from slowwave.ops.packing import line
from slowwave.records import Engram, Link
from slowwave.store.base import View, Want

# What tells how a later record follows from an earlier one, and how it is said between two lines. The weights say how
# telling a tie is: that two records share a topic is the weakest.
STEPS: dict[str, tuple[float, str]] = {
    "supersedes": (1.0, "changed to"),
    "causes": (1.0, "so"),
    "because": (1.0, "because of"),  # "causes", where the cause was said later
    "hinders": (0.9, "hindered by"),
    "reacts": (0.9, "felt about it"),
    "wants": (0.9, "wanted then"),
    "about": (0.5, "also"),
}
RELATIONS = tuple(name for name in STEPS if name != "because")


@dataclass(frozen=True, slots=True)
class Step:
    """A tie as a walk takes it, to the record `on`; the relation says how the newer follows from the older."""

    on: str
    relation: str
    weight: float


@dataclass(frozen=True, slots=True)
class Timeline:
    """Records in the order of time, the relation that leads to each (the first has none), the seed, and the score."""

    engrams: tuple[Engram, ...]
    relations: tuple[str, ...]
    seed: str
    score: float

    @property
    def ids(self) -> tuple[str, ...]:
        """Of its records, in their order."""
        return tuple(engram.id for engram in self.engrams)


def near(
    view: View, seeds: Sequence[str], want: Want, hops: int = 8, most: int = 400
) -> tuple[list[Link], dict[str, Engram]]:
    """The ties within so many steps of the seeds, and those records that are wanted; nothing further away is read.

    most  records that are opened in all, so that one which everything is tied to cannot pull in the whole scope
    """
    links = around(view, seeds, RELATIONS, hops, most)
    ids = dict.fromkeys([*seeds, *(end for link in links for end in (link.source, link.target))])
    rows = view.rows(list(view.numbers(list(ids)).values()), want)
    return links, {engram.id: engram for engram in view.engrams(list(rows), want.as_of).values()}


def steps(links: Iterable[Link], engrams: Mapping[str, Engram]) -> tuple[dict[str, list[Step]], dict[str, list[Step]]]:
    """(record -> steps back in time, record -> steps on) of links whose ends are both among the records.

    From what has changed all steps on lead to what it changed to: else the old value would stand as the last word.
    """
    back: dict[str, list[Step]] = {}
    on: dict[str, list[Step]] = {}
    for link in links:
        if link.relation not in RELATIONS or link.source not in engrams or link.target not in engrams:
            continue
        older, newer = sorted((engrams[link.source], engrams[link.target]), key=_order)
        told_later = link.relation == "causes" and link.source == newer.id
        relation = "because" if told_later else link.relation
        weight = STEPS[relation][0] * link.weight
        back.setdefault(newer.id, []).append(Step(older.id, relation, weight))
        on.setdefault(older.id, []).append(Step(newer.id, relation, weight))
    changes = {id_: [step for step in ways if step.relation == "supersedes"] for id_, ways in on.items()}
    return back, {id_: changes[id_] or ways for id_, ways in on.items()}


def timelines(
    seeds: Sequence[str],
    links: Iterable[Link],
    engrams: Mapping[str, Engram],
    bearing: Mapping[str, float],
    length: int = 8,
    width: int = 8,
    most: int | None = None,
) -> list[Timeline]:
    """One timeline a seed, best seeds first; a seed that an earlier timeline tells of needs none of its own.

    seeds    ids, best first
    engrams  the records that may be on a way; others are not walked through
    bearing  id -> how much a record bears on the question, in [0, 1]; 0 where it is not given
    length   records on either side of the seed
    width    ways that are kept at each step of a walk
    most     timelines in all
    """
    back, on = steps(links, engrams)
    order = [engram.id for engram in sorted(engrams.values(), key=_order)]
    later = {id_: place for place, id_ in enumerate(order)}
    earlier = {id_: -place for place, id_ in enumerate(order)}
    shown: set[str] = set()
    out: list[Timeline] = []
    for seed in seeds:
        if seed not in engrams or seed in shown or len(out) == most:
            continue
        pasts = _walk(seed, back, bearing, earlier, length, width)
        futures = _walk(seed, on, bearing, later, length, width)
        ways = [(_score(seed, past, future, bearing), past, future) for past in pasts for future in futures]
        score, past, future = max(ways, key=lambda way: way[0])
        out.append(_joined(seed, past, future, engrams, score))
        shown.update(out[-1].ids)
    return out


def told(timeline: Timeline, first: int = 0, above: Collection[str] = ()) -> str:
    """A timeline as lines for a prompt, oldest first: each with its dates, and how it follows from the one before.

    first  place from which it is told
    above  ids of what another timeline has told already: of these the date and the id are enough
    """
    lines = []
    for place in range(first, len(timeline.engrams)):
        relation, engram = timeline.relations[place], timeline.engrams[place]
        lead = f"  {STEPS[relation][1]}: " if relation and place > first else ""
        lines.append(lead + (line(engram.with_(text="as above")) if engram.id in above else line(engram)))
    return "\n".join(lines)


def fitting(
    timeline: Timeline, room: int, count_tokens: Callable[[str], int], above: Collection[str] = ()
) -> tuple[str, int]:
    """(lines, place of the first record told) of as much of a timeline as fits `room` tokens; ("", 0) if nothing does.

    What is left out is the oldest: of a timeline cut at its end the stale value would be quoted as current.
    """
    for first in range(len(timeline.engrams)):
        lines = told(timeline, first, above)
        if count_tokens(lines) + 1 <= room:
            return lines, first
    return "", 0


def outward(timeline: Timeline) -> list[Engram]:
    """Its records as an answer wants them: what the seed changed to, the seed itself, then the others by distance."""
    at = last = timeline.ids.index(timeline.seed)
    while last + 1 < len(timeline.engrams) and timeline.relations[last + 1] == "supersedes":
        last += 1
    others = sorted(range(len(timeline.engrams)), key=lambda place: (abs(place - at), -place))
    return [timeline.engrams[place] for place in dict.fromkeys([*range(last, at - 1, -1), *others])]


def _walk(
    seed: str,
    ways: Mapping[str, Sequence[Step]],
    bearing: Mapping[str, float],
    rank: Mapping[str, int],
    length: int,
    width: int,
) -> list[tuple[Step, ...]]:
    """The best ways from a seed to an end, nearest step first; one that reaches no end within `length` stops there.

    ways  record -> the steps that lead on from it
    rank  record -> how far on in the walk's direction it lies: of ways that are as good the one that gets further
    """

    def order(way: tuple[Step, ...]) -> tuple[float, int]:
        return -round(_score(seed, way, (), bearing), 9), -rank[way[-1].on] if way else 0

    ended: list[tuple[Step, ...]] = []
    open_: list[tuple[Step, ...]] = [()]
    for _ in range(length):
        longer: list[tuple[Step, ...]] = []
        for way in open_:
            seen = {seed, *(step.on for step in way)}
            further = [step for step in ways.get(way[-1].on if way else seed, ()) if step.on not in seen]
            longer += [(*way, step) for step in further]
            ended += [] if further else [way]
        open_ = sorted(longer, key=order)[:width]
        if not open_:
            break
    return sorted([*ended, *open_], key=order)[:width]


def _score(seed: str, past: Sequence[Step], future: Sequence[Step], bearing: Mapping[str, float]) -> float:
    """The mean of what the records of a way bear, the seed among them, each weighed by the step that leads to it."""
    parts = [bearing.get(seed, 0.0), *(step.weight * bearing.get(step.on, 0.0) for step in (*past, *future))]
    return sum(parts) / len(parts)


def _joined(
    seed: str, past: Sequence[Step], future: Sequence[Step], engrams: Mapping[str, Engram], score: float
) -> Timeline:
    ids = [*(step.on for step in reversed(past)), seed, *(step.on for step in future)]
    relations = ["", *(step.relation for step in reversed(past)), *(step.relation for step in future)]
    return Timeline(tuple(engrams[id_] for id_ in ids), tuple(relations), seed, score)


def _order(engram: Engram) -> tuple[object, ...]:
    return (engram.at, engram.recorded, engram.id)
