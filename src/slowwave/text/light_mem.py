"""LightMem: turns are compressed and cut by topic, facts extracted a buffer at a time, and updates wait for sleep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

import numpy as np

from slowwave.models.base import Embedder, Vectors
from slowwave.ops.compression import by_counts, by_model, shortened, terms_of
from slowwave.ops.extraction import as_fact, ask_facts, by_rule, ids_of
from slowwave.ops.made import Made
from slowwave.ops.nearness import alike, nearest
from slowwave.ops.packing import estimate_tokens
from slowwave.ops.query import analyse
from slowwave.ops.segments import by_session, by_tokens, topic_cuts
from slowwave.ops.standing import Once
from slowwave.ops.succession import newest_first
from slowwave.ops.time_windows import MOST_SHOWN, by_window, sum_up
from slowwave.ops.update_queue import Pairs, Settling, facing, nearest_among, order, question, queues
from slowwave.records import KINDS, Engram, Hit, Hits
from slowwave.store.base import View, Want
from slowwave.store.clock import to_micros
from slowwave.text.base import Cue, Dream, Night
from slowwave.text.plain import PlainMemory, stopped, unread

STANDING = (None, "merged", "corrected")  # what became of an entry that still stands for its turns
SHORT = 12  # words; a shorter turn has none to spare, and is shown whole
FEWEST = 3  # entries of a window that are worth a summary


@dataclass(slots=True)
class _Work:
    """What one night has in hand: its changes, its entries, and those that are out of the running."""

    night: Night
    made: Made
    entries: list[Engram] = field(default_factory=list)
    gone: set[str] = field(default_factory=set)


class LightMem(PlainMemory):
    """Facts, extracted a topic buffer at a time; what later facts make of earlier ones is settled in sleep.

    compression     share of a turn's words that a model is shown (the code's rate); 1 shows them all
    buffer_tokens   of turns, cut where a topic begins, that one extraction reads (the paper tries 256 to 1024)
    candidates      entries near a new one that are looked at
    queue           of these, the nearest earlier ones that it queues
    threshold       cosine from which an entry faces a later one (as its README has it; the code's default is 0.9)
    window_seconds  entries of so long a stretch get one summary; 0 for none
    seeds           related entries of other times that such a summary is shown
    turns           also find the turns that entries were made from
    """

    name = "light-mem"
    paper = "LightMem: Lightweight and Efficient Memory-Augmented Generation (Fang et al. 2025)"
    operations = ("compression", "indexing", "consolidation", "updating", "retrieval")
    asks = ("sleep",)
    claim = (
        "LongMemEval-S with gpt-4o-mini: 68.64 before sleep and 67.07 after, A-MEM 62.60, full text 56.8, with 28k "
        "tokens against 1,606k; LoCoMo 72.99, full text 73.83."
    )
    differs = (
        "Turns are kept as they were said, and found themselves where no entry was made of them; compressing, cutting "
        "and extracting happen at night. A topic ends at a valley of likeness between windows, not at a peak of "
        "attention, and the sensory buffer, which is as long as the compressor could read, cuts none. Words are "
        "dropped by surprisal, never negations, numbers, names or pronouns, and only for a model: rules read whole "
        "sentences. What is deleted ends or leaves the view with its reason; what is updated is a new entry with a "
        "vector of its own. Of two entries one alone is the earlier, so twins cannot delete each other, and an entry "
        "faces the later ones that are new."
    )
    proof = "proofs/light_mem.py"

    def __init__(
        self,
        compression: float = 0.8,
        buffer_tokens: int = 512,
        candidates: int = 20,
        queue: int = 10,
        threshold: float = 0.8,
        window_seconds: int = 3600,
        seeds: int = 15,
        turns: bool = False,
    ) -> None:
        self.compression = compression
        self.buffer_tokens = buffer_tokens
        self.candidates = candidates
        self.queue = queue
        self.threshold = threshold
        self.window_seconds = window_seconds
        self.seeds = seeds
        self.turns = turns

    # -- read

    def search(self, view: View, cue: Cue, embedder: Embedder | None) -> Hits:
        """The nearest entries, and the nearest turns that no entry stands for: new ones, and what was passed over."""
        least = 0.0 if cue.threshold is None else cue.threshold
        most = max(50, 2 * cue.top_k)
        kinds = cue.want.kinds or tuple(kind for kind in KINDS if self.turns or kind != "episode")
        near, degraded = alike(view, cue.text, embedder, most, replace(cue.want, kinds=kinds))
        if cue.want.kinds is None and not self.turns:
            said, _ = alike(view, cue.text, embedder, most, replace(cue.want, kinds=("episode",)))
            near |= self._unread(view, said)
        if not (cue.want.at or cue.want.as_of or analyse(cue.text).wants_past):
            near = newest_first(view, near, cue.want)
        ranked = [n for n in sorted(near, key=lambda n: (-near[n], n)) if near[n] >= least][: cue.top_k]
        engrams = view.engrams(ranked, cue.want.as_of)
        hits = [Hit(engrams[n], near[n], {"dense": near[n]}, "close in meaning") for n in ranked if n in engrams]
        return Hits(hits, {"degraded": degraded, "threshold": least})

    def _unread(self, view: View, said: Mapping[int, float]) -> dict[int, float]:
        """Those of some turns from which no entry was made that still counts."""
        turns = view.engrams(list(said))
        made = view.derived(ids_of(list(turns.values())))
        known = view.get([id_ for ids in made.values() for id_ in ids])
        entries = {id_ for id_, e in known.items() if e.kind == "fact" and e.retired_why in STANDING}
        return {n: said[n] for n, turn in turns.items() if entries.isdisjoint(made.get(turn.id, ()))}

    # -- sleep

    def sleep(self, night: Night) -> Dream:
        if night.embedder is not None:
            night = replace(night, embedder=Once(night.embedder))
        read = unread(night)
        work = _Work(night, Made())
        number = {engram.id: n for n, engram in read.items()}
        left: set[int] = set()
        buffers = self._buffers(night, read)
        for done, buffer in enumerate(buffers):
            if (night.llm is not None and night.llm.exhausted) or not self._extract(work, buffer):
                left |= {number[engram.id] for engram in buffer}
            night.progress("extract", done + 1, len(buffers))
        waiting = list(night.since.state.get("unsettled", ()))
        if night.embedder is not None and (work.entries or waiting):
            waiting = self._update(work, [e for e in night.view.get(waiting).values() if e.retired is None])
            self._summarise(work)
        notes = [f"{len(left)} turns wait for the next night: {night.llm.exhausted}"] if left and night.llm else []
        return self.dream(night, work.made, stopped(night, read, left, unsettled=waiting), notes)

    def _buffers(self, night: Night, episodes: Mapping[int, Engram]) -> list[list[Engram]]:
        """The turns in stretches of whole topics that fit the short-term buffer, first recorded first."""
        number = {engram.id: n for n, engram in episodes.items()}
        share = 1.0 if night.llm is None else self.compression
        out: list[list[Engram]] = []
        for session in by_session(list(episodes.values())):
            stored = night.view.vectors([number[engram.id] for engram in session])
            rows = [stored[number[engram.id]] for engram in session if number[engram.id] in stored]
            cuts = topic_cuts(np.stack(rows)) if len(rows) == len(session) else []
            out += by_tokens(session, self.buffer_tokens, lambda e: round(share * estimate_tokens(e.text)) + 1, cuts)
        return sorted(out, key=lambda buffer: min(number[engram.id] for engram in buffer))

    def _extract(self, work: _Work, buffer: Sequence[Engram]) -> bool:
        """One question for the facts of a buffer; entries as they come. False where the model is exhausted."""
        night, drafts = work.night, None
        if night.llm is not None:
            shown = [self._compressed(night, engram) for engram in buffer]
            drafts = ask_facts(shown, night.llm, work.made, night.view.speakers())
            if drafts is None and night.llm.exhausted:
                return False
        derived = [id_ for made in night.view.derived(ids_of(buffer)).values() for id_ in made]
        known = {(engram.text, engram.sources) for engram in [*night.view.get(derived).values(), *work.entries]}
        for draft in by_rule(buffer) if drafts is None else drafts:
            if (draft.text, draft.sources) in known:
                continue
            half_life = float(night.params.get("half_life_days", 30.0))
            entry = as_fact(draft, buffer, night.now, half_life, self.name)
            known.add((entry.text, entry.sources))
            work.entries.append(entry)
            work.made.add(entry, "add", f"said on {entry.at:%Y-%m-%d}")
        return True

    def _compressed(self, night: Night, engram: Engram) -> Engram:
        if self.compression >= 1 or night.llm is None or len(engram.text.split()) < SHORT:
            return engram
        scores = by_model(engram.text, night.llm, (engram.id,)) if "surprisal" in night.llm.models else None
        if scores is None:
            records, frequency = night.view.document_frequency([term for term in terms_of(engram.text) if term])
            scores = by_counts(engram.text, frequency, records)
        return engram.with_(text=shortened(engram.text, scores, self.compression) or engram.text)

    # -- sleep: what later entries make of earlier ones

    def _update(self, work: _Work, unsettled: Sequence[Engram]) -> list[str]:
        """Settle what faces later entries, oldest first; returns the new entries whose questions have to wait.

        unsettled  entries of an earlier night that had to wait
        """
        night, llm = work.night, work.night.llm
        assert night.embedder is not None
        fresh = [*unsettled, *work.entries]
        vectors = self.embed(fresh, night.embedder)
        known, near = self._near(night.view, fresh, vectors)
        faced = facing(queues(near, known, self.queue), self.threshold)
        later = {id_: [(known[other], cosine) for other, cosine in pairs] for id_, pairs in faced.items()}
        prompts = {id_: question(known[id_], [other for other, _ in pairs]) for id_, pairs in later.items()}
        answers = dict(zip(prompts, llm.ask_all(list(prompts.values())), strict=True)) if llm is not None else {}
        settling = Settling(work.made, night.now, self.name)
        waiting: dict[str, None] = {}
        for entry in sorted((known[id_] for id_ in faced), key=order):
            if entry.id in settling.gone:
                continue
            answer = answers.get(entry.id)
            if answer is not None and answer.ok:
                settling.by_answer(entry, later[entry.id], prompts[entry.id], answer)
            elif llm is not None and llm.exhausted:
                waiting |= dict.fromkeys([entry.id, *(other.id for other, _ in later[entry.id])])
            else:
                if answer is not None:
                    work.made.reject(prompts[entry.id], answer, answer.problem)
                settling.by_rule(entry, later[entry.id])
        settling.finish()
        work.gone = settling.gone
        return [engram.id for engram in fresh if engram.id in waiting]

    def _near(
        self, view: View, fresh: Sequence[Engram], vectors: Vectors
    ) -> tuple[dict[str, Engram], dict[str, Pairs]]:
        """The entries there are about, by id, and for each fresh one those near it with their cosines."""
        # Of any kind, and more of them: to ask for one kind alone would read the numbers of all that there are.
        stored = [nearest(view, row, 3 * self.candidates, Want()) for row in vectors]
        found = view.engrams(list({n: None for near in stored for n in near}))
        held = {n: engram for n, engram in found.items() if self._ours(engram)}
        out: dict[str, Pairs] = {}
        for place, among in enumerate(nearest_among(vectors, self.candidates)):
            near = {held[n].id: cosine for n, cosine in stored[place].items() if n in held}
            near |= {fresh[other].id: cosine for other, cosine in among}
            out[fresh[place].id] = sorted(near.items(), key=lambda pair: (-pair[1], pair[0]))[: self.candidates]
        return {engram.id: engram for engram in [*held.values(), *fresh]}, out

    # -- sleep: what happened within a window

    def _summarise(self, work: _Work) -> None:
        """One summary for each window that got entries, with related entries of other times as seeds."""
        night, view, facts = work.night, work.night.view, Want(kinds=("fact",))
        new = [entry for entry in work.entries if entry.id not in work.gone]
        if not self.window_seconds or not new:
            return
        length = timedelta(seconds=self.window_seconds)
        windows = by_window(new, self.window_seconds)
        for done, ((scope, start), inside) in enumerate(windows.items()):
            stop = start + length
            stored = view.engrams(view.during(to_micros(start), to_micros(stop), MOST_SHOWN, facts)).values()
            held = [e for e in stored if start <= e.at < stop and e.scope == scope and self._current(e, work)]
            own = sorted([*held, *inside], key=order)
            if len(own) >= FEWEST:
                origin = f"{self.name}:{start:%Y-%m-%dT%H:%M:%S}/{self.window_seconds}"
                older = next((e for e in view.find_origin([origin]).get(origin, ()) if e.scope == scope), None)
                seeds = self._seeds(work, own) if night.llm is not None else []
                sum_up(own, seeds, older, origin, night.llm, work.made, night.now, self.name)
            night.progress("summarise", done + 1, len(windows))

    def _seeds(self, work: _Work, own: Sequence[Engram]) -> list[Engram]:
        """The stored entries of other times that are nearest to a window's own."""
        assert work.night.embedder is not None
        rows = self.embed(own, work.night.embedder)
        centre = rows.mean(axis=0) / max(float(np.linalg.norm(rows.mean(axis=0))), 1e-9)
        near = nearest(work.night.view, centre, 3 * (self.seeds + len(own)), Want())
        inside = {engram.id for engram in own}
        found = work.night.view.engrams(list(near))
        return [found[n] for n in near if found[n].id not in inside and self._current(found[n], work)][: self.seeds]

    def _current(self, engram: Engram, work: _Work) -> bool:
        return self._ours(engram) and engram.id not in work.gone

    def _ours(self, engram: Engram) -> bool:
        """Whether it is an entry that still holds."""
        return engram.kind == "fact" and engram.until is None and engram.attrs.get("by") == self.name
