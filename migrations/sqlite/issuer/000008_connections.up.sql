-- Each client's way in: how far it came, and why no further. No row holds a code, token, verifier, state, secret or password, and none an address with a query.
CREATE TABLE connections (
    id          TEXT PRIMARY KEY, -- made of what names the attempt: replicas make the same
    client_id   TEXT NOT NULL,    -- as it named itself
    client_name TEXT NOT NULL,
    program     TEXT NOT NULL,
    source      TEXT NOT NULL,
    tenant_id   TEXT NOT NULL,
    user_id     TEXT NOT NULL,
    resource    TEXT NOT NULL,
    started_at  BIGINT NOT NULL,
    updated_at  BIGINT NOT NULL,
    step        INTEGER NOT NULL, -- the furthest: 10 discovery, 20 registration, 30 authorize, 40 sign-in, 50 consent, 60 redirect, 70 code, 80 token
    outcome     TEXT NOT NULL,    -- open, done, failed
    reason      TEXT NOT NULL,    -- a sentence for the operator
    support     TEXT NOT NULL,    -- the name in the log of the request that was refused
    refusals    BIGINT NOT NULL,
    bare        BOOLEAN NOT NULL, -- it named no resource
    stranger    BOOLEAN NOT NULL  -- it is no client that is known here
);

CREATE INDEX connections_by_time ON connections (updated_at, id);
CREATE INDEX connections_by_client ON connections (client_id, updated_at);
