-- What each level says; an empty domain is everybody, an empty project the whole domain.
CREATE TABLE settings (
    domain     TEXT NOT NULL,
    project    TEXT NOT NULL,
    version    INTEGER NOT NULL, -- from 1; writers have to know it
    body       BLOB NOT NULL,    -- serialised settings.Settings
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (domain, project)
) WITHOUT ROWID;
