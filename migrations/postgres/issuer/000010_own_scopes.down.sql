DROP TRIGGER roles_put_whole ON roles;
DROP TRIGGER roles_put_plain ON roles;
DROP FUNCTION role_is_its_scopes;
