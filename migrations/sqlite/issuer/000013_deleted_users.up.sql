-- What audit records say of people is encrypted under a key of each person's own. Deleting a person deletes the key; their row stays as an id
-- alone until the grants that name it are deleted.
ALTER TABLE users ADD COLUMN audit_key BLOB NOT NULL DEFAULT x'';
ALTER TABLE users ADD COLUMN deleted_at BIGINT;
CREATE INDEX users_deleted ON users (deleted_at) WHERE deleted_at IS NOT NULL;
