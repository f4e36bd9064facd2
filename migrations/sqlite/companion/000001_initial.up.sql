-- The companion tools' data. Every row belongs to a tenant, and every key begins with it.

CREATE TABLE customers (
    tenant_id  TEXT NOT NULL,
    id         TEXT NOT NULL,
    name       TEXT NOT NULL,
    email      TEXT NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, id)
);

CREATE TABLE tickets (
    tenant_id   TEXT NOT NULL,
    id          TEXT NOT NULL,
    customer_id TEXT NOT NULL,
    subject     TEXT NOT NULL,
    body        TEXT NOT NULL,
    opened_by   TEXT NOT NULL,
    created_at  INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, customer_id) REFERENCES customers (tenant_id, id)
);

-- The index finds an article by its number, which must never change: an implicit rowid may, when the file is compacted.
CREATE TABLE articles (
    number    INTEGER PRIMARY KEY,
    tenant_id TEXT NOT NULL,
    id        TEXT NOT NULL,
    title     TEXT NOT NULL,
    body      TEXT NOT NULL,
    UNIQUE (tenant_id, id)
);

CREATE VIRTUAL TABLE articles_text USING fts5 (title, body, content = 'articles', content_rowid = 'number', tokenize = 'porter unicode61');

CREATE TRIGGER articles_inserted AFTER INSERT ON articles BEGIN
    INSERT INTO articles_text (rowid, title, body) VALUES (new.number, new.title, new.body);
END;

CREATE TRIGGER articles_deleted AFTER DELETE ON articles BEGIN
    INSERT INTO articles_text (articles_text, rowid, title, body) VALUES ('delete', old.number, old.title, old.body);
END;

CREATE TRIGGER articles_updated AFTER UPDATE ON articles BEGIN
    INSERT INTO articles_text (articles_text, rowid, title, body) VALUES ('delete', old.number, old.title, old.body);
    INSERT INTO articles_text (rowid, title, body) VALUES (new.number, new.title, new.body);
END;
