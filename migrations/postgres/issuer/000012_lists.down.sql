DROP INDEX grants_by_creation;
DROP INDEX clients_of_tenant_by_creation;
DROP INDEX clients_by_creation;
