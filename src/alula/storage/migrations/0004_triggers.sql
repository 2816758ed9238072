-- Triggers, each as its latest revision has it; what they were is in trigger_revisions.

CREATE TABLE triggers (
    key          INTEGER PRIMARY KEY,
    project      TEXT NOT NULL,
    domain       TEXT NOT NULL,
    task         TEXT NOT NULL,
    name         TEXT NOT NULL,
    org          TEXT NOT NULL,
    revision     INTEGER NOT NULL,
    spec         BLOB NOT NULL,    -- serialised trigger.TriggerSpec
    automation   BLOB NOT NULL,    -- serialised task.TriggerAutomationSpec
    kind         INTEGER NOT NULL, -- its type
    artifact     TEXT NOT NULL,    -- the name that an artifact trigger waits for, or empty
    active       INTEGER NOT NULL,
    task_version TEXT NOT NULL,
    description  TEXT NOT NULL,
    bundled      INTEGER NOT NULL, -- it came with its task's deployment, and goes with it
    deployed_by  TEXT NOT NULL,
    updated_by   TEXT NOT NULL,
    deployed_at  INTEGER NOT NULL, -- for the first time
    updated_at   INTEGER NOT NULL,
    fired_at     INTEGER,
    deleted_at   INTEGER,
    next_at      INTEGER,          -- the time it is due next; advanced in the transaction that makes the run
    look_at      INTEGER,          -- when a scheduler is to look: next_at, or later while one tries or after a failure
    failures     INTEGER NOT NULL,
    failure      TEXT NOT NULL,
    note         TEXT NOT NULL,
    UNIQUE (project, domain, task, name)
);
CREATE INDEX triggers_due ON triggers (look_at, key) WHERE look_at IS NOT NULL;
CREATE INDEX triggers_by_age ON triggers (project, domain, updated_at);
CREATE INDEX triggers_by_artifact ON triggers (project, domain, artifact) WHERE artifact <> '' AND active = 1;

-- Never changed, never removed.
CREATE TABLE trigger_revisions (
    trigger      INTEGER NOT NULL REFERENCES triggers (key),
    revision     INTEGER NOT NULL,
    step         INTEGER NOT NULL, -- trigger.TriggerRevisionAction
    spec         BLOB NOT NULL,
    automation   BLOB NOT NULL,
    kind         INTEGER NOT NULL,
    artifact     TEXT NOT NULL,
    active       INTEGER NOT NULL,
    task_version TEXT NOT NULL,
    description  TEXT NOT NULL,
    deployed_by  TEXT NOT NULL,
    updated_by   TEXT NOT NULL,
    updated_at   INTEGER NOT NULL,
    deleted_at   INTEGER,
    PRIMARY KEY (trigger, revision)
) WITHOUT ROWID;

-- Runs that artifact triggers owe: written with the version that fires them, removed with the run.
CREATE TABLE trigger_fires (
    key      INTEGER PRIMARY KEY,
    trigger  INTEGER NOT NULL REFERENCES triggers (key),
    seed     TEXT NOT NULL,    -- names the run
    inputs   BLOB NOT NULL,    -- serialised task.Inputs
    at       INTEGER NOT NULL,
    look_at  INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    UNIQUE (trigger, seed)
);
CREATE INDEX trigger_fires_due ON trigger_fires (look_at, key);

ALTER TABLE runs ADD COLUMN trigger_task TEXT NOT NULL DEFAULT '';
ALTER TABLE runs ADD COLUMN trigger_name TEXT NOT NULL DEFAULT '';
ALTER TABLE runs ADD COLUMN trigger_revision INTEGER NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN trigger_type BLOB NOT NULL DEFAULT x''; -- serialised task.TriggerAutomationSpec
CREATE INDEX runs_by_trigger ON runs (project, domain, trigger_task, trigger_name, phase, created_at)
    WHERE trigger_name <> '';
-- The latest run of a version of a task.
CREATE INDEX runs_by_version ON runs (task_project, task_domain, task_name, task_version, created_at);

ALTER TABLE tasks ADD COLUMN deployed_by TEXT NOT NULL DEFAULT '';
