//! The database of one host: `<root>/io.containerd.metadata.v1.sqlite/meta.db`.
//!
//! This module owns the file, its copies and every line of SQL. Beside `meta.db` (WAL mode, so also
//! `-wal` and `-shm` while it is open) lie `meta.db.backup`, the copy of the last day, and
//! `meta.db.backup.1`, the one before it. To go back to a copy: stop the daemon, delete `meta.db`,
//! `meta.db-wal` and `meta.db-shm`, copy `meta.db.backup` to `meta.db`, start again; the recovery at
//! start then drops what the older rows do not know, and `fsck` shows what they miss.
//!
//! Invariants:
//! - One thread writes. It runs queued requests in savepoints of one transaction and answers none of
//!   them before its COMMIT ([`Db::write`]).
//! - Readers never wait for the writer, and no read transaction outlives one closure ([`Db::read`]).
//! - What a request must cause outside (memory, events) happens after its COMMIT, in commit order,
//!   or not at all ([`Tx::after_commit`], [`Tx::event`]).
//! - A COMMIT whose outcome is not known ends all writing until the database is opened again.
//!
//! A table has a file of its own with its row types, queries on [`Read`] and changes on [`Tx`].

pub(crate) mod activations;
mod backup;
pub(crate) mod blobs;
mod checkpoint;
mod connect;
pub(crate) mod containers;
pub(crate) mod content;
#[cfg(test)]
mod damage;
mod error;
pub(crate) mod gc;
mod handle;
pub(crate) mod images;
pub(crate) mod ingests;
pub(crate) mod leases;
mod meta;
mod migrate;
pub(crate) mod names;
pub(crate) mod namespaces;
mod reader;
pub(crate) mod remotes;
pub(crate) mod sandboxes;
pub(crate) mod snapshots;
mod tx;
mod values;
mod writer;

#[cfg(test)]
mod tests;

pub use handle::{Db, Options, Stats};
pub use migrate::VERSION as SCHEMA_VERSION;
pub use tx::{Read, Tx};
pub use values::{from_ns, labels_from_json, labels_to_json, ns};
