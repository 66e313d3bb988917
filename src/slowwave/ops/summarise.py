"""Summaries by extraction: the sentences that say most of a session, in their order, each naming its source.

A sentence counts for the words it shares with the whole (TF-IDF centroid: Radev et al. 2004, "Centroid-based
summarization of multiple documents"), for how central its turn is (the turn's vector against the others: nothing is
encoded again), and for what it holds of names, numbers and dates; greetings, questions and short replies count for
little. Sentences are taken greedily by maximal marginal relevance (Carbonell and Goldstein 1998), so none says again
what is there already.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slowwave.errors import InputError
from slowwave.ops import names as naming
from slowwave.ops import words

Floats = NDArray[np.float32]

MAX_CANDIDATES = 400  # the sentences that redundancy is weighed among, whatever the length of the text
RELEVANCE = 0.7  # MMR's lambda: the weight of saying much against saying something new
SAME = 0.7  # cosine of TF-IDF at which two sentences say the same and the later is never taken
POOR = 0.15  # of the best sentence's score; a dull session gets a short summary, not a padded one
_CHATTER = re.compile(
    r"^\W*(?:thanks|thank you|hi|hey|hello|bye|goodbye|good (?:morning|evening|night|to see you)|wow|cool|awesome|"
    r"great|sounds|enjoy|have (?:a )?(?:fun|great|good)|let me know|can't wait|"
    r"sure|ok|okay|yes|no|yeah|yep|absolutely|definitely|of course|you're welcome|no problem|"
    r"that's (?:great|awesome|cool|amazing|wonderful|so)|how are you|take care|glad|congrats|congratulations)\b",
    re.I,
)
_DATED = re.compile(
    r"\b(?:yesterday|tomorrow|tonight|(?:last|next|this) (?:week|month|year|night|summer|winter|spring|autumn|fall|"
    r"weekend|\w+day)|\w+ ago|(?:mon|tues|wednes|thurs|fri|satur|sun)day|january|february|march|april|june|july|august|"
    r"september|october|november|december|(?:19|20)\d\d)\b",
    re.I,
)
_CALLED = re.compile(r"(?:,\s*|^\w+,?\s+)[A-Z]\w+(?=\s*[!.?,])")  # "..., Caroline!", "Hey Mel, ...": no information
_LEADS = re.compile(r"^\W*(?:it|they|this|that|these|those|he|she)\b", re.I)


@dataclass(frozen=True, slots=True)
class Summary:
    """What was taken: (index of the source text, sentence) in original order, and all of it as one text."""

    sentences: tuple[tuple[int, str], ...]
    text: str

    @property
    def sources(self) -> tuple[int, ...]:
        """The indices of the texts that it was taken from, each once, in order."""
        return tuple(dict.fromkeys(index for index, _ in self.sentences))


def summarise(
    texts: Sequence[str],
    vectors: Floats | None = None,
    max_sentences: int = 5,
    max_chars: int = 800,
    names: Iterable[str] = (),
) -> Summary:
    """The `max_sentences` sentences that say most, within `max_chars` characters in all.

    texts    turns or paragraphs, in order
    vectors  (len(texts), dim) float32 of unit length, one a text; None does without
    names    names that matter here (speakers, known people): a sentence that holds one counts for more
    returns  a Summary; empty where no text holds a sentence that fits
    raises   InputError if vectors and texts differ in number, or a limit is below 1
    """
    if vectors is not None and (vectors.ndim != 2 or len(vectors) != len(texts)):
        raise InputError(f"vectors is {vectors.shape} for {len(texts)} texts; give one row a text")
    if max_sentences < 1 or max_chars < 1:
        raise InputError(f"max_sentences is {max_sentences} and max_chars {max_chars}; both must be at least 1")
    pool = [
        (index, sentence)
        for index, text in enumerate(texts)
        for sentence in words.sentences(text)
        if len(sentence) <= max_chars and any(c.isalpha() for c in sentence)
    ]
    if not pool:
        return Summary((), "")
    bags = [_bag(sentence) for _, sentence in pool]
    rarity = _rarity(bags)
    known = {part for name in names for part in name.lower().split()}
    central = _centrality(len(texts), vectors)
    scores = np.array(
        [
            central[index] * _information(sentence, bag, known)
            for (index, sentence), bag in zip(pool, bags, strict=True)
        ],
        dtype=np.float32,
    )
    weights, vocabulary = _tfidf(bags, rarity)
    shared = weights @ _unit(weights.sum(axis=0)) if vocabulary else np.zeros(len(pool), dtype=np.float32)
    scores *= 0.2 + shared / max(float(shared.max()), 1e-9)
    order = np.argsort(-scores, kind="stable")[:MAX_CANDIDATES]
    taken = _marginal(order, scores, weights, [len(s) for _, s in pool], max_sentences, max_chars)
    chosen = tuple(pool[i] for i in sorted(taken))
    return Summary(chosen, " ".join(sentence for _, sentence in chosen))


def _marginal(
    order: NDArray[np.int64], scores: Floats, weights: Floats, lengths: Sequence[int], most: int, chars: int
) -> list[int]:
    """Greedy maximal marginal relevance within both limits; `order` holds the candidates, best first."""
    top = max(float(scores[order[0]]), 1e-9)
    nearest = np.zeros(len(order), dtype=np.float32)  # to what has been taken
    left = chars
    taken: list[int] = []
    open_ = np.ones(len(order), dtype=bool)
    sizes = np.array([lengths[i] for i in order])
    rows = weights[order]
    while len(taken) < most:
        open_ &= (sizes <= left) & (nearest < SAME) & (scores[order] >= POOR * top)
        if not open_.any():
            break
        value = np.where(open_, RELEVANCE * scores[order] / top - (1 - RELEVANCE) * nearest, -np.inf)
        best = int(np.argmax(value))
        taken.append(int(order[best]))
        left -= int(sizes[best]) + 1
        open_[best] = False
        nearest = np.maximum(nearest, rows @ rows[best])
    return taken


def _information(sentence: str, bag: Counter[str], known: set[str]) -> float:
    """How much a sentence is worth keeping by its form alone, about 0.05 to 2.5."""
    content = len(bag)
    if content < 2:
        return 0.05
    value = min(1.0, content / 6)
    plain = _CALLED.sub("", sentence)
    found = naming.names(plain)
    low = plain.lower()
    value *= 1 + 0.25 * min(len(found), 2) + 0.15 * bool(known & set(low.split()))
    value *= 1 + 0.2 * bool(re.search(r"\d", sentence)) + 0.2 * bool(_DATED.search(sentence))
    if sentence.rstrip("\"') ").endswith("?"):
        value *= 0.25
    if _CHATTER.match(sentence):
        value *= 0.3
    if _LEADS.match(sentence):
        value *= 0.7  # what "it" was stands in a sentence that may not be taken
    if len(sentence) > 300:
        value *= 0.7
    return value


def _bag(sentence: str) -> Counter[str]:
    return Counter(
        t.key for t in words.tokens(sentence) if t.kind in ("word", "name", "number") and t.key not in words.MODALS
    )


def _rarity(bags: Sequence[Counter[str]]) -> dict[str, float]:
    seen = Counter(key for bag in bags for key in bag)
    return {key: math.log(1 + len(bags) / count) for key, count in seen.items()}


def _tfidf(bags: Sequence[Counter[str]], rarity: dict[str, float]) -> tuple[Floats, int]:
    """(sentences, keys that occur twice or more) float32 with rows of unit length; words said once link nothing."""
    seen = Counter(key for bag in bags for key in bag)
    column = {key: i for i, key in enumerate(key for key, count in seen.items() if count > 1)}
    out = np.zeros((len(bags), max(1, len(column))), dtype=np.float32)
    norms = np.zeros(len(bags), dtype=np.float32)
    for row, bag in enumerate(bags):
        for key, count in bag.items():
            weight = (1 + math.log(count)) * rarity[key]
            norms[row] += weight * weight
            if key in column:
                out[row, column[key]] = weight
    return np.asarray(out / np.sqrt(np.maximum(norms, 1e-12))[:, None], dtype=np.float32), len(column)


def _centrality(count: int, vectors: Floats | None) -> Floats:
    """How close each text is to the middle of all, scaled to [0.5, 1]; 1 for all without vectors."""
    if vectors is None or count < 3:
        return np.ones(count, dtype=np.float32)
    near = vectors @ _unit(vectors.mean(axis=0))
    low, high = float(near.min()), float(near.max())
    return np.asarray(0.5 + 0.5 * (near - low) / max(high - low, 1e-9), dtype=np.float32)


def _unit(vector: Floats) -> Floats:
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-12), dtype=np.float32)
