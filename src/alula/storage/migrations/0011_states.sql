-- What an engine elsewhere remembers of an action while it works on it (`workflow.StateService`).

CREATE TABLE action_states (
    run        INTEGER NOT NULL REFERENCES runs (key),
    action     TEXT NOT NULL,
    state      TEXT NOT NULL, -- JSON, opaque to this server
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (run, action)
);
