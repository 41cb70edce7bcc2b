//! What changes a mount before it is mounted.

mod format;
mod mkdir;
mod mkfs;

use std::path::{Path, PathBuf};

use lamina_core::mount::ActiveMount;
use lamina_core::{Error, Mount, Result};
use lamina_sys::rootdir::Entry;

use super::cut::{Step, Transformer};

/// What transformers may look at and where they may make things.
#[derive(Debug)]
pub(super) struct Context<'a> {
    /// What is mounted already.
    pub(super) active: &'a [ActiveMount],
    /// Directories in which directories may be made.
    pub(super) directories: &'a [PathBuf],
    /// Directories in which file systems may be made.
    pub(super) images: &'a [PathBuf],
}

/// Carries out the transformers of a step; answers the mount that comes out.
///
/// # Errors
/// InvalidArgument for a malformed template or option; Unimplemented for a path that is not the
/// manager's to change.
pub(super) fn transform(step: &Step, context: &Context<'_>) -> Result<Mount> {
    let mut mount = step.mount.clone();
    for transformer in &step.transformers {
        mount = match transformer {
            Transformer::Format => format::format(mount, context.active)?,
            Transformer::Mkdir => mkdir::mkdir(mount, context.directories)?,
            Transformer::Mkfs => mkfs::mkfs(mount, context.images)?,
        };
    }
    Ok(mount)
}

/// Takes the options that begin with `prefix` out of a mount; answers them without it.
fn take_options(mount: &mut Mount, prefix: &str) -> Vec<String> {
    let mut taken = Vec::new();
    mount.options.retain(|option| match option.strip_prefix(prefix) {
        Some(rest) => {
            taken.push(rest.to_owned());
            false
        }
        None => true,
    });
    taken
}

/// The directory that holds `path`, opened without leaving the first of `allowed` it lies in, and its
/// last name. What is mounted there may be a container's, so links on the way stay inside.
fn open_parent(path: &Path, allowed: &[PathBuf]) -> Result<Entry> {
    let plain = path.is_absolute()
        && !path.components().any(|part| part == std::path::Component::ParentDir);
    let root = allowed.iter().find(|root| plain && path.starts_with(root) && path != **root);
    let Some(root) = root else {
        return Err(Error::unimplemented(format!(
            "{} is not in a directory that the mount manager may change",
            path.display()
        )));
    };
    let below = path.strip_prefix(root).unwrap_or(path);
    let entry =
        lamina_sys::RootDir::open(root).and_then(|root| root.entry(below)).map_err(|error| {
            crate::mount::error::failed(error, format!("open the parent of {}", path.display()))
        })?;
    entry.ok_or_else(|| Error::invalid_argument(format!("{} names no entry", path.display())))
}
