"""BM25 by a scope's own statistics, out of a full-text index that all scopes share.

FTS5 weighs a word by how rare it is in the whole index, so what other people wrote would rank one's own records, and
would show through the scores. Here each word is asked for by itself: its score over FTS5's weight is the part that
depends on the record alone, and that is weighed anew by how rare the word is in the scope.

    bm25(record) = sum over words of  idf(word in scope) * fts5 score(record, word) / idf(word in index)
    idf(word)    = max(1e-6, ln((N - n + 0.5) / (n + 0.5)))          as FTS5 has it, N records of which n hold the word

A memory of a few records says little of how rare a word is, so N is never taken as less than FEWEST: otherwise a word
that half of four records hold would count for nothing.

Differs from BM25 over a scope's own index: a record's length is still measured against the mean of the whole index.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

MOST = 1000  # records that one word offers; of the words that more records hold, only the best
FEWEST = 100
LEAST_IDF = 1e-6
Read = Callable[[str, Sequence[Any]], list[Any]]


def quoted(term: str) -> str:
    """A word, or words side by side, with no character that FTS5 reads as its own."""
    return '"' + term.replace('"', " ") + '"'


def any_of(prefix: str, terms: Sequence[str]) -> str:
    """The FTS5 query for records under `prefix`, all if it is "", that hold any of the terms."""
    return f"{prefix}{' AND ' if prefix else ''}body : ({' OR '.join(map(quoted, terms))})"


def idf(records: int, holding: int) -> float:
    """How telling a word is that `holding` of `records` records hold."""
    return max(LEAST_IDF, math.log((records - holding + 0.5) / (holding + 0.5))) if holding < records else LEAST_IDF


def frequencies(read: Read, prefix: str, terms: Sequence[str]) -> dict[str, int]:
    """In how many records under `prefix` each term occurs."""
    sql = "SELECT count(*) FROM words WHERE words MATCH ?"
    return {term: int(read(sql, [any_of(prefix, [term])])[0][0]) for term in dict.fromkeys(terms)}


def rank(
    read: Read, prefix: str, terms: Sequence[str], records: int, everywhere: int, held: Mapping[str, int]
) -> list[tuple[int, float]]:
    """Row numbers and scores of all records that a term offers, best first.

    records     how many records the scope holds; `everywhere` how many the index holds
    held        in how many records of the whole index each term occurs
    """
    scores: dict[int, float] = {}
    for term in dict.fromkeys(terms):
        rows = read(
            "SELECT rowid, -rank FROM words WHERE words MATCH ? ORDER BY rank LIMIT ?", [any_of(prefix, [term]), MOST]
        )
        holding = len(rows) if len(rows) < MOST else frequencies(read, prefix, [term])[term]
        weight = idf(max(records, holding, FEWEST), holding) / idf(everywhere, held[term])
        for n, score in rows:
            scores[n] = scores.get(n, 0.0) + weight * score
    return sorted(scores.items(), key=lambda item: (-item[1], item[0]))
