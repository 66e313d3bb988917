"""The schema as numbered steps, append-only: a released step is never edited, a change is a new step below it."""

from __future__ import annotations

APPLICATION_ID = 0x51077A7E  # tells `file` and us that a database is slowwave's

FIRST = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;

CREATE TABLE scopes (
    n INTEGER PRIMARY KEY,
    user_id TEXT NOT NULL DEFAULT '', agent_id TEXT NOT NULL DEFAULT '',
    run_id TEXT NOT NULL DEFAULT '', app_id TEXT NOT NULL DEFAULT '',
    UNIQUE (user_id, agent_id, run_id, app_id)
) STRICT;
CREATE INDEX scopes_agent ON scopes (agent_id) WHERE agent_id <> '';
CREATE INDEX scopes_run ON scopes (run_id) WHERE run_id <> '';
CREATE INDEX scopes_app ON scopes (app_id) WHERE app_id <> '';

CREATE TABLE sessions (
    n INTEGER PRIMARY KEY, scope INTEGER NOT NULL REFERENCES scopes, name TEXT NOT NULL, turns INTEGER NOT NULL,
    UNIQUE (scope, name)
) STRICT;

CREATE TABLE engrams (
    n INTEGER PRIMARY KEY AUTOINCREMENT,          -- never used twice: caches and sidecars count on it
    id TEXT NOT NULL UNIQUE,
    scope INTEGER NOT NULL REFERENCES scopes,
    kind TEXT NOT NULL,
    text TEXT NOT NULL,
    at INTEGER NOT NULL, at_zone TEXT NOT NULL,   -- microseconds since 1970 UTC, and the zone it was said in
    until INTEGER, until_zone TEXT,
    recorded INTEGER NOT NULL,
    closed INTEGER, retired INTEGER, retired_why TEXT,
    strength REAL NOT NULL, half_life_days REAL NOT NULL, used INTEGER, due INTEGER,
    session INTEGER NOT NULL REFERENCES sessions, turn INTEGER NOT NULL,
    speaker TEXT, origin TEXT, content BLOB NOT NULL,
    attrs TEXT NOT NULL
) STRICT;
CREATE INDEX engrams_scope ON engrams (scope);
CREATE UNIQUE INDEX engrams_content ON engrams (scope, content);
CREATE INDEX engrams_origin ON engrams (scope, origin) WHERE origin IS NOT NULL;
CREATE INDEX engrams_at ON engrams (scope, at);
CREATE INDEX engrams_turn ON engrams (session, turn);
CREATE INDEX engrams_due ON engrams (scope, due) WHERE due IS NOT NULL AND retired IS NULL;

