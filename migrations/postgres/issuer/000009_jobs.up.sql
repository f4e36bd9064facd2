-- Work that one replica does for all: who has which job, until when, and how its last run went.
CREATE TABLE jobs (
    name     TEXT PRIMARY KEY,
    run      BIGINT NOT NULL, -- counts the runs; whoever has the newest has the job
    holder   TEXT NOT NULL,   -- the replica that does that run, or did it
    until    BIGINT NOT NULL, -- the job is its holder's until then; 0: nobody's
    next_at  BIGINT NOT NULL, -- nobody begins it before that by themselves
    began_at BIGINT NOT NULL,
    took_ms  BIGINT NOT NULL,
    removed  BIGINT NOT NULL, -- rows
    outcome  TEXT NOT NULL,   -- running, ok, unfinished, stopped, failed
    error    TEXT NOT NULL,
    after    TEXT NOT NULL    -- the next run goes on there; empty: from the beginning
);

-- What jobs look through, in the order in which they do.
CREATE INDEX initial_tokens_by_end ON initial_tokens (expires_at);
CREATE INDEX clients_by_age ON clients (created_at);
CREATE INDEX grants_by_age ON grants (COALESCE(asserted_at, created_at)) WHERE user_id IS NOT NULL AND ended_at IS NULL;
