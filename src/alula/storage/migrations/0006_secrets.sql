-- Values are encrypted; the keys are not in this database.
CREATE TABLE secrets (
    name       TEXT NOT NULL,
    domain     TEXT NOT NULL,    -- empty: of all domains
    project    TEXT NOT NULL,    -- empty: of the whole domain
    type       INTEGER NOT NULL,
    key_id     TEXT NOT NULL,    -- of the key that it is encrypted with
    nonce      BLOB NOT NULL,
    sealed     BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (name, domain, project)
) WITHOUT ROWID;
