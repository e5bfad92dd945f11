-- The plugin that an action was reserved for, where one is limited.
ALTER TABLE reservation ADD COLUMN plugin TEXT;
CREATE INDEX reservation_plugin ON reservation (plugin, at) WHERE plugin IS NOT NULL;

-- What has not ended: few rows, asked for by policies that gather pace or work in groups.
CREATE INDEX action_unended ON action (id) WHERE completed_at IS NULL;

-- Attempts that repeat one that failed, when they were granted; what has left the window is deleted.
CREATE TABLE retry (
    action_id  {bigint} NOT NULL,
    attempt    BIGINT   NOT NULL,
    at         BIGINT   NOT NULL,
    PRIMARY KEY (action_id, attempt)
);
CREATE INDEX retry_at ON retry (at);

-- How long one attempt may take at most, where its step says so; microseconds.
ALTER TABLE action ADD COLUMN timeout_us BIGINT;
