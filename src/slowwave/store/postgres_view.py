"""Reading from PostgreSQL: what a SqlView leaves open, out of an index in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from slowwave.store.base import Want
from slowwave.store.view import SPARE, SqlView

if TYPE_CHECKING:
    from slowwave.store.postgres import PostgresStore


class PostgresView(SqlView):
    """What one scope may see of a PostgresStore."""

    store: PostgresStore

    def lexical(self, terms: Sequence[str], k: int, want: Want) -> list[tuple[int, float]]:
        if not terms:
            return []
        ranked = self.store.words.index(self.scope).rank(terms, self.store.words.mean_length())
        plain = want.is_plain and not want.retired
        fetch = k + SPARE
        while True:
            first = ranked[:fetch]
            rows = self._live([n for n, _ in first]) if plain else self.rows([n for n, _ in first], want)
            kept = [(n, score) for n, score in first if n in rows]
            if len(kept) >= k or len(first) == len(ranked):
                return kept[:k]
            fetch *= 4

    def document_frequency(self, words: Sequence[str]) -> tuple[int, dict[str, int]]:
        index = self.store.words.index(self.scope)
        return len(index), {word: len(index.holding(word)[0]) for word in dict.fromkeys(words)}
