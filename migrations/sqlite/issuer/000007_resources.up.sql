-- Protected MCP servers that were made while the issuer runs, beside those of its configuration. The revision counts their changes, so that replicas see them.

CREATE TABLE resources (
    uri        TEXT PRIMARY KEY,
    name       TEXT NOT NULL,
    algorithm  TEXT NOT NULL,
    token_life BIGINT NOT NULL, -- seconds; 0: the issuer's
    scopes     TEXT NOT NULL,   -- a JSON array of objects: name, description, baseline
    aliases    TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE resources_revision (
    id       INTEGER PRIMARY KEY CHECK (id = 1),
    revision BIGINT NOT NULL
);

INSERT INTO resources_revision (id, revision) VALUES (1, 0);
