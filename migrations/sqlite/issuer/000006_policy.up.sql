-- Who may what: a tenant's policy, roles that include others, and the end of all of a person's sessions.

-- Which clients a tenant lets in, by id and by how they became known, and how long their tokens live and their permissions are renewed, in seconds. An empty
-- list allows any, and 0 what the issuer allows.
ALTER TABLE tenants ADD COLUMN clients TEXT NOT NULL DEFAULT '[]';
ALTER TABLE tenants ADD COLUMN registrations TEXT NOT NULL DEFAULT '[]';
ALTER TABLE tenants ADD COLUMN token_life INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tenants ADD COLUMN refresh_life INTEGER NOT NULL DEFAULT 0;

-- A role's own scopes, and the roles of its tenant that it includes; scopes is what all of that gives.
ALTER TABLE roles ADD COLUMN own TEXT NOT NULL DEFAULT '[]';
ALTER TABLE roles ADD COLUMN includes TEXT NOT NULL DEFAULT '[]';
UPDATE roles SET own = scopes;

-- Counts up when all of the person's sessions end.
ALTER TABLE users ADD COLUMN sessions_ended INTEGER NOT NULL DEFAULT 0;

CREATE INDEX users_operators ON users (id) WHERE operator;
CREATE INDEX memberships_by_tenant ON memberships (tenant_id, role);

-- Counts the changes to what processes remember: tenants, clients (those with a document of their own are remembered for a second only), machine clients'
-- grants. Whoever remembers asks for it each second. No statement can forget to count.
CREATE TABLE changes (n INTEGER NOT NULL);
INSERT INTO changes (n) VALUES (0);
CREATE TRIGGER tenants_changed AFTER UPDATE ON tenants BEGIN UPDATE changes SET n = n + 1; END;
CREATE TRIGGER clients_changed AFTER UPDATE OF name, secret_hash, deleted_at ON clients WHEN OLD.origin <> 'document' BEGIN UPDATE changes SET n = n + 1; END;
CREATE TRIGGER clients_gone AFTER DELETE ON clients WHEN OLD.origin <> 'document' BEGIN UPDATE changes SET n = n + 1; END;
CREATE TRIGGER machine_grants_ended AFTER UPDATE OF ended_at ON grants WHEN OLD.user_id IS NULL BEGIN UPDATE changes SET n = n + 1; END;
