-- What the lines say stays; their places and hashes are gone. A signal of the hour under way may be written once more.
INSERT INTO companion_events (at, actor, action, target, tenant, detail)
    SELECT at, actor, action, target, tenant, detail FROM companion_records ORDER BY seq;
DROP TABLE companion_head;
DROP TABLE companion_records;
DROP TABLE companion_once;
CREATE INDEX companion_events_by_time ON companion_events (at);
ALTER TABLE companion_events DROP COLUMN outcome;
ALTER TABLE companion_events DROP COLUMN grant_id;
ALTER TABLE companion_events DROP COLUMN client;
