"""Removing for good: the records, all that is derived from them, their words in every index, and their bytes."""

from __future__ import annotations

import json
import mmap
import sqlite3
from collections.abc import Container, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from slowwave.errors import StoreError
from slowwave.records import SCOPE_FIELDS
from slowwave.store.base import AUDIT, Erased
from slowwave.store.connection import MEMORY, Connections
from slowwave.store.reindex import bump_epoch, read_engrams
from slowwave.store.sidecars import drop_all
from slowwave.store.sqlite_rows import pack
from slowwave.store.sqlite_serving import erase_held
from slowwave.store.sqlite_view import SqliteView

OPEN = "open_erasure"  # in `meta` from an erasure's commit until the files hold nothing of it
IN_MEMORY = 1 << 28  # bytes of a file up to which its new form is put together in memory, not in a temporary file
KEY = 7  # bytes by which a scan recognises where a needle may begin
BLOCK = 1 << 22  # bytes scanned at once
DOOMED = "(SELECT n FROM temp.doomed)"
COVERS = " AND ".join(f"(a.{name} = '' OR a.{name} = b.{name})" for name in SCOPE_FIELDS)  # scope a's reader sees b


def erase(connections: Connections, view: SqliteView, ids: Sequence[str]) -> Erased:
    """Remove these records and everything that was derived from them, directly or not.

    What was derived from others as well goes too, since its text may quote what is erased: the sources that are left
    are handed to the next sleep, which derives it anew from them alone. Lines of the journal about what goes are
    removed; lines that only name it lose their reason.
    """
    own = list(view.numbers(ids).values())
    with connections.write() as connection:
        _fill(connection, own)
        gone = read_engrams(connections, [n for (n,) in connection.execute("SELECT n FROM temp.doomed")])
        counts = _erase_rows(connection, len(own)) | {"held": erase_held(connection, view.scope, ids)}
        _sweep(connection)
        connection.execute("DROP TABLE temp.doomed")
        connection.execute("INSERT OR REPLACE INTO meta VALUES (?, '1')", (OPEN,))
        bump_epoch(connection)
    return Erased(counts, tuple(gone.values()), compact(connections))


def _fill(connection: sqlite3.Connection, ns: Sequence[int]) -> None:
    """temp.doomed: these rows and all that stands on them."""
    connection.execute("DROP TABLE IF EXISTS temp.doomed")
    connection.execute("CREATE TEMP TABLE doomed (n INTEGER PRIMARY KEY, id TEXT UNIQUE)")
    connection.execute(
        "WITH RECURSIVE d (n) AS (SELECT value FROM json_each(?) "
        "UNION SELECT t.engram FROM d JOIN sources t ON t.source = d.n) "
        "INSERT INTO temp.doomed SELECT d.n, e.id FROM d JOIN engrams e ON e.n = d.n",
        (json.dumps(list(ns)),),
    )


def _erase_rows(connection: sqlite3.Connection, asked: int) -> dict[str, int]:
    run = connection.execute
    counts = {"asked": asked, "records": run("SELECT count(*) FROM temp.doomed").fetchone()[0]}
    counts["derived"] = counts["records"] - asked
    _clean_journal(connection)
    counts |= _erase_said(connection)
    _hand_back(connection)
    run(
        "UPDATE engrams SET until = NULL, until_zone = NULL, closed = NULL WHERE until IS NOT NULL "
        f"AND n NOT IN {DOOMED} AND n IN "
        f"(SELECT l.target FROM links l WHERE l.relation = 'supersedes' AND l.source IN {DOOMED})"
    )
    for table, column in (
        ("journal", "engram"), ("vectors", "engram"), ("times", "engram"), ("words", "rowid"),
        ("sources", "engram"), ("engrams", "n"),
    ):  # fmt: skip
        counts[table] = run(f"DELETE FROM {table} WHERE {column} IN {DOOMED}").rowcount
    counts["links"] = run(f"DELETE FROM links WHERE source IN {DOOMED} OR target IN {DOOMED}").rowcount
    # Deleted words leave marks in the full-text index until its parts are merged: merge them now.
    run("INSERT INTO words (words) VALUES ('optimize')")
    return counts


