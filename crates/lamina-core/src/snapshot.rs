//! Snapshots: what they are, and the trait that every snapshotter implements.
//!
//! A snapshot is a file tree that was laid on top of a parent. It is *active* while it is written,
//! *committed* once it is immutable and others may lie on it, or a *view*, a read-only look at a
//! committed one. A **key** names an active or a view, a **name** a committed one; both come from one
//! flat key space per namespace and snapshotter.

use std::fmt;
use std::pin::Pin;

use async_trait::async_trait;
use futures_core::Stream;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::filter::{Fields, Filters};
use crate::labels::Labels;
use crate::mount::Mount;
use crate::{Error, Result};

/// What a snapshot is. The numbers are containerd's and are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// Read-only look at a committed snapshot; cannot be committed.
    View = 1,
    /// Being written.
    Active = 2,
    /// Immutable; may be a parent.
    Committed = 3,
}

impl Kind {
    /// The kind with that stored number.
    pub fn from_number(number: i64) -> Option<Self> {
        match number {
            1 => Some(Kind::View),
            2 => Some(Kind::Active),
            3 => Some(Kind::Committed),
            _ => None,
        }
    }

    /// The word that filters use.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::View => "view",
            Kind::Active => "active",
            Kind::Committed => "committed",
        }
    }
}

impl fmt::Display for Kind {
    /// Capitalised, as containerd's listings show it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Kind::View => "View",
            Kind::Active => "Active",
            Kind::Committed => "Committed",
        })
    }
}

/// What is known of a snapshot without looking at its files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Info {
    /// What it is.
    pub kind: Kind,
    /// Its key or name.
    pub name: String,
    /// The name of its parent; empty for none.
    pub parent: String,
    /// Its labels.
    pub labels: Labels,
    /// When it was prepared, or committed.
    pub created: Timestamp,
    /// When it was prepared, committed, or last updated.
    pub updated: Timestamp,
}

impl Fields for Info {
    fn field(&self, path: &[&str]) -> Option<std::borrow::Cow<'_, str>> {
        match path {
            ["kind"] => Some(self.kind.as_str().into()),
            ["name"] => Some(self.name.as_str().into()),
            ["parent"] => Some(self.parent.as_str().into()),
            ["labels", key @ ..] => crate::filter::label(&self.labels, key),
            _ => None,
        }
    }
}

/// Disk space of one snapshot, its parents not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Distinct inodes, the root directory's among them.
    pub inodes: i64,
    /// Allocated bytes.
    pub size: i64,
}

impl std::ops::Add for Usage {
    type Output = Usage;

    fn add(self, other: Usage) -> Usage {
        Usage {
            inodes: self.inodes.saturating_add(other.inodes),
            size: self.size.saturating_add(other.size),
        }
    }
}

/// How to commit.
#[derive(Clone, Debug, Default)]
pub struct CommitOptions {
    /// The labels of the committed snapshot; the active's are not inherited.
    pub labels: Labels,
    /// Gives an active that has no parent this one (rebase). For an active that has a parent it
    /// must be that parent.
    pub parent: Option<String>,
}

/// A listing in batches of at most [`PAGE`] rows; no read transaction is open between two.
pub type Pages<'a, T> = Pin<Box<dyn Stream<Item = Result<Vec<T>>> + Send + 'a>>;

/// Rows in a batch of [`Pages`]; containerd's services send batches of 100.
pub const PAGE: usize = 100;

/// The longest key or name, in bytes. containerd's database bounds keys at 32 KiB; a chain ID needs
/// 71, clients' own keys stay far below this.
pub const MAX_KEY: usize = 4096;

/// Checks a key or name: not empty, no NUL, at most [`MAX_KEY`] bytes.
///
/// # Errors
/// InvalidArgument that names the key.
pub fn check_key(key: &str) -> Result<()> {
    if key.is_empty() {
        return Err(Error::invalid_argument("a snapshot key must not be empty"));
    }
    if key.len() > MAX_KEY {
        return Err(Error::invalid_argument(format!(
            "a snapshot key of {} bytes is longer than {MAX_KEY}",
            key.len()
        )));
    }
    if key.contains('\0') {
        return Err(Error::invalid_argument(format!("snapshot key {key:?} has a NUL byte")));
    }
    Ok(())
}

/// One snapshotter as one namespace sees it.
///
/// Every mutating call is whole: it happened, with its row durable, or it did not. A caller that
/// drops the future does not cut the operation in the middle.
#[async_trait]
pub trait Snapshotter: Send + Sync + fmt::Debug {
    /// What is known of `key`, of any kind. NotFound when absent.
    async fn stat(&self, key: &str) -> Result<Info>;

    /// Changes labels of `info.name`: those of `paths` (`labels`, `labels.<key>`), or all when `paths`
    /// is empty. Returns the row after it.
    ///
    /// # Errors
    /// InvalidArgument for any other path, with nothing written. NotFound when absent.
    async fn update(&self, info: Info, paths: &[String]) -> Result<Info>;

    /// Disk space: measured now for an active, as stored at commit for a committed one, nothing for
    /// a view.
    async fn usage(&self, key: &str) -> Result<Usage>;

    /// The mounts of an active or a view; nothing is mounted.
    ///
    /// # Errors
    /// NotFound when absent, FailedPrecondition for a committed one.
    async fn mounts(&self, key: &str) -> Result<Vec<Mount>>;

    /// Makes an active `key` on `parent` (empty for none).
    ///
    /// # Errors
    /// AlreadyExists for a key in use, NotFound for no such parent, InvalidArgument for a parent
    /// that is not committed.
    async fn prepare(&self, key: &str, parent: &str, labels: Labels) -> Result<Vec<Mount>>;

    /// Makes a view `key` of `parent` (empty for an empty one). Errors as [`prepare`](Self::prepare).
    async fn view(&self, key: &str, parent: &str, labels: Labels) -> Result<Vec<Mount>>;

    /// Makes the active `key` the committed `name`; the key is gone after it.
    ///
    /// # Errors
    /// AlreadyExists for a name in use (checked first; the active stays as it was), NotFound for no
    /// such key or parent, FailedPrecondition for a key that is not active or a parent that is not
    /// committed, InvalidArgument for another parent than the active has.
    async fn commit(&self, name: &str, key: &str, options: CommitOptions) -> Result<()>;

    /// Removes `key`, of any kind; it can be used again at once.
    ///
    /// # Errors
    /// NotFound when absent, FailedPrecondition while it has children.
    async fn remove(&self, key: &str) -> Result<()>;

    /// Every snapshot that `filters` match, in byte order of keys.
    fn walk(&self, filters: Filters) -> Pages<'_, Info>;

    /// Frees what removed and abandoned snapshots still hold; returns when each was tried once.
    async fn cleanup(&self) -> Result<()>;

    /// Lets go of what the handle holds. A second call does nothing.
    async fn close(&self) -> Result<()>;
}
