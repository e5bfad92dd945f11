-- A transaction's samples are one row: a batch of a thousand costs the database what a single event does.
-- What `data` holds is said in store/chunk.rs. Rows are numbered as they are written, so the oldest go first.
CREATE TABLE chunk (
    n           {rowid},
    first_id    BIGINT NOT NULL,
    last_id     BIGINT NOT NULL,
    batch       TEXT   NOT NULL,
    at          BIGINT NOT NULL,
    policy_rev  BIGINT NOT NULL,
    data        {blob} NOT NULL
);
CREATE UNIQUE INDEX chunk_first ON chunk (first_id);

-- Where a node finds what others added to a partition. Only PostgreSQL has other nodes: SQLite writes none.
DROP TABLE record;
CREATE TABLE record (
    partition_id  BIGINT NOT NULL,
    seq           BIGINT NOT NULL,
    at            BIGINT NOT NULL,
    first_id      BIGINT NOT NULL,
    PRIMARY KEY (partition_id, seq)
);
CREATE INDEX record_at ON record (at);

-- No released version kept samples in rows.
DROP TABLE sample;
