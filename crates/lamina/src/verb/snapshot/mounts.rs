//! `lamina snapshot mounts`

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use clap::Args;
use lamina_core::mount::ActivateOptions;
use lamina_core::{Kind, Mount, Result};

use crate::cli::{Context, Session};

/// Prints the commands that mount a snapshot; nothing is mounted
///
/// Mounts that only the mount manager can do (erofs, loop) are done by it first, and the commands
/// that are printed finish the work.
#[derive(Debug, Args)]
#[command(visible_aliases = ["m", "mount"])]
pub(crate) struct Mounts {
    /// Where it is to be mounted
    target: PathBuf,
    /// The active snapshot or view
    key: String,
}

impl Mounts {
    pub(super) async fn run(self, cx: &mut Context<'_>) -> Result<()> {
        let session = cx.connect().await?;
        let mounts = cx.snapshotter(&session)?.mounts(&self.key).await?;
        let mounts = activated(cx, &session, &self.key, mounts).await?;
        print_commands(cx, &mounts, &self.target)
    }
}

/// What is left to mount when the manager did its part.
pub(in crate::verb) async fn activated(
    cx: &Context<'_>,
    session: &Session,
    key: &str,
    mounts: Vec<Mount>,
) -> Result<Vec<Mount>> {
    let manager = session.mounts(&cx.scope());
    let name = activation(key);
    match manager.activate(&name, &mounts, ActivateOptions::default()).await {
        Ok(activation) => Ok(activation.system),
        // No mount of these needs it.
        Err(error) if error.kind() == Kind::Unimplemented => Ok(mounts),
        Err(error) if error.is_already_exists() => Ok(manager.info(&name).await?.system),
        Err(error) => Err(error.context(format!("activate the mounts of snapshot {key:?}"))),
    }
}

/// What was left to mount, when the manager did its part for the mounts of `key`; all of them when it
/// had none.
pub(in crate::verb) async fn left_to_mount(
    cx: &Context<'_>,
    session: &Session,
    key: &str,
    mounts: Vec<Mount>,
) -> Result<Vec<Mount>> {
    match session.mounts(&cx.scope()).info(&activation(key)).await {
        Err(error) if error.is_not_found() => Ok(mounts),
        found => found.map(|activation| activation.system),
    }
}

/// Undoes the manager's part; that it had none is no error.
pub(in crate::verb) async fn deactivate(
    cx: &Context<'_>,
    session: &Session,
    key: &str,
) -> Result<()> {
    match session.mounts(&cx.scope()).deactivate(&activation(key)).await {
        Err(error) if error.is_not_found() => Ok(()),
        done => done,
    }
}

fn activation(key: &str) -> String {
    format!("lamina-{key}")
}

/// Prints one command a mount.
pub(super) fn print_commands(cx: &mut Context<'_>, mounts: &[Mount], at: &Path) -> Result<()> {
    mounts.iter().try_for_each(|mount| cx.line(command(mount, at)))
}

fn command(mount: &Mount, target: &Path) -> String {
    let target = match mount.target.trim_start_matches('/') {
        "" => target.display().to_string(),
        below => target.join(below).display().to_string(),
    };
    let mut words = vec!["mount", "-t", &mount.kind, &mount.source, &target];
    let options = mount.options.join(",");
    if !options.is_empty() {
        words.extend(["-o", &options]);
    }
    let words: Vec<Cow<'_, str>> = words.into_iter().map(quoted).collect();
    words.join(" ")
}

/// The word as a shell reads it back; plain words stay as they are.
fn quoted(word: &str) -> Cow<'_, str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/.,:=_-+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.into();
    }
    format!("'{}'", word.replace('\'', "'\\''")).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_what_ctr_prints() {
        let mount = Mount::new("overlay", "overlay", ["index=off", "lowerdir=/r/2/fs:/r/1/fs"]);
        assert_eq!(
            command(&mount, Path::new("/mnt")),
            "mount -t overlay overlay /mnt -o index=off,lowerdir=/r/2/fs:/r/1/fs"
        );
        let mut mount = Mount::new("bind", "/r/it's here", ["ro"]);
        mount.target = "sub".into();
        assert_eq!(
            command(&mount, Path::new("/mnt")),
            "mount -t bind '/r/it'\\''s here' /mnt/sub -o ro"
        );
    }
}
