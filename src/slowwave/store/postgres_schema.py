"""The schema of PostgreSQL as numbered steps, as `migrations.py` has it for SQLite: a released step is never edited.

The tables and columns are those of the SQLite file, with a column `tenant` in each, and row-level security by it: a
connection sees the rows of the tenant that its setting `slowwave.tenant` gives by number, and without it none.
"""

from __future__ import annotations

import sys
from functools import lru_cache

SCHEMA = "slowwave"
ROLE = "slowwave"  # which connections take on that would be above row-level security
TENANT = "nullif(current_setting('slowwave.tenant', true), '')::int"

FIRST = """
CREATE TABLE tenants (n INTEGER PRIMARY KEY GENERATED ALWAYS AS IDENTITY, name TEXT NOT NULL UNIQUE);

CREATE TABLE meta (tenant TENANT, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (tenant, key));

CREATE TABLE scopes (
    n NUMBER, tenant TENANT,
    user_id TEXT NOT NULL DEFAULT '', agent_id TEXT NOT NULL DEFAULT '',
    run_id TEXT NOT NULL DEFAULT '', app_id TEXT NOT NULL DEFAULT '',
    records BIGINT NOT NULL DEFAULT 0, length BIGINT NOT NULL DEFAULT 0,  -- in the full-text index, and their words
    UNIQUE (tenant, user_id, agent_id, run_id, app_id)
);
CREATE INDEX scopes_agent ON scopes (tenant, agent_id) WHERE agent_id <> '';
CREATE INDEX scopes_run ON scopes (tenant, run_id) WHERE run_id <> '';
CREATE INDEX scopes_app ON scopes (tenant, app_id) WHERE app_id <> '';

CREATE TABLE sessions (
    n NUMBER, tenant TENANT, scope BIGINT NOT NULL REFERENCES scopes, name TEXT NOT NULL, turns BIGINT NOT NULL,
    UNIQUE (scope, name)
);

CREATE TABLE engrams (
    n NUMBER, tenant TENANT,
    id TEXT NOT NULL,
    scope BIGINT NOT NULL REFERENCES scopes,
    kind TEXT NOT NULL,
    text TEXT NOT NULL,
    at BIGINT NOT NULL, at_zone TEXT NOT NULL,    -- microseconds since 1970 UTC, and the zone it was said in
    until BIGINT, until_zone TEXT,
    recorded BIGINT NOT NULL,
    closed BIGINT, retired BIGINT, retired_why TEXT,
    strength FLOAT8 NOT NULL, half_life_days FLOAT8 NOT NULL, used BIGINT, due BIGINT,
    session BIGINT NOT NULL REFERENCES sessions, turn BIGINT NOT NULL,
    speaker TEXT, origin TEXT, content BYTEA NOT NULL,
    attrs TEXT NOT NULL,
    UNIQUE (tenant, id)
);
CREATE INDEX engrams_scope ON engrams (scope, n);
CREATE UNIQUE INDEX engrams_content ON engrams (scope, content);
CREATE INDEX engrams_origin ON engrams (scope, origin) WHERE origin IS NOT NULL;
CREATE INDEX engrams_at ON engrams (scope, at);
CREATE INDEX engrams_turn ON engrams (session, turn);
CREATE INDEX engrams_due ON engrams (scope, due) WHERE due IS NOT NULL AND retired IS NULL;

CREATE TABLE speakers (
    tenant TENANT, scope BIGINT NOT NULL REFERENCES scopes, name TEXT NOT NULL, PRIMARY KEY (scope, name)
);

CREATE TABLE sources (
    tenant TENANT, engram BIGINT NOT NULL, source BIGINT NOT NULL, place BIGINT NOT NULL, PRIMARY KEY (engram, source)
);
CREATE INDEX sources_source ON sources (source);

CREATE TABLE links (
    tenant TENANT, source BIGINT NOT NULL, relation TEXT NOT NULL, target BIGINT NOT NULL, weight FLOAT8 NOT NULL,
    PRIMARY KEY (source, relation, target)
);
CREATE INDEX links_target ON links (target, relation);

CREATE TABLE operations (
    n NUMBER, tenant TENANT, id TEXT NOT NULL, scope BIGINT NOT NULL REFERENCES scopes,
    verb TEXT NOT NULL, system TEXT NOT NULL, model TEXT NOT NULL, params TEXT NOT NULL, recorded BIGINT NOT NULL,
    undone_by TEXT, UNIQUE (tenant, id)
);
CREATE INDEX operations_scope ON operations (scope, n);
CREATE INDEX operations_recorded ON operations (tenant, recorded);
CREATE INDEX operations_undone ON operations (tenant, undone_by) WHERE undone_by IS NOT NULL;

CREATE TABLE journal (
    n NUMBER, tenant TENANT, op BIGINT NOT NULL REFERENCES operations, engram BIGINT NOT NULL,
    verb TEXT NOT NULL, reason TEXT NOT NULL, sources TEXT NOT NULL,
    before TEXT NOT NULL, after TEXT NOT NULL, links TEXT NOT NULL, unlinks TEXT NOT NULL
);
CREATE INDEX journal_op ON journal (op);
CREATE INDEX journal_changed ON journal (op) WHERE before <> '{}';
CREATE INDEX journal_engram ON journal (engram);

CREATE TABLE cursors (
    tenant TENANT, scope BIGINT NOT NULL REFERENCES scopes, system TEXT NOT NULL, last BIGINT NOT NULL,
    state TEXT NOT NULL, PRIMARY KEY (scope, system)
);

-- What follows is derived from the tables above and can be remade by `slowwave rebuild`.
CREATE TABLE models (
    n NUMBER, tenant TENANT, name TEXT NOT NULL, dim BIGINT NOT NULL, dtype TEXT NOT NULL, current BIGINT NOT NULL,
    UNIQUE (tenant, name)
);
CREATE TABLE vectors (
    tenant TENANT, model BIGINT NOT NULL, scope BIGINT NOT NULL, engram BIGINT NOT NULL, vector BYTEA NOT NULL,
    PRIMARY KEY (scope, engram, model)
);
-- No index by engram alone: a plan made without the values would walk through it instead of through the scope.
ALTER TABLE vectors ALTER COLUMN vector SET STORAGE PLAIN;  -- bytes of vectors cannot be pressed, and are read often
CREATE TABLE times (
    tenant TENANT, scope BIGINT NOT NULL, start BIGINT NOT NULL, stop BIGINT NOT NULL, engram BIGINT NOT NULL,
    PRIMARY KEY (scope, start, stop, engram)
);
CREATE INDEX times_engram ON times (engram);
CREATE TABLE words (                              -- a record's words, and its stems, each as 8 bytes of its hash
    tenant TENANT, scope BIGINT NOT NULL, engram BIGINT NOT NULL, stems BYTEA NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (scope, engram)
);
"""

