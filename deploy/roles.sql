-- The role of the resource wing: its own tables, and no other; in them, by row-level security, the rows of the tenant whose request it is. Give it a password of yours.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'companion') THEN
        CREATE ROLE companion LOGIN PASSWORD 'companion';
    END IF;
END
$$;
GRANT SELECT, INSERT, UPDATE, DELETE ON customers, tickets, articles, usage_hours, refusals TO companion;
-- How strictly the rules count is the operator's to say: the wing only reads it. Its audit lines go from those that wait to their place in the chain, where none is
-- changed; the oldest go.
GRANT SELECT ON rollout_modes, rollout_revision TO companion;
GRANT SELECT, INSERT, DELETE ON companion_events, companion_records TO companion;
GRANT SELECT, UPDATE ON companion_head TO companion;
-- The same for the records of tools' calls; of which calls they are kept is the operator's to say.
GRANT SELECT, INSERT, DELETE ON companion_calls_events, companion_calls_records TO companion;
GRANT SELECT, UPDATE ON companion_calls_head TO companion;
GRANT SELECT, INSERT, UPDATE, DELETE ON call_runs TO companion;
GRANT SELECT ON call_settings TO companion;
-- Names of what is written once; those of signals go when nobody looks for them any more.
GRANT SELECT, INSERT, DELETE ON companion_once TO companion;
GRANT SELECT ON schema_migrations_companion TO companion;
