-- Settings made over HTTP, the scheduled evaluation's last run, and the numbers of the queue.

-- One row: what differs from the configuration, as JSON; the revision tells nodes to read it again.
CREATE TABLE setting (
    one         BIGINT PRIMARY KEY CHECK (one = 1),
    rev         BIGINT NOT NULL,
    overrides   TEXT   NOT NULL,
    updated_at  BIGINT
);
INSERT INTO setting (one, rev, overrides, updated_at) VALUES (1, 0, '{}', NULL);

-- The revision of the settings that a process works with.
ALTER TABLE node ADD COLUMN settings_rev BIGINT NOT NULL DEFAULT 0;

-- One row: the last scheduled evaluation of any node.
CREATE TABLE runner (
    one        BIGINT PRIMARY KEY CHECK (one = 1),
    at         BIGINT,
    took_us    BIGINT,
    evaluated  BIGINT,
    node       TEXT
);
INSERT INTO runner (one) VALUES (1);

-- How long the queue was, every 5 seconds.
CREATE TABLE queue_history (
    at     {bigint} PRIMARY KEY,
    depth  BIGINT NOT NULL
);

-- What a policy's file says of `enabled`: a change there counts, a switch by hand outlives the next reading.
ALTER TABLE policy ADD COLUMN declared BOOLEAN;

-- How often an action was put back in the queue.
ALTER TABLE action ADD COLUMN requeued BIGINT NOT NULL DEFAULT 0;
CREATE INDEX action_done ON action (completed_at, state, queued, requeued) WHERE completed_at IS NOT NULL;
CREATE INDEX action_unqueued ON action (attempts) WHERE queued = FALSE;
