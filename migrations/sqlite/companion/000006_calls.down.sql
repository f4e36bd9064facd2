DROP TABLE call_settings;
DROP TABLE call_runs;
DROP TABLE companion_calls_head;
DROP TABLE companion_calls_records;
DROP TABLE companion_calls_events;
