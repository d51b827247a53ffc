-- Ids are bytea (encode(id, 'hex') shows them as the API does), instants are nanoseconds since 1970, bodies are JSON.
-- Text that is part of a key is at most 577 bytes and has no NUL (text.rs); the whole of it is in the body.

CREATE TABLE shards (
    shard BIGINT PRIMARY KEY,
    epoch BIGINT NOT NULL,
    batch BIGINT NOT NULL DEFAULT 0             -- the last one that has a journal row
) WITH (fillfactor = 20);

CREATE TABLE positions (
    shard       BIGINT NOT NULL,
    name        TEXT NOT NULL,
    next        BIGINT NOT NULL,
    last_at     BIGINT,
    last_digest TEXT,
    PRIMARY KEY (shard, name)
) WITH (fillfactor = 20);
-- A source is taken from by one shard; each shard has lanes of its own.
CREATE UNIQUE INDEX positions_of_sources ON positions (name) WHERE name NOT IN ('inbox', 'acts');

-- Where scopes are at home, and the sources ("webhook:NAME") of messages that are not decoded yet.
CREATE TABLE homes (
    name  TEXT PRIMARY KEY,
    shard BIGINT NOT NULL
);
CREATE INDEX homes_of_shard ON homes (shard);

CREATE TABLE scopes (
    scope         TEXT PRIMARY KEY,
    name          JSON NOT NULL,                -- the whole of it, as a JSON string
    shard         BIGINT NOT NULL,
    last_seq      BIGINT NOT NULL,              -- of its history: rows archived_seq + 1..last_seq are there
    last_hash     TEXT NOT NULL,                -- of row last_seq
    archived_seq  BIGINT NOT NULL DEFAULT 0,    -- what is archived is not here, and the chain goes on from its hash
    archived_hash TEXT NOT NULL DEFAULT '0000000000000000000000000000000000000000000000000000000000000000',
    head          JSON NOT NULL
) WITH (fillfactor = 50);
CREATE INDEX scopes_of_shard ON scopes (shard);

CREATE SEQUENCE incident_numbers;
CREATE TABLE incidents (
    number          BIGINT PRIMARY KEY,
    id              BYTEA NOT NULL UNIQUE,
    scope           TEXT NOT NULL,
    correlation_key BYTEA NOT NULL,
    state           SMALLINT NOT NULL,          -- ServiceNow's codes
    priority        SMALLINT NOT NULL,
    shadow          BOOLEAN NOT NULL,
    about           TEXT,
    ci              BYTEA,
    opened_at       BIGINT NOT NULL,
    updated_at      BIGINT NOT NULL,
    body            JSON NOT NULL
) WITH (fillfactor = 80);
-- I16: one open incident per correlation key.
CREATE UNIQUE INDEX incidents_open ON incidents (correlation_key) WHERE state IN (1, 2, 3) AND NOT shadow;
CREATE INDEX incidents_live ON incidents (scope) WHERE state < 7;
CREATE INDEX incidents_counted ON incidents (state, priority, shadow);
CREATE INDEX incidents_about ON incidents (about);
CREATE INDEX incidents_ci ON incidents (ci);
CREATE INDEX incidents_ended ON incidents (updated_at) WHERE state IN (7, 8);

CREATE TABLE runs (
    id         BYTEA PRIMARY KEY,
    incident   BYTEA NOT NULL,
    state      TEXT NOT NULL,
    decided_at BIGINT NOT NULL,
    body       JSON NOT NULL
);
CREATE INDEX runs_of_incident ON runs (incident);
CREATE INDEX runs_by_age ON runs (decided_at, id);
CREATE INDEX runs_by_state ON runs (state, decided_at, id);

CREATE TABLE pages (
    place      BIGINT GENERATED ALWAYS AS IDENTITY,
    id         BYTEA PRIMARY KEY,
    incident   BYTEA NOT NULL,
    decided_at BIGINT NOT NULL,
    body       JSON NOT NULL
);
CREATE INDEX pages_of_incident ON pages (incident, decided_at);

-- Working state. A key is the digest of what it names: (source, dedup_key), (source, id).
CREATE TABLE alerts (
    scope TEXT NOT NULL,
    key   BYTEA NOT NULL,
    body  JSON NOT NULL,
    PRIMARY KEY (scope, key)
) WITH (fillfactor = 80);

CREATE TABLE parked (
    scope TEXT NOT NULL,
    key   BYTEA NOT NULL,
    body  JSON NOT NULL,
    PRIMARY KEY (scope, key)
);

CREATE TABLE seen (
    scope TEXT NOT NULL,
    key   BYTEA NOT NULL,
    at    BIGINT NOT NULL,
    body  JSON NOT NULL,
    PRIMARY KEY (scope, key)
);

CREATE TABLE timers (
    scope TEXT NOT NULL,
    id    BYTEA NOT NULL,
    body  JSON NOT NULL,
    PRIMARY KEY (scope, id)
);

CREATE TABLE windows (
    scope TEXT NOT NULL,
    id    BYTEA NOT NULL,
    body  JSON NOT NULL,
    PRIMARY KEY (scope, id)
) WITH (fillfactor = 80);

CREATE TABLE cis (
    scope TEXT NOT NULL,
    id    BYTEA NOT NULL,
    body  JSON NOT NULL,
    PRIMARY KEY (scope, id)
);

CREATE TABLE relations (
    scope TEXT NOT NULL,
    key   BYTEA NOT NULL,                       -- digest of (from, kind, to)
    body  JSON NOT NULL,
    PRIMARY KEY (scope, key)
);

