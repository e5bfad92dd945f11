-- Every content that a policy has had, with who gave it to it and when; the newest is the one in force.
CREATE TABLE policy_revision (
    id         {autoid},
    policy_id  {bigint} NOT NULL,
    name       TEXT     NOT NULL,
    version    BIGINT   NOT NULL,
    what       TEXT     NOT NULL,
    actor      TEXT     NOT NULL,
    at         BIGINT   NOT NULL,
    enabled    BOOLEAN  NOT NULL,
    source     TEXT     NOT NULL,
    spec       TEXT     NOT NULL
);
CREATE UNIQUE INDEX policy_revision_version ON policy_revision (policy_id, version);
CREATE INDEX policy_revision_name ON policy_revision (name, policy_id);
INSERT INTO policy_revision (policy_id, name, version, what, actor, at, enabled, source, spec)
    SELECT id, name, version, 'found', 'system', updated_at, enabled, source, spec FROM policy;

-- What a policy's file said when it was last read: what is different now, somebody has changed since.
ALTER TABLE policy ADD COLUMN filed TEXT;
UPDATE policy SET filed = spec WHERE source = 'file';
