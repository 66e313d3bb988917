"""The reference rows: recency, BM25, dense, dense with the date, plain fusion; nothing in them is slowwave's own."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from slowwave.bench.retrieval import DEPTH, Conversation, Ranking, Step, said, said_on
from slowwave.models.base import Embedder
from slowwave.records import Item

Places = list[list[int]]  # for each question, item positions, best first
RRF_K = 60  # Cormack et al. 2009


def recency(conversation: Conversation) -> Places:
    """The newest first, whatever is asked."""
    newest = list(range(len(conversation.items) - 1, -1, -1))[:DEPTH]
    return [newest for _ in conversation.questions]


def bm25(conversation: Conversation, text: Callable[[Item], str] = said) -> Places:
    """SQLite FTS5 with stemming (porter) over "speaker: text"; any word of the question counts."""
    db = sqlite3.connect(":memory:")
    db.execute("CREATE VIRTUAL TABLE f USING fts5(t, tokenize='porter unicode61')")
    db.executemany("INSERT INTO f(rowid, t) VALUES (?, ?)", [(i, text(x)) for i, x in enumerate(conversation.items)])
    out: Places = []
    for question in conversation.questions:
        words = dict.fromkeys(re.findall(r"[^\W_]+", question.text.lower()))
        match = " OR ".join(f'"{word}"' for word in words)
        sql = f"SELECT rowid FROM f WHERE f MATCH ? ORDER BY bm25(f), rowid LIMIT {DEPTH}"
        out.append([n for (n,) in db.execute(sql, [match])] if words else [])
    db.close()
    return out


def dense(conversation: Conversation, embedder: Embedder, text: Callable[[Item], str] = said) -> Places:
    """Cosine of the question with each record, exact."""
    records = embedder.embed([text(item) for item in conversation.items])
    asked = embedder.embed([question.text for question in conversation.questions])
    order: NDArray[np.int64] = np.argsort(-(asked @ records.T), axis=1, kind="stable")[:, :DEPTH]
    return [list(map(int, row)) for row in order]


def reciprocal_ranks(*channels: Places) -> Places:
    """Reciprocal rank fusion: the sum of 1 / (60 + rank)."""
    out: Places = []
    for lists in zip(*channels, strict=True):
        score: dict[int, float] = {}
        for places in lists:
            for rank, place in enumerate(places, 1):
                score[place] = score.get(place, 0.0) + 1 / (RRF_K + rank)
        out.append(sorted(score, key=lambda place: (-score[place], place))[:DEPTH])
    return out


def baseline_rows(
    conversations: Sequence[Conversation], embedder: Embedder, step: Step, date_helps: bool = True
) -> Mapping[str, list[Ranking]]:
    """Row name -> its rankings, conversation by conversation. Without dates the dated rows are left out."""
    out: dict[str, list[Ranking]] = {}
    for number, conversation in enumerate(conversations):
        step(number, len(conversations))
        lexical = bm25(conversation)
        plain = dense(conversation, embedder)
        rows = {"recency": recency(conversation), "bm25": lexical, "dense": plain}
        if date_helps:
            rows["dense, dated"] = dense(conversation, embedder, said_on)
        rows["rrf"] = reciprocal_ranks(rows.get("dense, dated", plain), lexical)
        for name, places in rows.items():
            out.setdefault(name, []).append([[conversation.found(p) for p in one] for one in places])
    step(len(conversations), len(conversations))
    return out
