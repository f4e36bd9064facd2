-- The role of the resource wing: its own tables, and no other; in them, by row-level security, the rows of the tenant whose request it is. Give it a password of yours.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'companion') THEN
        CREATE ROLE companion LOGIN PASSWORD 'companion';
    END IF;
END
$$;
GRANT SELECT, INSERT, UPDATE, DELETE ON customers, tickets, articles TO companion;
GRANT SELECT ON schema_migrations_companion TO companion;
