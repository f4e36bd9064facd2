ALTER TABLE clients DROP COLUMN old_secret_ends;
ALTER TABLE clients DROP COLUMN old_secret_hash;
