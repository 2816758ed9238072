-- Versions of names. A name's row is kept with its versions: what it is partitioned by, how many there are, the latest.

CREATE TABLE artifact_names (
    project   TEXT NOT NULL,
    domain    TEXT NOT NULL,
    name      TEXT NOT NULL,
    schema    TEXT NOT NULL,    -- JSON: time_key, granularity, keys
    declared  INTEGER NOT NULL, -- the schema was declared; else the first version brought it
    versions  INTEGER NOT NULL,
    latest    TEXT NOT NULL,    -- a version; empty if there is none
    latest_at INTEGER NOT NULL,
    PRIMARY KEY (project, domain, name)
) WITHOUT ROWID;
CREATE INDEX artifact_names_by_age ON artifact_names (project, domain, latest_at, name);

CREATE TABLE artifacts (
    key          INTEGER PRIMARY KEY,
    project      TEXT NOT NULL,
    domain       TEXT NOT NULL,
    name         TEXT NOT NULL,
    version      TEXT NOT NULL,
    digest       BLOB NOT NULL,
    spec         BLOB NOT NULL,
    metadata     TEXT NOT NULL,    -- JSON, name to value
    partitions   TEXT NOT NULL,    -- JSON, name to value: the string partitions
    time_key     TEXT NOT NULL,
    granularity  INTEGER NOT NULL,
    starts_at    INTEGER,          -- its time partition
    partition_id BLOB NOT NULL,    -- the digest of the whole partition
    parents      TEXT NOT NULL,    -- JSON: [project, domain, name, version] of each
    run          TEXT NOT NULL,
    action       TEXT NOT NULL,
    external_ref TEXT NOT NULL,
    created_by   TEXT NOT NULL,
    created_at   INTEGER NOT NULL, -- tells the versions of a name apart
    UNIQUE (project, domain, name, version)
);
CREATE INDEX artifacts_by_age ON artifacts (project, domain, created_at, name);
CREATE INDEX artifacts_by_name ON artifacts (project, domain, name, created_at);
CREATE INDEX artifacts_by_partition ON artifacts (project, domain, name, partition_id, created_at);
CREATE INDEX artifacts_of_run ON artifacts (project, domain, run, created_at, name);
CREATE INDEX artifacts_by_time ON artifacts (project, domain, name, starts_at) WHERE starts_at IS NOT NULL;

CREATE TABLE artifact_parents (
    project TEXT NOT NULL, -- of the parent, which need not exist
    domain  TEXT NOT NULL,
    name    TEXT NOT NULL,
    version TEXT NOT NULL,
    child   INTEGER NOT NULL REFERENCES artifacts (key),
    PRIMARY KEY (project, domain, name, version, child)
) WITHOUT ROWID;
CREATE INDEX artifact_parents_by_child ON artifact_parents (child);
