"""Removing for good: the records, all that is derived from them, and every word about them in other rows."""

from __future__ import annotations

import json
from collections.abc import Container, Sequence
from typing import TYPE_CHECKING, Any

from slowwave.records import SCOPE_FIELDS, Engram, Scope
from slowwave.store.base import AUDIT
from slowwave.store.reindex import bump_epoch, read_engrams
from slowwave.store.rows import pack, scope_sql
from slowwave.store.serving import erase_held
from slowwave.store.sql import Connections, Session, get_meta, put_meta

if TYPE_CHECKING:
    from slowwave.store.sql_store import SqlStore

OPEN = "open_erasure"  # in `meta` from an erasure's commit until its bytes are gone
DOOMED = "(SELECT n FROM doomed)"
READERS = "(SELECT n FROM readers)"
COVERS = " AND ".join(f"(a.{name} = '' OR a.{name} = b.{name})" for name in SCOPE_FIELDS)  # scope a's reader sees b
HELD = f"EXISTS (SELECT 1 FROM scopes b WHERE {COVERS} AND EXISTS (SELECT 1 FROM engrams e WHERE e.scope = b.n))"


def erase(store: SqlStore, scope: Scope, ids: Sequence[str]) -> tuple[dict[str, int], tuple[Engram, ...]]:
    """Remove these records and everything that was derived from them, directly or not, in one transaction.

    What was derived from others as well goes too, since its text may quote what is erased: the sources that are left
    are handed to the next sleep, which derives it anew from them alone. Lines of the journal about what goes are
    removed; lines that only name it lose their reason.
    returns  rows by table, and the records as they were; their bytes may still lie where the rows were
    """
    connections = store.connections
    own = list(store.view(scope).numbers(ids).values())
    with connections.write() as session:
        _fill(session, connections, own)
        gone = read_engrams(
            lambda sql, values: session.execute(sql, values).fetchall(),
            connections.dialect,
            [n for (n,) in session.execute("SELECT n FROM doomed ORDER BY n").fetchall()],
        )
        counts = _erase_rows(store, session, len(own))
        counts["held"] = erase_held(session, connections.dialect, scope, ids)
        _readers_too(session, scope)
        _sweep(session)
        for table in ("doomed", "readers"):
            session.execute(f"DROP TABLE {table}")
        put_meta(session, OPEN, "1")
        bump_epoch(session)
    return counts, tuple(gone.values())


def is_open(connections: Connections) -> bool:
    """Whether an erasure was committed whose bytes may still be there."""
    return get_meta(connections.fetch, OPEN) is not None


def _fill(session: Session, connections: Connections, ns: Sequence[int]) -> None:
    """doomed: these rows and all that stands on them; readers: the scopes that could see one of them."""
    run, dialect = session.execute, connections.dialect
    for table in ("doomed", "readers"):
        run(f"DROP TABLE IF EXISTS {table}")
    run("CREATE TEMP TABLE doomed (n BIGINT PRIMARY KEY, id TEXT UNIQUE, scope BIGINT)")
    run(
        f"WITH RECURSIVE d (n) AS (SELECT e.n FROM engrams e WHERE {dialect.among('e.n')} "
        "UNION SELECT t.engram FROM d JOIN sources t ON t.source = d.n) "
        "INSERT INTO doomed (n, id, scope) SELECT d.n, e.id, e.scope FROM d JOIN engrams e ON e.n = d.n",
        (dialect.listed(ns),),
    )
    run(
        "CREATE TEMP TABLE readers AS SELECT a.n AS n FROM scopes a WHERE EXISTS "
        f"(SELECT 1 FROM scopes b WHERE b.n IN (SELECT scope FROM doomed) AND {COVERS})"
    )


