-- What PostgreSQL needs beside the chain of migrations, which is written for both databases. Run before each of them.

CREATE TABLE IF NOT EXISTS schema_version (
    number     BIGINT PRIMARY KEY,
    name       TEXT NOT NULL,
    oldest     BIGINT NOT NULL, -- how many migrations code must know to work with this schema
    applied_at TIMESTAMPTZ NOT NULL DEFAULT now()
);

-- What each committed group of writes changed, for the other servers. UNLOGGED: whoever loses its connection, as all do
-- when the database crashes or fails over, looks at everything again.
CREATE UNLOGGED TABLE IF NOT EXISTS changes (
    xid    XID8 PRIMARY KEY DEFAULT pg_current_xact_id(),
    origin TEXT NOT NULL, -- the server that wrote it
    told   TEXT NOT NULL  -- JSON: [[run, action, parent, phase], ...]
);

-- Holds nothing. All that write lock it, so that one of them can be alone.
CREATE TABLE IF NOT EXISTS turns ();

-- Functions of SQLite that statements use.
CREATE OR REPLACE FUNCTION instr(hay TEXT, needle TEXT) RETURNS BIGINT
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    AS $$ SELECT strpos(hay, needle)::bigint $$;

-- jsonb holds no NUL: text with one is read with a replacement character in its place, instead of failing every list.
CREATE OR REPLACE FUNCTION json_extract(document TEXT, path TEXT) RETURNS TEXT
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    AS $$ SELECT jsonb_path_query_first(replace(document, '\u0000', '\ufffd')::jsonb, path::jsonpath) #>> '{}' $$;
