-- Times are microseconds since the epoch, UTC. Specs and run specs are opaque bytes: only `wire` opens them.

-- One row that is really written whenever somebody asks whether this database can be.
CREATE TABLE heartbeat (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    at  INTEGER NOT NULL
);

CREATE TABLE projects (
    name        TEXT PRIMARY KEY,
    title       TEXT NOT NULL,
    description TEXT NOT NULL,
    labels      TEXT NOT NULL,
    state       INTEGER NOT NULL,
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE specs (
    digest BLOB PRIMARY KEY,
    body   BLOB NOT NULL
) WITHOUT ROWID;

CREATE TABLE tasks (
    project     TEXT NOT NULL,
    domain      TEXT NOT NULL,
    name        TEXT NOT NULL,
    version     TEXT NOT NULL,
    org         TEXT NOT NULL,
    short_name  TEXT NOT NULL,
    environment TEXT NOT NULL,
    description TEXT NOT NULL,
    entrypoint  INTEGER NOT NULL,
    spec        BLOB NOT NULL REFERENCES specs (digest),
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL,
    PRIMARY KEY (project, domain, name, version)
) WITHOUT ROWID;
CREATE INDEX tasks_by_age ON tasks (project, domain, name, created_at);

CREATE TABLE runs (
    key        INTEGER PRIMARY KEY,
    project    TEXT NOT NULL,
    domain     TEXT NOT NULL,
    name       TEXT NOT NULL,
    org        TEXT NOT NULL,
    digest     BLOB NOT NULL,   -- of the request that created it: the same request again is the same run
    run_spec   BLOB NOT NULL,
    labels     TEXT NOT NULL,    -- JSON, name to value
    relation   BLOB NOT NULL,    -- serialised common.Relation, or empty
    source     INTEGER NOT NULL,
    starts_at  INTEGER NOT NULL, -- what every action of the run sees as its start, whenever it is tried
    created_at INTEGER NOT NULL,
    seq        INTEGER NOT NULL, -- of its last event
    created_by TEXT NOT NULL,
    queue      TEXT NOT NULL,
    max_concurrency  INTEGER NOT NULL,
    overwrite_cache  INTEGER NOT NULL,
    cache_everywhere INTEGER NOT NULL,
    notify     INTEGER NOT NULL, -- it has rules for notifications
    hosted     INTEGER NOT NULL, -- 1: this server brings it about; 0: it is reported from elsewhere (tracked)
    recovers   INTEGER,          -- the run whose results it takes over
    -- What its root says too; here because lists need it in an index.
    phase        INTEGER NOT NULL,
    task_project TEXT NOT NULL,
    task_domain  TEXT NOT NULL,
    task_name    TEXT NOT NULL,
    task_version TEXT NOT NULL,
    UNIQUE (project, domain, name)
);
-- The newest runs of everything, of a project, of a task.
CREATE INDEX runs_by_age ON runs (hosted, created_at, name, project, domain);
CREATE INDEX runs_by_project ON runs (hosted, project, domain, created_at, name);
CREATE INDEX runs_by_task ON runs (hosted, task_project, task_domain, task_name, created_at, name, project, domain);
-- The same by phases, of which some are rare: a page of several phases is merged from the newest of each.
CREATE INDEX runs_by_phase ON runs (hosted, phase, created_at, name, project, domain);
CREATE INDEX runs_by_project_phase ON runs (hosted, project, domain, phase, created_at, name);
CREATE INDEX runs_by_group ON runs (hosted, project, domain, task_name, created_at, name);

CREATE TABLE actions (
    run             INTEGER NOT NULL REFERENCES runs (key),
    name            TEXT NOT NULL,
    parent          TEXT,
    kind            INTEGER NOT NULL,
    grp             TEXT NOT NULL,
    phase           INTEGER NOT NULL,
    attempt         INTEGER NOT NULL,
    version         INTEGER NOT NULL,
    seq             INTEGER NOT NULL,
    parent_attempt  INTEGER NOT NULL, -- the parent's attempt that asked for it
    created_at      INTEGER NOT NULL,
    queued_at       INTEGER NOT NULL, -- the current attempt
    started_at      INTEGER,          -- the current attempt
    ended_at        INTEGER,
    updated_at      INTEGER NOT NULL,
    not_before      INTEGER,
    user_failures   INTEGER NOT NULL,
    system_failures INTEGER NOT NULL,
    logged          INTEGER NOT NULL,
    abort_reason    TEXT NOT NULL,
    input_uri       TEXT NOT NULL,
    output_uri      TEXT NOT NULL,
    base_uri        TEXT NOT NULL,
    failure         TEXT,
    policy          TEXT NOT NULL,
    spec            BLOB NOT NULL REFERENCES specs (digest),
    task_project    TEXT NOT NULL,
    task_domain     TEXT NOT NULL,
    task_name       TEXT NOT NULL,
    task_version    TEXT NOT NULL,
    task_type       TEXT NOT NULL,
    short_name      TEXT NOT NULL,
    environment     TEXT NOT NULL,
    hosted          INTEGER NOT NULL, -- 1: this server brings it about; 0: it is reported from elsewhere
    queue           TEXT NOT NULL,
    cache_key       TEXT NOT NULL,
    cache_status    INTEGER NOT NULL,
    recovered_from  TEXT NOT NULL,
    value           BLOB NOT NULL,    -- serialised core.Literal: what a condition was signalled
    told_by         TEXT NOT NULL,    -- who signalled or aborted it
    PRIMARY KEY (run, name)
) WITHOUT ROWID;
CREATE INDEX actions_by_parent ON actions (run, parent, seq);
CREATE INDEX actions_by_seq ON actions (run, seq);
CREATE INDEX actions_paused ON actions (run) WHERE phase = 9;
-- The queue: what a reconciler has work with. The other phases are terminal.
CREATE INDEX actions_queue ON actions (run, name) WHERE hosted = 1 AND phase IN (1, 2, 3, 4, 9);
-- Who waits for a cached result.
CREATE INDEX actions_by_cache_key ON actions (cache_key) WHERE cache_key <> '' AND phase IN (1, 2, 3, 4, 9);

CREATE TABLE events (
    run     INTEGER NOT NULL REFERENCES runs (key),
    seq     INTEGER NOT NULL,
    action  TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    phase   INTEGER NOT NULL,
    version INTEGER NOT NULL,   -- as whoever told of it counts within attempt and phase
    at      INTEGER NOT NULL,
    detail  TEXT NOT NULL,
    PRIMARY KEY (run, seq)
) WITHOUT ROWID;
CREATE INDEX events_by_action ON events (run, action, attempt, phase, version, at);
