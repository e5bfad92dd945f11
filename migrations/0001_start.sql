-- The tables of the main job. One text for both databases: types are PostgreSQL's names, which SQLite
-- takes by affinity. Times are BIGINT microseconds since 1970 UTC, JSON is TEXT, so that a value reads
-- back the same on both. What differs is a named fragment in braces, filled in store/sql.rs.

-- One row: which installation this is (it prefixes Redis keys), and the revision of the policies.
CREATE TABLE installation (
    one         BIGINT PRIMARY KEY CHECK (one = 1),
    id          TEXT   NOT NULL,
    policy_rev  BIGINT NOT NULL DEFAULT 0,
    partitions  BIGINT NOT NULL
);

-- Id blocks handed to nodes and numbers given inside a transaction.
CREATE TABLE counter (
    name  TEXT   PRIMARY KEY,
    next  BIGINT NOT NULL
);
INSERT INTO counter (name, next) VALUES ('metric', 1), ('series', 1), ('policy', 1), ('incident', 1), ('action', 1), ('decision', 1);

-- The unit of order: a target's events are decided one after the other under this row's lock.
CREATE TABLE partition_state (
    id         {bigint} PRIMARY KEY,
    seq        BIGINT NOT NULL DEFAULT 0,
    ticked_at  BIGINT NOT NULL DEFAULT 0
);

-- What one transaction added to one partition: its samples are those of the partition within the id range.
CREATE TABLE record (
    partition_id  BIGINT NOT NULL,
    seq           BIGINT NOT NULL,
    batch         TEXT   NOT NULL,
    at            BIGINT NOT NULL,
    policy_rev    BIGINT NOT NULL,
    first_id      BIGINT NOT NULL,
    last_id       BIGINT NOT NULL,
    PRIMARY KEY (partition_id, seq)
);
CREATE INDEX record_at ON record (at);

CREATE TABLE series (
    id            {bigint} PRIMARY KEY,
    partition_id  BIGINT NOT NULL,
    identity      TEXT   NOT NULL UNIQUE,
    name          TEXT   NOT NULL,
    target        TEXT   NOT NULL,
    target_kind   TEXT,
    namespace     TEXT,
    tags          TEXT   NOT NULL
);
CREATE INDEX series_target ON series (target, name);

CREATE TABLE sample (
    id           {bigint} PRIMARY KEY,
    series_id    BIGINT NOT NULL,
    observed_at  BIGINT NOT NULL,
    value        {double} NOT NULL,
    flags        BIGINT NOT NULL
);

CREATE TABLE idempotency (
    scope      TEXT   NOT NULL,
    key        TEXT   NOT NULL,
    body_hash  TEXT   NOT NULL,
    answer     TEXT   NOT NULL,
    at         BIGINT NOT NULL,
    PRIMARY KEY (scope, key)
);
CREATE INDEX idempotency_at ON idempotency (at);

CREATE TABLE policy (
    id          {bigint}  PRIMARY KEY,
    name        TEXT    NOT NULL UNIQUE,
    version     BIGINT  NOT NULL,
    enabled     BOOLEAN NOT NULL,
    source      TEXT    NOT NULL,
    spec        TEXT    NOT NULL,
    created_at  BIGINT  NOT NULL,
    updated_at  BIGINT  NOT NULL
);

CREATE TABLE incident (
    id               {bigint} PRIMARY KEY,
    policy_id        BIGINT NOT NULL,
    policy_name      TEXT   NOT NULL,
    policy_version   BIGINT NOT NULL,
    severity         TEXT   NOT NULL,
    target           TEXT   NOT NULL,
    state            TEXT   NOT NULL,
    opened_at        BIGINT NOT NULL,
    closed_at        BIGINT,
    cleared_at       BIGINT,
    event_id         BIGINT NOT NULL,
    last_event_id    BIGINT NOT NULL,
    last_violated_at BIGINT NOT NULL,
    violations       BIGINT NOT NULL,
    actions          BIGINT NOT NULL,
    last_action_id   BIGINT,
    reason           TEXT,
    evidence         TEXT   NOT NULL
);
-- One episode of one policy on one target at a time, whatever any node believes.
CREATE UNIQUE INDEX incident_open ON incident (policy_id, target) WHERE cleared_at IS NULL;
CREATE INDEX incident_opened ON incident (opened_at, id);

-- One row when an incident's decision changes; repeats of it are counted here.
CREATE TABLE decision (
    id           {bigint} PRIMARY KEY,
    incident_id  BIGINT NOT NULL,
    at           BIGINT NOT NULL,
    last_at      BIGINT NOT NULL,
    event_id     BIGINT NOT NULL,
    verdict      TEXT   NOT NULL,
    reason       TEXT,
    until_at     BIGINT,
    repeats      BIGINT NOT NULL,
    action_id    BIGINT,
    facts        TEXT   NOT NULL
);
CREATE INDEX decision_incident ON decision (incident_id, id);

