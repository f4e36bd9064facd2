DROP TRIGGER clients_changed;
CREATE TRIGGER clients_changed AFTER UPDATE OF name, secret_hash, deleted_at ON clients WHEN OLD.origin <> 'document' BEGIN UPDATE changes SET n = n + 1; END;
DROP INDEX clients_disabled;
ALTER TABLE tenants DROP COLUMN deleted_at;
ALTER TABLE tenants DROP COLUMN suspended_at;
ALTER TABLE clients DROP COLUMN disabled_at;
