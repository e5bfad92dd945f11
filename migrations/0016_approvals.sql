-- Actions that wait for people. What was asked, of how many, and what came of it; one row for each request. Between the
-- request and the approval the action is none of its incident's.
CREATE TABLE approval (
    action_id       {bigint} PRIMARY KEY,
    incident_id     BIGINT  NOT NULL,
    policy_id       BIGINT  NOT NULL,
    policy_version  BIGINT  NOT NULL,
    target          TEXT    NOT NULL,
    plan            TEXT    NOT NULL,
    plan_hash       TEXT    NOT NULL,
    required        BIGINT  NOT NULL,
    -- The principal that may not approve, if one.
    barred          TEXT,
    state           TEXT    NOT NULL,
    requested_at    BIGINT  NOT NULL,
    expires_at      BIGINT  NOT NULL,
    decided_at      BIGINT,
    decided_by      TEXT,
    note            TEXT
);
-- One open request of an incident, whatever any node believes.
CREATE UNIQUE INDEX approval_open ON approval (incident_id) WHERE state = 'waiting';
CREATE INDEX approval_due ON approval (expires_at) WHERE state = 'waiting';
CREATE INDEX approval_pair ON approval (policy_id, target, decided_at);

-- Who said yes, and to which plan: a principal counts once.
CREATE TABLE approval_vote (
    action_id  BIGINT NOT NULL,
    principal  TEXT   NOT NULL,
    actor      TEXT   NOT NULL,
    plan_hash  TEXT   NOT NULL,
    at         BIGINT NOT NULL,
    note       TEXT   NOT NULL,
    PRIMARY KEY (action_id, principal)
);

CREATE INDEX action_approval ON action (created_at, id) WHERE state = 'approval';

-- Who last changed what a policy says: a principal. A switch on or off does not change it.
ALTER TABLE policy ADD COLUMN author TEXT;
