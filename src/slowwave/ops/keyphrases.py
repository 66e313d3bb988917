"""The words and phrases that tell a text from the others of its scope: TF-IDF over names, pairs and single words.

No model. How rare a word is comes from counts that the full-text index keeps (`View.document_frequency`), so nothing is
read but the text itself. Source: Sparck Jones 1972, "A statistical interpretation of term specificity".
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise

from slowwave.ops import words
from slowwave.ops.names import COMMON, names
from slowwave.ops.query import GENERIC, STOP_WORDS
from slowwave.ops.words import MODALS, straight

NAMED = 1.5  # what a name counts for beside a word as rare
PAIRED = 0.8  # what a pair counts for beside the sum of its words: more than either, less than both
SHORTEST = 3  # letters of a word that can stand alone
LIGHT = frozenset(words.stem(word) for word in STOP_WORDS | GENERIC | MODALS | COMMON) | STOP_WORDS | COMMON


def vocabulary(texts: Sequence[str]) -> list[str]:
    """The words whose rarity `keyphrases` asks for, lower case, each once: what to give `View.document_frequency`."""
    return list(dict.fromkeys(word for text in texts for run in _runs(text) for word, _ in run))


def keyphrases(
    texts: Sequence[str], k: int, frequency: Mapping[str, int] | None = None, records: int = 0
) -> tuple[str, ...]:
    """The k phrases that say most of what these texts, taken together, speak of; best first, lower case but for names.

    texts      turns or sentences of one unit
    frequency  in how many of the `records` each word of `vocabulary(texts)` occurs; None counts within `texts`

    A phrase counts by how often it is said and how rare its words are. Of a pair and its words, what is taken first
    keeps the others out.
    """
    runs = [run for text in texts for run in _runs(text)]
    if frequency is None:
        frequency = Counter(word for text in texts for word in {w for run in _runs(text) for w, _ in run})
        records = len(texts)
    known = max(records, 1)

    def rarity(word: str) -> float:
        return math.log((known + 1) / (frequency.get(word, 0) + 0.5))

    score: dict[str, float] = {}
    said: Counter[str] = Counter()
    shown: dict[str, str] = {}
    for run in runs:
        for word, surface in run:
            if len(word) >= SHORTEST and not word.isdigit():
                said[word] += 1
                shown.setdefault(word, surface)
                score[word] = rarity(word)
        for (first, one), (second, two) in pairwise(run):
            pair = f"{first} {second}"
            said[pair] += 1
            shown.setdefault(pair, f"{one} {two}")
            score[pair] = PAIRED * (rarity(first) + rarity(second))
    for name in dict.fromkeys(name for text in texts for name in names(text)):
        low = name.lower()
        said[low] = max(said[low], 1)
        shown[low] = name
        score[low] = NAMED * max((rarity(part) for part in low.split()), default=0.0)
    order = sorted(score, key=lambda phrase: -(1 + math.log(said[phrase])) * score[phrase])
    return tuple(shown[phrase] for phrase in _apart(order, k))


def _runs(text: str) -> list[list[tuple[str, str]]]:
    """Stretches of telling words that no light word interrupts, each word as (lower case, as it stood)."""
    out: list[list[tuple[str, str]]] = []
    run: list[tuple[str, str]] = []
    end = -1
    text = words.expand(straight(text))
    for token in words.tokens(text):
        low = token.surface.lower()
        beside = text[end : token.start].strip(" \t") == "" if end >= 0 else True
        light = token.kind not in ("word", "name") or low in LIGHT or words.stem(low) in LIGHT
        if run and (light or not beside):
            out.append(run)
            run = []
        if not light:
            run.append((low, token.surface if token.kind == "name" else low))
        end = token.start + len(token.surface)
    return [*out, run] if run else out


def _apart(order: Sequence[str], k: int) -> list[str]:
    """The first k that share no word with what stands before them."""
    taken: list[str] = []
    used: set[str] = set()
    for phrase in order:
        parts = {words.stem(part) for part in phrase.split()}
        if not parts & used:
            taken.append(phrase)
            used |= parts
        if len(taken) == k:
            break
    return taken
