-- What an action would do, as plan mode has found it when it was last asked: one row for each action.
CREATE TABLE action_plan (
    action_id  {bigint} PRIMARY KEY,
    at         BIGINT NOT NULL,
    -- The hash of everything that the plan was made of, without its calls.
    basis      TEXT   NOT NULL,
    -- The calls that a yes is bound to; null: the plugin came to no good end, so to none.
    calls      TEXT,
    report     TEXT   NOT NULL
);

-- SHA-256 of a call's body, to hold what was done beside what was planned.
ALTER TABLE host_call ADD COLUMN body_hash TEXT;
