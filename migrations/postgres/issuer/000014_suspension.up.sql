-- When the operator disabled a client, suspended a tenant or deleted one. A client that is disabled and a tenant that is suspended keep their grants; a tenant that was
-- deleted is suspended, too, and its row stays: its id is never given again.
ALTER TABLE clients ADD COLUMN disabled_at BIGINT;
ALTER TABLE tenants ADD COLUMN suspended_at BIGINT;
ALTER TABLE tenants ADD COLUMN deleted_at BIGINT;
CREATE INDEX clients_disabled ON clients (disabled_at) WHERE disabled_at IS NOT NULL;

-- Processes that remember clients hear of it.
DROP TRIGGER clients_changed ON clients;
CREATE CONSTRAINT TRIGGER clients_changed AFTER UPDATE OF name, secret_hash, deleted_at, disabled_at ON clients
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (OLD.origin <> 'document') EXECUTE FUNCTION count_change();