MODELS = """
CREATE TABLE calls (                              -- of language models
    tenant TENANT, op BIGINT NOT NULL REFERENCES operations, place BIGINT NOT NULL,
    operation TEXT NOT NULL, model TEXT NOT NULL, prompt TEXT NOT NULL,
    tokens_in BIGINT NOT NULL, tokens_out BIGINT NOT NULL, seconds FLOAT8 NOT NULL, cached BIGINT NOT NULL,
    problem TEXT NOT NULL,
    PRIMARY KEY (op, place)
);

CREATE TABLE rejected (                           -- what a model proposed and nobody applied
    n NUMBER, tenant TENANT, op BIGINT NOT NULL REFERENCES operations,
    operation TEXT NOT NULL, reason TEXT NOT NULL, text TEXT NOT NULL, model TEXT NOT NULL, prompt TEXT NOT NULL
);
CREATE INDEX rejected_op ON rejected (op);
CREATE TABLE rejected_sources (
    tenant TENANT, rejected BIGINT NOT NULL REFERENCES rejected ON DELETE CASCADE, source BIGINT NOT NULL,
    place BIGINT NOT NULL, PRIMARY KEY (rejected, source)
);
CREATE INDEX rejected_sources_source ON rejected_sources (source);

CREATE TABLE replies (                            -- a cache: the oldest go
    n NUMBER, tenant TENANT, scope BIGINT NOT NULL REFERENCES scopes, key TEXT NOT NULL,
    model TEXT NOT NULL, text TEXT NOT NULL, tokens_in BIGINT NOT NULL, tokens_out BIGINT NOT NULL,
    finish TEXT NOT NULL, tokens TEXT NOT NULL,   -- with their probabilities, as JSON; [] where none were asked for
    loose BIGINT NOT NULL,                        -- whether it rests on more than the sources below
    UNIQUE (scope, key)
);
CREATE TABLE reply_sources (
    tenant TENANT, reply BIGINT NOT NULL REFERENCES replies ON DELETE CASCADE, source BIGINT NOT NULL,
    PRIMARY KEY (reply, source)
);
CREATE INDEX reply_sources_source ON reply_sources (source);

CREATE TABLE leases (
    tenant TENANT, token TEXT PRIMARY KEY, name TEXT NOT NULL, holder TEXT NOT NULL,
    user_id TEXT NOT NULL, agent_id TEXT NOT NULL, run_id TEXT NOT NULL, app_id TEXT NOT NULL,
    machine TEXT NOT NULL, process BIGINT NOT NULL, taken BIGINT NOT NULL, expires BIGINT NOT NULL
);
"""

