-- The companion tools' data. Every row belongs to a tenant, and every key begins with it.

CREATE TABLE customers (
    tenant_id  TEXT NOT NULL,
    id         TEXT NOT NULL,
    name       TEXT NOT NULL,
    email      TEXT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, id)
);

CREATE TABLE tickets (
    tenant_id   TEXT NOT NULL,
    id          TEXT NOT NULL,
    customer_id TEXT NOT NULL,
    subject     TEXT NOT NULL,
    body        TEXT NOT NULL,
    opened_by   TEXT NOT NULL,
    created_at  BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, customer_id) REFERENCES customers (tenant_id, id)
);

CREATE TABLE articles (
    tenant_id TEXT NOT NULL,
    id        TEXT NOT NULL,
    title     TEXT NOT NULL,
    body      TEXT NOT NULL,
    words     TSVECTOR GENERATED ALWAYS AS (setweight(to_tsvector('english', title), 'A') || to_tsvector('english', body)) STORED,
    PRIMARY KEY (tenant_id, id)
);

CREATE INDEX articles_words ON articles USING GIN (words);
