"""The sentences that a memory holds while a night goes on: what the store has, what tonight added, what tonight ended.

A night proposes and writes nothing, so what its first session made must be kept beside the view for the second to be
held against. Here that is done once for every system that compares new sentences with old ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slowwave.models.base import Embedder, Vectors
from slowwave.ops import words
from slowwave.ops.extraction import Draft, as_fact
from slowwave.ops.nearness import nearest
from slowwave.ops.vocabulary import canonical
from slowwave.records import Engram
from slowwave.store.base import View, Want

Vector = NDArray[np.float32]
Stored = Callable[[Vector, int], dict[int, float]]  # vector, k -> row numbers with their cosines
PAGE = 512  # records read at once
SLOT = 5  # sentences on one attribute that a new one is compared with, the latest: a model may call many alike
FACTS = Want(kinds=("fact",))


class Once:
    """An embedder that encodes a text once and then remembers it: a night needs the same vectors twice."""

    def __init__(self, embedder: Embedder) -> None:
        self.embedder = embedder
        self.name = embedder.name
        self.dim = embedder.dim
        self._known: dict[str, Vector] = {}

    def embed(self, texts: Sequence[str]) -> Vectors:
        """texts -> (n, dim) float32 unit rows."""
        missing = [text for text in dict.fromkeys(texts) if text not in self._known]
        if missing:
            self._known.update(zip(missing, self.embedder.embed(missing), strict=True))
        return np.stack([self._known[text] for text in texts]) if texts else np.empty((0, self.dim), np.float32)


class Standing:
    """The sentences in view as this night has left them so far.

    ended  whether sentences that no longer hold count as well
    """

    def __init__(self, view: View, ended: bool = False) -> None:
        self.view = view
        self.ended = ended
        self._made: dict[str, Engram] = {}
        self._rows: list[Vector] = []
        self._marks: list[Any] = []
        self._until: dict[str, datetime] = {}

    def add(self, sentence: Engram, vector: Vector | None, mark: Any = None) -> None:
        """Tonight wrote this one down; `mark` is what `nearest` hands to `fresh`."""
        self._made[sentence.id] = sentence
        if vector is not None:
            self._rows.append(vector)
            self._marks.append(mark)

    def end(self, id_: str, moment: datetime) -> None:
        """Tonight found that this one holds until then."""
        self._until[id_] = moment

    def get(self, ids: Sequence[str]) -> dict[str, Engram]:
        """The sentences of these ids, whether they hold or not."""
        return {**self.view.get(ids), **{id_: self._made[id_] for id_ in ids if id_ in self._made}}

    def nearest(
        self,
        vector: Vector,
        k: int,
        least: float = -1.0,
        stored: Stored | None = None,
        fresh: Callable[[Sequence[Any]], NDArray[np.bool_]] | None = None,
    ) -> list[tuple[Engram, float]]:
        """The k nearest with at least this cosine, best first; of equals the older.

        stored  which rows of the store are looked at, with their cosines; None looks at all
        fresh   which of tonight's are, by their marks; None looks at all
        """
        room = k + len(self._until) + 8  # some of the nearest may have ended
        held = (stored or self._near)(vector, room)
        found = [(engram, held[n]) for n, engram in self.view.engrams(list(held)).items()]
        if self._rows:
            rows = np.stack(self._rows)
            seen = np.ones(len(rows), dtype=bool) if fresh is None else fresh(self._marks)
            found += [
                (engram, cosine)
                for engram, cosine, here in zip(self._made.values(), (rows @ vector).tolist(), seen, strict=True)
                if here
            ]
        good = [(self.now(engram), cosine) for engram, cosine in found if cosine >= least]
        good = [(engram, cosine) for engram, cosine in good if self._counts(engram)]
        return sorted(good, key=lambda pair: (-pair[1], pair[0].at, pair[0].id))[:k]

    def same_slot(self, sentence: Engram) -> list[Engram]:
        """Those on the same attribute of the same subject, oldest first; [] where it names none."""
        if sentence.origin is None:
            return []
        held = self.view.find_origin([sentence.origin]).get(sentence.origin, [])
        made = [engram for engram in self._made.values() if engram.origin == sentence.origin]
        now = [self.now(engram) for engram in {engram.id: engram for engram in [*held, *made]}.values()]
        return sorted(filter(self._counts, now), key=lambda engram: (engram.at, engram.id))

    def with_words(self, terms: Sequence[str], k: int) -> list[Engram]:
        """The k that hold these words, the latest of tonight first, then the store's best; [] for no words."""
        if not terms:
            return []
        wanted = {words.stem(term) for term in terms}
        fresh = [e for e in self._made.values() if wanted <= {token.key for token in words.tokens(e.text)}]
        held = self.view.engrams([n for n, _ in self.view.lexical(list(terms), k, FACTS)])
        return [one for one in map(self.now, [*reversed(fresh), *held.values()]) if self._counts(one)][:k]

    def candidates(self, sentence: Engram, vector: Vector | None, k: int, least: float) -> list[tuple[Engram, float]]:
        """What a new sentence is compared with: the latest of its slot whatever the cosine, and the k nearest.

        The sentence itself, drawn again from the same records, is not among them.
        """
        near = [] if vector is None else self.nearest(vector, k, least)
        known = {engram.id for engram, _ in near}
        slot = [(engram, 1.0) for engram in self.same_slot(sentence)[-SLOT:] if engram.id not in known]
        return [(old, cosine) for old, cosine in [*slot, *near] if not _is_same(old, sentence)]

    def _near(self, vector: Vector, k: int) -> dict[int, float]:
        return nearest(self.view, vector, k, FACTS)

    def now(self, engram: Engram) -> Engram:
        """The sentence as tonight has left it."""
        moment = self._until.get(engram.id)
        return engram if moment is None else engram.with_(until=moment)

    def _counts(self, engram: Engram) -> bool:
        return engram.retired is None and (self.ended or engram.until is None)


def sessions(view: View, last: int, most: int) -> Iterator[list[tuple[int, Engram]]]:
    """New episodes with their row numbers, a session at a time in the order of recording, `most` turns at once.

    Sessions that were recorded turn about come in pieces; so a night can stop after any of them, and the next goes on
    behind the last row it saw.
    """
    part: list[tuple[int, Engram]] = []
    while page := view.after(last, PAGE, Want(kinds=("episode",))):
        last = page[-1][0]
        for n, engram in page:
            if part and (len(part) >= most or _sitting(engram) != _sitting(part[-1][1])):
                yield part
                part = []
            part.append((n, engram))
    if part:
        yield part


def sentence(draft: Draft, sources: Sequence[Engram], now: datetime, half_life_days: float, system: str) -> Engram:
    """A draft as a sentence of memory: a fact whose origin names the slot it fills, if it fills one."""
    fact = as_fact(draft, sources, now, half_life_days, system)
    return fact.with_(origin=slot_of(draft.subject, draft.attribute))


def slot_of(subject: str, attribute: str) -> str | None:
    """The name under which the sentences on one attribute of one subject are found again; None without either."""
    return f"sentence:{subject.casefold()}|{canonical(attribute)}" if subject and attribute else None


def _sitting(engram: Engram) -> tuple[str, str]:
    return str(engram.scope), engram.session or f"{engram.at:%Y-%m-%d}"


def _is_same(old: Engram, new: Engram) -> bool:
    return old.text == new.text and set(new.sources) <= set(old.sources)
