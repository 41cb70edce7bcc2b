-- The state of one host. Every API write is one transaction over these tables; there is no second
-- database to disagree with. Times are nanoseconds since 1970 UTC. Digests are '<algorithm>:<hex>'.
-- Labels and annotations are JSON objects of strings, never NULL. `PRAGMA user_version` is the
-- version of this file; db/migrate.rs brings older ones up and refuses newer ones.

-- Facts of the whole store: 'uuid', 'boot' (boot id of the last opener).
CREATE TABLE meta (
  key   TEXT PRIMARY KEY,
  value TEXT NOT NULL
) WITHOUT ROWID, STRICT;

CREATE TABLE namespaces (
  name   TEXT PRIMARY KEY,
  labels TEXT NOT NULL DEFAULT '{}'
) WITHOUT ROWID, STRICT;

-- ---- content ----------------------------------------------------------------------------------

-- Bytes on disk, once per host: blobs/<algorithm>/<hex>. 'dead': no namespace has it, the file goes
-- after the commit; the row goes when the file is gone.
CREATE TABLE blobs (
  digest TEXT PRIMARY KEY,
  size   INTEGER NOT NULL,
  state  TEXT NOT NULL DEFAULT 'live' CHECK (state IN ('live', 'dead'))
) WITHOUT ROWID, STRICT;
CREATE INDEX blobs_dead ON blobs (digest) WHERE state = 'dead';

-- What a namespace has.
CREATE TABLE content (
  namespace  TEXT NOT NULL,
  digest     TEXT NOT NULL REFERENCES blobs (digest),
  labels     TEXT NOT NULL DEFAULT '{}',
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  PRIMARY KEY (namespace, digest)
) WITHOUT ROWID, STRICT;
CREATE INDEX content_by_digest ON content (digest);

-- Writes under way: ingest/<dir>/data. `durable` bytes of it are known to be on disk and
-- `hash_state` is the hash over exactly them; a reopened ingest is cut back to `durable`.
CREATE TABLE ingests (
  namespace  TEXT NOT NULL,
  ref        TEXT NOT NULL,
  dir        TEXT NOT NULL UNIQUE,
  expected   TEXT,
  total      INTEGER NOT NULL DEFAULT 0,
  durable    INTEGER NOT NULL DEFAULT 0,
  hash_state BLOB,
  started_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  expires_at INTEGER,               -- dropped by the collector after it, unless a lease holds it
  PRIMARY KEY (namespace, ref)
) WITHOUT ROWID, STRICT;

-- ---- snapshots --------------------------------------------------------------------------------

-- What lies on disk: <snapshotter>/snapshots/<id>. A 'dead' row still owns files: the removal is
-- retried until the driver says they are gone, then the row goes.
CREATE TABLE snapshots (
  snapshotter TEXT NOT NULL,
  id          INTEGER NOT NULL,
  kind        INTEGER NOT NULL CHECK (kind IN (1, 2, 3)),   -- view, active, committed
  parent      INTEGER,
  diff_id     TEXT,     -- of the one layer our own apply laid down here, verified
  blob        TEXT,     -- the blob that layer was read from
  chain_id    TEXT,     -- from the parent's chain_id and diff_id; only such rows are shared
  size        INTEGER NOT NULL DEFAULT 0,
  inodes      INTEGER NOT NULL DEFAULT 0,
  state       TEXT NOT NULL DEFAULT 'live' CHECK (state IN ('live', 'dead')),
  settled     INTEGER NOT NULL DEFAULT 1,  -- 0: committed, driver's settle() still owed
  PRIMARY KEY (snapshotter, id),
  FOREIGN KEY (snapshotter, parent) REFERENCES snapshots (snapshotter, id)
) WITHOUT ROWID, STRICT;
CREATE UNIQUE INDEX snapshots_by_chain ON snapshots (snapshotter, chain_id)
  WHERE chain_id IS NOT NULL AND state = 'live';
CREATE INDEX snapshots_by_parent ON snapshots (snapshotter, parent) WHERE parent IS NOT NULL;
CREATE INDEX snapshots_dead ON snapshots (snapshotter, id) WHERE state = 'dead';

-- What a proxy calls a snapshot of ours. The row is there before the proxy is asked to make anything:
-- with a dead snapshot it is a call that was begun, and what it may have made is removed.
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

-- What clients see: keys and names, one flat space per namespace and snapshotter.
CREATE TABLE names (
  namespace   TEXT NOT NULL,
  snapshotter TEXT NOT NULL,
  key         TEXT NOT NULL,
  id          INTEGER NOT NULL,
  parent      TEXT NOT NULL DEFAULT '',   -- the parent's key in this namespace
  labels      TEXT NOT NULL DEFAULT '{}',
  created_at  INTEGER NOT NULL,
  updated_at  INTEGER NOT NULL,
  PRIMARY KEY (namespace, snapshotter, key),
  FOREIGN KEY (snapshotter, id) REFERENCES snapshots (snapshotter, id)
) WITHOUT ROWID, STRICT;
CREATE INDEX names_by_id ON names (snapshotter, id);
CREATE INDEX names_by_parent ON names (namespace, snapshotter, parent) WHERE parent <> '';

