DROP INDEX grants_by_age;
DROP INDEX clients_by_age;
DROP INDEX initial_tokens_by_end;
DROP TABLE jobs;
