"""Structural Memory: the same talk as chunks, triples, facts and summaries, searched together, again and again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from slowwave.errors import InputError
from slowwave.models.base import Embedder
from slowwave.models.llm import LLM
from slowwave.ops.choosing import choose, chosen_first
from slowwave.ops.digest import sittings
from slowwave.ops.keyphrases import vocabulary
from slowwave.ops.made import Made
from slowwave.ops.nearness import Vector, nearest
from slowwave.ops.thoughts import by_model, by_rule
from slowwave.ops.unfold import Pointed, said_by
from slowwave.ops.units import FORMS, Unit, units_of
from slowwave.records import KINDS, Engram, Hits, Scope
from slowwave.store.base import Index, View, Want
from slowwave.store.ids import new_id
from slowwave.text.base import Cue, Dream, Night
from slowwave.text.plain import stopped, unread
from slowwave.text.turns import Near, TurnMemory, asks_for_units, best_first, cosines, untold

Retrieval = Literal["single", "rerank", "iterative"]
KIND_OF = {"chunk": "note", "triple": "note", "fact": "fact", "summary": "summary"}
DERIVED = tuple(kind for kind in KINDS if kind != "episode")
RERANKED = 10  # units that a model puts in order in one call
TURN = "turn"  # the form of a turn that is searched as it stands


class StructuralMemory(TurnMemory):
    """A mixed index: whatever form of a fact lies nearest to the question leads to the turns that it was made from.

    forms         which are made and searched, of chunk, triple, fact, summary; "turn" searches the turns as well
    retrieval     "single" searches once; "rerank" lets a model order what was found; "iterative" searches again with a
                  thought on what was found
    num_turns     searches of an iterative retrieval
    top_t         units that each search keeps
    levelled      compare searches by how far a unit stands above what its search found, since a question with a thought
                  is nearer to everything than the question alone; False keeps the plainly highest cosine, as published,
                  and what is like the thought then outranks what is like the question
    answer_from   "sources" gives the turns that the units were made from; "units" the units themselves, leaving out
                  those that only say again what is shown
    chunk_tokens  tokens of a chunk at most
    """

    name = "structural-memory"
    paper = "On the Structural Memory of LLM Agents (Zeng, Fang, Liu, Meng, 2024)"
    operations = ("consolidation", "indexing", "retrieval", "compression")
    asks = ("sleep", "reading")
    claim = (
        "Mixed memory is the most balanced and the most robust to noise, and iterative retrieval wins nearly always."
    )
    differs = (
        "Units are made at night; a turn that no night has seen is searched as it stands. Budgets are in tokens, and a "
        "source turn counts once, so that short units do not fill the context with one fact. Units have ids of their "
        "own: equal texts of different turns do not collide. Without a model facts and summaries are extracts, triples "
        "are read off the order of words, and a thought is the phrases that the finds share."
    )
    proof = "proofs/structural_memory.py"

    def __init__(
        self,
        forms: Sequence[str] = FORMS,
        retrieval: Retrieval = "iterative",
        num_turns: int = 4,
        top_t: int = 50,
        levelled: bool = True,
        answer_from: Literal["sources", "units"] = "sources",
        chunk_tokens: int = 150,
        candidates: int = 200,
    ) -> None:
        super().__init__(candidates)
        unknown = [form for form in forms if form not in (*FORMS, TURN)]
        if unknown or not forms:
            raise InputError(f"forms is {list(forms)}; give some of {', '.join((*FORMS, TURN))}")
        self.forms = tuple(forms)
        self.retrieval = retrieval
        self.num_turns = num_turns
        self.top_t = top_t
        self.levelled = levelled
        self.answer_from = answer_from
        self.chunk_tokens = chunk_tokens

    # -- write

    def index(
        self, engrams: Sequence[Engram], contents: Sequence[bytes], embedder: Embedder | None
    ) -> dict[str, Index]:
        entries = super().index(engrams, contents, embedder)
        chunks = [engram.id for engram in engrams if form_of(engram) == "chunk"]
        return entries | {id_: replace(entries[id_], words="", times=()) for id_ in chunks}  # its turns have them

    def shown_alone(self, engram: Engram) -> bool:
        return not form_of(engram)

    # -- read

    def search(self, view: View, cue: Cue, embedder: Embedder | None) -> Hits:
        if embedder is None:
            near = self.near(view, cue, None)
            return self.hits(view, cue, best_first(self.point(view, cue, near.scores), near.scores), near, "a unit")
        vector = embedder.embed([cue.text])[0]
        known: dict[int, Engram] = {}
        units = self._found(view, cue, vector, known)
        if self.retrieval == "iterative":
            units = self._again(view, cue, units, known, embedder)
        elif self.retrieval == "rerank" and cue.llm is not None:
            units = self._reranked(view, cue, units, cue.llm)
        near = Near(units, vector)
        found = self.point(view, cue, units)
        if self.answer_from == "units" and not asks_for_units(cue):
            return self.hits(view, cue, self._news(view, cue, units), near, "a unit")
        return self.hits(view, cue, best_first(found, cosines(view, vector, list(found))), near, "a unit")

    def _found(self, view: View, cue: Cue, vector: Vector, known: dict[int, Engram]) -> dict[int, float]:
        """Units of the chosen forms near a vector, and what stands for itself: unread turns, things told by hand.

        known  records that were read already, by row number; those that are read now are put in
        """
        as_of = cue.want.as_of
        everything = Want(as_of=as_of)
        partial = not set(FORMS) <= set(self.forms)  # then others' units take places as well
        near = nearest(view, vector, (4 if partial else 1) * self.candidates, Want(kinds=DERIVED, as_of=as_of))
        known |= view.engrams([n for n in near if n not in known], as_of)
        out = {n: s for n, s in near.items() if n in known and form_of(known[n]) in (*self.forms, "")}
        read = view.cursor(self.name).last
        if TURN in self.forms or view.after(read, 1, Want(kinds=("episode",))):
            turns = nearest(view, vector, self.candidates, Want(kinds=("episode",), as_of=as_of))
            out |= {n: score for n, score in turns.items() if n > read or TURN in self.forms}
        if cue.want != everything:  # a filter may leave nothing of what the units lead to
            out |= nearest(view, vector, self.candidates, cue.want)
        return dict(sorted(out.items(), key=lambda one: (-one[1], one[0])))

    def _again(
        self, view: View, cue: Cue, first: Mapping[int, float], known: dict[int, Engram], embedder: Embedder
    ) -> dict[int, float]:
        """The best score of each unit over several searches, each with a thought on the best so far."""
        best = dict(list(first.items())[: self.top_t])
        level = _level(best)
        for again in range(self.num_turns - 1):
            order = sorted(best, key=lambda n: (-best[n], n))
            known |= view.engrams([n for n in order if n not in known], cue.want.as_of)
            found = [known[n] for n in order if n in known]
            text = by_model(cue.text, found, cue.llm) if cue.llm is not None else ""
            text = text or by_rule(found, again)
            if not text:
                break
            vector = embedder.embed([f"{cue.text} {text}"])[0]
            more = dict(list(self._found(view, cue, vector, known).items())[: self.top_t])
            shift = level - _level(more) if self.levelled else 0.0
            best |= {n: max(best.get(n, -1.0), score + shift) for n, score in more.items()}
        return best

    def _reranked(self, view: View, cue: Cue, units: Mapping[int, float], llm: LLM) -> dict[int, float]:
        """The same scores in the order that a model gives the first units, ten at a time."""
        order = list(units)[: self.top_t]
        shown = view.engrams(order, cue.want.as_of)
        order = [n for n in order if n in shown]
        named = choose(cue.text, [shown[n] for n in order], llm, RERANKED, "rerank")
        again = chosen_first(order, [order[place] for place in named])
        return dict(zip(again, sorted((units[n] for n in order), reverse=True), strict=True))

    def _news(self, view: View, cue: Cue, units: Mapping[int, float]) -> list[Pointed]:
        """Units, best first, that lead to a turn which none before them leads to."""
        leads = said_by(view, list(units), cue.want, self.stands_for, self.shown_alone)
        told: set[int] = set()
        out = []
        for n in sorted(units, key=lambda n: (-units[n], n)):
            if set(leads[n]) - told:
                told |= set(leads[n])
                out.append(Pointed(n, units[n], n))
        shown = view.rows([pointed.n for pointed in out], replace(cue.want, kinds=None))
        return [pointed for pointed in out if pointed.n in shown]

    # -- sleep

    def sleep(self, night: Night) -> Dream:
        made = Made()
        read = unread(night)
        fresh = untold(night.view, read, lambda unit: bool(form_of(unit)))
        rows = {engram.id: n for n, engram in fresh.items()}
        groups = list(sittings(list(fresh.values())))
        left: list[int] = []
        for place, group in enumerate(groups):
            if night.llm is not None and night.llm.exhausted:
                left = [rows[turn.id] for rest in groups[place:] for turn in rest]
                break
            for unit in self._units(night, group, rows, made):
                made.add(_engram(unit, group, night), "summarise" if unit.form == "summary" else "add", unit.form)
            night.progress("units", place + 1, len(groups))
        return self.dreamt(night, made, {}, stopped(night, read, left))

    def _units(self, night: Night, group: Sequence[Engram], rows: Mapping[str, int], made: Made) -> list[Unit]:
        stored = night.view.vectors([rows[turn.id] for turn in group])
        vectors = np.stack([stored[rows[turn.id]] for turn in group]) if len(stored) == len(group) else None
        records, frequency = night.view.document_frequency(vocabulary([turn.text for turn in group]))
        return units_of(group, self.forms, night.llm, made, self.chunk_tokens, vectors, frequency, records)


def form_of(engram: Engram) -> str:
    """Of a unit; "" for what is none of ours."""
    origin = engram.origin or ""
    return origin.removeprefix("structural:") if origin.startswith("structural:") and engram.sources else ""


def _engram(unit: Unit, group: Sequence[Engram], night: Night) -> Engram:
    said = [turn for turn in group if turn.id in set(unit.sources)]
    session = group[0].session
    return Engram(
        id=new_id(),
        kind=KIND_OF[unit.form],
        text=unit.text,
        scope=Scope.common(turn.scope for turn in said),
        at=said[0].at,
        recorded=night.now,
        sources=unit.sources,
        attrs={"form": unit.form, "by": "structural-memory", **({"session": session} if session is not None else {})},
        origin=f"structural:{unit.form}",
        half_life_days=float(night.params.get("half_life_days", 30.0)),
    )


def _level(found: Mapping[int, float]) -> float:
    """The mean score of what a search found: a longer query is nearer to everything, whatever it finds."""
    return float(np.mean(list(found.values()))) if found else 0.0