def _clean_journal(connection: sqlite3.Connection) -> None:
    """Take what is doomed out of the lines about others: as a source, as the end of a tie, by id in a reason."""
    run = connection.execute
    run(
        "UPDATE journal SET reason = '[erased]', before = '{}', after = iif(after = '{\"added\":true}', after, '{}') "
        f"WHERE engram NOT IN {DOOMED} AND n IN (SELECT j.n FROM journal j, json_each(j.sources) s "
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
    run(  # a line that names what replaced its record stands in the same operation as the line about the other
        "UPDATE journal SET reason = '[erased]' WHERE n IN (SELECT j.n FROM journal j, journal k, temp.doomed d "
        "WHERE k.engram = d.n AND j.op = k.op AND j.engram <> d.n AND instr(j.reason, d.id) > 0)"
    )


def _erase_said(connection: sqlite3.Connection) -> dict[str, int]:
    """Remove what models said and proposed about what is doomed, and what calls may betray of it.

    A call does not know what its prompt showed. So those of every operation that could read a doomed record keep who
    was asked for what and at what cost, but lose the hash of the prompt, by which a guess at its words could be
    confirmed, and the words of its problem.
    """
    run = connection.execute
    run("DROP TABLE IF EXISTS temp.readers")
    run(
        "CREATE TEMP TABLE readers AS SELECT a.n AS n FROM scopes a WHERE a.n IN (SELECT scope FROM replies UNION "
        "SELECT scope FROM operations WHERE n IN (SELECT op FROM calls UNION SELECT op FROM rejected)) "
        "AND EXISTS (SELECT 1 FROM scopes b "
        f"WHERE b.n IN (SELECT DISTINCT e.scope FROM temp.doomed d JOIN engrams e ON e.n = d.n) AND {COVERS})"
    )
    readers = "(SELECT n FROM temp.readers)"
    counts = {
        "rejected": run(
            f"DELETE FROM rejected WHERE n IN (SELECT rejected FROM rejected_sources WHERE source IN {DOOMED}) "
            f"OR (op IN (SELECT n FROM operations WHERE scope IN {readers}) "
            "AND n NOT IN (SELECT rejected FROM rejected_sources))"
        ).rowcount,
        "replies": run(
            f"DELETE FROM replies WHERE n IN (SELECT reply FROM reply_sources WHERE source IN {DOOMED}) "
            f"OR (loose AND scope IN {readers})"
        ).rowcount,
    }
    run(
        "UPDATE calls SET prompt = '', problem = iif(instr(problem, ':'), substr(problem, 1, instr(problem, ':') - 1), "
        f"problem) WHERE op IN (SELECT n FROM operations WHERE scope IN {readers})"
    )
    run("DROP TABLE temp.readers")
    return counts


def _hand_back(connection: sqlite3.Connection) -> None:
    """Let the next sleep begin before the first record that loses a summary or fact, and forget what is doomed."""
    run = connection.execute
    run(
        "UPDATE cursors SET last = min(last, ifnull((SELECT min(t.source) - 1 FROM sources t "
        "JOIN engrams e ON e.n = t.source JOIN scopes b ON b.n = e.scope JOIN scopes a ON a.n = cursors.scope "
        f"WHERE t.engram IN {DOOMED} AND t.source NOT IN {DOOMED} AND {COVERS}), last))"
    )
    doomed = {id_ for (id_,) in run("SELECT id FROM temp.doomed")}
    for scope, system, state in run("SELECT scope, system, state FROM cursors WHERE state <> '{}'").fetchall():
        left = pack(_without(json.loads(state), doomed))
        if left != state:
            run("UPDATE cursors SET state = ? WHERE scope = ? AND system = ?", (left, scope, system))


def _without(value: Any, doomed: Container[str]) -> Any:
    """A JSON value without the ids that are doomed, as keys, values or members."""
    if isinstance(value, dict):
        kept = {key: item for key, item in value.items() if key not in doomed}
        return {key: _without(item, doomed) for key, item in kept.items() if not _is_doomed(item, doomed)}
    if isinstance(value, list):
        return [_without(item, doomed) for item in value if not _is_doomed(item, doomed)]
    return value


def _is_doomed(value: Any, doomed: Container[str]) -> bool:
    return isinstance(value, str) and value in doomed


def _sweep(connection: sqlite3.Connection) -> None:
    """Remove what nothing stands on any more: names of people, sessions and scopes betray as much as texts."""
    run = connection.execute
    run("DROP TABLE IF EXISTS temp.empty")
    run(
        "CREATE TEMP TABLE empty AS SELECT a.n AS n FROM scopes a WHERE a.n NOT IN (SELECT scope FROM engrams) "
        f"AND NOT EXISTS (SELECT 1 FROM scopes b JOIN engrams e ON e.scope = b.n WHERE {COVERS}) "
        f"AND NOT ({' AND '.join(f'a.{name} = ?' for name in SCOPE_FIELDS)})",
        [getattr(AUDIT, name) or "" for name in SCOPE_FIELDS],
    )
    run("DELETE FROM held WHERE decided IS NOT NULL AND scope IN (SELECT n FROM temp.empty)")
    run("UPDATE operations SET noted = 0 WHERE scope IN (SELECT n FROM temp.empty)")
    for table in ("rejected", "calls"):
        run(f"DELETE FROM {table} WHERE op IN (SELECT n FROM operations WHERE scope IN (SELECT n FROM temp.empty))")
    run(
        "DELETE FROM operations WHERE n NOT IN (SELECT op FROM journal) AND n NOT IN (SELECT op FROM calls) "
        "AND n NOT IN (SELECT op FROM rejected) AND noted = 0"
    )
    run("UPDATE operations SET undone_by = NULL WHERE undone_by NOT IN (SELECT id FROM operations)")
    run(
        "DELETE FROM speakers WHERE NOT EXISTS "
        "(SELECT 1 FROM engrams e WHERE e.scope = speakers.scope AND e.speaker = speakers.name)"
    )
    run("DELETE FROM sessions WHERE n NOT IN (SELECT session FROM engrams)")
    for table in ("cursors", "replies"):
        run(f"DELETE FROM {table} WHERE scope IN (SELECT n FROM temp.empty)")
    run("DROP TABLE temp.empty")
    run(  # who holds one of these finds it lost, and writes nothing
        "DELETE FROM leases AS a WHERE NOT EXISTS (SELECT 1 FROM scopes b JOIN engrams e ON e.scope = b.n "
        f"WHERE {COVERS})"
    )
    run(
        "DELETE FROM scopes WHERE n NOT IN (SELECT scope FROM engrams) AND n NOT IN (SELECT scope FROM operations) "
        "AND n NOT IN (SELECT scope FROM sessions) AND n NOT IN (SELECT scope FROM cursors) "
        "AND n NOT IN (SELECT scope FROM replies) AND n NOT IN (SELECT scope FROM held)"
    )


def compact(connections: Connections) -> str:
    """Delete the approximate indexes, rewrite the file without what was freed, empty the log.

    Returns "" if that is done, else why not and what to do.
    """
    if connections.path != MEMORY:
        try:
            drop_all(connections.path)
            large = Path(connections.path).stat().st_size > IN_MEMORY
            try:
                if large:
                    connections.outside("PRAGMA temp_store = FILE")
                connections.outside("VACUUM")
            finally:
                connections.outside("PRAGMA temp_store = MEMORY")
            busy = connections.outside("PRAGMA wal_checkpoint(TRUNCATE)")[0][0]
        except StoreError as error:
            return f"the file could not be rewritten yet ({error}); it is when it is next opened for writing"
        if busy:
            return (
                f"another process is reading {connections.path}, so its old pages are still there; end that process, "
                "and open the file for writing once, which removes them"
            )
    try:
        with connections.write() as connection:
            connection.execute("DELETE FROM meta WHERE key = ?", (OPEN,))
    except StoreError as error:
        return f"it could not be noted that the files are clean ({error}); they are looked at when next opened"
    return ""


def is_open(connections: Connections) -> bool:
    """Whether an erasure was committed whose bytes may still be in the files."""
    return bool(connections.fetch("SELECT 1 FROM meta WHERE key = ?", (OPEN,)))


def scan(files: Sequence[Path], needles: Sequence[bytes]) -> dict[str, list[str]]:
    """Look for bytes in whole files: needle (as text) -> names of the files that hold it. One pass for all needles."""
    short = [needle for needle in needles if 0 < len(needle) < KEY]
    by_key: dict[int, list[bytes]] = {}
    for needle in needles:
        if len(needle) >= KEY:
            by_key.setdefault(int.from_bytes(needle[:KEY], "little"), []).append(needle)
    keys = np.array(sorted(by_key), dtype=np.uint64)
    found: dict[str, list[str]] = {}
    for file in files:
        if not file.stat().st_size:
            continue
        with file.open("rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as data:
            held = {needle for needle in short if data.find(needle) >= 0} | _held(data, keys, by_key)
        for needle in sorted(held):
            found.setdefault(needle.decode("utf-8", "replace"), []).append(file.name)
    return found


def _held(data: mmap.mmap, keys: np.ndarray[Any, np.dtype[np.uint64]], by_key: dict[int, list[bytes]]) -> set[bytes]:
    """Those needles that occur: every position whose next bytes hash like a key's is looked at."""
    held: set[bytes] = set()
    if not len(keys):
        return held
    odd, shift = np.uint64(0x9E3779B97F4A7C15), np.uint64(64 - 24)
    mask = np.uint64((1 << 8 * KEY) - 1)
    marked = np.zeros(1 << 24, dtype=bool)
    marked[(keys * odd) >> shift] = True
    for start in range(0, len(data), BLOCK):
        block = data[start : start + BLOCK + 16] + bytes(16)
        for offset in range(8):
            words = np.frombuffer(block, dtype="<u8", offset=offset, count=min(BLOCK, len(block) - 16) // 8 + 1) & mask
            near = np.flatnonzero(marked[(words * odd) >> shift])
            near = near[np.isin(words[near], keys)]
            for place in near.tolist():
                at = start + 8 * place + offset
                for needle in by_key[int(words[place])]:
                    if needle not in held and data[at : at + len(needle)] == needle:
                        held.add(needle)
    return held


__all__ = ["compact", "erase", "is_open", "scan"]
