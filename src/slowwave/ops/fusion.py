"""One score out of many: dense, lexical, the turns around, the speaker, the time, the session. Each part can be seen.

How a score comes about:

    d = (cosine - mean) / std                  over all records of the scope, whose centre was taken from the vectors
    b = lexical_peak * bm25 / highest bm25     0 where the words do not occur
    lean = min(1, full_below / words)          a short turn leans on its neighbours, a long text does not

    score = dense       d
          + lexical     w.lexical * b
          + around      lean * ( w.answer * d[before] where the turn before asks
                               + w.after_dense * d[after]
                               + w.lexical * w.lend * (b[before] + b[after]) )
          + speaker     w.speaker   where the query speaks of the one who speaks
          + time        w.time * closeness to the time that the query names
          - question    lean * w.question   where the turn ends by asking: it seldom is what was looked for
          + session     w.session * highest (d + b) of the session
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import ArrayLike

from slowwave.errors import InputError
from slowwave.ops.neighbours import Floats, Indexes, best_of_session, needs_context, taken_from


@dataclass(frozen=True, slots=True)
class Weights:
    """The constants of the recipe: chosen on two conversations, round on purpose (a broad plateau, see docs/log.md).

    All are in units of d, the standard deviation of the scope's cosines.
    """

    lexical: float = 0.6
    lexical_peak: float = 4.0
    lend: float = 0.5
    answer: float = 0.5
    after_dense: float = 0.2
    full_below: float = 60.0
    speaker: float = 1.5
    time: float = 1.5
    question: float = 0.5
    session: float = 0.2


@dataclass(frozen=True, slots=True)
class Candidates:
    """The records to rank, one place in each array: what dense and lexical search found, and the turns around those.

    dense    cosine with the query, both taken from the scope's centre (nan where there is no vector)
    lexical  BM25, higher is better, 0 where no word occurs
    speaker  1 where the query speaks of the speaker, else 0
    time     closeness in [0, 1] to the time the query names; all 0 if it names none
    session  a number a session, negative for none
    before   position of the turn before in these arrays, -1 for none; `after` likewise
    words    number of words
    asks     0, 1 (asks somewhere), 2 (ends by asking)
    """

    dense: Floats
    lexical: Floats
    speaker: Floats
    time: Floats
    session: Indexes
    before: Indexes
    after: Indexes
    words: Indexes
    asks: Indexes

    def __post_init__(self) -> None:
        lengths = {f.name: len(getattr(self, f.name)) for f in fields(self)}
        if len(set(lengths.values())) > 1:
            raise InputError(f"the arrays of Candidates differ in length: {lengths}; each record needs a place in each")


@dataclass(frozen=True, slots=True)
class Fused:
    """The scores, and what each channel gave to them: the channels add up to the score."""

    score: Floats
    channels: Mapping[str, Floats]

    def order(self) -> Indexes:
        """Positions, best first; equal scores keep their order."""
        return np.argsort(-self.score, kind="stable")

    def explain(self, position: int) -> dict[str, float]:
        """What each channel gave to the record at this position."""
        return {name: float(values[position]) for name, values in self.channels.items()}


def fuse(candidates: Candidates, mean: float, std: float, weights: Weights | None = None) -> Fused:
    """Rank candidates; see the top of this file for the formula.

    mean, std  of the query's cosines with every record of the scope (or a fair sample of it)
    """
    w, c = weights or Weights(), candidates
    d = standardised(c.dense, mean, std)
    b = peak_scaled(c.lexical, w.lexical_peak)
    lean = needs_context(c.words, w.full_below)
    before_asks = taken_from(c.asks, c.before) > 0
    around = (
        w.answer * taken_from(d, c.before) * before_asks
        + w.after_dense * taken_from(d, c.after)
        + w.lexical * w.lend * (taken_from(b, c.before) + taken_from(b, c.after))
    )
    channels = {
        "dense": d,
        "lexical": w.lexical * b,
        "around": lean * around,
        "speaker": w.speaker * np.asarray(c.speaker, dtype=np.float64),
        "time": w.time * np.asarray(c.time, dtype=np.float64),
        "question": -w.question * lean * (c.asks == 2),
        "session": w.session * np.where(c.session < 0, 0.0, best_of_session(d + b, c.session)),
    }
    score = np.sum(list(channels.values()), axis=0) if len(d) else np.zeros(0)
    return Fused(score=score, channels=channels)


def standardised(dense: ArrayLike, mean: float, std: float) -> Floats:
    """Cosines as deviations from the scope's mean, 0 where there is no vector (nan) or all are alike."""
    cosines = np.asarray(dense, dtype=np.float64)
    if std <= 1e-6:
        return np.zeros(len(cosines))
    return np.nan_to_num((cosines - mean) / std, nan=0.0)


def peak_scaled(lexical: ArrayLike, peak: float) -> Floats:
    """BM25 scaled so that the best record has `peak`; all 0 if no word was found."""
    scores = np.maximum(np.asarray(lexical, dtype=np.float64), 0.0)
    highest = float(scores.max(initial=0.0))
    return scores * (peak / highest) if highest > 0 else scores


def unite(*found: Sequence[int]) -> list[int]:
    """The row numbers of several result lists, each once, in the order in which they are first seen."""
    return list(dict.fromkeys(n for numbers in found for n in numbers))
