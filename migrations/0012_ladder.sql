-- The step of the ladder that an incident stands on, from 0, and the actions it has made there; and whether a human was
-- told that it was handed over.
ALTER TABLE incident ADD COLUMN step BIGINT NOT NULL DEFAULT 0;
ALTER TABLE incident ADD COLUMN tries BIGINT NOT NULL DEFAULT 0;
ALTER TABLE incident ADD COLUMN told_at BIGINT;
CREATE INDEX incident_pair ON incident (policy_id, target, id);
CREATE INDEX incident_untold ON incident (id) WHERE state = 'handed_over' AND told_at IS NULL AND cleared_at IS NULL;

-- Which step an action was, and what samples observed after its settle time said of it.
ALTER TABLE action ADD COLUMN step BIGINT;
ALTER TABLE action ADD COLUMN verdict TEXT;
CREATE INDEX reservation_at ON reservation (at);
CREATE INDEX action_judged ON action (policy_id, completed_at) WHERE step IS NOT NULL AND completed_at IS NOT NULL;
CREATE INDEX action_step ON action (policy_id, step) WHERE step IS NOT NULL;
