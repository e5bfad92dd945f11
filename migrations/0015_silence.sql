-- What people want left alone: matchers (all must match) as JSON texts, from when until when, and for calendars the days
-- and hours, as JSON, in between. What is over stays readable.
CREATE TABLE silence (
    id          {bigint} PRIMARY KEY,
    version     BIGINT NOT NULL,
    matchers    TEXT   NOT NULL,
    starts_at   BIGINT NOT NULL,
    ends_at     BIGINT,
    recurring   TEXT,
    comment     TEXT   NOT NULL,
    author      TEXT   NOT NULL,
    created_at  BIGINT NOT NULL,
    updated_at  BIGINT NOT NULL,
    expired_at  BIGINT
);
CREATE INDEX silence_live ON silence (id) WHERE expired_at IS NULL;
CREATE INDEX silence_created ON silence (created_at, id);
INSERT INTO counter (name, next) VALUES ('silence', 1);

-- Counts the changes of silences, in the row that whoever acts holds.
ALTER TABLE pause ADD COLUMN silence_rev BIGINT NOT NULL DEFAULT 0;

-- The silence that the incident's last decision named; and since when its condition is clear while an action of it waits.
ALTER TABLE incident ADD COLUMN silence_id BIGINT;
ALTER TABLE incident ADD COLUMN calm_at BIGINT;

-- Why it was not started when its turn came; its try is given back.
ALTER TABLE action ADD COLUMN withheld TEXT;
