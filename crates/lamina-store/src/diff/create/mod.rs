//! Making a layer: what makes one tree of another becomes a tar stream.
//!
//! The rules are containerd's, to the byte (see docs/diff.md): the stream has the digest that
//! containerd gives the same two trees. In short:
//!
//! - An entry is *added* (only in the upper tree), *deleted* (only in the lower one), *modified*, or
//!   the same and left out (see [`same`](mod@same)). A tree that went is one deletion.
//! - Entries come in the order of their paths, `/` before all other bytes. The directories that an
//!   entry lies in come before it, once.
//! - Names of one file: the first that changed is the file, the others are links to it, also those
//!   that did not change.
//! - A deletion of `x` is an empty file `.wh.x`. Times are whole seconds. Of extended attributes only
//!   `security.capability` is kept. Sockets are left out.
//!
//! There are two ways to look at the upper tree, and they give the same stream: mounted, next to the
//! lower one ([`Form::Merged`]), or the upper directory of an overlay by itself ([`Form::Upper`]),
//! which holds little more than what changed.
//!
//! Nothing here vouches for the trees: every step is one name relative to a directory's descriptor,
//! no link is followed, no mount is crossed, and what changes while it is read is an error.

mod archive;
mod changes;
mod content;
mod error;
mod header;
mod same;

use std::os::fd::OwnedFd;

use lamina_core::{Error, Result};

use self::archive::Archive;
use self::changes::Walk;
use super::encode::Blocks;
use crate::fault::Steps;

/// The two trees.
#[derive(Debug)]
pub struct Trees {
    /// What there was; `None` for nothing.
    pub lower: Option<OwnedFd>,
    /// What there is.
    pub upper: OwnedFd,
    /// What `upper` shows.
    pub form: Form,
}

/// What the upper tree's directory shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// All of the tree.
    Merged,
    /// The upper directory of an overlay over the lower tree: what is not in it is as it was.
    Upper {
        /// What the names of overlayfs' attributes begin with: `trusted.overlay.`, or
        /// `user.overlay.` for a mount with `userxattr`.
        prefix: &'static str,
    },
}

/// How a layer is made.
#[derive(Clone)]
pub struct CreateOptions<'a> {
    /// The latest time of modification, in seconds since 1970; later ones become this.
    pub latest: Option<i64>,
    /// Asked at every entry and every block; true ends the work with Cancelled.
    pub cancelled: &'a (dyn Fn() -> bool + Sync),
    /// Where tests cut in: `diff.create.entry` before each change, `diff.create.end` after the last.
    pub steps: Steps,
}

impl CreateOptions<'_> {
    /// Times as they are, nobody watching.
    pub fn new() -> Self {
        CreateOptions { latest: None, cancelled: &|| false, steps: Steps::none() }
    }

    fn check_cancelled(&self) -> Result<()> {
        if (self.cancelled)() {
            return Err(Error::cancelled("comparing the trees was cancelled"));
        }
        Ok(())
    }
}

impl Default for CreateOptions<'_> {
    fn default() -> Self {
        CreateOptions::new()
    }
}

impl std::fmt::Debug for CreateOptions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CreateOptions")
            .field("latest", &self.latest)
            .field("steps", &self.steps)
            .finish_non_exhaustive()
    }
}

/// Why no layer came out.
#[derive(Debug)]
pub enum Failure {
    /// An upper directory holds what only a mounted overlay makes sense of: directories that were
    /// renamed (`redirect_dir`), files without content (`metacopy`), whiteouts as attributes. Look
    /// at it merged.
    NeedsMount,
    /// Anything else.
    Error(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Error(error)
    }
}

/// Writes the layer that makes the upper tree of the lower one.
///
/// # Errors
/// Named after the entry they happened at. Aborted: something changed while it was read.
/// InvalidArgument: a tree has what no layer can say. Cancelled. Those of `out`.
pub fn create(
    trees: Trees,
    out: &mut Blocks<'_>,
    options: &CreateOptions<'_>,
) -> Result<(), Failure> {
    let archive = Archive::new(&trees.upper, out, options)?;
    Walk::new(trees, archive, options)?.run()
}
