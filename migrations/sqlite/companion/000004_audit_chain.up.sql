-- The wing's audit trail as a chain: companion_events holds the lines that have no place yet, companion_records those that have one.
ALTER TABLE companion_events ADD COLUMN client TEXT NOT NULL DEFAULT '';
ALTER TABLE companion_events ADD COLUMN grant_id TEXT NOT NULL DEFAULT '';
ALTER TABLE companion_events ADD COLUMN outcome TEXT NOT NULL DEFAULT 'ok';
DROP INDEX companion_events_by_time;

-- What is written once, whichever replica finds it, by name; companion_events.once was it before.
CREATE TABLE companion_once (name TEXT PRIMARY KEY);
INSERT INTO companion_once (name) SELECT once FROM companion_events WHERE once IS NOT NULL;

-- hash is SHA-256 over the hash before it, the number and all that the line says. No row is changed ever; the oldest may go.
CREATE TABLE companion_records (
    seq      INTEGER PRIMARY KEY,
    hash     BLOB NOT NULL,
    at       BIGINT NOT NULL,
    actor    TEXT NOT NULL,
    action   TEXT NOT NULL,
    target   TEXT NOT NULL,
    tenant   TEXT NOT NULL,
    client   TEXT NOT NULL,
    grant_id TEXT NOT NULL,
    outcome  TEXT NOT NULL,
    detail   TEXT NOT NULL
);

CREATE INDEX companion_records_by_time ON companion_records (at, seq);
CREATE INDEX companion_records_by_tenant ON companion_records (tenant, at, seq);

-- One row: after which record the chain begins, and where it ends.
CREATE TABLE companion_head (
    id        INTEGER PRIMARY KEY CHECK (id = 1),
    base      BIGINT NOT NULL,
    base_hash BLOB NOT NULL,
    seq       BIGINT NOT NULL,
    hash      BLOB NOT NULL,
    mac       BLOB NOT NULL
);

INSERT INTO companion_head (id, base, base_hash, seq, hash, mac) VALUES (1, 0, x'', 0, x'', x'');