CREATE TABLE speakers (
    scope INTEGER NOT NULL REFERENCES scopes, name TEXT NOT NULL, PRIMARY KEY (scope, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE sources (
    engram INTEGER NOT NULL, source INTEGER NOT NULL, place INTEGER NOT NULL, PRIMARY KEY (engram, source)
) STRICT, WITHOUT ROWID;
CREATE INDEX sources_source ON sources (source);

CREATE TABLE links (
    source INTEGER NOT NULL, relation TEXT NOT NULL, target INTEGER NOT NULL, weight REAL NOT NULL,
    PRIMARY KEY (source, relation, target)
) STRICT, WITHOUT ROWID;
CREATE INDEX links_target ON links (target, relation);

CREATE TABLE operations (
    n INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, scope INTEGER NOT NULL REFERENCES scopes,
    verb TEXT NOT NULL, system TEXT NOT NULL, model TEXT NOT NULL, params TEXT NOT NULL, recorded INTEGER NOT NULL,
    undone_by TEXT
) STRICT;
CREATE INDEX operations_scope ON operations (scope, n);
CREATE INDEX operations_recorded ON operations (recorded);
CREATE INDEX operations_undone ON operations (undone_by) WHERE undone_by IS NOT NULL;

CREATE TABLE journal (
    n INTEGER PRIMARY KEY AUTOINCREMENT, op INTEGER NOT NULL REFERENCES operations, engram INTEGER NOT NULL,
    verb TEXT NOT NULL, reason TEXT NOT NULL, sources TEXT NOT NULL,
    before TEXT NOT NULL, after TEXT NOT NULL, links TEXT NOT NULL, unlinks TEXT NOT NULL
) STRICT;
CREATE INDEX journal_op ON journal (op);
CREATE INDEX journal_changed ON journal (op) WHERE before <> '{}';
CREATE INDEX journal_engram ON journal (engram);

CREATE TABLE cursors (
    scope INTEGER NOT NULL REFERENCES scopes, system TEXT NOT NULL, last INTEGER NOT NULL, state TEXT NOT NULL,
    PRIMARY KEY (scope, system)
) STRICT, WITHOUT ROWID;

-- What follows is derived from the tables above and can be remade by `slowwave rebuild`.
CREATE TABLE models (
    n INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, dim INTEGER NOT NULL, dtype TEXT NOT NULL,
    current INTEGER NOT NULL
) STRICT;
CREATE TABLE vectors (
    model INTEGER NOT NULL, scope INTEGER NOT NULL, engram INTEGER NOT NULL, vector BLOB NOT NULL,
    PRIMARY KEY (model, scope, engram)
) STRICT, WITHOUT ROWID;
CREATE TABLE times (
    scope INTEGER NOT NULL, start INTEGER NOT NULL, stop INTEGER NOT NULL, engram INTEGER NOT NULL,
    PRIMARY KEY (scope, start, stop, engram)
) STRICT, WITHOUT ROWID;
CREATE INDEX times_engram ON times (engram);
CREATE VIRTUAL TABLE words USING fts5 (scope, body, tokenize = 'porter unicode61 remove_diacritics 2');
INSERT INTO words (words, rank) VALUES ('rank', 'bm25(0.0, 1.0)');
CREATE VIRTUAL TABLE vocabulary USING fts5vocab (words, 'row');
"""

MODELS = """
CREATE TABLE calls (                              -- of language models
    op INTEGER NOT NULL REFERENCES operations, place INTEGER NOT NULL,
    operation TEXT NOT NULL, model TEXT NOT NULL, prompt TEXT NOT NULL,
    tokens_in INTEGER NOT NULL, tokens_out INTEGER NOT NULL, seconds REAL NOT NULL, cached INTEGER NOT NULL,
    problem TEXT NOT NULL,
    PRIMARY KEY (op, place)
) STRICT, WITHOUT ROWID;

CREATE TABLE rejected (                           -- what a model proposed and nobody applied
    n INTEGER PRIMARY KEY AUTOINCREMENT, op INTEGER NOT NULL REFERENCES operations,
    operation TEXT NOT NULL, reason TEXT NOT NULL, text TEXT NOT NULL, model TEXT NOT NULL, prompt TEXT NOT NULL
) STRICT;
CREATE INDEX rejected_op ON rejected (op);
CREATE TABLE rejected_sources (
    rejected INTEGER NOT NULL REFERENCES rejected ON DELETE CASCADE, source INTEGER NOT NULL, place INTEGER NOT NULL,
    PRIMARY KEY (rejected, source)
) STRICT, WITHOUT ROWID;
CREATE INDEX rejected_sources_source ON rejected_sources (source);

CREATE TABLE replies (                            -- a cache: the oldest go
    n INTEGER PRIMARY KEY AUTOINCREMENT, scope INTEGER NOT NULL REFERENCES scopes, key TEXT NOT NULL,
    model TEXT NOT NULL, text TEXT NOT NULL, tokens_in INTEGER NOT NULL, tokens_out INTEGER NOT NULL,
    finish TEXT NOT NULL, tokens TEXT NOT NULL,   -- with their probabilities, as JSON; [] where none were asked for
    loose INTEGER NOT NULL,                       -- whether it rests on more than the sources below
    UNIQUE (scope, key)
) STRICT;
CREATE TABLE reply_sources (
    reply INTEGER NOT NULL REFERENCES replies ON DELETE CASCADE, source INTEGER NOT NULL, PRIMARY KEY (reply, source)
) STRICT, WITHOUT ROWID;
CREATE INDEX reply_sources_source ON reply_sources (source);

CREATE TABLE leases (
    token TEXT PRIMARY KEY, name TEXT NOT NULL, holder TEXT NOT NULL,
    user_id TEXT NOT NULL, agent_id TEXT NOT NULL, run_id TEXT NOT NULL, app_id TEXT NOT NULL,
    machine TEXT NOT NULL, process INTEGER NOT NULL, taken INTEGER NOT NULL, expires INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
"""

SERVING = """
ALTER TABLE operations ADD COLUMN noted INTEGER NOT NULL DEFAULT 0;  -- kept though nothing changed

CREATE TABLE keys (                               -- to a memory that is served; the secret is nowhere
    n INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, name TEXT NOT NULL, hash TEXT NOT NULL,
    scopes TEXT NOT NULL, verbs TEXT NOT NULL, limits TEXT NOT NULL,
    created INTEGER NOT NULL, expires INTEGER, revoked INTEGER
) STRICT;
CREATE TABLE usage (
    key TEXT NOT NULL, day TEXT NOT NULL, what TEXT NOT NULL, amount INTEGER NOT NULL, PRIMARY KEY (key, day, what)
) STRICT, WITHOUT ROWID;

CREATE TABLE held (                               -- kept apart until somebody decides
    n INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, scope INTEGER NOT NULL REFERENCES scopes,
    text TEXT NOT NULL, item TEXT NOT NULL, reason TEXT NOT NULL,
    recorded INTEGER NOT NULL, decided INTEGER, decision TEXT NOT NULL
) STRICT;
CREATE INDEX held_scope ON held (scope, n);
"""

STEPS: tuple[str, ...] = (FIRST, MODELS, SERVING)
VERSION = len(STEPS)
