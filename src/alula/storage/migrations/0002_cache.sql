-- Keys may have thousands of bytes, more than an index takes: their SHA-256 stands for them.
-- Project and domain are empty for keys of the cache service's first version, which has none.

CREATE TABLE cache_entries (
    digest     BLOB NOT NULL,
    project    TEXT NOT NULL,
    domain     TEXT NOT NULL,
    key        TEXT NOT NULL,
    uri        TEXT NOT NULL,
    literals   BLOB,          -- small results themselves; the others are at the URI
    metadata   BLOB NOT NULL,
    source     TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    expires_at INTEGER,
    PRIMARY KEY (digest, project, domain)
);
CREATE INDEX cache_entries_by_end ON cache_entries (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE cache_reservations (
    digest     BLOB NOT NULL,
    project    TEXT NOT NULL,
    domain     TEXT NOT NULL,
    owner      TEXT NOT NULL,
    heartbeat  INTEGER NOT NULL, -- microseconds
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (digest, project, domain)
) WITHOUT ROWID;
CREATE INDEX cache_reservations_by_end ON cache_reservations (expires_at);
