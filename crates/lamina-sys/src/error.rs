//! The one error of this crate: which call failed, on what, with which errno.

use std::ffi::OsStr;

use rustix::io::Errno;

/// What every function here returns.
pub type Result<T, E = SysError> = std::result::Result<T, E>;

/// A failed system call.
///
/// Its text is complete in itself (`mkdirat snapshots/7: No space left on device`), so it has
/// no `source()`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.text())]
pub struct SysError {
    call: &'static str,
    subject: String,
    errno: Errno,
    detail: String,
}

impl SysError {
    /// An error of `call` with no subject.
    pub fn new(call: &'static str, errno: Errno) -> SysError {
        SysError { call, subject: String::new(), errno, detail: String::new() }
    }

    /// Names what the call was about: a file name, a mount point, a device.
    #[must_use]
    pub fn on(mut self, subject: impl AsRef<OsStr>) -> SysError {
        self.subject = subject.as_ref().to_string_lossy().into_owned();
        self
    }

    /// Adds what else is known, such as the kernel's own message.
    #[must_use]
    pub fn because(mut self, detail: impl Into<String>) -> SysError {
        self.detail = detail.into();
        self
    }

    /// The system call that failed.
    pub fn call(&self) -> &'static str {
        self.call
    }

    /// The raw error number.
    pub fn errno(&self) -> Errno {
        self.errno
    }

    /// The named meaning of the error number.
    pub fn outcome(&self) -> Outcome {
        Outcome::of(self.errno)
    }

    /// Whether the thing named does not exist.
    pub fn is_not_found(&self) -> bool {
        self.outcome() == Outcome::NotFound
    }

    /// Whether the name is taken.
    pub fn is_exists(&self) -> bool {
        self.outcome() == Outcome::Exists
    }

    /// Whether the thing is in use, for example as a mount point.
    pub fn is_busy(&self) -> bool {
        self.outcome() == Outcome::Busy
    }

    /// Whether the kernel or this filesystem does not have the operation.
    pub fn is_not_supported(&self) -> bool {
        self.outcome() == Outcome::NotSupported
    }

    /// Whether a disk or a quota is full.
    pub fn is_no_space(&self) -> bool {
        self.outcome() == Outcome::NoSpace
    }

    fn text(&self) -> String {
        let mut text = self.call.to_string();
        for part in [&self.subject].into_iter().filter(|part| !part.is_empty()) {
            text.push(' ');
            text.push_str(part);
        }
        text.push_str(&format!(": {}", self.errno));
        if !self.detail.is_empty() {
            text.push_str(&format!(" ({})", self.detail));
        }
        text
    }
}

/// So that code which speaks `std::io` (readers, writers) can pass our errors on.
impl From<SysError> for std::io::Error {
    fn from(error: SysError) -> Self {
        std::io::Error::new(std::io::Error::from(error.errno).kind(), error)
    }
}

/// Error numbers by meaning. Where two numbers mean one thing to every caller they are one outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// `ENOENT`.
    NotFound,
    /// `EEXIST`.
    Exists,
    /// `EBUSY`, `ETXTBSY`.
    Busy,
    /// `EAGAIN`: a lock is held by another, a race was lost.
    WouldBlock,
    /// `ENOSPC`, `EDQUOT`.
    NoSpace,
    /// `EROFS`.
    ReadOnly,
    /// `EPERM`, `EACCES`.
    PermissionDenied,
    /// `ENOSYS`, `EOPNOTSUPP`, `ENOTTY`: not in this kernel or not on this filesystem.
    NotSupported,
    /// `EINVAL`.
    InvalidArgument,
    /// `ENOTDIR`.
    NotADirectory,
    /// `EISDIR`.
    IsADirectory,
    /// `ENOTEMPTY`.
    NotEmpty,
    /// `EXDEV`: the operation would leave the filesystem, mount or root.
    CrossDevice,
    /// `ELOOP`: too many symbolic links, or one where none is allowed.
    SymlinkLoop,
    /// `ENAMETOOLONG`.
    NameTooLong,
    /// `EMLINK`.
    TooManyLinks,
    /// `EFBIG`, `EOVERFLOW`, `ERANGE`, `E2BIG`.
    TooLarge,
    /// `ENODATA`: no such attribute.
    NoData,
    /// `ENODEV`, `ENXIO`: no such device, or an unknown filesystem type.
    NoDevice,
    /// `ENOTBLK`.
    NotABlockDevice,
    /// `EMFILE`, `ENFILE`, `ENOMEM`.
    OutOfResources,
    /// `ESTALE`: what the descriptor stood for was moved or removed.
    Stale,
    /// `EINTR`, `ECANCELED`: stopped before it was done.
    Cancelled,
    /// `EIO`, `EUCLEAN`: the medium or the filesystem is damaged.
    Io,
    /// Anything else.
    Other,
}

