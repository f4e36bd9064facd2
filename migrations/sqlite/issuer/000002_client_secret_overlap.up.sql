-- A client's secret of before, as long as it still counts beside the new one.
ALTER TABLE clients ADD COLUMN old_secret_hash TEXT NOT NULL DEFAULT '';
ALTER TABLE clients ADD COLUMN old_secret_ends BIGINT;