SERVING = """
ALTER TABLE operations ADD COLUMN noted BIGINT NOT NULL DEFAULT 0;  -- kept though nothing changed

CREATE TABLE keys (                               -- to a memory that is served; the secret is nowhere
    n NUMBER, tenant TENANT, id TEXT NOT NULL, name TEXT NOT NULL, hash TEXT NOT NULL,
    scopes TEXT NOT NULL, verbs TEXT NOT NULL, limits TEXT NOT NULL,
    created BIGINT NOT NULL, expires BIGINT, revoked BIGINT, UNIQUE (tenant, id)
);
CREATE TABLE usage (
    tenant TENANT, key TEXT NOT NULL, day TEXT NOT NULL, what TEXT NOT NULL, amount BIGINT NOT NULL,
    PRIMARY KEY (tenant, key, day, what)
);

CREATE TABLE held (                               -- kept apart until somebody decides
    n NUMBER, tenant TENANT, id TEXT NOT NULL, scope BIGINT NOT NULL REFERENCES scopes,
    text TEXT NOT NULL, item TEXT NOT NULL, reason TEXT NOT NULL,
    recorded BIGINT NOT NULL, decided BIGINT, decision TEXT NOT NULL, UNIQUE (tenant, id)
);
CREATE INDEX held_scope ON held (scope, n);
"""

QUEUE = """
CREATE TABLE jobs (                               -- long work; whose turn it is, is procrastinate's to say
    tenant TENANT, id TEXT NOT NULL, verb TEXT NOT NULL, scope TEXT NOT NULL, arguments TEXT NOT NULL,
    actor TEXT NOT NULL, state TEXT NOT NULL, stage TEXT NOT NULL DEFAULT '', done BIGINT NOT NULL DEFAULT 0,
    total BIGINT NOT NULL DEFAULT 0, attempts BIGINT NOT NULL DEFAULT 0, result TEXT, error TEXT,
    created BIGINT NOT NULL, started BIGINT, ended BIGINT, cancelled BIGINT NOT NULL DEFAULT 0, place BIGINT NOT NULL,
    PRIMARY KEY (tenant, id)
);
CREATE INDEX jobs_created ON jobs (tenant, created);
CREATE INDEX jobs_open ON jobs (tenant, verb, scope) WHERE state IN ('waiting', 'running');
"""

_SAID = {  # what was said and what is made of it: columns by which no plan is chosen
    "meta": "value",
    "sessions": "name",
    "engrams": "text speaker origin content attrs",
    "speakers": "name",
    "operations": "params",
    "journal": "reason sources before after links unlinks",
    "cursors": "state",
    "vectors": "vector",
    "words": "stems body",
    "calls": "prompt problem",
    "rejected": "reason text prompt",
    "replies": "key text tokens",
    "leases": "holder token machine",
    "keys": "name hash scopes limits",
    "held": "text item reason",
    "jobs": "arguments actor stage result error",
}
_BYTES = ("content", "vector", "stems")
# ANALYZE keeps samples of every column in pg_statistic, where no erasure would find them: of these it is to keep none.
# Stating a column's type again drops the samples that there are, and rewrites nothing.
UNSAMPLED = "".join(
    f"ALTER TABLE {table} "
    + ", ".join(
        f"ALTER COLUMN {name} TYPE {'BYTEA' if name in _BYTES else 'TEXT'}, ALTER COLUMN {name} SET STATISTICS 0"
        for name in names.split()
    )
    + ";\n"
    for table, names in _SAID.items()
)

STEPS: tuple[str, ...] = (FIRST, MODELS, SERVING, QUEUE, UNSAMPLED)
VERSION = len(STEPS)


def step(number: int) -> str:
    """A step as PostgreSQL runs it: texts compare by their bytes, each row names its tenant."""
    script = STEPS[number - 1].replace("tenant TENANT", f"tenant INTEGER NOT NULL DEFAULT ({TENANT})")
    script = script.replace("n NUMBER", "n BIGINT PRIMARY KEY GENERATED BY DEFAULT AS IDENTITY")
    return script.replace(" TEXT", ' TEXT COLLATE "C"')


def walls(tables: list[str]) -> str:
    """Row-level security for these tables."""
    return "\n".join(
        f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY; ALTER TABLE {table} FORCE ROW LEVEL SECURITY; "
        f"CREATE POLICY tenant ON {table} USING (tenant = {TENANT}) WITH CHECK (tenant = {TENANT});"
        for table in tables
    )


@lru_cache(maxsize=1)
def fold() -> str:
    """The function `sw_fold`, which folds case as Python's `str.casefold` does, whatever the server's locale is."""
    single, many = list[tuple[str, str]](), list[tuple[str, str]]()
    for code in range(128, sys.maxunicode + 1):
        letter = chr(code)
        if 0xD800 <= code <= 0xDFFF or (folded := letter.casefold()) == letter:
            continue
        (single if len(folded) == 1 else many).append((letter, folded))
    old, new = "".join(a for a, _ in single), "".join(b for _, b in single)
    rest = "given"
    for letter, folded in many:
        rest = f"replace({rest}, '{letter}', '{folded}')"
    special = "".join(letter for letter, _ in many)
    return f"""
CREATE OR REPLACE FUNCTION sw_fold(given TEXT) RETURNS TEXT LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $fold$
SELECT CASE WHEN octet_length(given) = length(given) THEN lower(given COLLATE "C")
ELSE translate(lower(CASE WHEN given ~ '[{special}]' THEN {rest} ELSE given END COLLATE "C"), '{old}', '{new}') END
$fold$"""
