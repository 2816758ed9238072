-- Apps, each in its last revision; the earlier ones are kept as they were asked for.
CREATE TABLE apps (
    key         INTEGER PRIMARY KEY,
    project     TEXT NOT NULL,
    domain      TEXT NOT NULL,
    name        TEXT NOT NULL,
    org         TEXT NOT NULL,
    host        TEXT NOT NULL,    -- its DNS label: no two apps have the same
    revision    INTEGER NOT NULL,
    desired     INTEGER NOT NULL,
    spec        BLOB NOT NULL,    -- serialised app.Spec
    meta        BLOB NOT NULL,    -- serialised app.Meta, without id and revision
    plan        TEXT NOT NULL,    -- JSON, what of the spec decides something
    consumed    TEXT NOT NULL,    -- artifacts it takes: a line each, and one before the first
    created_by  TEXT NOT NULL,
    assigned    TEXT NOT NULL,    -- the cluster that serves it, or ''
    lease_until INTEGER,
    status      TEXT NOT NULL,    -- name of the last condition's DeploymentStatus
    replicas    INTEGER NOT NULL,
    conditions  TEXT NOT NULL,    -- JSON, oldest first
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL,
    started_at  INTEGER,
    UNIQUE (project, domain, name),
    UNIQUE (host)
);
CREATE INDEX apps_by_age ON apps (created_at, project, domain, name);

CREATE TABLE app_revisions (
    app      INTEGER NOT NULL REFERENCES apps (key),
    revision INTEGER NOT NULL,
    spec     BLOB NOT NULL,
    meta     BLOB NOT NULL,
    reason   TEXT NOT NULL,
    at       INTEGER NOT NULL,
    PRIMARY KEY (app, revision)
) WITHOUT ROWID;

-- Processes of apps, the ended ones too as long as their logs are kept.
CREATE TABLE app_replicas (
    name       TEXT PRIMARY KEY,
    app        INTEGER NOT NULL REFERENCES apps (key),
    revision   INTEGER NOT NULL,
    started_at INTEGER NOT NULL,
    ended_at   INTEGER
) WITHOUT ROWID;
CREATE INDEX app_replicas_by_app ON app_replicas (app, started_at);