-- The first id of a snapshotter that no block of ids has reserved yet. Ids are never used twice.
CREATE TABLE snapshot_ids (
  snapshotter TEXT PRIMARY KEY,
  next        INTEGER NOT NULL
) WITHOUT ROWID, STRICT;

-- ---- records ----------------------------------------------------------------------------------

CREATE TABLE images (
  namespace   TEXT NOT NULL,
  name        TEXT NOT NULL,
  media_type  TEXT NOT NULL,
  digest      TEXT NOT NULL,
  size        INTEGER NOT NULL,
  annotations TEXT NOT NULL DEFAULT '{}',
  labels      TEXT NOT NULL DEFAULT '{}',
  created_at  INTEGER NOT NULL,
  updated_at  INTEGER NOT NULL,
  PRIMARY KEY (namespace, name)
) WITHOUT ROWID, STRICT;
CREATE INDEX images_by_digest ON images (namespace, digest);

CREATE TABLE containers (
  namespace    TEXT NOT NULL,
  id           TEXT NOT NULL,
  image        TEXT NOT NULL DEFAULT '',
  runtime      TEXT NOT NULL,
  runtime_opts_type TEXT,
  runtime_opts BLOB,
  spec_type    TEXT NOT NULL,
  spec         BLOB NOT NULL,
  snapshotter  TEXT NOT NULL DEFAULT '',
  snapshot_key TEXT NOT NULL DEFAULT '',
  sandbox      TEXT NOT NULL DEFAULT '',
  extensions   TEXT NOT NULL DEFAULT '{}',  -- {name: [type URL, hex of the value]}
  labels       TEXT NOT NULL DEFAULT '{}',
  created_at   INTEGER NOT NULL,
  updated_at   INTEGER NOT NULL,
  PRIMARY KEY (namespace, id)
) WITHOUT ROWID, STRICT;

CREATE TABLE sandboxes (
  namespace    TEXT NOT NULL,
  id           TEXT NOT NULL,
  runtime      TEXT NOT NULL DEFAULT '',
  runtime_opts_type TEXT,
  runtime_opts BLOB,
  spec_type    TEXT,
  spec         BLOB,
  sandboxer    TEXT NOT NULL DEFAULT '',
  extensions   TEXT NOT NULL DEFAULT '{}',  -- {name: [type URL, hex of the value]}
  labels       TEXT NOT NULL DEFAULT '{}',
  created_at   INTEGER NOT NULL,
  updated_at   INTEGER NOT NULL,
  PRIMARY KEY (namespace, id)
) WITHOUT ROWID, STRICT;

CREATE TABLE leases (
  namespace  TEXT NOT NULL,
  id         TEXT NOT NULL,
  labels     TEXT NOT NULL DEFAULT '{}',
  created_at INTEGER NOT NULL,
  PRIMARY KEY (namespace, id)
) WITHOUT ROWID, STRICT;

-- What leases hold; the resource need not exist yet.
-- kind: 'content', 'ingests', 'images', 'snapshots/<snapshotter>'.
CREATE TABLE lease_resources (
  namespace TEXT NOT NULL,
  lease     TEXT NOT NULL,
  kind      TEXT NOT NULL,
  resource  TEXT NOT NULL,
  PRIMARY KEY (namespace, lease, kind, resource),
  FOREIGN KEY (namespace, lease) REFERENCES leases (namespace, id) ON DELETE CASCADE
) WITHOUT ROWID, STRICT;
CREATE INDEX lease_resources_by_resource ON lease_resources (namespace, kind, resource);

-- ---- mounts -----------------------------------------------------------------------------------

-- Activations of the mount manager. Rows of another boot are void: their mounts went with it.
CREATE TABLE activations (
  namespace  TEXT NOT NULL,
  name       TEXT NOT NULL,
  id         INTEGER NOT NULL UNIQUE,       -- directory of its mount points
  boot       TEXT NOT NULL,
  lease      TEXT,
  complete   INTEGER NOT NULL DEFAULT 0,    -- 0: crashed or still mounting
  labels     TEXT NOT NULL DEFAULT '{}',
  active     TEXT NOT NULL DEFAULT '[]',    -- JSON list of what the manager mounted
  system     TEXT NOT NULL DEFAULT '[]',    -- JSON list of what the caller mounts
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  PRIMARY KEY (namespace, name)
) WITHOUT ROWID, STRICT;
