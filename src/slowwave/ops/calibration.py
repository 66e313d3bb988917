"""From what a search found to a score in [0, 1]: the probability that the memory bears on the question at all.

    evidence  e = base
                + nearest   * the highest plain cosine among the ten best records
                + support   * highest, over the candidates, of (centred cosine + min(1, cover))
                + names     * (known - unknown) / all names in the query that are no speaker's
                - unknown   * how far the share of the query's telling words that occur nowhere exceeds 0.3
                              (this and an unknown name count in full only in a memory of `many` records)
                + time      * how close the best candidate is to the time that the query names, if it names one
    probability of the best hit = 1 / (1 + exp(-e)); the others fall with their distance from it in rank score.

`cover` is BM25 over what a record with each of the query's words once would get, so 1 means "all the words are there".

Fitted by logistic regression and then rounded, on permissively licensed histories alone (LongMemEval, MemoryBank,
EpBench, PersonaMem, two old novels): 215 questions of their owners against some 2,000 of other people, and nonsense.
The weights of `time` and `unknown` were not fitted: what happened then bears on a question about then by its meaning,
and of 233 answerable questions of two conversations one in a hundred has half of its telling words unknown.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from slowwave.ops.neighbours import Floats
from slowwave.store.lexical import FEWEST

THRESHOLD = 0.25  # below this, a hit is left out by default


@dataclass(frozen=True, slots=True)
class Calibration:
    """The constants, for cosines of all-MiniLM-L6-v2. An encoder whose cosines run higher lets more through.

    fall  how fast the log odds of the other hits fall with their distance from the best in rank score
    """

    base: float = -7.0
    nearest: float = 11.0
    support: float = 2.0
    names: float = 3.0
    unknown: float = 6.0
    many: int = 300
    time: float = 1.0
    fall: float = 0.2


@dataclass(frozen=True, slots=True)
class Evidence:
    """What speaks for the memory bearing on a question.

    nearest  the highest cosine of the query with one of the ten best records, of the vectors as the encoder made them
             (the centre still in); nan if there are no vectors
    support  from `support`
    names    from `names_known`, in [-1, 1]
    unknown  share of the query's telling words that no record holds, in [0, 1]
    records  how many records the memory holds: a small one knows few words
    time     the highest time closeness among the candidates, in [0, 1]; 0 if the query names no time
    """

    nearest: float
    support: float
    names: float = 0.0
    unknown: float = 0.0
    time: float = 0.0
    records: int = 1_000_000


def cover(lexical: ArrayLike, frequency: Mapping[str, int], records: int) -> Floats:
    """BM25 scores as a share of what a record of average length with each of the query's words once would get.

    frequency  in how many records each telling word of the query occurs; words that occur nowhere must be there with 0
    records    how many records the index holds
    """
    records = max(records, FEWEST)
    attainable = sum(math.log1p((records - n + 0.5) / (n + 0.5)) for n in frequency.values() if n <= records)
    scores = np.maximum(np.asarray(lexical, dtype=np.float64), 0.0)
    return scores / attainable if attainable > 0 else np.zeros_like(scores)


def support(dense: ArrayLike, covered: ArrayLike) -> float:
    """The best agreement of meaning and words in one record: centred cosine + min(1, cover); 0 if there is no record.

    dense    centred cosines of the candidates, nan where there is no vector
    covered  their cover
    """
    both = np.nan_to_num(np.asarray(dense, dtype=np.float64)) + np.minimum(1.0, np.asarray(covered, dtype=np.float64))
    return float(both.max(initial=0.0))


def names_known(known: int, unknown: int) -> float:
    """1 if every name in the query occurs in the scope, -1 if none does, 0 if it has no names."""
    return (known - unknown) / (known + unknown) if known + unknown else 0.0


def probability(evidence: Evidence, calibration: Calibration | None = None) -> float:
    """How likely it is that the memory holds something on the question, in (0, 1).

    Without vectors, the words have to stand in for the cosine: a full cover then counts like a cosine of 0.6.
    """
    c = calibration or Calibration()
    seen = min(1.0, evidence.records / c.many)
    nearest = 0.6 * min(1.0, evidence.support) if math.isnan(evidence.nearest) else evidence.nearest
    return _logistic(
        c.base
        + c.nearest * nearest
        + c.support * evidence.support
        + c.names * (evidence.names if evidence.names > 0 else evidence.names * seen)
        - c.unknown * max(0.0, evidence.unknown - 0.3) * seen
        + c.time * evidence.time
    )


def hit_scores(ranked: ArrayLike, best: float, calibration: Calibration | None = None) -> Floats:
    """Rank scores, in any order, as scores in [0, 1]: the highest gets `best`, the others less by their distance.

    ranked  (n,) the scores of `fuse`
    best    the result of `probability`
    """
    c = calibration or Calibration()
    scores = np.asarray(ranked, dtype=np.float64)
    if not len(scores):
        return scores
    sure = min(max(best, 1e-12), 1.0 - 1e-12)
    odds = math.log(sure / (1.0 - sure)) - c.fall * (scores.max() - scores)
    result: Floats = 1.0 / (1.0 + np.exp(-np.maximum(odds, -700.0)))
    return result


def _logistic(x: float) -> float:
    return 1.0 / (1.0 + math.exp(-x)) if x > -700.0 else 0.0
