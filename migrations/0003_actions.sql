-- Actions that others carry out: what a remediator holds, what it reported, who asks for work; drifts that
-- were reported; series by name.

-- Until when a remediator's lease holds. Our workers' leases are timed by heartbeats and leave it empty.
ALTER TABLE action ADD COLUMN lease_until BIGINT;
-- What a remediator reported, as JSON.
ALTER TABLE action ADD COLUMN result TEXT;
CREATE INDEX action_leased ON action (lease_until) WHERE state = 'running';
CREATE INDEX action_waiting ON action (priority, created_at, id) WHERE state IN ('held', 'ready');

CREATE INDEX series_name ON series (name);

-- Remediators that asked for work, and when they last did.
CREATE TABLE puller (
    name     TEXT   PRIMARY KEY,
    seen_at  BIGINT NOT NULL
);

-- Results for tasks nobody gave out: each is recorded once, as an action of its own.
CREATE TABLE reported (
    key        TEXT   PRIMARY KEY,
    action_id  BIGINT NOT NULL,
    at         BIGINT NOT NULL
);
CREATE INDEX reported_at ON reported (at);

-- Differences between what should be and what is, as they were reported. One row per episode.
CREATE TABLE drift (
    id           {bigint} PRIMARY KEY,
    resource     TEXT   NOT NULL,
    namespace    TEXT   NOT NULL,
    kind         TEXT   NOT NULL,
    severity     TEXT   NOT NULL,
    manifest     TEXT   NOT NULL,
    details      TEXT   NOT NULL,
    event_id     BIGINT NOT NULL,
    action_id    BIGINT,
    reports      BIGINT NOT NULL,
    opened_at    BIGINT NOT NULL,
    last_at      BIGINT NOT NULL,
    resolved_at  BIGINT
);
CREATE UNIQUE INDEX drift_open ON drift (resource, namespace, kind) WHERE resolved_at IS NULL;
CREATE INDEX drift_opened ON drift (opened_at, id);
INSERT INTO counter (name, next) VALUES ('drift', 1);
