-- One row: whether people have stopped all automation, since when, until when and why. `since` is none: they have not.
CREATE TABLE pause (
    one       BIGINT PRIMARY KEY CHECK (one = 1),
    since     BIGINT,
    until_at  BIGINT,
    actor     TEXT,
    reason    TEXT
);
INSERT INTO pause (one) VALUES (1);