impl Outcome {
    /// The outcome an error number stands for.
    pub fn of(errno: Errno) -> Outcome {
        match errno {
            Errno::NOENT => Outcome::NotFound,
            Errno::EXIST => Outcome::Exists,
            Errno::BUSY | Errno::TXTBSY => Outcome::Busy,
            Errno::AGAIN => Outcome::WouldBlock,
            Errno::NOSPC | Errno::DQUOT => Outcome::NoSpace,
            Errno::ROFS => Outcome::ReadOnly,
            Errno::PERM | Errno::ACCESS => Outcome::PermissionDenied,
            Errno::NOSYS | Errno::OPNOTSUPP | Errno::NOTTY => Outcome::NotSupported,
            Errno::INVAL => Outcome::InvalidArgument,
            Errno::NOTDIR => Outcome::NotADirectory,
            Errno::ISDIR => Outcome::IsADirectory,
            Errno::NOTEMPTY => Outcome::NotEmpty,
            Errno::XDEV => Outcome::CrossDevice,
            Errno::LOOP => Outcome::SymlinkLoop,
            Errno::NAMETOOLONG => Outcome::NameTooLong,
            Errno::MLINK => Outcome::TooManyLinks,
            Errno::FBIG | Errno::OVERFLOW | Errno::RANGE | Errno::TOOBIG => Outcome::TooLarge,
            Errno::NODATA => Outcome::NoData,
            Errno::NODEV | Errno::NXIO => Outcome::NoDevice,
            Errno::NOTBLK => Outcome::NotABlockDevice,
            Errno::MFILE | Errno::NFILE | Errno::NOMEM => Outcome::OutOfResources,
            Errno::STALE => Outcome::Stale,
            Errno::INTR | Errno::CANCELED => Outcome::Cancelled,
            Errno::IO | Errno::UCLEAN => Outcome::Io,
            _ => Outcome::Other,
        }
    }
}

/// Turns a raw result into ours, naming the call and its subject only when it failed.
pub(crate) trait Call<T> {
    fn call(self, call: &'static str) -> Result<T>;
    fn call_on(self, call: &'static str, subject: impl AsRef<OsStr>) -> Result<T>;
}

impl<T> Call<T> for rustix::io::Result<T> {
    fn call(self, call: &'static str) -> Result<T> {
        self.map_err(|errno| SysError::new(call, errno))
    }

    fn call_on(self, call: &'static str, subject: impl AsRef<OsStr>) -> Result<T> {
        self.map_err(|errno| SysError::new(call, errno).on(subject))
    }
}

/// The outcome of a file operation the standard library made for us.
pub(crate) fn from_io(call: &'static str, error: &std::io::Error) -> SysError {
    let errno = error.raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error);
    SysError::new(call, errno)
}

/// The result of a raw libc call that answers -1 and sets errno.
pub(crate) fn check(answer: libc::c_long) -> rustix::io::Result<libc::c_long> {
    if answer == -1 {
        let code = std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO);
        return Err(Errno::from_raw_os_error(code));
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_names_call_subject_errno_and_detail() {
        let error = SysError::new("fsconfig", Errno::INVAL).on("overlay").because("no upperdir");
        assert_eq!(
            error.to_string(),
            "fsconfig overlay: Invalid argument (os error 22) (no upperdir)"
        );
        assert_eq!(
            SysError::new("syncfs", Errno::IO).to_string(),
            "syncfs: Input/output error (os error 5)"
        );
    }

    #[test]
    fn outcomes_group_errnos_by_meaning() {
        for (errno, outcome) in [
            (Errno::NOENT, Outcome::NotFound),
            (Errno::DQUOT, Outcome::NoSpace),
            (Errno::ACCESS, Outcome::PermissionDenied),
            (Errno::NOTTY, Outcome::NotSupported),
            (Errno::XDEV, Outcome::CrossDevice),
            (Errno::CONNREFUSED, Outcome::Other),
        ] {
            assert_eq!(Outcome::of(errno), outcome, "{errno:?}");
        }
    }

    #[test]
    fn io_error_keeps_kind_and_text() {
        let io: std::io::Error = SysError::new("openat", Errno::NOENT).on("x").into();
        assert_eq!(io.kind(), std::io::ErrorKind::NotFound);
        assert!(io.to_string().starts_with("openat x:"), "{io}");
    }
}
