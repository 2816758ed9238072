-- Who of several replicas works on what (core/lease.py). A replica that is buried, or leaves, has no rows any more.
CREATE TABLE replicas (
    id   TEXT PRIMARY KEY,
    beat INTEGER NOT NULL, -- goes up as long as it lives
    term INTEGER NOT NULL, -- microseconds without a beat after which it is dead
    kinds TEXT NOT NULL,   -- of leases that it can hold, with spaces between
    url  TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE leases (
    name   TEXT PRIMARY KEY,
    holder TEXT NOT NULL
) WITHOUT ROWID;
