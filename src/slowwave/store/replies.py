"""What language models said, kept in the store until its sources are erased or newer replies take its place."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from slowwave.records import SCOPE_FIELDS, Scope
from slowwave.store.base import Replies, Said
from slowwave.store.rows import TABLES, pack, scope_number, scope_sql
from slowwave.store.sql import Connections, Session, get_meta

MOST = 20_000  # replies that one file keeps; the oldest go
EXACT = " AND ".join(f"s.{name} = ?" for name in SCOPE_FIELDS)


class SqlReplies(Replies):
    """The replies of one scope of a SqlStore."""

    def __init__(self, connections: Connections, scope: Scope) -> None:
        self.scope = scope
        self._connections = connections
        self._epoch = get_meta(connections.fetch, "epoch")
        self._seen, self._seen_values = scope_sql(scope)

    def get(self, key: str) -> Said | None:
        rows = self._connections.fetch(
            "SELECT r.text, r.tokens_in, r.tokens_out, r.finish, r.tokens FROM scopes s "
            f"JOIN replies r ON r.scope = s.n WHERE {EXACT} AND r.key = ?",
            [*(getattr(self.scope, name) or "" for name in SCOPE_FIELDS), key],
        )
        if not rows:
            return None
        text, tokens_in, tokens_out, finish, tokens = rows[0]
        told = tuple((word, logprob, tuple(map(tuple, top))) for word, logprob, top in json.loads(tokens))
        return Said(text, tokens_in, tokens_out, finish, told)

    def put(self, key: str, model: str, said: Said, sources: Sequence[str]) -> None:
        if self._connections.readonly:
            return
        shown, dialect = set(sources), self._connections.dialect
        with self._connections.note() as connection:
            ns = connection.execute(
                f"SELECT e.n FROM {TABLES} WHERE {self._seen} AND {dialect.among('e.id')}",
                (*self._seen_values, dialect.listed(sorted(shown))),
            ).fetchall()
            loose = not shown or len(ns) < len(shown)
            if loose and get_meta(_fetching(connection), "epoch") != self._epoch:
                return  # what is not there may have been erased a moment ago
            scope = scope_number(connection.execute, self.scope)
            connection.execute("DELETE FROM replies WHERE scope = ? AND key = ?", (scope, key))
            n = connection.execute(
                "INSERT INTO replies (scope, key, model, text, tokens_in, tokens_out, finish, tokens, loose) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING n",
                (
                    scope, key, model, said.text, said.tokens_in, said.tokens_out, said.finish, pack(said.tokens),
                    int(loose),
                ),
            ).fetchone()[0]  # fmt: skip
            connection.executemany(
                "INSERT INTO reply_sources (reply, source) VALUES (?, ?)", [(n, source) for (source,) in ns]
            )
            connection.execute("DELETE FROM replies WHERE n <= ?", (n - MOST,))


def _fetching(session: Session) -> Callable[[str, Sequence[Any]], list[Any]]:
    return lambda sql, values: session.execute(sql, values).fetchall()
