"""What A-MEM, MemGAS and Structural Memory share: nights derive units that point the way, hits are what was said.

A unit (a note, a session's keywords, a triple) is found by its vector and hands its score to the turns it was made
from; each turn is shown once, however many units point to it. So a fact does not fill the context four times, and a
summary is no cheap way to have recalled twenty turns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from slowwave.models.base import Embedder
from slowwave.ops.made import Made
from slowwave.ops.nearness import Vector, alike, nearest
from slowwave.ops.unfold import Pointed, all_sources, unfold
from slowwave.records import Change, Engram, Hit, Hits
from slowwave.store.base import Cursor, View, Want
from slowwave.text.base import Cue, Dream, Night
from slowwave.text.plain import PlainMemory


@dataclass(frozen=True)
class Near:
    """What is near a text: likeness by row number, best first, the text's vector, and what could not be done."""

    scores: Mapping[int, float]
    vector: Vector | None = None
    degraded: tuple[str, ...] = ()


class TurnMemory(PlainMemory):
    """A memory whose hits are turns, found by themselves or through units derived from them.

    candidates  records that a search looks at closely
    """

    def __init__(self, candidates: int = 200) -> None:
        self.candidates = candidates

    def stands_for(self, engram: Engram) -> Sequence[str]:
        """The records that a unit's score goes to."""
        return all_sources(engram)

    def shown_alone(self, engram: Engram) -> bool:
        """Whether a record may be shown where nothing that it was made from is: a correction may, a unit not."""
        return True

    # -- read

    def near(self, view: View, cue: Cue, embedder: Embedder | None, text: str | None = None) -> Near:
        """What lies nearest to the cue, or to another text: records that are wanted, and units whatever is wanted."""
        everything = Want(as_of=cue.want.as_of)
        wants = [everything] if cue.want == everything else [everything, cue.want]
        most = max(self.candidates, 2 * cue.top_k)
        asked = text or cue.text
        scores: dict[int, float] = {}
        if embedder is None:
            notes: list[str] = []
            for want in wants:
                found, notes = alike(view, asked, None, most, want)
                scores |= found
            return Near(scores, None, tuple(notes))
        vector = embedder.embed([asked])[0]
        for want in wants:
            scores |= nearest(view, vector, most, want)
        return Near(scores, vector)

    def point(self, view: View, cue: Cue, scores: Mapping[int, float]) -> dict[int, Pointed]:
        """The wanted records that scores lead to, each once. Who asks for derived kinds alone gets them as they are."""
        stands_for = _nothing if asks_for_units(cue) else self.stands_for
        return unfold(view, scores, cue.want, stands_for, self.shown_alone)

    def hits(self, view: View, cue: Cue, ranked: Sequence[Pointed], near: Near, unit: str) -> Hits:
        """The first `top_k` at or above the threshold, in the order given, with scores that never rise.

        unit  what a derived unit is called in `why`, such as "a note"
        """
        least = 0.0 if cue.threshold is None else cue.threshold
        kept: list[tuple[Pointed, float]] = []
        bound = 1.0
        for pointed in ranked:
            bound = min(bound, max(0.0, pointed.score))
            if bound < least or len(kept) == cue.top_k:
                break
            kept.append((pointed, bound))
        engrams = view.engrams([pointed.n for pointed, _ in kept], cue.want.as_of)
        units = view.engrams([p.via for p, _ in kept if p.via != p.n], cue.want.as_of) if cue.explain else {}
        out = []
        for pointed, score in kept:
            channels = {"cosine": near.scores[pointed.n]} if pointed.n in near.scores else {}
            why = "close in meaning" if pointed.via == pointed.n else f"{unit} points to it"
            if pointed.via in units:
                why += f": {units[pointed.via].text:.80}"
            out.append(Hit(engrams[pointed.n], score, {**channels, "score": pointed.score}, why))
        return Hits(out, {"degraded": list(near.degraded), "threshold": least})

    # -- sleep

    def dreamt(self, night: Night, made: Made, vectors: Mapping[str, Vector], cursor: Cursor) -> Dream:
        """The Dream of what was made, where the night has worked out some of the vectors already."""
        engrams = made.engrams
        index = self.index(engrams, [made.contents[engram.id] for engram in engrams], None)
        known = dict(vectors)
        missing = [engram for engram in engrams if engram.id not in known]
        if missing and night.embedder is not None:
            known |= dict(zip((engram.id for engram in missing), self.embed(missing, night.embedder), strict=True))
        night.progress("index", len(engrams), len(engrams))
        entries = {id_: replace(entry, vector=known.get(id_)) for id_, entry in index.items()}
        return Dream(tuple(made.changes), entries, cursor, (), tuple(made.rejected))


def asks_for_units(cue: Cue) -> bool:
    """Whether derived kinds are asked for by name, and no turns."""
    return cue.want.kinds is not None and "episode" not in cue.want.kinds


def best_first(pointed: Mapping[int, Pointed], own: Mapping[int, float]) -> list[Pointed]:
    """By score; of those that one unit points to, the one that is itself nearest, then the older."""
    return sorted(pointed.values(), key=lambda p: (-p.score, -own.get(p.n, -1.0), p.n))


def cosines(view: View, vector: Vector, ns: Sequence[int]) -> dict[int, float]:
    """Plain cosines of stored vectors with another; what has no vector is left out."""
    return {n: float(row @ vector) for n, row in view.vectors(ns).items()}


def untold(view: View, episodes: Mapping[int, Engram], ours: Callable[[Engram], bool]) -> dict[int, Engram]:
    """The episodes without a unit of ours in view: a night that is told to look again must not derive them twice."""
    made = view.derived([engram.id for engram in episodes.values()])
    units = view.get(list(dict.fromkeys(id_ for ids in made.values() for id_ in ids)))
    live = {id_ for id_, unit in units.items() if unit.retired is None and ours(unit)}
    return {n: engram for n, engram in episodes.items() if not live.intersection(made.get(engram.id, ()))}


def rewritten(old: Engram, by: str, reason: str, now: datetime) -> Change:
    """The change that takes an old version out of view; the new one is tied to it as what supersedes it."""
    return Change(
        "retire",
        old.id,
        reason,
        fields={"retired": now, "retired_why": "rewritten"},
        guard={"retired": None},
        sources=(old.id, by),
    )


def _nothing(engram: Engram) -> Sequence[str]:
    return ()
