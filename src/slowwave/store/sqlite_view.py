"""Reading from SQLite: what a SqlView leaves open, out of FTS5."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from slowwave.records import Scope
from slowwave.store.base import Want
from slowwave.store.lexical import any_of, frequencies, quoted, rank
from slowwave.store.view import SPARE, SqlView

if TYPE_CHECKING:
    from slowwave.store.sqlite import SqliteStore

MOSTLY = 0.95  # share of the index that a scope holds from which the index's statistics are taken for its own
MANY = 2000  # records from which that is done, because it is quicker


def scope_tokens(scope: Scope) -> list[str]:
    """One word a named field, under which the full-text index keeps the records of that field's value."""
    return [
        name[:2] + "x" + hashlib.blake2b(value.encode("utf-8"), digest_size=10).hexdigest()
        for name, value in scope.to_dict().items()
    ]


def varint(block: bytes) -> int:
    """The first of SQLite's variable-length numbers in a record; 0 for an empty record."""
    value = 0
    for place, byte in enumerate(block[:9]):
        if place == 8:
            return value << 8 | byte
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            break
    return value


class SqliteView(SqlView):
    """What one scope may see of a SqliteStore."""

    store: SqliteStore

    def lexical(self, terms: Sequence[str], k: int, want: Want) -> list[tuple[int, float]]:
        if not terms:
            return []
        plain = want.is_plain and not want.retired
        fetch = k + SPARE
        while True:
            ranked, more = self._ranked(terms, fetch)
            rows = self.rows([n for n, _ in ranked], want) if not plain else self._live([n for n, _ in ranked])
            kept = [(n, score) for n, score in ranked if n in rows]
            if len(kept) >= k or not more:
                return kept[:k]
            fetch *= 4

    def _ranked(self, terms: Sequence[str], fetch: int) -> tuple[list[tuple[int, float]], bool]:
        """The best by BM25, wanted or not, perhaps not all of the scope, and whether there are more."""
        records, everywhere = self._sizes()
        if records >= MOSTLY * everywhere and everywhere >= MANY:
            # The index is the scope's, near enough, and what is not is left out by whoever asked: to match the scope's
            # word as well, which nearly every record has, would take twice as long.
            sql = "SELECT rowid, -rank FROM words WHERE words MATCH ? ORDER BY rank LIMIT ?"
            rows = self.store.read(sql, [any_of("", terms), fetch])
            return rows, len(rows) == fetch
        ranked = rank(self.store.read, self._prefix, terms, records, everywhere, self._held_everywhere(terms))
        return ranked[:fetch], len(ranked) > fetch

    @property
    def _prefix(self) -> str:
        return " AND ".join(f'scope : "{token}"' for token in scope_tokens(self.scope))

    def _sizes(self) -> tuple[int, int]:
        """How many records the scope and the whole index hold."""
        # FTS5 keeps the number of its rows as the first varint of the record 1; counting them would read them all.
        everywhere = varint(self.store.read("SELECT block FROM words_data WHERE id = 1", [])[0][0])
        records = self.store.indexed(self.scope)
        if records is None:
            records = int(self.store.read("SELECT count(*) FROM words WHERE words MATCH ?", [self._prefix])[0][0])
        return records, everywhere

    def _held_everywhere(self, terms: Sequence[str]) -> dict[str, int]:
        stems = self.store.stems([term for term in terms if term.isalnum()])
        rows = self.store.read(
            f"SELECT term, doc FROM vocabulary WHERE {self.dialect.among('term')}",
            [self.dialect.listed(sorted(set(stems.values())))],
        )
        counts = dict(rows)
        out = {term: int(counts.get(stem, 0)) for term, stem in stems.items()}
        for term in terms:
            if term not in out:
                match = f"body : ({quoted(term)})"
                out[term] = int(self.store.read("SELECT count(*) FROM words WHERE words MATCH ?", [match])[0][0])
        return out

    def document_frequency(self, words: Sequence[str]) -> tuple[int, dict[str, int]]:
        records, everywhere = self._sizes()
        if records >= MOSTLY * everywhere:
            return everywhere, self._held_everywhere(words)
        return records, frequencies(self.store.read, self._prefix, words)
