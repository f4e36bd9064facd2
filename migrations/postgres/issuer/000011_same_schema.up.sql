-- Migrations 6, 9 and 10 were changed after some databases had applied them. What they made differently is made the same here.
-- Migration 6: a transaction is counted once.
CREATE OR REPLACE FUNCTION count_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('gatehouse.counted', true) IS DISTINCT FROM txid_current()::text THEN
        UPDATE changes SET n = n + 1;
        PERFORM set_config('gatehouse.counted', txid_current()::text, true);
    END IF;
    RETURN NULL;
END
$$;

-- Migration 9: jobs has the column after everywhere.
ALTER TABLE jobs ADD COLUMN IF NOT EXISTS after TEXT NOT NULL DEFAULT '';
ALTER TABLE jobs ALTER COLUMN after DROP DEFAULT;

-- Migration 10: the grant of a machine client says its ceiling.
UPDATE grants SET scopes = (SELECT c.scopes FROM clients c WHERE c.id = grants.client_id) WHERE user_id IS NULL AND ended_at IS NULL;
