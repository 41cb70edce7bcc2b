-- Snapshots of proxies.
CREATE TABLE remotes (
  snapshotter TEXT NOT NULL,
  id          INTEGER NOT NULL,
  namespace   TEXT NOT NULL,    -- in whose name the proxy is asked
  key         TEXT NOT NULL,    -- '<namespace>/<number>/<key>', or a name of the proxy's own
  committing  TEXT,             -- the key it has after a commit that was begun
  PRIMARY KEY (snapshotter, id),
  FOREIGN KEY (snapshotter, id) REFERENCES snapshots (snapshotter, id) ON DELETE CASCADE
) WITHOUT ROWID, STRICT;
CREATE UNIQUE INDEX remotes_by_key ON remotes (snapshotter, key);
