"""slowwave's own text memory: hybrid retrieval over turns, and a sleep that needs no language model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from slowwave.models.base import Embedder, Vectors
from slowwave.ops.dates import TimeSpan, describe, find_times
from slowwave.ops.fusion import Candidates, Weights, fuse, unite
from slowwave.ops.neighbours import adjacent, shape
from slowwave.ops.query import QueryAnalysis, analyse, choose_terms, fts_any, speaker_match
from slowwave.records import Engram, Hit, Hits
from slowwave.store.base import Index, Row, View
from slowwave.store.clock import EPOCH, MICROSECOND, to_micros
from slowwave.text.base import Cue, Dream, Night, TextSystem

# English whatever the locale, because the encoder and the stemmer are
MONTHS = "January February March April May June July August September October November December".split()  # noqa: SIM905


class DefaultMemory(TextSystem):
    """Dense and lexical search fused with the turns around, the speaker, the time and the session; sleep by rules.

    candidates  records that each channel offers to the ranking
    weights     what each channel counts for
    """

    name = "default"
    operations = ("consolidation", "updating", "indexing", "forgetting", "retrieval", "compression")

    def __init__(self, candidates: int = 100, weights: Weights | None = None) -> None:
        self.candidates = candidates
        self.weights = weights or Weights()

    # -- write

    def index(
        self, engrams: Sequence[Engram], contents: Sequence[bytes], embedder: Embedder | None
    ) -> dict[str, Index]:
        vectors = None if embedder is None else self.embed(engrams, embedder)
        return {
            engram.id: Index(
                content,
                lexical_text(engram),
                None if vectors is None else vectors[place],
                tuple(time_range(span) for span in find_times(engram.text, engram.at)[:16]),
            )
            for place, (engram, content) in enumerate(zip(engrams, contents, strict=True))
        }

    def embed(self, engrams: Sequence[Engram], embedder: Embedder) -> Vectors:
        return embedder.embed([embedding_text(engram) for engram in engrams])

    # -- read

    def search(self, view: View, cue: Cue, embedder: Embedder | None) -> Hits:
        asked = analyse(cue.text, view.speakers())
        degraded: list[str] = []
        dense: dict[int, float] = {}
        mean, std, vector = 0.0, 0.0, None
        if embedder is None:
            degraded.append("dense: no embedder")
        else:
            vector = embedder.embed([asked.embedding])[0]
            found = view.dense(vector, self.candidates, cue.want)
            dense = dict(zip(found.ids.tolist(), found.scores.tolist(), strict=True))
            mean, std = found.mean, found.std
        lexical = self._lexical(view, cue, asked)
        times = find_times(cue.text, cue.now)
        timely = [n for span in times for n in view.during(*time_range(span), self.candidates, cue.want)]
        pool = unite(list(dense), list(lexical), timely)
        rows = view.rows(pool)
        around = view.neighbours(list(rows.values()), 1)
        rows |= view.rows([n for n in around.values() if n not in rows])
        if vector is not None:
            dense |= view.cosines(vector, [n for n in rows if n not in dense])
        ns = list(rows)
        candidates = _candidates([rows[n] for n in ns], dense, lexical, asked, times)
        fused = fuse(candidates, mean, std, self.weights)
        allowed = set(pool)
        order = [int(place) for place in fused.order() if ns[place] in allowed][: cue.top_k]
        engrams = view.engrams([ns[place] for place in order], cue.want.as_of)
        hits = []
        for place in order:
            channels = fused.explain(place)
            score = float(1 / (1 + np.exp(-(fused.score[place] - 4))))
            hits.append(Hit(engrams[ns[place]], score, channels, _why(channels, asked, times)))
        return Hits(hits, {"degraded": degraded})

    def _lexical(self, view: View, cue: Cue, asked: QueryAnalysis) -> dict[int, float]:
        total, frequency = view.document_frequency(asked.terms)
        terms = choose_terms(asked.terms, frequency, total)
        return dict(view.lexical(fts_any(terms), self.candidates, cue.want)) if terms else {}

    # -- sleep

    def sleep(self, night: Night) -> Dream:
        return Dream((), {}, night.since)


def embedding_text(engram: Engram) -> str:
    """What the encoder reads: who speaks, and the text."""
    return f"{engram.speaker}: {engram.text}" if engram.speaker else engram.text


def lexical_text(engram: Engram) -> str:
    """What the full-text index reads: who speaks, when, and the text."""
    return f"{engram.speaker or ''} {engram.at.day} {MONTHS[engram.at.month - 1]} {engram.at.year} {engram.text}"


def time_range(span: TimeSpan) -> tuple[int, int]:
    """A span as [start, end) in microseconds since 1970 UTC."""
    return _micros(span, "start"), _micros(span, "end")


def _micros(span: TimeSpan, name: str) -> int:
    moment = getattr(span, name)
    return to_micros(moment.replace(tzinfo=EPOCH.tzinfo) if moment.tzinfo is None else moment)


def _candidates(
    rows: Sequence[Row],
    dense: Mapping[int, float],
    lexical: Mapping[int, float],
    asked: QueryAnalysis,
    times: Sequence[TimeSpan],
) -> Candidates:
    shapes = [shape(row.text) for row in rows]
    session = [row.session if row.turn else -1 for row in rows]
    before, after = adjacent(session, [row.turn for row in rows])
    return Candidates(
        dense=np.array([dense.get(row.n, np.nan) for row in rows]),
        lexical=np.array([lexical.get(row.n, 0.0) for row in rows]),
        speaker=np.array([speaker_match(row.speaker, asked) for row in rows]),
        time=np.array([closeness(row, times) for row in rows]),
        session=np.array(session, dtype=np.int64),
        before=before,
        after=after,
        words=np.array([s.words for s in shapes], dtype=np.int64),
        asks=np.array([s.asks for s in shapes], dtype=np.int64),
    )


def closeness(row: Row, times: Sequence[TimeSpan]) -> float:
    """1 for a record that happened in a time asked about, falling to 0 within a week outside it."""
    best = 0.0
    for span in times:
        start, stop = time_range(span)
        gap = max(start - row.at, row.at - stop, 0) * MICROSECOND
        best = max(best, 1 - gap / timedelta(days=7))
    return best


def _why(channels: Mapping[str, float], asked: QueryAnalysis, times: Sequence[TimeSpan]) -> str:
    parts = []
    if channels.get("dense", 0) > 1.5:
        parts.append("close in meaning")
    if channels.get("lexical", 0) > 0.5:
        parts.append("shares words with the question")
    if channels.get("around", 0) > 0.7:
        parts.append("next to turns that fit")
    if channels.get("speaker", 0) > 0:
        parts.append(f"said by {' or '.join(asked.speakers)}")
    if channels.get("time", 0) > 0.5 and times:
        parts.append(f"of {describe(times[0])}")
    return "; ".join(parts) or "the nearest there is"


__all__ = ["DefaultMemory", "NDArray"]
