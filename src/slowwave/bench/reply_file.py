"""A model's replies in a file, for benchmarks and other long jobs: they survive the process that got them."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from slowwave.errors import StoreBusyError, StoreCorruptError, StoreError, StoreFullError
from slowwave.models.chat import Reply, Token, encodable
from slowwave.models.prompt import Prompt

TABLE = """
CREATE TABLE IF NOT EXISTS replies (
    key TEXT PRIMARY KEY, operation TEXT NOT NULL, model TEXT NOT NULL, text TEXT NOT NULL, finish TEXT NOT NULL,
    tokens_in INTEGER NOT NULL, tokens_out INTEGER NOT NULL, tokens TEXT NOT NULL, sources TEXT NOT NULL
) WITHOUT ROWID
"""


class FileCache:
    """Replies in one SQLite file: a benchmark or a long job that was stopped goes on where it was.

    path  the file; its folder is made. Threads and processes may share it

    Each reply is on disk when `put` returns, and survives a kill. The words of replies stand in the file as they came:
    treat it as you treat the memory itself. A model's name is part of a reply's key, so one file serves many models;
    an Oracle's name tells its error rate and seed only, so give each its own file.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).expanduser()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        with self._explained():
            self._db = sqlite3.connect(self.path, timeout=60, check_same_thread=False, isolation_level=None)
            for line in ("journal_mode = WAL", "synchronous = NORMAL", "secure_delete = ON"):
                self._db.execute(f"PRAGMA {line}")
            self._db.execute(TABLE)

    def get(self, key: str) -> Reply | None:
        """The reply, or None."""
        with self._lock, self._explained():
            row = self._db.execute(
                "SELECT text, tokens_in, tokens_out, finish, tokens FROM replies WHERE key = ?", [key]
            ).fetchone()
        if row is None:
            return None
        tokens = tuple(Token(said, logprob, tuple((t, p) for t, p in top)) for said, logprob, top in json.loads(row[4]))
        return Reply(row[0], row[1], row[2], row[3], tokens)

    def put(self, key: str, prompt: Prompt, model: str, reply: Reply) -> None:
        """Keep a reply."""
        tokens = json.dumps([(token.text, token.logprob, token.top) for token in reply.tokens])
        text = encodable(reply.text)
        row = [key, prompt.operation, model, text, reply.finish, reply.tokens_in, reply.tokens_out, tokens]
        with self._lock, self._explained():
            self._db.execute(
                "INSERT OR REPLACE INTO replies VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", [*row, json.dumps(prompt.sources)]
            )

    def erase(self, sources: Iterable[str]) -> int:
        """Drop every reply to a prompt that showed one of these engrams, its bytes too; how many there were."""
        with self._lock, self._explained():
            gone = self._db.execute(
                "DELETE FROM replies WHERE EXISTS (SELECT 1 FROM json_each(replies.sources) s JOIN json_each(?) g "
                "ON s.value = g.value)",
                [json.dumps(list(sources))],
            ).rowcount
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return gone

    def __len__(self) -> int:
        with self._lock, self._explained():
            return int(self._db.execute("SELECT count(*) FROM replies").fetchone()[0])

    def close(self) -> None:
        """Let the file go."""
        with self._lock:
            self._db.close()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.ProgrammingError as error:
            raise StoreError(f"the cache of replies {self.path} is closed; open a new FileCache") from error
        except sqlite3.DatabaseError as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            kind = {
                sqlite3.SQLITE_FULL: StoreFullError, sqlite3.SQLITE_BUSY: StoreBusyError,
                sqlite3.SQLITE_NOTADB: StoreCorruptError, sqlite3.SQLITE_CORRUPT: StoreCorruptError,
            }.get(code, StoreError)  # fmt: skip
            raise kind(f"the cache of replies {self.path}: {error}; it may be deleted, and then fills anew") from error
