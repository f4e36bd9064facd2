-- Who may what: a tenant's policy, roles that include others, and the end of all of a person's sessions.

-- Which clients a tenant lets in, by id and by how they became known, and how long their tokens live and their permissions are renewed, in seconds. An empty
-- list allows any, and 0 what the issuer allows.
ALTER TABLE tenants ADD COLUMN clients TEXT NOT NULL DEFAULT '[]';
ALTER TABLE tenants ADD COLUMN registrations TEXT NOT NULL DEFAULT '[]';
ALTER TABLE tenants ADD COLUMN token_life BIGINT NOT NULL DEFAULT 0;
ALTER TABLE tenants ADD COLUMN refresh_life BIGINT NOT NULL DEFAULT 0;

-- A role's own scopes, and the roles of its tenant that it includes; scopes is what all of that gives.
ALTER TABLE roles ADD COLUMN own TEXT NOT NULL DEFAULT '[]';
ALTER TABLE roles ADD COLUMN includes TEXT NOT NULL DEFAULT '[]';
UPDATE roles SET own = scopes;

-- Counts up when all of the person's sessions end.
ALTER TABLE users ADD COLUMN sessions_ended BIGINT NOT NULL DEFAULT 0;

CREATE INDEX users_operators ON users (id) WHERE operator;
CREATE INDEX memberships_by_tenant ON memberships (tenant_id, role);

-- Counts the changes to what processes remember: tenants, clients (those with a document of their own are remembered for a second only), machine clients'
-- grants. Whoever remembers asks for it each second. No statement can forget to count, a program of before neither; counted is at the commit, so that nobody
-- waits for another's transaction with a row of theirs held, and once: each count of a transaction would be a version of that row that the next one steps over.
CREATE TABLE changes (n BIGINT NOT NULL);
INSERT INTO changes (n) VALUES (0);
CREATE FUNCTION count_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('gatehouse.counted', true) IS DISTINCT FROM txid_current()::text THEN
        UPDATE changes SET n = n + 1;
        PERFORM set_config('gatehouse.counted', txid_current()::text, true);
    END IF;
    RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER tenants_changed AFTER UPDATE ON tenants DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION count_change();
CREATE CONSTRAINT TRIGGER clients_changed AFTER UPDATE OF name, secret_hash, deleted_at ON clients
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (OLD.origin <> 'document') EXECUTE FUNCTION count_change();
CREATE CONSTRAINT TRIGGER clients_gone AFTER DELETE ON clients
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (OLD.origin <> 'document') EXECUTE FUNCTION count_change();
CREATE CONSTRAINT TRIGGER machine_grants_ended AFTER UPDATE OF ended_at ON grants
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (OLD.user_id IS NULL) EXECUTE FUNCTION count_change();
