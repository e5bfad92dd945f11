-- API tokens: who may ask for what. Of a token's text only its hash and its beginning are kept.
CREATE TABLE token (
    id            {bigint} PRIMARY KEY,
    name          TEXT   NOT NULL,
    role          TEXT   NOT NULL,
    prefix        TEXT   NOT NULL,
    hash          TEXT   NOT NULL UNIQUE,
    -- JSON list of patterns of target names; an empty one means every target.
    targets       TEXT   NOT NULL,
    created_at    BIGINT NOT NULL,
    created_by    TEXT   NOT NULL,
    expires_at    BIGINT,
    revoked_at    BIGINT,
    last_used_at  BIGINT
);
-- A name means one token among those that are not revoked.
CREATE UNIQUE INDEX token_name ON token (name) WHERE revoked_at IS NULL;

-- Ids of tokens, and the revision that servers look at to know whether to read them again.
INSERT INTO counter (name, next) VALUES ('token', 1), ('token_rev', 1);
