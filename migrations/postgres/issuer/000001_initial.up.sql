-- The issuing wing's schema. Times are Unix seconds UTC; lists are JSON arrays; secrets, codes and tokens are hashes.

CREATE TABLE tenants (
    id         TEXT PRIMARY KEY,
    name       TEXT NOT NULL,
    scopes     TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE users (
    id            TEXT PRIMARY KEY,
    email         TEXT NOT NULL UNIQUE,
    name          TEXT NOT NULL,
    password_hash TEXT NOT NULL,
    operator      BOOLEAN NOT NULL DEFAULT FALSE,
    disabled      BOOLEAN NOT NULL DEFAULT FALSE,
    created_at    BIGINT NOT NULL
);

CREATE TABLE roles (
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    name      TEXT NOT NULL,
    scopes    TEXT NOT NULL,
    PRIMARY KEY (tenant_id, name)
);

CREATE TABLE memberships (
    user_id   TEXT NOT NULL REFERENCES users (id),
    tenant_id TEXT NOT NULL,
    role      TEXT NOT NULL,
    PRIMARY KEY (user_id, tenant_id),
    FOREIGN KEY (tenant_id, role) REFERENCES roles (tenant_id, name)
);

CREATE TABLE clients (
    id               TEXT PRIMARY KEY,
    name             TEXT NOT NULL,
    tenant_id        TEXT REFERENCES tenants (id),
    redirect_uris    TEXT NOT NULL,
    grant_types      TEXT NOT NULL,
    auth_method      TEXT NOT NULL,
    secret_hash      TEXT NOT NULL,
    scopes           TEXT NOT NULL,
    application_type TEXT NOT NULL,
    client_uri       TEXT NOT NULL,
    software_id      TEXT NOT NULL,
    software_version TEXT NOT NULL,
    origin           TEXT NOT NULL,
    manage_hash      TEXT NOT NULL,
    jwks             TEXT NOT NULL,
    jwks_uri         TEXT NOT NULL,
    created_at       BIGINT NOT NULL,
    deleted_at       BIGINT
);

CREATE INDEX clients_by_tenant ON clients (tenant_id, created_at);
CREATE INDEX clients_by_origin ON clients (origin, created_at) WHERE deleted_at IS NULL;

CREATE TABLE initial_tokens (
    hash       TEXT PRIMARY KEY,
    tenant_id  TEXT NOT NULL REFERENCES tenants (id),
    scopes     TEXT NOT NULL,
    expires_at BIGINT NOT NULL,
    uses       INTEGER NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE grants (
    id         TEXT PRIMARY KEY,
    tenant_id  TEXT NOT NULL REFERENCES tenants (id),
    client_id  TEXT NOT NULL REFERENCES clients (id),
    user_id    TEXT REFERENCES users (id),
    resource   TEXT NOT NULL,
    scopes     TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    ended_at   BIGINT,
    end_reason TEXT NOT NULL DEFAULT ''
);

-- A machine client has one living grant at a resource.
CREATE UNIQUE INDEX grants_one_machine ON grants (client_id, resource) WHERE user_id IS NULL AND ended_at IS NULL;
CREATE INDEX grants_by_user ON grants (user_id, created_at);
CREATE INDEX grants_by_client ON grants (client_id, created_at);
CREATE INDEX grants_by_tenant ON grants (tenant_id, created_at);
CREATE INDEX grants_by_end ON grants (ended_at) WHERE ended_at IS NOT NULL;

CREATE TABLE codes (
    hash         TEXT PRIMARY KEY,
    grant_id     TEXT NOT NULL REFERENCES grants (id),
    client_id    TEXT NOT NULL,
    redirect_uri TEXT NOT NULL,
    challenge    TEXT NOT NULL,
    created_at   BIGINT NOT NULL,
    expires_at   BIGINT NOT NULL,
    used_at      BIGINT
);

CREATE INDEX codes_by_end ON codes (expires_at);
CREATE INDEX codes_by_grant ON codes (grant_id);

CREATE TABLE refresh_tokens (
    hash       TEXT PRIMARY KEY,
    grant_id   TEXT NOT NULL REFERENCES grants (id),
    client_id  TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    chain_ends BIGINT NOT NULL,
    used_at    BIGINT
);

CREATE INDEX refresh_tokens_by_end ON refresh_tokens (chain_ends);
CREATE INDEX refresh_tokens_by_grant ON refresh_tokens (grant_id);

CREATE TABLE signing_keys (
    kid          TEXT PRIMARY KEY,
    algorithm    TEXT NOT NULL,
    generation   BIGINT NOT NULL,
    private      BYTEA NOT NULL,
    created_at   BIGINT NOT NULL,
    active_at    BIGINT NOT NULL,
    withdrawn_at BIGINT,
    UNIQUE (algorithm, generation)
);

CREATE TABLE audit_events (
    id     BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at     BIGINT NOT NULL,
    actor  TEXT NOT NULL,
    action TEXT NOT NULL,
    target TEXT NOT NULL,
    tenant TEXT NOT NULL,
    detail TEXT NOT NULL
);

CREATE INDEX audit_events_by_time ON audit_events (at);
