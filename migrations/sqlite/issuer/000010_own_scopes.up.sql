-- A program of before writes a role's scopes and knows nothing of own and includes. What it writes is the whole role: otherwise what it took away would come back, and
-- what it made be empty, when the next role of the tenant is put. A role that includes none gives just its own scopes. Of one that includes others, only who puts it
-- writes admin; programs of before that column do not see here that it includes any.
UPDATE roles SET own = scopes WHERE includes = '[]' AND own <> scopes;
CREATE TRIGGER roles_made_plain AFTER INSERT ON roles WHEN NEW.includes = '[]' AND NEW.own <> NEW.scopes
    BEGIN UPDATE roles SET own = NEW.scopes WHERE tenant_id = NEW.tenant_id AND name = NEW.name; END;
CREATE TRIGGER roles_put_plain AFTER UPDATE OF scopes ON roles WHEN NEW.includes = '[]' AND NEW.own <> NEW.scopes
    BEGIN UPDATE roles SET own = NEW.scopes WHERE tenant_id = NEW.tenant_id AND name = NEW.name; END;
CREATE TRIGGER roles_put_whole AFTER UPDATE OF admin ON roles
    WHEN OLD.includes <> '[]' AND NEW.includes = OLD.includes AND NEW.own = OLD.own AND NEW.scopes <> OLD.scopes
    BEGIN UPDATE roles SET own = NEW.scopes, includes = '[]' WHERE tenant_id = NEW.tenant_id AND name = NEW.name; END;

-- The grant of a machine client says what the tenant allows it, which is its ceiling, and not what the policy was on the day of its first token.
UPDATE grants SET scopes = (SELECT c.scopes FROM clients c WHERE c.id = grants.client_id) WHERE user_id IS NULL AND ended_at IS NULL;
