-- Migrations 9 and 10 were changed after some databases had applied them. What they made differently is made the same here: jobs has the column after everywhere. The rows of
-- jobs stay; where a job was interrupted it begins from the beginning.
CREATE TABLE jobs_with_after (
    name     TEXT PRIMARY KEY,
    run      BIGINT NOT NULL,
    holder   TEXT NOT NULL,
    until    BIGINT NOT NULL,
    next_at  BIGINT NOT NULL,
    began_at BIGINT NOT NULL,
    took_ms  BIGINT NOT NULL,
    removed  BIGINT NOT NULL,
    outcome  TEXT NOT NULL,
    error    TEXT NOT NULL,
    after    TEXT NOT NULL
);
INSERT INTO jobs_with_after (name, run, holder, until, next_at, began_at, took_ms, removed, outcome, error, after)
    SELECT name, run, holder, until, next_at, began_at, took_ms, removed, outcome, error, '' FROM jobs;
DROP TABLE jobs;
ALTER TABLE jobs_with_after RENAME TO jobs;

-- Migration 10 had no such line at first: the grant of a machine client says its ceiling.
UPDATE grants SET scopes = (SELECT c.scopes FROM clients c WHERE c.id = grants.client_id) WHERE user_id IS NULL AND ended_at IS NULL;
