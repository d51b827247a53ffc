-- Ids are blobs (hex(id) shows them), instants are nanoseconds since 1970, bodies are JSON.

CREATE TABLE shards (
    shard INTEGER PRIMARY KEY,
    epoch INTEGER NOT NULL,
    batch INTEGER NOT NULL DEFAULT 0            -- the last one that has a journal row
);

CREATE TABLE positions (
    shard       INTEGER NOT NULL,
    name        TEXT NOT NULL,
    next        INTEGER NOT NULL,
    last_at     INTEGER,
    last_digest TEXT,
    PRIMARY KEY (shard, name)
) WITHOUT ROWID;

CREATE TABLE scopes (
    scope     TEXT PRIMARY KEY,
    shard     INTEGER NOT NULL,
    last_seq  INTEGER NOT NULL,                 -- of its history: rows 1..last_seq are there
    last_hash TEXT NOT NULL,                    -- of row last_seq
    head      TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX scopes_of_shard ON scopes (shard);

CREATE TABLE incidents (
    number          INTEGER PRIMARY KEY AUTOINCREMENT,
    id              BLOB NOT NULL UNIQUE,
    scope           TEXT NOT NULL,
    correlation_key BLOB NOT NULL,
    state           INTEGER NOT NULL,           -- ServiceNow's codes
    priority        INTEGER NOT NULL,
    shadow          INTEGER NOT NULL,
    about           TEXT,
    ci              BLOB,
    opened_at       INTEGER NOT NULL,
    updated_at      INTEGER NOT NULL,
    body            TEXT NOT NULL
);
-- I16: one open incident per correlation key.
CREATE UNIQUE INDEX incidents_open ON incidents (correlation_key) WHERE state IN (1, 2, 3) AND shadow = 0;
CREATE INDEX incidents_live ON incidents (scope) WHERE state < 7;
CREATE INDEX incidents_counted ON incidents (state, priority, shadow);
CREATE INDEX incidents_about ON incidents (about);
CREATE INDEX incidents_ci ON incidents (ci);
-- I16: only moves of the lifecycle. A batch may hold several, so this is their closure.
CREATE TRIGGER incidents_move BEFORE UPDATE OF state ON incidents
WHEN OLD.state <> NEW.state AND (NEW.state = 1 OR OLD.state IN (7, 8))
BEGIN
    SELECT RAISE(ABORT, 'an incident has no such move');
END;

CREATE TABLE runs (
    id         BLOB PRIMARY KEY,
    incident   BLOB NOT NULL,
    state      TEXT NOT NULL,
    decided_at INTEGER NOT NULL,
    body       TEXT NOT NULL
);
CREATE INDEX runs_of_incident ON runs (incident);
CREATE INDEX runs_by_age ON runs (decided_at, id);
CREATE INDEX runs_by_state ON runs (state, decided_at, id);

CREATE TABLE pages (
    id         BLOB PRIMARY KEY,
    incident   BLOB NOT NULL,
    decided_at INTEGER NOT NULL,
    body       TEXT NOT NULL
);
CREATE INDEX pages_of_incident ON pages (incident, decided_at);

CREATE TABLE alerts (
    scope     TEXT NOT NULL,
    source    TEXT NOT NULL,
    dedup_key TEXT NOT NULL,
    body      TEXT NOT NULL,
    PRIMARY KEY (scope, source, dedup_key)
);

CREATE TABLE parked (
    scope     TEXT NOT NULL,
    source    TEXT NOT NULL,
    dedup_key TEXT NOT NULL,
    body      TEXT NOT NULL,
    PRIMARY KEY (scope, source, dedup_key)
) WITHOUT ROWID;

CREATE TABLE seen (
    scope  TEXT NOT NULL,
    source TEXT NOT NULL,
    id     TEXT NOT NULL,
    at     INTEGER NOT NULL,
    PRIMARY KEY (scope, source, id)
) WITHOUT ROWID;

CREATE TABLE timers (
    scope TEXT NOT NULL,
    id    BLOB NOT NULL,
    due   INTEGER NOT NULL,
    body  TEXT NOT NULL,
    PRIMARY KEY (scope, id)
) WITHOUT ROWID;

CREATE TABLE cis (
    scope TEXT NOT NULL,
    id    BLOB NOT NULL,
    body  TEXT NOT NULL,
    PRIMARY KEY (scope, id)
);

CREATE TABLE relations (
    scope   TEXT NOT NULL,
    from_id BLOB NOT NULL,
    kind    TEXT NOT NULL,
    to_id   BLOB NOT NULL,
    body    TEXT NOT NULL,
    PRIMARY KEY (scope, from_id, kind, to_id)
) WITHOUT ROWID;

CREATE TABLE history (
    place  INTEGER PRIMARY KEY,
    scope  TEXT NOT NULL,
    seq    INTEGER NOT NULL,
    record BLOB NOT NULL,
    before INTEGER,                             -- place of the record's row before this one
    body   TEXT NOT NULL,
    UNIQUE (scope, seq)
);
-- The place of each record's last row. With "before" it stands for an index on record, in which every row would
-- touch a page of its own: commits would become slower as history grows.
CREATE TABLE history_ends (
    record BLOB PRIMARY KEY,
    place  INTEGER NOT NULL
) WITHOUT ROWID;
-- I17: append-only.
CREATE TRIGGER history_stays BEFORE UPDATE ON history
BEGIN
    SELECT RAISE(ABORT, 'history is append-only');
END;
CREATE TRIGGER history_is_kept BEFORE DELETE ON history
BEGIN
    SELECT RAISE(ABORT, 'history is append-only');
END;

CREATE TABLE outbox (
    place       INTEGER PRIMARY KEY,
    key         BLOB NOT NULL UNIQUE,
    order_id    BLOB NOT NULL,
    scope       TEXT NOT NULL,
    incident    BLOB NOT NULL,
    kind        TEXT NOT NULL,                  -- run | page
    target      BLOB,                           -- of a run
    state       TEXT NOT NULL,
    released_at INTEGER NOT NULL,
    body        TEXT NOT NULL
);
CREATE INDEX outbox_of_order ON outbox (order_id);
CREATE INDEX outbox_by_state ON outbox (state, released_at);
CREATE INDEX outbox_in_flight ON outbox (target)
WHERE kind = 'run' AND state IN ('started', 'accepted', 'unknown');
-- I16: only moves of the outbox's table.
CREATE TRIGGER outbox_moves BEFORE UPDATE OF state ON outbox
WHEN OLD.state <> NEW.state AND OLD.state || '>' || NEW.state NOT IN (
    'pending>started', 'pending>deferred', 'pending>denied', 'pending>cancelled',
    'deferred>pending', 'deferred>cancelled',
    'started>accepted', 'started>succeeded', 'started>failed', 'started>unknown',
    'accepted>succeeded', 'accepted>failed', 'accepted>unknown', 'accepted>cancelled',
    'unknown>succeeded', 'unknown>failed')
BEGIN
    SELECT RAISE(ABORT, 'an outbox row has no such move');
END;

CREATE TABLE inbox (
    seq   INTEGER PRIMARY KEY AUTOINCREMENT,
    id    TEXT NOT NULL UNIQUE,
    scope TEXT NOT NULL,
    at    INTEGER NOT NULL,
    body  TEXT NOT NULL
);

CREATE TABLE dead_letters (
    place       INTEGER PRIMARY KEY AUTOINCREMENT,
    source      TEXT NOT NULL,
    position    TEXT NOT NULL,
    "offset"    INTEGER NOT NULL,
    reason      TEXT NOT NULL,
    bytes       BLOB NOT NULL,
    digest      TEXT NOT NULL,
    length      INTEGER NOT NULL,
    at          INTEGER NOT NULL
);

CREATE TABLE journal (
    shard INTEGER NOT NULL,
    batch INTEGER NOT NULL,
    body  TEXT NOT NULL,
    PRIMARY KEY (shard, batch)
);

CREATE TABLE rulesets (
    digest  TEXT PRIMARY KEY,
    sources TEXT NOT NULL
);

CREATE TABLE halts (
    scope TEXT PRIMARY KEY,
    body  TEXT NOT NULL
);
