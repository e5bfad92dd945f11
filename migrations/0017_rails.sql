-- Since when an incident has been clear without a break, where its policy asks for how long that must hold.
ALTER TABLE incident ADD COLUMN clear_since BIGINT;

-- Where a target is, by each tag that a policy counts parts of its fleet by: a JSON object, null where it lacks the tag.
ALTER TABLE fleet ADD COLUMN domains TEXT NOT NULL DEFAULT '{}';

-- When so many targets of a policy in one part of its fleet were last sick at once that the observer is suspected.
CREATE TABLE mass_failure (
    policy_id  {bigint} NOT NULL,
    domain     TEXT     NOT NULL,
    seen_at    BIGINT   NOT NULL,
    PRIMARY KEY (policy_id, domain)
);
INSERT INTO mass_failure (policy_id, domain, seen_at) SELECT policy_id, '', seen_at FROM storm;
DROP TABLE storm;

-- Duels over a target that were stopped: its parties wait until one is over. A policy of 0 is a person.
CREATE TABLE duel (
    target         TEXT     NOT NULL,
    first_kind     TEXT     NOT NULL,
    second_kind    TEXT     NOT NULL,
    first_policy   {bigint} NOT NULL,
    second_policy  {bigint} NOT NULL,
    action_id      {bigint} NOT NULL,
    until_at       BIGINT   NOT NULL,
    PRIMARY KEY (target, first_kind, second_kind, first_policy, second_policy)
);
CREATE INDEX duel_until ON duel (until_at);
CREATE INDEX reservation_target ON reservation (target, at);

-- Until when the policy and target of an incident are flapping, if they were when it opened.
ALTER TABLE incident ADD COLUMN flapping_until BIGINT;
CREATE INDEX incident_flaps ON incident (policy_id, target, opened_at);