def _erase_rows(store: SqlStore, session: Session, asked: int) -> dict[str, int]:
    run = session.execute
    doomed = {id_ for (id_,) in run("SELECT id FROM doomed").fetchall()}
    counts = {"asked": asked, "records": len(doomed), "derived": len(doomed) - asked}
    _clean_journal(session, doomed)
    counts |= _erase_said(session, store.connections.dialect.names("problem"))
    _hand_back(session, doomed, store.connections.dialect.least)
    run(
        "UPDATE engrams SET until = NULL, until_zone = NULL, closed = NULL WHERE until IS NOT NULL "
        f"AND n NOT IN {DOOMED} AND n IN "
        f"(SELECT l.target FROM links l WHERE l.relation = 'supersedes' AND l.source IN {DOOMED})"
    )
    counts["words"] = store.erase_words(session)
    counts["vectors"] = run("DELETE FROM vectors WHERE (scope, engram) IN (SELECT d.scope, d.n FROM doomed d)").rowcount
    for table, column in (("journal", "engram"), ("times", "engram"), ("sources", "engram"), ("engrams", "n")):
        counts[table] = run(f"DELETE FROM {table} WHERE {column} IN {DOOMED}").rowcount
    counts["links"] = run(f"DELETE FROM links WHERE source IN {DOOMED} OR target IN {DOOMED}").rowcount
    return counts


def _clean_journal(session: Session, doomed: Container[str]) -> None:
    """Take what is doomed out of the lines about others: as a source, as the end of a tie, by id in a reason."""
    run = session.execute
    # A line that names what replaced its record stands in the same operation as the line about the other.
    beside = f"op IN (SELECT op FROM journal WHERE engram IN {DOOMED})"
    changed = []
    for n, reason, sources, before, after, links, unlinks, together in run(
        f"SELECT n, reason, sources, before, after, links, unlinks, CASE WHEN {beside} THEN 1 ELSE 0 END FROM journal "
        f"WHERE engram NOT IN {DOOMED} AND op IN (SELECT n FROM operations WHERE scope IN {READERS}) "
        f"AND (sources <> '[]' OR links <> '[]' OR unlinks <> '[]' OR {beside})"
    ).fetchall():
        old = (reason, sources, before, after, links, unlinks)
        kept = [source for source in json.loads(sources) if source not in doomed]
        if len(kept) < len(json.loads(sources)):
            added = after == '{"added":true}'
            reason, sources, before, after = "[erased]", pack(kept), "{}", after if added else "{}"
        links, unlinks = _left(links, doomed), _left(unlinks, doomed)
        if together and any(word in doomed for word in _words(reason)):
            reason = "[erased]"
        if (new := (reason, sources, before, after, links, unlinks)) != old:
            changed.append((*new, n))
    if changed:
        session.executemany(
            "UPDATE journal SET reason = ?, sources = ?, before = ?, after = ?, links = ?, unlinks = ? WHERE n = ?",
            changed,
        )


def _words(text: str) -> list[str]:
    """The words of a reason that may be ids."""
    return "".join(letter if letter.isalnum() or letter in "_-" else " " for letter in text).split()


def _left(ties: str, doomed: Container[str]) -> str:
    """Packed links without those that have an end among what is doomed."""
    if ties == "[]":
        return ties
    values = json.loads(ties)
    kept = [tie for tie in values if tie[0] not in doomed and tie[2] not in doomed]
    return ties if len(kept) == len(values) else pack(kept)


def _erase_said(session: Session, before_colon: str) -> dict[str, int]:
    """Remove what models said and proposed about what is doomed, and what calls may betray of it.

    A call does not know what its prompt showed. So those of every operation that could read a doomed record keep who
    was asked for what and at what cost, but lose the hash of the prompt, by which a guess at its words could be
    confirmed, and the words of its problem.
    """
    run = session.execute
    counts = {
        "rejected": run(
            f"DELETE FROM rejected WHERE n IN (SELECT rejected FROM rejected_sources WHERE source IN {DOOMED}) "
            f"OR (op IN (SELECT n FROM operations WHERE scope IN {READERS}) "
            "AND NOT EXISTS (SELECT 1 FROM rejected_sources t WHERE t.rejected = rejected.n))"
        ).rowcount,
        "replies": run(
            f"DELETE FROM replies WHERE n IN (SELECT reply FROM reply_sources WHERE source IN {DOOMED}) "
            f"OR (loose = 1 AND scope IN {READERS})"
        ).rowcount,
    }
    run(
        f"UPDATE calls SET prompt = '', problem = {before_colon} "
        f"WHERE op IN (SELECT n FROM operations WHERE scope IN {READERS})"
    )
    return counts


