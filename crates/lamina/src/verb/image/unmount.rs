//! `lamina image unmount`

use std::path::{Path, PathBuf};

use clap::Args;
use lamina_core::{Error, Result};
use lamina_store::mount::{self, How};

use crate::cli::Context;
use crate::out::visible;
use crate::verb::snapshot::{deactivate, left_to_mount};

/// Unmounts what `image mount` mounted at a directory, and prints the directory
///
/// The snapshot stays, with what was changed in it, and the next `image mount` of the same image there
/// shows it again.
#[derive(Debug, Args)]
#[command(visible_alias = "umount")]
pub(crate) struct Unmount {
    /// Remove the snapshot, too, and what was changed in it
    #[arg(long)]
    rm: bool,
    /// The directory
    #[arg(value_name = "DIR")]
    target: PathBuf,
}

impl Unmount {
    pub(super) async fn run(self, cx: &mut Context<'_>) -> Result<()> {
        let target = resolved(&self.target)?;
        let key = key_of(&target)?;
        let session = cx.connect().await?;
        let mut found = false;
        // The one it was mounted from need not be the one that is configured now.
        for (name, snapshotter) in super::snapshotters(cx, &session).await? {
            let mounts = match snapshotter.mounts(&key).await {
                Err(error) if error.is_not_found() => continue,
                mounts => mounts?,
            };
            found = true;
            let failed = |e: Error| e.context(format!("unmount the snapshot of {name}"));
            if mount::is_mounted(&target)? {
                let mounts = left_to_mount(cx, &session, &key, mounts).await.map_err(failed)?;
                mount::unmount_mounts(&mounts, &target, How::Plain).map_err(failed)?;
            }
            deactivate(cx, &session, &key).await?;
            if self.rm {
                snapshotter.remove(&key).await?;
                snapshotter.cleanup().await?;
            }
        }
        if !found {
            return Err(Error::not_found(format!("no image is mounted at {key}")));
        }
        cx.line(visible(&key))
    }
}

/// The path with links followed; one that is gone is taken as it is typed.
fn resolved(typed: &Path) -> Result<PathBuf> {
    typed.canonicalize().or_else(|_| std::path::absolute(typed)).map_err(|error| {
        let message = format!("{:?} is not a directory's path", typed.display().to_string());
        Error::invalid_argument(message).with_source(error)
    })
}

/// The key of the snapshot that is mounted at a directory: its path, as with ctr.
pub(super) fn key_of(target: &Path) -> Result<String> {
    target.to_str().map(str::to_owned).ok_or_else(|| {
        let message = format!("{} is no UTF-8, and cannot name a snapshot", target.display());
        Error::invalid_argument(message)
    })
}
