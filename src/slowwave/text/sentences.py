"""What Keep Me Updated, TiM and THEANINE share: sentences are drawn from each session and found by their cosine."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

from slowwave.errors import InputError
from slowwave.models.base import Embedder
from slowwave.ops.extraction import by_rule, extract
from slowwave.ops.made import Made
from slowwave.ops.nearness import alike
from slowwave.ops.standing import Once, Standing, Vector, sentence, sessions
from slowwave.records import Engram, Hit, Hits
from slowwave.store.base import Cursor, View, Want
from slowwave.text.base import Cue, Dream, Night
from slowwave.text.plain import PlainMemory

Episodes = Literal["new", "all", "none"]
ALMOST = 3  # hits shown beyond the last where a search is to explain itself


class SentenceMemory(PlainMemory):
    """A memory of sentences, each with the turns it was drawn from.

    turns      of one session that are read at once
    episodes   which turns a search sees beside the sentences: "new", those that no night has read yet, as the papers
               have the current dialogue before them; "all"; "none"
    threshold  least cosine of a hit where the caller names none; the papers cut nothing
    ended      whether sentences that hold no longer count as well, in a night and in a search
    """

    ended = False

    def __init__(self, turns: int = 40, episodes: Episodes = "new", threshold: float = 0.0) -> None:
        if episodes not in ("new", "all", "none") or turns < 1:
            raise InputError(f'episodes is {episodes!r} and turns {turns}; give "new", "all" or "none", and 1 or more')
        self.turns = turns
        self.episodes = episodes
        self.threshold = threshold

    # -- read

    def search(self, view: View, cue: Cue, embedder: Embedder | None) -> Hits:
        """The nearest sentences that hold, by cosine, with the turns that `episodes` lets in."""
        found, degraded = self.found(view, cue, embedder)
        return self.hits(view, cue, found, degraded)

    def found(self, view: View, cue: Cue, embedder: Embedder | None) -> tuple[dict[int, float], list[str]]:
        """Row number -> likeness in [0, 1] of what bears on the cue, best first; and what was degraded."""
        most = cue.top_k + (ALMOST if cue.explain else 0)
        want = self.wanted(cue)
        if cue.want.kinds is not None:
            return alike(view, cue.text, embedder, most, want)
        facts = replace(want, kinds=("fact",))
        near, degraded = self.near(view, cue.text, embedder, most, facts)
        if self.episodes != "none":
            last = view.cursor(self.name).last if self.episodes == "new" else 0
            near = {**near, **said_since(view, cue.text, embedder, most, replace(want, kinds=("episode",)), last)}
        best = sorted(near.items(), key=lambda pair: (-pair[1], pair[0]))
        return dict(best[:most]), degraded

    def wanted(self, cue: Cue) -> Want:
        """What a search may find: what holds now, unless the caller names another moment."""
        dated = cue.want.at is not None or cue.want.as_of is not None
        return cue.want if self.ended or dated else replace(cue.want, at=cue.now)

    def near(
        self, view: View, text: str, embedder: Embedder | None, k: int, want: Want
    ) -> tuple[dict[int, float], list[str]]:
        """The k nearest sentences of those wanted."""
        return alike(view, text, embedder, k, want)

    def hits(self, view: View, cue: Cue, found: Mapping[int, float], degraded: Sequence[str]) -> Hits:
        """Rows with their likeness as Hits, best first."""
        least = self.threshold if cue.threshold is None else cue.threshold
        engrams = view.engrams(list(found), cue.want.as_of)
        ranked = [
            Hit(engrams[n], score, {"dense": score}, f"close in meaning ({score:.2f})")
            for n, score in found.items()
            if n in engrams
        ]
        kept = [hit for hit in ranked if hit.score >= least][: cue.top_k]
        trace: dict[str, object] = {"degraded": list(degraded), "threshold": least}
        if cue.explain:
            trace["almost"] = [hit.to_dict() for hit in ranked[len(kept) : len(kept) + ALMOST]]
        return Hits(kept, trace)

    # -- sleep

    def sleep(self, night: Night) -> Dream:
        """Session by session: sentences are drawn from what is new, and taken in one after the other."""
        embedder = None if night.embedder is None else Once(night.embedder)
        night = replace(night, embedder=embedder)
        made, standing, seen, read = Made(), Standing(night.view, self.ended), night.since.last, 0
        notes: list[str] = []
        for part in sessions(night.view, seen, self.turns):
            if night.llm is not None and night.llm.exhausted:
                notes.append(f"turns from row {part[0][0]} on wait for the next night: {night.llm.exhausted}")
                break
            episodes = [engram for _, engram in part]
            drawn = self.draw(night, episodes, made)
            vectors = None if embedder is None or not drawn else self.embed(drawn, embedder)
            self.take_in(night, drawn, [None] * len(drawn) if vectors is None else list(vectors), standing, made)
            seen = part[-1][0]
            read += len(part)
            night.progress("read", read, read)
        return self.dream(night, made, Cursor(seen), notes)

    def draw(self, night: Night, episodes: Sequence[Engram], made: Made) -> list[Engram]:
        """The sentences of one session, in the order in which they were said.

        A reply of a model that is empty, or of which more was turned down than kept, counts as none: the rules read the
        session instead, so that a model which fails or lies leaves nothing out.
        """
        half_life = float(night.params.get("half_life_days", 30.0))
        before = len(made.rejected)
        drafts = extract(episodes, night.llm, made)
        if night.llm is not None and len(drafts) <= len(made.rejected) - before:
            drafts = by_rule(episodes)
        drawn = [sentence(draft, episodes, night.now, half_life, self.name) for draft in drafts]
        return sorted(drawn, key=lambda one: (one.at, one.id))

    @abstractmethod
    def take_in(
        self,
        night: Night,
        drawn: Sequence[Engram],
        vectors: Sequence[Vector | None],
        standing: Standing,
        made: Made,
    ) -> None:
        """What the sentences of one session change."""


def said_since(view: View, text: str, embedder: Embedder | None, k: int, want: Want, last: int) -> dict[int, float]:
    """The k nearest of the turns above row `last`, with their likeness."""
    fetch = k if last == 0 else 4 * k + 64
    while True:
        near, _ = alike(view, text, embedder, fetch, want)
        since = [(n, score) for n, score in near.items() if n > last]
        if len(since) >= k or len(near) < fetch:
            return dict(since[:k])
        fetch *= 4
