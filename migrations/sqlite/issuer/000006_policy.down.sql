-- Programs of before know no policy but the scopes: what it refused, they let in again.
DROP TRIGGER machine_grants_ended;
DROP TRIGGER clients_gone;
DROP TRIGGER clients_changed;
DROP TRIGGER tenants_changed;
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
