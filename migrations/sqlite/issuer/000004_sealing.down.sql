DROP TABLE sealed_secrets;
ALTER TABLE signing_keys DROP COLUMN sealed_under;
