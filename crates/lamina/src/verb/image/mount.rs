//! `lamina image mount`

use std::path::{Path, PathBuf};

use clap::Args;
use lamina_core::platform::Matcher;
use lamina_core::{Error, Platform, Result, Snapshotter, snapshot};
use lamina_image::unpack::unpack;
use lamina_store::mount;

use crate::cli::{Context, Session};
use crate::out::visible;
use crate::verb::snapshot::{activated, deactivate, kept};

/// Mounts the files of an image at a directory, and prints the directory
///
/// They are read-only, or with --rw those of a new snapshot on top of the image. The snapshot has the
/// directory's path as its key and stays until `image unmount --rm`. An image that is packed is
/// unpacked first; nothing is fetched.
#[derive(Debug, Args)]
pub(crate) struct Mount {
    /// Let files be changed; the image stays as it is
    #[arg(long)]
    rw: bool,
    /// The platform to mount, such as linux/arm64 [default: that of this host]
    #[arg(long, value_parser = Platform::parse)]
    platform: Option<Platform>,
    /// The image
    #[arg(value_name = "REF")]
    name: String,
    /// A directory that nothing is mounted at
    #[arg(value_name = "DIR")]
    target: PathBuf,
}

impl Mount {
    pub(super) async fn run(self, cx: &mut Context<'_>) -> Result<()> {
        let (target, key) = free_directory(&self.target)?;
        let session = cx.connect().await?;
        let images = super::images(cx, &session);
        let image = images.get(&super::name_of(&*images, &self.name).await?).await?;
        let platform = self.platform.clone().unwrap_or_else(Platform::host);
        let matcher = Matcher::only(&platform);
        let name = &cx.settings.snapshotter;
        let limits = cx.settings.config.limits.documents;
        let tops = unpack(&*session, &cx.scope(), name, &image, Some(&matcher), limits).await?;
        let top = tops.first().ok_or_else(|| Error::internal("nothing was unpacked"))?;
        let snapshotter = session.snapshotter(&cx.scope(), name)?;
        let made = self.snapshot(&*snapshotter, &key, top.as_str()).await?;
        if let Err(error) = mount_at(cx, &session, &*snapshotter, &key, &target).await {
            if made {
                undo(cx, &session, &*snapshotter, &key).await;
            }
            return Err(error.context(format!("mount {} at {key}", image.name)));
        }
        cx.line(visible(&key))
    }

    /// Makes the snapshot, or finds it as an earlier mount left it. Returns whether it is new.
    async fn snapshot(&self, snapshotter: &dyn Snapshotter, key: &str, top: &str) -> Result<bool> {
        let made = match self.rw {
            true => snapshotter.prepare(key, top, kept()?).await,
            false => snapshotter.view(key, top, kept()?).await,
        };
        match made {
            Ok(_) => return Ok(true),
            Err(error) if error.is_already_exists() => {}
            Err(error) => return Err(error.context(format!("make the snapshot {key:?}"))),
        }
        let found = snapshotter.stat(key).await?;
        let kind = if self.rw { snapshot::Kind::Active } else { snapshot::Kind::View };
        if found.parent != top || found.kind != kind {
            return Err(Error::failed_precondition(format!(
                "snapshot {key:?} is left of another mount: `lamina image unmount --rm {key}` \
                 removes it"
            )));
        }
        Ok(false)
    }
}

/// The path of the directory, links followed, and the key that goes with it.
fn free_directory(typed: &Path) -> Result<(PathBuf, String)> {
    let named = typed.display();
    let target = typed.canonicalize().map_err(|error| {
        let message = format!("{named} is no directory to mount at");
        Error::not_found(message).with_source(error)
    })?;
    if !target.is_dir() {
        return Err(Error::invalid_argument(format!("{named} is not a directory")));
    }
    if mount::is_mounted(&target)? {
        let message = format!("something is mounted at {named} already");
        return Err(Error::already_exists(message));
    }
    let key = super::unmount::key_of(&target)?;
    Ok((target, key))
}

async fn mount_at(
    cx: &Context<'_>,
    session: &Session,
    snapshotter: &dyn Snapshotter,
    key: &str,
    target: &Path,
) -> Result<()> {
    let mounts = snapshotter.mounts(key).await?;
    let mounts = activated(cx, session, key, mounts).await?;
    mount::all(&mounts, target)
}

/// Removes what was made for a mount that failed, whose error is what is told.
async fn undo(cx: &Context<'_>, session: &Session, snapshotter: &dyn Snapshotter, key: &str) {
    let undone = async {
        deactivate(cx, session, key).await?;
        snapshotter.remove(key).await
    };
    if let Err(error) = undone.await {
        tracing::warn!(key, error = %error.chain(), "a snapshot is left of a mount that failed");
    }
}
