-- Several shards, retention, recovery; windows of rules.

CREATE TABLE windows (
    scope TEXT NOT NULL,
    id    BLOB NOT NULL,
    body  TEXT NOT NULL,
    PRIMARY KEY (scope, id)
) WITHOUT ROWID;

-- Where scopes are at home, and the sources ("webhook:NAME") of messages that are not decoded yet.
CREATE TABLE homes (
    name  TEXT PRIMARY KEY,
    shard INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO homes (name, shard) SELECT scope, shard FROM scopes;
INSERT OR IGNORE INTO homes (name, shard)
SELECT DISTINCT 'webhook:' || json_extract(body, '$.message.source'), 0
FROM inbox WHERE substr(body, 1, 11) = '{"message":' AND json_valid(body);

-- A source is taken from by one shard; each shard has lanes of its own.
CREATE UNIQUE INDEX positions_of_sources ON positions (name) WHERE name NOT IN ('inbox', 'acts');

-- Each lane of a shard's inbox counts from 1, without a gap.
CREATE TABLE lanes (
    shard   INTEGER NOT NULL,
    lane    TEXT NOT NULL,
    last    INTEGER NOT NULL,                   -- seq of the last row that was appended
    dropped INTEGER NOT NULL DEFAULT 0,         -- rows 1..dropped were taken, and are gone
    PRIMARY KEY (shard, lane)
) WITHOUT ROWID;
INSERT INTO lanes (shard, lane, last) SELECT 0, 'inbox', max(seq) FROM inbox HAVING max(seq) IS NOT NULL;

CREATE TABLE inbox_2 (
    place INTEGER PRIMARY KEY,
    shard INTEGER NOT NULL,
    lane  TEXT NOT NULL,
    seq   INTEGER NOT NULL,
    id    TEXT NOT NULL UNIQUE,
    scope TEXT NOT NULL,
    at    INTEGER NOT NULL,
    body  TEXT NOT NULL,
    UNIQUE (shard, lane, seq)
);
INSERT INTO inbox_2 (place, shard, lane, seq, id, scope, at, body)
SELECT seq, 0, 'inbox', seq, id, scope, at, body FROM inbox ORDER BY seq;
DROP TABLE inbox;
ALTER TABLE inbox_2 RENAME TO inbox;

-- Whose row it is, and when it is to be looked at: its "not_before", or at once.
ALTER TABLE outbox ADD COLUMN shard INTEGER NOT NULL DEFAULT 0;
ALTER TABLE outbox ADD COLUMN due INTEGER NOT NULL DEFAULT -9223372036854775808;
UPDATE outbox SET shard = (SELECT s.shard FROM scopes s WHERE s.scope = outbox.scope)
WHERE scope IN (SELECT s.scope FROM scopes s WHERE s.shard <> 0);
UPDATE outbox SET due = strftime('%s', substr(json_extract(body, '$.not_before'), 1, 19)) * 1000000000
                      + substr(json_extract(body, '$.not_before'), 21, 9)
WHERE json_valid(body) AND json_extract(body, '$.not_before') IS NOT NULL;
CREATE INDEX outbox_due ON outbox (kind, shard, due, released_at)
WHERE state IN ('pending', 'deferred', 'started', 'accepted');
CREATE INDEX outbox_of_incident ON outbox (incident);

CREATE TABLE meta (
    key   TEXT PRIMARY KEY,                     -- active | recovered
    value TEXT NOT NULL
) WITHOUT ROWID;

-- A set that was published, and is not the active one, is superseded.
ALTER TABLE rulesets ADD COLUMN published_at INTEGER;
INSERT INTO meta (key, value)
SELECT 'active', r.digest FROM (SELECT body FROM journal ORDER BY shard, batch DESC LIMIT 1) j
JOIN rulesets r ON r.digest = json_extract(j.body, '$.set_after') WHERE json_valid(j.body);
UPDATE rulesets SET published_at = CAST(strftime('%s') AS INTEGER) * 1000000000
WHERE digest = (SELECT value FROM meta WHERE key = 'active');

-- What is archived: rows 1..archived_seq of a scope's history are not here, and the chain goes on from that hash.
ALTER TABLE scopes ADD COLUMN archived_seq INTEGER NOT NULL DEFAULT 0;
ALTER TABLE scopes ADD COLUMN archived_hash TEXT NOT NULL
DEFAULT '0000000000000000000000000000000000000000000000000000000000000000';
CREATE TRIGGER scopes_archive BEFORE UPDATE OF archived_seq ON scopes
WHEN NEW.archived_seq < OLD.archived_seq OR NEW.archived_seq > OLD.last_seq
BEGIN
    SELECT RAISE(ABORT, 'the archive only grows, to the end of the history');
END;
-- I17: append-only; what leaves is archived first.
DROP TRIGGER history_is_kept;
CREATE TRIGGER history_is_kept BEFORE DELETE ON history
WHEN OLD.seq > coalesce((SELECT archived_seq FROM scopes WHERE scope = OLD.scope), 0)
BEGIN
    SELECT RAISE(ABORT, 'history is append-only');
END;
CREATE INDEX incidents_ended ON incidents (updated_at) WHERE state IN (7, 8);
CREATE INDEX dead_letters_by_age ON dead_letters (at);
