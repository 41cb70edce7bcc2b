-- Sandbox records.
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