CREATE TABLE history (
    scope  TEXT NOT NULL,
    seq    BIGINT NOT NULL,
    record BYTEA NOT NULL,
    before BIGINT,                              -- seq of the record's row before this one
    at     BIGINT NOT NULL,
    body   JSON NOT NULL,
    PRIMARY KEY (scope, seq)
);
-- The seq of each record's last row. With "before" it stands for an index on record, in which every row would touch
-- a page of its own: commits would become slower as history grows.
CREATE TABLE history_ends (
    record BYTEA PRIMARY KEY,
    scope  TEXT NOT NULL,
    seq    BIGINT NOT NULL
) WITH (fillfactor = 80);

CREATE TABLE outbox (
    place       BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key         BYTEA NOT NULL UNIQUE,
    order_id    BYTEA NOT NULL,
    shard       BIGINT NOT NULL,
    scope       TEXT NOT NULL,
    incident    BYTEA NOT NULL,
    kind        TEXT NOT NULL,                  -- run | page
    target      BYTEA,                          -- of a run
    state       TEXT NOT NULL,
    released_at BIGINT NOT NULL,
    due         BIGINT NOT NULL,                -- its "not_before", or the beginning of time
    body        JSON NOT NULL
) WITH (fillfactor = 80);
CREATE INDEX outbox_of_order ON outbox (order_id);
CREATE INDEX outbox_of_incident ON outbox (incident);
CREATE INDEX outbox_by_state ON outbox (state, released_at, place);
CREATE INDEX outbox_due ON outbox (kind, shard, due, released_at, place)
WHERE state IN ('pending', 'deferred', 'started', 'accepted');
CREATE INDEX outbox_in_flight ON outbox (target)
WHERE kind = 'run' AND state IN ('started', 'accepted', 'unknown');

-- Each lane of a shard's inbox counts from 1, without a gap.
CREATE TABLE lanes (
    shard   BIGINT NOT NULL,
    lane    TEXT NOT NULL,
    last    BIGINT NOT NULL DEFAULT 0,          -- seq of the last row that was appended
    dropped BIGINT NOT NULL DEFAULT 0,          -- rows 1..dropped were taken, and are gone
    PRIMARY KEY (shard, lane)
) WITH (fillfactor = 20);

CREATE TABLE inbox (
    shard BIGINT NOT NULL,
    lane  TEXT NOT NULL,
    seq   BIGINT NOT NULL,
    key   BYTEA NOT NULL UNIQUE,                -- digest of the writer's id
    entry JSON NOT NULL,                        -- [the writer's id, the scope]
    at    BIGINT NOT NULL,
    bytes BIGINT NOT NULL,                      -- of the body's JSON
    body  JSON NOT NULL,
    PRIMARY KEY (shard, lane, seq)
);

CREATE TABLE dead_letters (
    place BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at    BIGINT NOT NULL,
    bytes BYTEA NOT NULL,
    body  JSON NOT NULL                         -- without the bytes
);
CREATE INDEX dead_letters_by_age ON dead_letters (at);

CREATE TABLE journal (
    shard BIGINT NOT NULL,
    batch BIGINT NOT NULL,
    at    BIGINT NOT NULL,                      -- the wall clock's reading for the batch
    body  JSON NOT NULL,
    PRIMARY KEY (shard, batch)
);

CREATE TABLE rulesets (
    digest       TEXT PRIMARY KEY,
    sources      JSON NOT NULL,
    published_at BIGINT                         -- one that was published, and is not the active one, is superseded
);

CREATE TABLE halts (
    scope TEXT PRIMARY KEY,
    body  JSON NOT NULL
);

-- What is refused here is refused in the program first: this is the second line, and holds for psql too.
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%', TG_ARGV[0] USING ERRCODE = 'integrity_constraint_violation';
END
$$;

-- I16: only moves of the lifecycle. A batch may hold several, so this is their closure.
CREATE TRIGGER incidents_move BEFORE UPDATE ON incidents FOR EACH ROW
WHEN (OLD.state <> NEW.state AND (NEW.state = 1 OR OLD.state IN (7, 8)))
EXECUTE FUNCTION refuse('an incident has no such move');

-- I16: only moves of the outbox's table.
CREATE TRIGGER outbox_moves BEFORE UPDATE ON outbox FOR EACH ROW
WHEN (OLD.state <> NEW.state AND OLD.state || '>' || NEW.state NOT IN (
    'pending>started', 'pending>deferred', 'pending>denied', 'pending>cancelled',
    'deferred>pending', 'deferred>cancelled',
    'started>accepted', 'started>succeeded', 'started>failed', 'started>unknown',
    'accepted>succeeded', 'accepted>failed', 'accepted>unknown', 'accepted>cancelled',
    'unknown>succeeded', 'unknown>failed'))
EXECUTE FUNCTION refuse('an outbox row has no such move');

-- I17: append-only; what leaves is archived first.
CREATE TRIGGER history_stays BEFORE UPDATE ON history FOR EACH ROW EXECUTE FUNCTION refuse('history is append-only');
CREATE TRIGGER history_is_not_emptied BEFORE TRUNCATE ON history FOR EACH STATEMENT
EXECUTE FUNCTION refuse('history is append-only');
CREATE FUNCTION history_is_kept() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF OLD.seq > coalesce((SELECT archived_seq FROM scopes WHERE scope = OLD.scope), 0) THEN
        RAISE EXCEPTION 'history is append-only' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN OLD;
END
$$;
CREATE TRIGGER history_is_kept BEFORE DELETE ON history FOR EACH ROW EXECUTE FUNCTION history_is_kept();
CREATE TRIGGER scopes_archive BEFORE UPDATE ON scopes FOR EACH ROW
WHEN (NEW.archived_seq < OLD.archived_seq OR NEW.archived_seq > NEW.last_seq)
EXECUTE FUNCTION refuse('the archive only grows, to the end of the history');
