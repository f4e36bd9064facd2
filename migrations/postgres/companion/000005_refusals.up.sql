-- Who was refused at the door of an MCP server, and why: the last of each kind. No row holds a token or anything of a message, and a client is named only where the
-- issuer has signed that.
CREATE TABLE refusals (
    id        TEXT PRIMARY KEY, -- made of who, where, why and about what
    client_id TEXT NOT NULL,    -- empty: nobody knows
    tenant_id TEXT NOT NULL,
    agent     TEXT NOT NULL,    -- what the program calls itself
    resource  TEXT NOT NULL,    -- of the server that refused
    reason    TEXT NOT NULL,    -- in a word
    about     TEXT NOT NULL,    -- an origin, or whom a token was for
    why       TEXT NOT NULL,    -- a sentence for the operator
    first_at  BIGINT NOT NULL,
    last_at   BIGINT NOT NULL,
    times     BIGINT NOT NULL
);

CREATE INDEX refusals_by_time ON refusals (last_at);
