-- What people's identities, clients' proofs of possession and assertions of other issuers need.

-- What a client says of itself beside: how its id tokens are signed, where people go after signing out, whether it binds its tokens to a key,
-- whether it pushes its requests, which resource it is, and the one registration that all who say the same share.
ALTER TABLE clients ADD COLUMN id_token_alg TEXT NOT NULL DEFAULT '';
ALTER TABLE clients ADD COLUMN post_logout_redirect_uris TEXT NOT NULL DEFAULT '[]';
ALTER TABLE clients ADD COLUMN dpop_bound BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE clients ADD COLUMN push_required BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE clients ADD COLUMN resource TEXT NOT NULL DEFAULT '';
ALTER TABLE clients ADD COLUMN fingerprint TEXT NOT NULL DEFAULT '';
CREATE UNIQUE INDEX clients_by_fingerprint ON clients (fingerprint) WHERE fingerprint <> '' AND deleted_at IS NULL;

-- Whoever has such a role looks after the tenant's clients.
ALTER TABLE roles ADD COLUMN admin BOOLEAN NOT NULL DEFAULT FALSE;

-- When the person last signed in before the grant; who asserted it, when it was by an assertion, and when last.
ALTER TABLE grants ADD COLUMN signed_in_at BIGINT;
ALTER TABLE grants ADD COLUMN asserted_by TEXT NOT NULL DEFAULT '';
ALTER TABLE grants ADD COLUMN asserted_at BIGINT;
CREATE UNIQUE INDEX grants_one_asserted ON grants (client_id, resource, user_id, tenant_id, asserted_by) WHERE asserted_by <> '' AND ended_at IS NULL;
CREATE INDEX grants_by_issuer ON grants (asserted_by) WHERE asserted_by <> '' AND ended_at IS NULL;

-- The grant that a person made by hand, when a client got this one without asking again; it ends with that one.
ALTER TABLE grants ADD COLUMN derived_from TEXT NOT NULL DEFAULT '';
CREATE INDEX grants_by_origin ON grants (derived_from) WHERE derived_from <> '' AND ended_at IS NULL;

-- jkt is the thumbprint of the key that a code or refresh token is bound to (RFC 9449); empty for none.
ALTER TABLE codes ADD COLUMN nonce TEXT NOT NULL DEFAULT '';
ALTER TABLE codes ADD COLUMN jkt TEXT NOT NULL DEFAULT '';
ALTER TABLE refresh_tokens ADD COLUMN jkt TEXT NOT NULL DEFAULT '';

-- An issuer whose assertions of identity a tenant believes, for its own members. Its keys are at an address, or here.
CREATE TABLE trusted_issuers (
    issuer     TEXT PRIMARY KEY,
    tenant_id  TEXT NOT NULL REFERENCES tenants (id),
    jwks_uri   TEXT NOT NULL,
    jwks       TEXT NOT NULL,
    emails     BOOLEAN NOT NULL, -- every address that it asserts is verified, whether it says so or not
    created_at BIGINT NOT NULL
);

CREATE INDEX trusted_issuers_by_tenant ON trusted_issuers (tenant_id);

-- Who somebody is that such an issuer knows by a subject: one of its subjects for each person.
CREATE TABLE identities (
    issuer     TEXT NOT NULL REFERENCES trusted_issuers (issuer) ON DELETE CASCADE,
    subject    TEXT NOT NULL,
    user_id    TEXT NOT NULL REFERENCES users (id),
    created_at BIGINT NOT NULL,
    PRIMARY KEY (issuer, subject),
    UNIQUE (issuer, user_id)
);

-- Assertions that were used, by the hash of issuer and id, until they are over.
CREATE TABLE used_assertions (
    hash       TEXT PRIMARY KEY,
    expires_at BIGINT NOT NULL
);

CREATE INDEX used_assertions_by_end ON used_assertions (expires_at);
