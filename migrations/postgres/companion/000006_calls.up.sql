-- Which tools were called, by whom, and what became of it: a chain of its own beside that of companion_records, because its records are kept for another time.
-- companion_calls_events holds lines that have no place yet, companion_calls_records those that have one.
CREATE TABLE companion_calls_events (
    id       BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
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

-- hash is SHA-256 over the hash before it, the number and all that the line says. No row is changed; the oldest are deleted.
CREATE TABLE companion_calls_records (
    seq      BIGINT PRIMARY KEY,
    hash     BYTEA NOT NULL,
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

CREATE INDEX companion_calls_records_by_time ON companion_calls_records (at, seq);
CREATE INDEX companion_calls_records_by_client ON companion_calls_records (client, at, seq);

-- One row: after which record the chain begins, and where it ends.
CREATE TABLE companion_calls_head (
    id        INTEGER PRIMARY KEY CHECK (id = 1),
    base      BIGINT NOT NULL,
    base_hash BYTEA NOT NULL,
    seq       BIGINT NOT NULL,
    hash      BYTEA NOT NULL,
    mac       BYTEA NOT NULL
);

INSERT INTO companion_calls_head (id, base, base_hash, seq, hash, mac) VALUES (1, 0, '', 0, '', '');

-- The processes that serve calls. A row that is no longer brought up to date is of a process that was killed.
CREATE TABLE call_runs (
    id       TEXT PRIMARY KEY,
    began_at BIGINT NOT NULL,
    alive_at BIGINT NOT NULL
);

-- Of which calls a tenant's records are kept, where it is not of all. A tenant "*" is every tenant without a row of its own.
CREATE TABLE call_settings (
    tenant_id TEXT PRIMARY KEY,
    keep      TEXT NOT NULL, -- all, refusals_and_writes
    set_at    BIGINT NOT NULL
);
