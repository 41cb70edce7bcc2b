//! The content store: blobs named by their digest, and the ingests they are written through.
//!
//! ```text
//! blobs/<algorithm>/<hex>    0444   finished: whole, durable, its digest checked
//! ingest/<dir>/data          0600   being written; <dir> is the SHA-256 of "namespace/reference"
//! ingest/<dir>/ref           0600   that text, for people who look
//! ```
//! The database says what is there; files follow it in this order:
//! - **begin**: directory → row. **save** (every 64 MiB and at the end of a writer): fdatasync → row
//!   with the durable offset and the hash over exactly those bytes. Reopening cuts back to it.
//! - **commit**: size and digest checked → fsync → rename → fsync of the directory → one transaction
//!   (blob, content, lease, ingest gone, event) → the ingest's directory.
//! - **delete**: the namespace's row, and the blob's row dead with the last → file → row.
//!
//! So a row never names a file that is missing or not whole, and a file without a row is garbage that
//! the next start drops ([`Store::open`]). One digest is moved in or out of `blobs/` by one thread at
//! a time ([`locks`]); one ingest has one writer ([`active`]). Readers take no lock: an open file
//! stays readable.

mod active;
mod adapter;
mod check;
mod commit;
mod disk;
mod handle;
mod hash;
mod locks;
mod open;
mod reader;
mod recover;
mod store;
mod writer;

#[cfg(test)]
mod tests;

pub(crate) use check::BlobState;
pub use handle::Handle;
pub use reader::Reader;
pub use store::{Options, RESERVE, Sharing, Store};
pub use writer::Writer;
