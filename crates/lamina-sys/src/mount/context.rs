//! A filesystem being configured: `fsopen`, `fsconfig`, `fsmount`.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};

use rustix::mount::{self as raw, FsMountFlags, FsOpenFlags, FsPickFlags, MountAttrFlags};

use super::detached::Tree;
use crate::error::{Call, Result};

/// Owns a filesystem context. Any error of a call on it carries the messages the kernel logged
/// to the context, which say what `EINVAL` does not.
#[derive(Debug)]
pub struct FsContext {
    fd: OwnedFd,
    fs_type: String,
}

impl FsContext {
    /// A context for a new mount of a filesystem type; `ENODEV` if the kernel does not know it.
    pub fn open(fs_type: &str) -> Result<FsContext> {
        let fd = raw::fsopen(fs_type, FsOpenFlags::FSOPEN_CLOEXEC).call_on("fsopen", fs_type)?;
        Ok(FsContext { fd, fs_type: fs_type.to_owned() })
    }

    /// A context to [`reconfigure`](Self::reconfigure) the superblock below an existing mount.
    pub fn pick(mount: impl AsFd) -> Result<FsContext> {
        let flags = FsPickFlags::FSPICK_CLOEXEC | FsPickFlags::FSPICK_EMPTY_PATH;
        let fd = raw::fspick(mount, "", flags).call("fspick")?;
        Ok(FsContext { fd, fs_type: String::new() })
    }

    /// An option without a value: `ro`, `noload`.
    pub fn set_flag(&self, key: &str) -> Result<()> {
        self.explain(raw::fsconfig_set_flag(&self.fd, key), "fsconfig", key)
    }

    /// An option with a value, at most 255 bytes long (`EINVAL` above). `source` is one too.
    pub fn set_string(&self, key: &str, value: impl AsRef<OsStr>) -> Result<()> {
        self.explain(raw::fsconfig_set_string(&self.fd, key, value.as_ref()), "fsconfig", key)
    }

    /// An option whose value is a file or directory. Which options take one depends on the
    /// filesystem: overlay's layers do since Linux 6.13.
    pub fn set_fd(&self, key: &str, value: impl AsFd) -> Result<()> {
        self.explain(raw::fsconfig_set_fd(&self.fd, key, value), "fsconfig", key)
    }

    /// An option of `mount -o` form: `key` or `key=value`.
    pub fn set_option(&self, option: &str) -> Result<()> {
        match option.split_once('=') {
            Some((key, value)) => self.set_string(key, value),
            None => self.set_flag(option),
        }
    }

    /// Makes the superblock (or finds one that is already there, as `mount(2)` does).
    pub fn create(&self) -> Result<()> {
        self.explain(raw::fsconfig_create(&self.fd), "fsconfig(create)", &self.fs_type)
    }

    /// Applies the options to the superblock picked.
    pub fn reconfigure(&self) -> Result<()> {
        self.explain(raw::fsconfig_reconfigure(&self.fd), "fsconfig(reconfigure)", &self.fs_type)
    }

    /// The mount of the superblock created, attached nowhere yet.
    pub fn mount(&self, attributes: MountAttrFlags) -> Result<Tree> {
        let mounted = raw::fsmount(&self.fd, FsMountFlags::FSMOUNT_CLOEXEC, attributes);
        self.explain(mounted, "fsmount", &self.fs_type).map(Tree::new)
    }

    /// Takes the kernel's messages out of the context: `e` error, `w` warning, `i` information,
    /// then the text.
    pub fn messages(&self) -> Vec<String> {
        // One read answers one message, ENODATA when there are no more; the kernel keeps 8.
        let mut messages = Vec::new();
        let mut buf = [0_u8; 1024];
        while let Ok(len) = rustix::io::read(&self.fd, &mut buf) {
            let Some(text) = buf.get(..len).filter(|text| !text.is_empty()) else { break };
            messages.push(String::from_utf8_lossy(text).trim_end().to_owned());
        }
        messages
    }

    fn explain<T>(
        &self,
        result: rustix::io::Result<T>,
        call: &'static str,
        subject: &str,
    ) -> Result<T> {
        result.call_on(call, subject).map_err(|error| {
            let messages = self.messages();
            if messages.is_empty() { error } else { error.because(messages.join("; ")) }
        })
    }
}