CREATE TABLE action (
    id              {bigint}  PRIMARY KEY,
    execution_id    TEXT    NOT NULL,
    incident_id     BIGINT,
    policy_id       BIGINT,
    policy_name     TEXT,
    policy_version  BIGINT,
    event_id        BIGINT,
    origin          TEXT    NOT NULL,
    kind            TEXT    NOT NULL,
    target          TEXT    NOT NULL,
    target_kind     TEXT,
    namespace       TEXT,
    labels          TEXT    NOT NULL,
    params          TEXT    NOT NULL,
    priority        BIGINT  NOT NULL,
    state           TEXT    NOT NULL,
    simulated       BOOLEAN NOT NULL,
    queued          BOOLEAN NOT NULL,
    attempts        BIGINT  NOT NULL,
    max_attempts    BIGINT  NOT NULL,
    crashes         BIGINT  NOT NULL,
    run_at          BIGINT  NOT NULL,
    expires_at      BIGINT,
    owner           TEXT,
    fence           BIGINT,
    plugin          TEXT,
    digest          TEXT,
    effects         TEXT,
    created_at      BIGINT  NOT NULL,
    running_since   BIGINT,
    completed_at    BIGINT,
    details         TEXT,
    error_message   TEXT
);
CREATE INDEX action_ready ON action (priority, run_at, id) WHERE state = 'ready';
CREATE INDEX action_blocked ON action (target, priority, id) WHERE state = 'blocked';
CREATE INDEX action_running ON action (owner) WHERE state = 'running';
CREATE INDEX action_scheduled ON action (run_at) WHERE state = 'scheduled';
CREATE INDEX action_uncertain ON action (completed_at) WHERE state = 'uncertain';
CREATE INDEX action_created ON action (created_at, id);
CREATE INDEX action_incident ON action (incident_id);

-- The mutex of a target: its head is the one action that may run; the fence counts claims.
CREATE TABLE slot (
    target  TEXT   PRIMARY KEY,
    head    BIGINT,
    fence   BIGINT NOT NULL
);

-- The ledger of guardrails: written with the action it pays for.
CREATE TABLE reservation (
    action_id  {bigint} PRIMARY KEY,
    policy_id  BIGINT NOT NULL,
    target     TEXT   NOT NULL,
    at         BIGINT NOT NULL
);
CREATE INDEX reservation_policy ON reservation (policy_id, at);
CREATE INDEX reservation_pair ON reservation (policy_id, target, at);

CREATE TABLE attempt (
    action_id   BIGINT NOT NULL,
    attempt     BIGINT NOT NULL,
    fence       BIGINT NOT NULL,
    worker      TEXT   NOT NULL,
    plugin      TEXT,
    digest      TEXT,
    started_at  BIGINT NOT NULL,
    ended_at    BIGINT,
    outcome     TEXT,
    message     TEXT,
    result      TEXT,
    logs        TEXT,
    PRIMARY KEY (action_id, fence)
);

-- What an attempt asked of a connection; for unsafe actions the intent is on disk before the call leaves.
CREATE TABLE host_call (
    action_id    BIGINT NOT NULL,
    fence        BIGINT NOT NULL,
    n            BIGINT NOT NULL,
    attempt      BIGINT NOT NULL,
    connection   TEXT   NOT NULL,
    method       TEXT   NOT NULL,
    path         TEXT   NOT NULL,
    mutating     BOOLEAN NOT NULL,
    state        TEXT   NOT NULL,
    status       BIGINT,
    error        TEXT,
    started_at   BIGINT NOT NULL,
    duration_us  BIGINT,
    PRIMARY KEY (action_id, fence, n)
);

-- One heartbeat counter per process; observers time it on their own clock.
CREATE TABLE node (
    boot_id     TEXT    PRIMARY KEY,
    name        TEXT    NOT NULL,
    hb          BIGINT  NOT NULL,
    draining    BOOLEAN NOT NULL,
    started_at  BIGINT  NOT NULL
);

CREATE TABLE audit (
    id           {autoid},
    at           BIGINT NOT NULL,
    actor        TEXT   NOT NULL,
    verb         TEXT   NOT NULL,
    object       TEXT   NOT NULL,
    object_id    TEXT   NOT NULL,
    incident_id  BIGINT,
    action_id    BIGINT,
    facts        TEXT   NOT NULL
);
CREATE INDEX audit_incident ON audit (incident_id);
CREATE INDEX audit_action ON audit (action_id);
