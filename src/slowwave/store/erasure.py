"""Removing for good: the records, all that is derived from them, their words in every index, and their bytes."""

from __future__ import annotations

import json
import mmap
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from slowwave.store.connection import MEMORY, Connections
from slowwave.store.reindex import bump_epoch
from slowwave.store.sqlite_view import SqliteView


def erase(connections: Connections, view: SqliteView, ids: Sequence[str]) -> dict[str, int]:
    """Remove these records and everything that was derived from them, directly or not; counts by table.

    What was derived from others as well goes too, since its text may quote what is erased: the sources that are left
    are handed to the next sleep, which derives it anew from them alone. Lines of the journal about what goes are
    removed; lines that only name it as a source lose their reason.
    """
    own = list(view.numbers(ids).values())
    with connections.write() as connection:
        _fill(connection, own)
        counts = _erase_rows(connection, len(own))
        connection.execute("DROP TABLE temp.doomed")
        bump_epoch(connection)
    compact(connections)
    return counts


def _fill(connection: sqlite3.Connection, ns: Sequence[int]) -> None:
    """temp.doomed: these rows and all that stands on them."""
    connection.execute("CREATE TEMP TABLE doomed (n INTEGER PRIMARY KEY, id TEXT)")
    connection.execute(
        "WITH RECURSIVE d (n) AS (SELECT value FROM json_each(?) "
        "UNION SELECT t.engram FROM d JOIN sources t ON t.source = d.n) "
        "INSERT INTO temp.doomed SELECT d.n, e.id FROM d JOIN engrams e ON e.n = d.n",
        (json.dumps(list(ns)),),
    )


def _erase_rows(connection: sqlite3.Connection, asked: int) -> dict[str, int]:
    run = connection.execute
    doomed = "(SELECT n FROM temp.doomed)"
    resleep = run(
        f"SELECT min(t.source) FROM sources t WHERE t.engram IN {doomed} AND t.source NOT IN {doomed}"
    ).fetchone()[0]
    counts = {"asked": asked, "records": run("SELECT count(*) FROM temp.doomed").fetchone()[0]}
    counts["derived"] = counts["records"] - asked
    run(
        "UPDATE journal SET reason = '[erased]', before = '{}', after = '{}' WHERE engram NOT IN "
        f"{doomed} AND n IN (SELECT j.n FROM journal j, json_each(j.sources) s "
        "WHERE s.value IN (SELECT id FROM temp.doomed))"
    )
    run(
        "UPDATE journal SET sources = (SELECT json_group_array(s.value) FROM json_each(journal.sources) s "
        "WHERE s.value NOT IN (SELECT id FROM temp.doomed)) WHERE n IN "
        "(SELECT j.n FROM journal j, json_each(j.sources) s WHERE s.value IN (SELECT id FROM temp.doomed))"
    )
    for column in ("links", "unlinks"):
        run(
            f"UPDATE journal SET {column} = (SELECT json_group_array(json(s.value)) FROM json_each(journal.{column}) s "
            "WHERE json_extract(s.value, '$[0]') NOT IN (SELECT id FROM temp.doomed) "
            "AND json_extract(s.value, '$[2]') NOT IN (SELECT id FROM temp.doomed)) "
            f"WHERE {column} <> '[]' AND n IN (SELECT j.n FROM journal j, json_each(j.{column}) s WHERE "
            "json_extract(s.value, '$[0]') IN (SELECT id FROM temp.doomed) "
            "OR json_extract(s.value, '$[2]') IN (SELECT id FROM temp.doomed))"
        )
    run(
        "UPDATE engrams SET until = NULL, until_zone = NULL, closed = NULL WHERE until IS NOT NULL "
        f"AND n NOT IN {doomed} AND n IN "
        f"(SELECT l.target FROM links l WHERE l.relation = 'supersedes' AND l.source IN {doomed})"
    )
    for table, column in (
        ("journal", "engram"), ("vectors", "engram"), ("times", "engram"), ("words", "rowid"),
        ("sources", "engram"), ("engrams", "n"),
    ):  # fmt: skip
        counts[table] = run(f"DELETE FROM {table} WHERE {column} IN {doomed}").rowcount
    counts["links"] = run(f"DELETE FROM links WHERE source IN {doomed} OR target IN {doomed}").rowcount
    counts["engrams"] = counts.pop("engrams")
    run("UPDATE operations SET params = '{}' WHERE n NOT IN (SELECT op FROM journal)")
    run("DELETE FROM operations WHERE n NOT IN (SELECT op FROM journal)")
    run(
        "DELETE FROM speakers WHERE NOT EXISTS "
        "(SELECT 1 FROM engrams e WHERE e.scope = speakers.scope AND e.speaker = speakers.name)"
    )
    run("DELETE FROM sessions WHERE n NOT IN (SELECT session FROM engrams)")
    run(
        "DELETE FROM scopes WHERE n NOT IN (SELECT scope FROM engrams) AND n NOT IN (SELECT scope FROM operations) "
        "AND n NOT IN (SELECT scope FROM sessions) AND n NOT IN (SELECT scope FROM speakers)"
    )
    if resleep is not None:
        run("UPDATE cursors SET last = min(last, ?)", (resleep - 1,))
    # Deleted words leave marks in the full-text index until its parts are merged: merge them now.
    run("INSERT INTO words (words) VALUES ('optimize')")
    return counts


def compact(connections: Connections) -> bool:
    """Rewrite the file without what was freed, and empty the log; False if another process held it."""
    if connections.path == MEMORY:
        return True
    with connections.translated():
        connection = connections.get()
        try:
            connection.execute("VACUUM")
        except sqlite3.OperationalError as error:
            if (error.sqlite_errorcode or 0) & 0xFF != sqlite3.SQLITE_BUSY:
                raise
        return not connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]


def scan(files: Sequence[Path], needles: Sequence[bytes]) -> dict[str, list[str]]:
    """Look for bytes in whole files: needle (as text) -> names of the files that hold it."""
    found: dict[str, list[str]] = {}
    for file in files:
        if not file.stat().st_size:
            continue
        with file.open("rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as data:
            for needle in needles:
                if needle and data.find(needle) >= 0:
                    found.setdefault(needle.decode("utf-8", "replace"), []).append(file.name)
    return found
