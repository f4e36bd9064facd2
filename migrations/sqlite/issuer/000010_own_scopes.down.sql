DROP TRIGGER roles_put_whole;
DROP TRIGGER roles_put_plain;
DROP TRIGGER roles_made_plain;
