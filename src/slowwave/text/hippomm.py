"""HippoMM's text port: talk is cut into events, repeats leave, and questions go to the gist before the details."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from slowwave.models.base import Embedder
from slowwave.ops.dates import TimeSpan, find_times
from slowwave.ops.deduplicate import drop_repeats
from slowwave.ops.events import event_of, gist_by_model, gist_of, parts_of
from slowwave.ops.extraction import ids_of
from slowwave.ops.made import Made
from slowwave.ops.nearness import alike, nearest
from slowwave.ops.routing import Route, margin, route, route_by_model
from slowwave.ops.salience import archived
from slowwave.ops.segments import by_change, by_session, runs, topic_cuts
from slowwave.records import KINDS, Engram, Hit, Hits
from slowwave.store.base import View, Want
from slowwave.text.base import Cue, Dream, Night
from slowwave.text.default import time_range
from slowwave.text.plain import PlainMemory, stopped, unread

Vector = NDArray[np.float32]
Cut = Literal["topic", "speaker", "session"]
FEWEST = 2  # turns of an event
IN_TIME = 0.2  # what a turn or event gains that lies in the time a question names: found by one cue, read by another
EVENTS = ("event",)
SAID = tuple(kind for kind in KINDS if kind not in EVENTS)


class HippoMM(PlainMemory):
    """Events of a few turns with a gist each: overview questions are answered from gists, others from the turns.

    cut         where a segment ends: at a change of topic, of speaker, or of session alone
    short_term  turns of a segment at most: the short-term buffer
    long_term   events in view at most, the oldest leave first; None for no limit (the paper: 100, for one recording)
    duplicate   cosine from which a turn that says nothing new leaves the view
    events      events that a search opens
    per_event   turns of each of these that it looks at
    candidates  turns that it looks at directly
    gist        weight of a turn's event beside the turn itself
    window      turns around one that is found
    fade        what each step away keeps of its score; 1 takes whole windows, as the paper does
    margin      of the best event over the first not returned, from which gists alone answer an overview question;
                those are shown that lie no further below the best
    """

    name = "hippomm"
    paper = "HippoMM: Hippocampal-inspired Multimodal Memory for Long Audiovisual Event Understanding (Lin et al. 2025)"
    operations = ("consolidation", "compression", "indexing", "retrieval")
    asks = ("sleep", "reading")
    claim = "HippoVlog 78.2 % against 64.2 % for the best baseline, 20.4 s a question against 112.5 s."
    differs = (
        "A port to text: turns are the frames, a change of topic or speaker is the cut, sessions and dates are time. "
        "Every segment is an event of its own. A turn is dropped only if it agrees with an earlier one in every value; "
        "it leaves the view and is not deleted. The retrieval margin, not a model's rating of itself, decides whether "
        "the gist suffices. Turns are also searched directly, so that what no event holds yet is found. Around a turn "
        "that is found the others count the less the further away they are."
    )
    proof = "proofs/hippomm.py"

    def __init__(
        self,
        cut: Cut = "topic",
        short_term: int = 10,
        long_term: int | None = None,
        duplicate: float = 0.9,
        events: int = 5,
        per_event: int = 5,
        candidates: int = 100,
        gist: float = 0.5,
        window: int = 1,
        fade: float = 0.8,
        margin: float = 0.15,
    ) -> None:
        self.cut = cut
        self.short_term = short_term
        self.long_term = long_term
        self.duplicate = duplicate
        self.events = events
        self.per_event = per_event
        self.candidates = candidates
        self.gist = gist
        self.window = window
        self.fade = fade
        self.margin = margin

    # -- read

    def search(self, view: View, cue: Cue, embedder: Embedder | None) -> Hits:
        """Gists first where an overview is asked for, and alone where they stand out; else turns, then their events."""
        way: Route = route(cue.text) if cue.llm is None else route_by_model(cue.text, cue.llm)
        if embedder is None:
            near, degraded = alike(view, cue.text, None, max(self.candidates, cue.top_k), cue.want)
            return self._hits(view, cue, [(near, "shares words with the question")], {"degraded": degraded})
        events, said = self._look(view, cue, embedder.embed([cue.text])[0])
        stands_out = margin(list(events.values()), self.events)
        wanted = view.rows(list(events), _of(cue.want, EVENTS))
        gists = dict(sorted(((n, events[n]) for n in wanted), key=lambda one: (-one[1], one[0]))[: self.events])
        parts = [
            (self._widened(view, cue, said), "close in meaning, or beside what is"),
            (gists, "the gist of an event"),
        ]
        if way == "gist" and gists and stands_out >= self.margin:
            best = max(gists.values())
            gists = {n: score for n, score in gists.items() if score >= best - self.margin}
            parts = [(gists, "the gist of an event, which stands out")]
        elif way == "gist":
            parts = parts[::-1]
        return self._hits(view, cue, parts, {"degraded": [], "route": way, "margin": round(stands_out, 4)})

    def _look(self, view: View, cue: Cue, vector: Vector) -> tuple[dict[int, float], dict[int, float]]:
        """(events by the mean of their turns, turns by themselves and by their event): row number -> likeness."""
        times = find_times(cue.text, cue.now)
        turns = replace(cue.want, kinds=SAID)  # events are found by their turns, whatever is to be shown
        said_then = self._within(view, times, turns)
        events_then = self._within(view, times, Want(kinds=EVENTS, as_of=cue.want.as_of))
        said = nearest(view, vector, max(self.candidates, cue.top_k), turns, said_then)
        found = nearest(view, vector, self.events, Want(kinds=EVENTS, as_of=cue.want.as_of), events_then)
        members = self._members(view, list(said), list(found))
        rows = view.vectors(list(dict.fromkeys(n for inside in members.values() for n in inside)))
        near = {n: float(row @ vector) for n, row in rows.items()}
        events = found | {event: _mean([rows[n] for n in part if n in rows], vector) for event, part in members.items()}
        for event in sorted(events, key=lambda event: (-events[event], event))[: self.events]:
            inside = sorted((n for n in members.get(event, ()) if n in near), key=lambda n: (-near[n], n))
            said |= {n: near[n] for n in inside[: self.per_event]}
        event_of = {n: event for event, inside in members.items() for n in inside}
        scores = {
            n: (cosine + self.gist * events.get(event_of.get(n, -1), cosine)) / (1 + self.gist)
            for n, cosine in said.items()
        }
        for then, likeness in ((said_then, scores), (events_then, events)):
            likeness |= {n: likeness[n] + IN_TIME for n in then if n in likeness}
        return events, scores

    def _within(self, view: View, times: Sequence[TimeSpan], want: Want) -> list[int]:
        """What happened in, or speaks of, the times that the question names: found by one cue, read by another."""
        found = [n for span in times for n in view.during(*time_range(span), self.candidates, want)]
        return list(dict.fromkeys(found))

    def _members(self, view: View, said: Sequence[int], events: Sequence[int]) -> dict[int, list[int]]:
        """Event -> its turns: of these events, and of those that these turns are part of."""
        ids = ids_of(list(view.engrams([*said, *events]).values()))
        wholes = list(dict.fromkeys(tie.target for tie in view.links(ids, ("part",))))
        ties = view.links(wholes, ("part",))
        numbers = view.numbers(list({end for tie in ties for end in (tie.source, tie.target)}))
        standing = view.rows([numbers[tie.target] for tie in ties], Want(kinds=EVENTS))
        out: dict[int, list[int]] = {}
        for tie in ties:
            if numbers[tie.target] in standing:
                out.setdefault(numbers[tie.target], []).append(numbers[tie.source])
        return out

    def _widened(self, view: View, cue: Cue, scores: Mapping[int, float]) -> dict[int, float]:
        """What was found, and the turns around it, each at what the distance leaves of the best score near it."""
        rows = view.rows(list(scores), _of(cue.want, SAID))
        around = view.neighbours(list(rows.values()), self.window) if self.window else {}
        out = {n: scores[n] for n in rows}
        for n, row in rows.items():
            for step in (*range(-self.window, 0), *range(1, self.window + 1)):
                other = around.get((row.session, row.turn + step)) if row.turn else None
                if other is not None:
                    out[other] = max(out.get(other, 0.0), scores[n] * self.fade ** abs(step))
        wanted = view.rows(list(out), _of(cue.want, SAID))
        return {n: score for n, score in out.items() if n in wanted}

    def _hits(
        self, view: View, cue: Cue, parts: Sequence[tuple[Mapping[int, float], str]], trace: dict[str, Any]
    ) -> Hits:
        """Hits part by part, best first in each; a later part never scores above an earlier one."""
        least = 0.0 if cue.threshold is None else cue.threshold
        ranked: dict[int, tuple[float, float, str]] = {}
        bound = 1.0
        for scores, why in parts:
            for n in sorted(scores, key=lambda n: (-scores[n], n)):
                bound = min(bound, max(0.0, scores[n]))
                if n not in ranked and bound >= least and len(ranked) < cue.top_k:
                    ranked[n] = (bound, scores[n], why)
        engrams = view.engrams(list(ranked), cue.want.as_of)
        hits = [Hit(engrams[n], score, {"score": own}, why) for n, (score, own, why) in ranked.items() if n in engrams]
        return Hits(hits, {**trace, "threshold": least})

    # -- sleep

    def sleep(self, night: Night) -> Dream:
        made = Made()
        read = unread(night)
        number = {engram.id: n for n, engram in read.items()}
        repeated = drop_repeats(night.view, read, made, night.now, self.duplicate)
        left: set[int] = set()
        segments = self._segments(night, read)
        for done, segment in enumerate(segments):
            kept = [engram for engram in segment if engram.id not in repeated]
            if len(kept) >= FEWEST and not self._event(night, kept, made):
                left |= {number[engram.id] for engram in segment}
            night.progress("events", done + 1, len(segments))
        self._crowd_out(night, made)
        notes = [f"{len(left)} turns wait for the next night: {night.llm.exhausted}"] if left and night.llm else []
        return self.dream(night, made, stopped(night, read, left), notes)

    def _segments(self, night: Night, read: Mapping[int, Engram]) -> list[list[Engram]]:
        """The turns cut into stretches that the short-term buffer holds, first recorded first."""
        number = {engram.id: n for n, engram in read.items()}
        out: list[list[Engram]] = []
        for session in by_session(list(read.values())):
            parts = [session]
            if self.cut == "speaker":
                parts = by_change(session, lambda engram: engram.speaker)
            elif self.cut == "topic":
                stored = night.view.vectors([number[engram.id] for engram in session])
                rows = [stored[number[engram.id]] for engram in session if number[engram.id] in stored]
                parts = runs(session, topic_cuts(np.stack(rows))) if len(rows) == len(session) else [session]
            out += [
                part[start : start + self.short_term]
                for part in parts
                for start in range(0, len(part), self.short_term)
            ]
        return sorted(out, key=lambda segment: min(number[engram.id] for engram in segment))

    def _event(self, night: Night, segment: Sequence[Engram], made: Made) -> bool:
        """Propose the event of a segment; False where the model is exhausted, and the segment has to wait."""
        gist = gist_by_model(segment, night.llm, made) if night.llm is not None else ""
        if not gist and night.llm is not None and night.llm.exhausted:
            return False
        half_life = float(night.params.get("half_life_days", 30.0))
        event = event_of(segment, gist or gist_of(segment), night.now, half_life, self.name)
        first = segment[0].at
        made.add(event, "summarise", f"{len(segment)} turns from {first:%Y-%m-%d %H:%M}", parts_of(segment, event))
        return True

    def _crowd_out(self, night: Night, made: Made) -> None:
        """Archive the oldest events beyond the long-term capacity; their turns stay."""
        if self.long_term is None:
            return
        new = [engram for engram in made.engrams if engram.kind == "event"]
        over = night.view.count(Want(kinds=EVENTS)) + len(new) - self.long_term
        for old in night.view.select(Want(kinds=EVENTS), max(0, over)) if over > 0 else ():
            made.changes.append(archived(old, f"more than {self.long_term} events", night.now))


def _of(want: Want, kinds: tuple[str, ...]) -> Want:
    return replace(want, kinds=kinds if want.kinds is None else tuple(kind for kind in kinds if kind in want.kinds))


def _mean(rows: Sequence[Vector], vector: Vector) -> float:
    """The cosine of the rows' mean with a vector; 0 where there are none."""
    if not rows:
        return 0.0
    mean = np.sum(rows, axis=0)
    return float(mean @ vector / max(float(np.linalg.norm(mean)), 1e-9))
