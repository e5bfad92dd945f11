-- What the simulator and the policy tester send is told apart by this mark alone, never by a tag that a client
-- can send too: a simulated series, incident or action is never the real one of that name.

ALTER TABLE series ADD COLUMN simulated BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE incident ADD COLUMN simulated BOOLEAN NOT NULL DEFAULT FALSE;

-- A simulated incident never stands in the way of a real one.
DROP INDEX incident_open;
CREATE UNIQUE INDEX incident_open ON incident (policy_id, target, simulated) WHERE cleared_at IS NULL;

-- Simulated actions reserve nothing; how often a policy made them is counted in their own rows.
CREATE INDEX action_simulated ON action (policy_id, created_at) WHERE simulated;
