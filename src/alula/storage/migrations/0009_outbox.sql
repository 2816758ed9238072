-- What people asked to be told: written with the change that it is about, sent afterwards.

CREATE TABLE outbox (
    key        INTEGER PRIMARY KEY,
    run        INTEGER NOT NULL REFERENCES runs (key),
    action     TEXT NOT NULL,
    attempt    INTEGER NOT NULL, -- 0: the end of a run, which is told once
    phase      INTEGER NOT NULL,
    error      TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    opened     INTEGER NOT NULL, -- 1: its deliveries are written down
    UNIQUE (run, action, attempt, phase)
);
CREATE INDEX outbox_unopened ON outbox (key) WHERE opened = 0;

-- One message to one receiver. States are those of core.notice.State.
CREATE TABLE deliveries (
    notice     INTEGER NOT NULL REFERENCES outbox (key),
    channel    TEXT NOT NULL,
    state      INTEGER NOT NULL,
    tries      INTEGER NOT NULL,
    due_at     INTEGER NOT NULL, -- waiting: when to try; sending: when to give up on who does
    error      TEXT NOT NULL,    -- of the last try that failed
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (notice, channel)
) WITHOUT ROWID;
CREATE INDEX deliveries_due ON deliveries (due_at) WHERE state IN (1, 2);
