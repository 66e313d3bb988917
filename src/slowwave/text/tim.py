"""TiM, Think-in-Memory: what is kept are conclusions, in buckets of alike ones; then come forgetting and merging."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np

from slowwave.models.base import Embedder, Vectors
from slowwave.ops.hashing import Codes, codes, rotations, together
from slowwave.ops.made import Made
from slowwave.ops.nearness import alike, nearest
from slowwave.ops.pairwise import label, settle
from slowwave.ops.standing import FACTS, Standing, Vector
from slowwave.ops.uniting import fold, unite, united_with
from slowwave.records import Engram
from slowwave.store.base import View, Want
from slowwave.text.base import Night
from slowwave.text.sentences import Episodes, SentenceMemory


class ThinkInMemory(SentenceMemory):
    """Thoughts, each a sentence with one relation, stored by a locality-sensitive hash of their vectors.

    A search looks into the query's buckets and ranks what lies there by cosine. A night inserts new thoughts, forgets
    what they contradict, and merges those that share head and relation.

    buckets    in each table; the paper's number could not be checked
    tables     of the hash, each turned another way; the paper has one, which misses what lies across a border
    probes     buckets of each table that are looked into; the paper looks into one
    beyond     forget what a new thought contradicts also outside its buckets: those on the same relation of the same
               head, and the nearest of all; the paper looks inside the bucket alone
    nearest    thoughts that a new one is held against
    alike      cosine below which it is not
    merge      merge thoughts of one head and relation, such as the hobbies of one person
    guard      turn down a model's label that the words speak against
    turns, episodes, threshold   see `SentenceMemory`

    >>> from slowwave import Memory
    >>> memory = Memory(":memory:", embedder="fake", system=ThinkInMemory())
    >>> for text in ("I moved to Rome.", "I moved to Oslo."):
    ...     _ = memory.add(text, speaker="Ana", user_id="ana")
    >>> _ = memory.sleep(user_id="ana")
    >>> [hit.text for hit in memory.search("Where is Ana's home?", user_id="ana")]
    ["Ana's home is Oslo"]
    """

    name = "tim"
    paper = "Think-in-Memory: Recalling and Post-thinking Enable LLMs with Long-Term Memory (Liu et al. 2023)"
    operations = ("indexing", "retrieval", "updating", "forgetting", "consolidation")
    asks = ("sleep",)
    claim = (
        "Contextual coherence on Chinese GVD, rated by people, 0.428 (SiliconFriend) to 0.665 (second-hand); also "
        "shown on KdConv and a medical set."
    )
    differs = (
        "Thoughts are drawn and post-thought at night, from what is new, and not after every reply. Several tables and "
        "probes, where one table misses neighbours across its borders, and forgetting also looks beyond the bucket. "
        "The table is not kept: which thoughts share a bucket with the query is worked out from their vectors, which "
        "gives the same hits, survives another encoder, and is quicker up to 50,000 thoughts at least (see the proof). "
        "Forgetting asks the pairwise operator of `keep-me-updated` instead of rewriting the bucket. What is forgotten "
        "or merged stays with the date until which it held; a merged thought names the thoughts it is of, so who said "
        "what is not lost."
    )
    proof = "proofs/tim.py"

    def __init__(
        self,
        buckets: int = 64,
        tables: int = 8,
        probes: int = 4,
        seed: int = 0,
        beyond: bool = True,
        nearest: int = 5,
        alike: float = 0.3,
        merge: bool = True,
        guard: bool = True,
        turns: int = 40,
        episodes: Episodes = "new",
        threshold: float = 0.0,
    ) -> None:
        super().__init__(turns, episodes, threshold)
        rotations(1, buckets, tables)  # names a number of buckets or tables that there cannot be
        self.buckets = buckets
        self.tables = tables
        self.probes = probes
        self.seed = seed
        self.beyond = beyond
        self.nearest = nearest
        self.alike = alike
        self.merge = merge
        self.guard = guard

    # -- read

    def near(
        self, view: View, text: str, embedder: Embedder | None, k: int, want: Want
    ) -> tuple[dict[int, float], list[str]]:
        """The k nearest of the thoughts in the query's buckets."""
        if embedder is None:
            return alike(view, text, None, k, want)
        near = self.in_buckets(view, embedder.embed([text])[0], k, want)
        return {n: min(1.0, max(0.0, cosine)) for n, cosine in near.items()}, []

    def in_buckets(self, view: View, vector: Vector, k: int, want: Want = FACTS) -> dict[int, float]:
        """Row number -> cosine of the k nearest that lie in one of the vector's buckets, best first."""
        mine = self.codes(vector[None], self.probes)[0]
        fetch = 4 * k + 64
        while True:
            near = nearest(view, vector, fetch, want)
            rows = view.vectors(list(near))
            theirs = self.codes(np.stack([rows[n] for n in near])) if near else np.empty((0, self.tables, 1), np.int64)
            kept = [n for n, here in zip(near, together(mine, theirs[:, :, 0]), strict=True) if here]
            if len(kept) >= k or len(near) < fetch:
                return {n: near[n] for n in kept[:k]}
            fetch *= 4

    def codes(self, rows: Vectors, probes: int = 1) -> Codes:
        """The buckets of rows, (n, tables, probes)."""
        return codes(rows, planes(rows.shape[1], self.buckets, self.tables, self.seed), probes)

    # -- sleep: post-thinking

    def take_in(
        self,
        night: Night,
        drawn: Sequence[Engram],
        vectors: Sequence[Vector | None],
        standing: Standing,
        made: Made,
    ) -> None:
        """Insert the new thoughts, forget what they contradict, merge those of one head and relation."""
        for new, vector in zip(drawn, vectors, strict=True):
            old = self._beside(night.view, new, vector, standing)
            verdicts = label(new, old, night.llm, made, self.guard)
            # A thought is inserted unless it is there already; that something is over is a thought as well.
            verdicts = [replace(v, label="REPLACE") if v.label == "DELETE" else v for v in verdicts]
            entered = settle(new, verdicts, standing, made, night.now)
            if entered is None:
                continue
            self._add(entered, vector, standing)
            parts = united_with(entered, standing) if self.merge and entered.until is None else []
            if len(parts) > 1:
                merged = unite(parts, night.llm, made, night.now, self.name)
                fold(merged, entered, standing, made, night.now)
                row = None if night.embedder is None else self.embed([merged], night.embedder)[0]
                self._add(merged, row, standing)

    def _add(self, thought: Engram, vector: Vector | None, standing: Standing) -> None:
        standing.add(thought, vector, None if vector is None else self.codes(vector[None])[0, :, 0])

    def _beside(self, view: View, new: Engram, vector: Vector | None, standing: Standing) -> list[tuple[Engram, float]]:
        """The thoughts that a new one is held against."""
        if vector is None:
            return standing.candidates(new, None, self.nearest, self.alike)
        mine = self.codes(vector[None], self.probes)[0]
        inside = standing.nearest(
            vector,
            self.nearest,
            self.alike,
            lambda row, k: self.in_buckets(view, row, k),
            lambda marks: together(mine, np.stack(marks)),
        )
        known = {engram.id for engram, _ in inside}
        outside = standing.candidates(new, vector, self.nearest, self.alike) if self.beyond else []
        return [*inside, *((engram, cosine) for engram, cosine in outside if engram.id not in known)]


@lru_cache(maxsize=16)
def planes(dim: int, buckets: int, tables: int, seed: int) -> Vectors:
    """The tables' random matrices, drawn once."""
    return rotations(dim, buckets, tables, seed)
