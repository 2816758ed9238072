-- A run that is being deleted is found no more, and keeps its name until nothing of it is left.
ALTER TABLE runs ADD COLUMN deleting INTEGER NOT NULL DEFAULT 0;
CREATE INDEX runs_deleting ON runs (key) WHERE deleting = 1;
-- Which results of a run others have taken over: hits of the cache, and recovered actions.
CREATE INDEX actions_taken_over ON actions (output_uri) WHERE cache_status = 2 OR recovered_from <> '';
CREATE INDEX artifacts_by_run ON artifacts (project, domain, run);
CREATE INDEX cache_entries_by_source ON cache_entries (source);
