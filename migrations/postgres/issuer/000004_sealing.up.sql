-- Which sealing key a private key lies under; empty for those that were sealed before there could be several.
ALTER TABLE signing_keys ADD COLUMN sealed_under TEXT NOT NULL DEFAULT '';

-- A key that is withdrawn signs nothing any more: nothing of it is kept but its name.
UPDATE signing_keys SET private = '' WHERE withdrawn_at IS NOT NULL;

-- Secrets that the issuer made for itself, sealed as its private keys are.
CREATE TABLE sealed_secrets (
    name         TEXT PRIMARY KEY,
    secret       BYTEA NOT NULL,
    sealed_under TEXT NOT NULL,
    created_at   BIGINT NOT NULL
);
