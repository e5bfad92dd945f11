-- The targets that send samples, noted once an hour: what a percentage is of. Simulated ones are none.
CREATE TABLE fleet (
    target   TEXT   PRIMARY KEY,
    seen_at  BIGINT NOT NULL
);
CREATE INDEX fleet_seen ON fleet (seen_at);

-- When so many targets of a policy were last sick at once that the observer is suspected rather than they.
CREATE TABLE storm (
    policy_id  {bigint} PRIMARY KEY,
    seen_at    BIGINT NOT NULL
);
CREATE INDEX incident_sick ON incident (policy_id) WHERE cleared_at IS NULL;
