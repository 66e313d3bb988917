"""Words as the full-text index sees them: SQLite's own tokenizer is asked, through an index of one text in memory.

Both databases count the same words, since both ask it.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Sequence
from functools import lru_cache

from slowwave.store import forks

TOKENIZER = "porter unicode61 remove_diacritics 2"
_lock = forks.guard(threading.Lock())
_index: sqlite3.Connection | None = None


def stems(words: Sequence[str]) -> dict[str, str]:
    """Words -> their stems as the full-text index makes them."""
    return {word: stem(word) for word in words}


@lru_cache(maxsize=65536)
def stem(word: str) -> str:
    """The stem of a word; the word itself where the index sees none in it."""
    found = _tokens(word, "row")
    return found[0] if found else word


def tokens(text: str) -> list[str]:
    """The stems of a text, in their order."""
    return _tokens(text, "instance")


@lru_cache(maxsize=4096)
def phrase(term: str) -> tuple[str, ...]:
    """The stems of a term that is looked for."""
    return tuple(tokens(term))


def _tokens(text: str, kind: str) -> list[str]:
    global _index
    with _lock:
        if _index is None:
            _index = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
            _index.execute(f"CREATE VIRTUAL TABLE w USING fts5 (b, tokenize = '{TOKENIZER}')")
            _index.execute("CREATE VIRTUAL TABLE row USING fts5vocab (w, 'row')")
            _index.execute("CREATE VIRTUAL TABLE instance USING fts5vocab (w, 'instance')")
        _index.execute("BEGIN")
        _index.execute("INSERT INTO w (rowid, b) VALUES (1, ?)", (text,))
        if kind == "row":
            rows = _index.execute("SELECT term FROM row LIMIT 1").fetchall()
        else:
            rows = _index.execute("SELECT term FROM instance ORDER BY offset").fetchall()
        _index.execute("ROLLBACK")  # takes half as long as deleting the text again
    return [term for (term,) in rows]
