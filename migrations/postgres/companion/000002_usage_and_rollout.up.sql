-- What the resource wing keeps of its own doing: sums of its decisions by the hour, how strictly its rules count, and its audit lines.

-- No row is about one request, and none holds anything of an argument. A tenant that is empty is nobody: a request without a good token.
CREATE TABLE usage_hours (
    hour      BIGINT NOT NULL, -- when it began, in Unix seconds
    tenant_id TEXT NOT NULL,
    client_id TEXT NOT NULL,
    agent     TEXT NOT NULL, -- what nobody's program calls itself
    method    TEXT NOT NULL,
    name      TEXT NOT NULL, -- of a tool or a prompt; of a resource, its rule's
    outcome   TEXT NOT NULL, -- ok, failed, observed, refused
    reason    TEXT NOT NULL, -- why it was refused, or would have been
    lacking   TEXT NOT NULL, -- scopes, divided by spaces
    calls     BIGINT NOT NULL,
    micros    BIGINT NOT NULL, -- that they took together
    slowest   BIGINT NOT NULL, -- in microseconds
    last_at   BIGINT NOT NULL,
    PRIMARY KEY (hour, tenant_id, client_id, agent, method, name, outcome, reason, lacking)
);

CREATE INDEX usage_hours_by_name ON usage_hours (tenant_id, name, hour);

-- A tenant "*" is every tenant without a mode of its own, an empty one is nobody; an empty tool is all tools.
CREATE TABLE rollout_modes (
    tenant_id TEXT NOT NULL,
    tool      TEXT NOT NULL,
    mode      TEXT NOT NULL,
    set_at    BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, tool)
);

-- Counts the changes of rollout_modes, so that replicas read them only after one.
CREATE TABLE rollout_revision (
    id       INTEGER PRIMARY KEY CHECK (id = 1),
    revision BIGINT NOT NULL
);

INSERT INTO rollout_revision (id, revision) VALUES (1, 0);

CREATE TABLE companion_events (
    id     BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at     BIGINT NOT NULL,
    actor  TEXT NOT NULL,
    action TEXT NOT NULL,
    target TEXT NOT NULL,
    tenant TEXT NOT NULL,
    detail TEXT NOT NULL,
    once   TEXT UNIQUE -- names what is written once, whichever replica finds it; null: nothing is
);

CREATE INDEX companion_events_by_time ON companion_events (at);
