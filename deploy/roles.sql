-- The role of the MCP server: its own tables and no others; in the demo's, by row-level security, only
-- the rows of the request's tenant. Set a password of your own.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'companion') THEN
        CREATE ROLE companion LOGIN PASSWORD 'companion';
    END IF;
END
$$;
GRANT SELECT, INSERT, UPDATE, DELETE ON customers, tickets, articles, usage_hours, refusals TO companion;
-- The rollout's modes are set by the operator; the server only reads them. Its audit records are moved
-- into the chain, where none is changed; the oldest are deleted.
GRANT SELECT ON rollout_modes, rollout_revision TO companion;
GRANT SELECT, INSERT, DELETE ON companion_events, companion_records TO companion;
GRANT SELECT, UPDATE ON companion_head TO companion;
-- The same for records of tool calls; the operator sets which are kept.
GRANT SELECT, INSERT, DELETE ON companion_calls_events, companion_calls_records TO companion;
GRANT SELECT, UPDATE ON companion_calls_head TO companion;
GRANT SELECT, INSERT, UPDATE, DELETE ON call_runs TO companion;
GRANT SELECT ON call_settings TO companion;
-- Names of what is written once; those of signals are deleted later.
GRANT SELECT, INSERT, DELETE ON companion_once TO companion;
GRANT SELECT ON schema_migrations_companion TO companion;
