-- Lists of clients and of grants, the newest first, a page at a time.
CREATE INDEX clients_by_creation ON clients (created_at DESC, id) WHERE deleted_at IS NULL;
CREATE INDEX clients_of_tenant_by_creation ON clients (tenant_id, created_at DESC, id) WHERE deleted_at IS NULL;
CREATE INDEX grants_by_creation ON grants (created_at DESC, id);