def _hand_back(session: Session, doomed: Container[str], least: str) -> None:
    """Let the next sleep begin before the first record that loses a summary or fact, and forget what is doomed."""
    run = session.execute
    run(
        f"UPDATE cursors SET last = {least}(last, coalesce((SELECT min(t.source) - 1 FROM sources t "
        "JOIN engrams e ON e.n = t.source JOIN scopes b ON b.n = e.scope JOIN scopes a ON a.n = cursors.scope "
        f"WHERE t.engram IN {DOOMED} AND t.source NOT IN {DOOMED} AND {COVERS}), last)) WHERE scope IN {READERS}"
    )
    told = f"SELECT scope, system, state FROM cursors WHERE state <> '{{}}' AND scope IN {READERS}"
    for scope, system, state in run(told).fetchall():
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


def _readers_too(session: Session, scope: Scope) -> None:
    """Where only something held was erased, nobody read it: its scope, and those above, are looked at as well."""
    seen, values = scope_sql(scope)
    session.execute(
        "INSERT INTO readers SELECT DISTINCT a.n FROM scopes a WHERE EXISTS "
        f"(SELECT 1 FROM scopes s WHERE {seen} AND {COVERS.replace('b.', 's.')}) "
        f"AND a.n NOT IN {READERS}",
        values,
    )


def _sweep(session: Session) -> None:
    """Remove what nothing stands on any more: names of people, sessions and scopes betray as much as texts."""
    run = session.execute
    run("DROP TABLE IF EXISTS empty")
    audit = " AND ".join(f"a.{name} = ?" for name in SCOPE_FIELDS)
    run(
        f"CREATE TEMP TABLE empty AS SELECT a.n AS n FROM scopes a WHERE a.n IN {READERS} AND NOT {HELD} "
        f"AND NOT ({audit})",
        [getattr(AUDIT, name) or "" for name in SCOPE_FIELDS],
    )
    run("DELETE FROM held WHERE decided IS NOT NULL AND scope IN (SELECT n FROM empty)")
    run("UPDATE operations SET noted = 0 WHERE scope IN (SELECT n FROM empty)")
    for table in ("rejected", "calls"):
        run(f"DELETE FROM {table} WHERE op IN (SELECT n FROM operations WHERE scope IN (SELECT n FROM empty))")
    run(
        f"DELETE FROM operations WHERE scope IN {READERS} AND noted = 0 AND NOT EXISTS "
        "(SELECT 1 FROM journal j WHERE j.op = operations.n) AND NOT EXISTS (SELECT 1 FROM calls c "
        "WHERE c.op = operations.n) AND NOT EXISTS (SELECT 1 FROM rejected r WHERE r.op = operations.n)"
    )
    run(
        f"UPDATE operations SET undone_by = NULL WHERE undone_by IS NOT NULL AND scope IN {READERS} "
        "AND NOT EXISTS (SELECT 1 FROM operations o WHERE o.id = operations.undone_by)"
    )
    touched = "scope IN (SELECT scope FROM doomed)"
    run(
        f"DELETE FROM speakers WHERE {touched} AND NOT EXISTS "
        "(SELECT 1 FROM engrams e WHERE e.scope = speakers.scope AND e.speaker = speakers.name)"
    )
    run(f"DELETE FROM sessions WHERE {touched} AND NOT EXISTS (SELECT 1 FROM engrams e WHERE e.session = sessions.n)")
    for table in ("cursors", "replies"):
        run(f"DELETE FROM {table} WHERE scope IN (SELECT n FROM empty)")
    run("DROP TABLE empty")
    run(f"DELETE FROM leases AS a WHERE NOT {HELD}")  # who holds one of these finds it lost, and writes nothing
    unused = " AND ".join(
        f"NOT EXISTS (SELECT 1 FROM {table} t WHERE t.scope = scopes.n)"
        for table in ("engrams", "operations", "sessions", "cursors", "replies", "held")
    )
    run(f"DELETE FROM scopes WHERE n IN {READERS} AND {unused}")


__all__ = ["erase", "is_open"]
