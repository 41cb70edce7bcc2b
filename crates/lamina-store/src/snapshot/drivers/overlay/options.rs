//! The options that every overlay mount ends with, and what they forbid in paths.

use std::path::Path;

use lamina_core::{Error, Result};

use super::probe::Facts;

/// What is put behind the layers: the configured options, then what this host needs.
#[derive(Debug)]
pub(in super::super) struct MountOptions(Vec<String>);

impl MountOptions {
    /// `userxattr` where marks must be user attributes; `index=off` where the kernel could have it
    /// on, so that a layer can be a part of several mounts at once. The kernel goes by the last of
    /// several, so what the operator wrote about either is left to him.
    pub(in super::super) fn new(configured: &[String], facts: &Facts) -> MountOptions {
        let mut options = configured.to_vec();
        let has = |options: &[String], wanted: &str| {
            options
                .iter()
                .flat_map(|option| option.split(','))
                .any(|option| option.split_once('=').map_or(option, |(key, _)| key) == wanted)
        };
        if facts.needs_user_xattr && !has(&options, "userxattr") {
            options.push("userxattr".to_owned());
        }
        if facts.has_index && !has(&options, "index") {
            options.push("index=off".to_owned());
        }
        MountOptions(options)
    }

    pub(in super::super) fn configured(&self) -> &[String] {
        &self.0
    }

    pub(in super::super) fn has_user_xattr(&self) -> bool {
        self.0.iter().flat_map(|option| option.split(',')).any(|option| option == "userxattr")
    }
}

/// Refuses a root whose path means something else inside an option.
///
/// # Errors
/// InvalidArgument that names the character.
pub(in super::super) fn check_root(root: &Path) -> Result<()> {
    let text = root.to_string_lossy();
    match text.chars().find(|c| [',', ':', '\\'].contains(c)) {
        None => Ok(()),
        Some(bad) => Err(Error::invalid_argument(format!(
            "overlayfs cannot have its root at {text}: {bad:?} separates options and layers"
        ))),
    }
}
