"""What the benchmarks of a PostgreSQL share: the URL that they are given, and that no result may tell it."""

from __future__ import annotations

from typing import Any

from slowwave.bench.base import Benchmark
from slowwave.errors import InputError


class OnPostgres(Benchmark):
    """A benchmark of the empty database that `database` names."""

    database: str | None

    def settings(self) -> dict[str, Any]:
        return {name: value for name, value in super().settings().items() if name != "database"}

    def command(self) -> str:
        words = super().command().split(" ")
        if "--database" in words:
            words[words.index("--database") + 1] = "URL"
        return " ".join(words)

    def url(self) -> str:
        """The database's; InputError where it is none."""
        if not self.database or not self.database.startswith(("postgresql://", "postgres://")):
            raise InputError(
                f"database is {self.database!r}; give the postgresql:// URL of an empty database with --database"
            )
        return self.database
