-- The second wall between tenants: whatever a statement forgets to say, it sees and changes the rows of one tenant alone, the one that its transaction was begun
-- for (set_config('gatehouse.tenant', …, true)). Where none is set there is nothing. FORCE holds the tables' owner to it, too; superusers and roles with BYPASSRLS
-- are held by nothing. Programs that do not set it yet find nothing any more: replace them first, for those that do work without this as well.

ALTER TABLE customers ENABLE ROW LEVEL SECURITY;
ALTER TABLE customers FORCE ROW LEVEL SECURITY;
CREATE POLICY one_tenant ON customers
    USING (tenant_id = NULLIF(current_setting('gatehouse.tenant', true), ''))
    WITH CHECK (tenant_id = NULLIF(current_setting('gatehouse.tenant', true), ''));

ALTER TABLE tickets ENABLE ROW LEVEL SECURITY;
ALTER TABLE tickets FORCE ROW LEVEL SECURITY;
CREATE POLICY one_tenant ON tickets
    USING (tenant_id = NULLIF(current_setting('gatehouse.tenant', true), ''))
    WITH CHECK (tenant_id = NULLIF(current_setting('gatehouse.tenant', true), ''));

ALTER TABLE articles ENABLE ROW LEVEL SECURITY;
ALTER TABLE articles FORCE ROW LEVEL SECURITY;
CREATE POLICY one_tenant ON articles
    USING (tenant_id = NULLIF(current_setting('gatehouse.tenant', true), ''))
    WITH CHECK (tenant_id = NULLIF(current_setting('gatehouse.tenant', true), ''));
