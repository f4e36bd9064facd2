-- The audit trail as a chain: audit_events holds the lines that have no place yet, audit_records those that have one.
ALTER TABLE audit_events ADD COLUMN client TEXT NOT NULL DEFAULT '';
ALTER TABLE audit_events ADD COLUMN grant_id TEXT NOT NULL DEFAULT '';
ALTER TABLE audit_events ADD COLUMN outcome TEXT NOT NULL DEFAULT 'ok';
DROP INDEX audit_events_by_time;

-- hash is SHA-256 over the hash before it, the number and all that the line says. No row is changed ever; the oldest may go.
CREATE TABLE audit_records (
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

CREATE INDEX audit_records_by_time ON audit_records (at, seq);
CREATE INDEX audit_records_by_tenant ON audit_records (tenant, at, seq);
CREATE INDEX audit_records_by_client ON audit_records (client, at, seq);
CREATE INDEX audit_records_by_grant ON audit_records (grant_id, at, seq);

-- One row: after which record the chain begins, where it ends, and a word for both by who has the key.
CREATE TABLE audit_head (
    id        INTEGER PRIMARY KEY CHECK (id = 1),
    base      BIGINT NOT NULL,
    base_hash BLOB NOT NULL,
    seq       BIGINT NOT NULL,
    hash      BLOB NOT NULL,
    mac       BLOB NOT NULL
);

INSERT INTO audit_head (id, base, base_hash, seq, hash, mac) VALUES (1, 0, x'', 0, x'', x'');
