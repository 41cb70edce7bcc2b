//! The socket that clients connect to.

use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::net::UnixStream as Blocking;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_core::Stream;
use futures_util::stream;
use lamina_core::{Error, Result};
use tokio::net::{UnixListener, UnixStream};

/// Who may connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    /// The user that owns the socket.
    pub(crate) uid: u32,
    /// The group that owns it.
    pub(crate) gid: u32,
}

/// Readable and writable by owner and group, as containerd's.
const MODE: u32 = 0o660;

/// Listens at `path`. The socket appears there with its mode and owner, so that nobody else gets in
/// before they are set; one that a daemon left behind is replaced.
///
/// # Errors
/// AlreadyExists when a daemon answers there; InvalidArgument for a path that is too long for a
/// socket; those of the file system.
pub(crate) fn listen(path: &Path, owner: Owner) -> Result<UnixListener> {
    check_free(path)?;
    let failed = |what: &str, error: std::io::Error| {
        let message = format!("{what} the socket {}", path.display());
        match error.kind() {
            std::io::ErrorKind::InvalidInput => Error::invalid_argument(message),
            std::io::ErrorKind::PermissionDenied => Error::permission_denied(message),
            std::io::ErrorKind::NotFound => Error::not_found(message),
            _ => Error::internal(message),
        }
        .with_source(error)
    };
    let fresh = fresh(path)?;
    match std::fs::remove_file(&fresh) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(failed("replace", error));
        }
        _ => {}
    }
    let listener = UnixListener::bind(&fresh).map_err(|error| failed("make", error))?;
    let mode = std::fs::Permissions::from_mode(MODE);
    std::fs::set_permissions(&fresh, mode).map_err(|error| failed("set the mode of", error))?;
    chown(&fresh, Some(owner.uid), Some(owner.gid)).map_err(|error| failed("give away", error))?;
    std::fs::rename(&fresh, path).map_err(|error| failed("publish", error))?;
    Ok(listener)
}

/// Those who connect, without an end.
pub(crate) fn connections(
    listener: UnixListener,
) -> impl Stream<Item = std::io::Result<UnixStream>> {
    stream::unfold(listener, |listener| async {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => return Some((Ok(stream), listener)),
                Err(error) => {
                    // Out of files, mostly. Asking again at once would take a processor for it.
                    tracing::warn!(%error, "a connection is not taken");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    })
}

/// # Errors
/// AlreadyExists when a daemon answers at `path`.
pub(crate) fn check_free(path: &Path) -> Result<()> {
    match Blocking::connect(path) {
        Ok(_) => Err(Error::already_exists(format!("a daemon answers at {}", path.display()))),
        Err(_) => Ok(()),
    }
}

/// A name beside `path`, no longer than it by more than a character.
fn fresh(path: &Path) -> Result<PathBuf> {
    let Some(name) = path.file_name() else {
        return Err(Error::invalid_argument(format!("{} is no path of a socket", path.display())));
    };
    let mut fresh = std::ffi::OsString::from(".");
    fresh.push(name);
    Ok(path.with_file_name(fresh))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt as _;

    fn me() -> Owner {
        let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
        Owner { uid: uid.as_raw(), gid: gid.as_raw() }
    }

    #[tokio::test]
    async fn a_socket_that_is_left_over_is_replaced_and_one_that_answers_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lamina.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let listener = listen(&path, me()).unwrap();
        assert_eq!(path.metadata().unwrap().mode() & 0o7777, MODE);
        let error = listen(&path, me()).unwrap_err();
        assert_eq!(error.kind(), lamina_core::Kind::AlreadyExists);
        Blocking::connect(&path).unwrap();
        drop(listener);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn paths_that_cannot_be_are_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let long = dir.path().join("x".repeat(120));
        for (path, kind) in [
            (long.as_path(), lamina_core::Kind::InvalidArgument),
            (&dir.path().join("none/lamina.sock"), lamina_core::Kind::NotFound),
            (Path::new("/"), lamina_core::Kind::InvalidArgument),
        ] {
            let error = listen(path, me()).unwrap_err();
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.chain().contains(&path.display().to_string()), "{}", error.chain());
        }
    }
}
