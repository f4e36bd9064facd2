-- Programs of before know no policy but the scopes: what it refused, they let in again.
DROP TRIGGER machine_grants_ended ON grants;
DROP TRIGGER clients_gone ON clients;
DROP TRIGGER clients_changed ON clients;
DROP TRIGGER tenants_changed ON tenants;
DROP FUNCTION count_change;
DROP TABLE changes;

DROP INDEX memberships_by_tenant;
DROP INDEX users_operators;

ALTER TABLE users DROP COLUMN sessions_ended;

ALTER TABLE roles DROP COLUMN includes;
ALTER TABLE roles DROP COLUMN own;

ALTER TABLE tenants DROP COLUMN refresh_life;
ALTER TABLE tenants DROP COLUMN token_life;
ALTER TABLE tenants DROP COLUMN registrations;
ALTER TABLE tenants DROP COLUMN clients;
