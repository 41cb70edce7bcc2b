//! Damage that tests do to rows, as no code of ours would: what fsck has to find.

use super::Db;

impl Db {
    /// Does the damage of that name, beside the writer and without its checks.
    pub(crate) fn damage(&self, name: &str) {
        let (_, statement) = DAMAGE.iter().find(|(known, _)| *known == name).unwrap();
        self.execute_beside(&format!("PRAGMA foreign_keys = OFF; {statement}"));
    }
}

const DAMAGE: &[(&str, &str)] = &[
    ("blob rows unowned", "DELETE FROM content"),
    ("blob size", "UPDATE blobs SET size = 1"),
    ("ingest offset", "UPDATE ingests SET durable = 5000"),
    ("reserved ids", "UPDATE snapshot_ids SET next = 3"),
    (
        "chain ID",
        "UPDATE snapshots SET chain_id = 'sha256:' || substr(hex(zeroblob(32)), 1, 64) WHERE id = 2",
    ),
    ("settled", "UPDATE snapshots SET settled = 0 WHERE id = 1"),
    ("parent of a name", "UPDATE names SET parent = 'one' WHERE key = 'active'"),
    ("name gone", "DELETE FROM names WHERE key = 'active'"),
    ("dead below live", "UPDATE snapshots SET state = 'dead' WHERE id = 2"),
    ("active below", "UPDATE snapshots SET kind = 2 WHERE id = 1"),
    (
        "unknown snapshotter",
        "INSERT INTO snapshots (snapshotter, id, kind) VALUES ('nobody', 1, 2)",
    ),
    ("lease gone", "INSERT INTO lease_resources VALUES ('a', 'no such lease', 'content', 'x')"),
];
