CREATE TABLE domains (
    name       TEXT PRIMARY KEY,
    title      TEXT NOT NULL,
    created_at INTEGER NOT NULL
) WITHOUT ROWID;
