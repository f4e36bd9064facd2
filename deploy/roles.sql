-- The role of the resource wing: its own tables, and no other; in them, by row-level security, the rows of the tenant whose request it is. Give it a password of yours.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'companion') THEN
        CREATE ROLE companion LOGIN PASSWORD 'companion';
    END IF;
END
$$;
GRANT SELECT, INSERT, UPDATE, DELETE ON customers, tickets, articles, usage_hours, refusals TO companion;
-- How strictly the rules count is the operator's to say: the wing only reads it. Its audit lines are only added to.
GRANT SELECT ON rollout_modes, rollout_revision TO companion;
GRANT SELECT, INSERT ON companion_events TO companion;
GRANT SELECT ON schema_migrations_companion TO companion;
