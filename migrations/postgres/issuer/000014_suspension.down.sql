DROP TRIGGER clients_changed ON clients;
CREATE CONSTRAINT TRIGGER clients_changed AFTER UPDATE OF name, secret_hash, deleted_at ON clients
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (OLD.origin <> 'document') EXECUTE FUNCTION count_change();
DROP INDEX clients_disabled;
ALTER TABLE tenants DROP COLUMN deleted_at;
ALTER TABLE tenants DROP COLUMN suspended_at;
ALTER TABLE clients DROP COLUMN disabled_at;
