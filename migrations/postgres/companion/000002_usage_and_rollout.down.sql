DROP TABLE companion_events;
DROP TABLE rollout_revision;
DROP TABLE rollout_modes;
DROP TABLE usage_hours;
