-- When the scheduled evaluation looked at which partitions (bit n of `mask` is partition n): with the samples it is what a
-- back-test needs to come to the same decisions again. Kept as long as samples are.
CREATE TABLE tick (
    n     {rowid},
    at    BIGINT NOT NULL,
    mask  BIGINT NOT NULL
);
