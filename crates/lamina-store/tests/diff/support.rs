//! Trees to compare, in one temporary directory.

use std::ffi::CString;
use std::num::NonZero;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use lamina_core::{Error, Mount};
use lamina_store::diff::compression::Compression;
use lamina_store::diff::create::{CreateOptions, Failure, Form, Trees, create};
use lamina_store::diff::encode::encode;
use lamina_store::mount::{self, How};
use lamina_sys::fs::{self, Time, Times};
use lamina_testkit::tar::{Listed, list};

/// What an upper directory is read as.
pub const UPPER: Form = Form::Upper { prefix: "trusted.overlay." };

/// Directories `lower` and `upper`, and what is mounted, in a temporary directory.
pub struct World {
    temp: tempfile::TempDir,
}

impl World {
    pub fn new() -> World {
        let temp = tempfile::Builder::new().prefix("lamina-diff-").tempdir().unwrap();
        for dir in ["lower", "upper"] {
            std::fs::create_dir(temp.path().join(dir)).unwrap();
        }
        World { temp }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    /// What makes `upper` of `lower`.
    #[track_caller]
    pub fn diff(&self) -> Vec<Listed> {
        list(&self.archive(&CreateOptions::new()))
    }

    /// The summaries of [`diff`](Self::diff).
    #[track_caller]
    pub fn summary(&self) -> Vec<String> {
        self.diff().iter().map(Listed::summary).collect()
    }

    #[track_caller]
    pub fn archive(&self, options: &CreateOptions<'_>) -> Vec<u8> {
        let trees = trees(Some(&self.path("lower")), &self.path("upper"), Form::Merged);
        made(trees, options).unwrap_or_else(|error| panic!("{}", error.chain()))
    }

    /// The same, which must fail.
    #[track_caller]
    pub fn refused(&self) -> Error {
        let trees = trees(Some(&self.path("lower")), &self.path("upper"), Form::Merged);
        made(trees, &CreateOptions::new()).expect_err("it is refused")
    }

    /// Mounts an overlay of these directories, topmost first; `upper` is written to, if there is one.
    pub fn overlay(&self, at: &str, lower: &[PathBuf], upper: Option<&str>) -> Overlay {
        self.overlay_with(at, lower, upper, &["index=off"])
    }

    pub fn overlay_with(
        &self,
        at: &str,
        lower: &[PathBuf],
        upper: Option<&str>,
        options: &[&str],
    ) -> Overlay {
        let at = self.path(at);
        std::fs::create_dir_all(&at).unwrap();
        let mounts = [overlay_mount(self, lower, upper, options)];
        mount::all(&mounts, &at).unwrap_or_else(|error| panic!("{}", error.chain()));
        Overlay(at)
    }
}

fn overlay_mount(world: &World, lower: &[PathBuf], upper: Option<&str>, options: &[&str]) -> Mount {
    let mut words: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
    if let Some(upper) = upper {
        let work = world.path(&format!("{upper}.work"));
        std::fs::create_dir_all(&work).unwrap();
        std::fs::create_dir_all(world.path(upper)).unwrap();
        words.push(format!("workdir={}", work.display()));
        words.push(format!("upperdir={}", world.path(upper).display()));
    }
    let lower: Vec<String> = lower.iter().map(|path| path.display().to_string()).collect();
    words.push(format!("lowerdir={}", lower.join(":")));
    Mount::new("overlay", "overlay", words)
}

impl Drop for World {
    fn drop(&mut self) {
        // The standard library's removal gives up on trees a thousand directories deep. If this
        // fails, it tries and reports.
        if let Ok(dir) = fs::open_dir(self.temp.path()) {
            for name in ["lower", "upper"] {
                let _ = lamina_sys::tree::remove_tree(&dir, name);
            }
        }
    }
}

/// A mounted overlay, unmounted when it is dropped.
pub struct Overlay(pub PathBuf);

impl Drop for Overlay {
    fn drop(&mut self) {
        if let Err(error) = mount::unmount_all(&self.0, How::Plain) {
            eprintln!("{}", error.chain());
        }
    }
}

pub fn trees(lower: Option<&Path>, upper: &Path, form: Form) -> Trees {
    let open = |path: &Path| -> OwnedFd { fs::open_dir(path).unwrap() };
    Trees { lower: lower.map(open), upper: open(upper), form }
}

/// The archive, plain.
pub fn made(trees: Trees, options: &CreateOptions<'_>) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let encoded = encode(
        Compression::None,
        NonZero::<usize>::MIN,
        |blocks| create(trees, blocks, options),
        |piece| {
            bytes.extend_from_slice(piece);
            Ok(())
        },
    );
    match encoded {
        Ok(_) => Ok(bytes),
        Err(Failure::Error(error)) => Err(error),
        Err(Failure::NeedsMount) => Err(Error::unimplemented("it has to be mounted")),
    }
}

/// Writes a file with its directories, and a time of its own.
pub fn write(path: impl AsRef<Path>, content: impl AsRef<[u8]>, time: (i64, u32)) {
    let path = path.as_ref();
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
    set_time(path, time);
}

pub fn set_time(path: impl AsRef<Path>, (sec, nsec): (i64, u32)) {
    let time = Some(Time { sec, nsec });
    let handle = handle(path.as_ref());
    fs::set_times(&handle, &Times { accessed: time, modified: time }).unwrap();
}

/// A handle of what a path names, a link itself.
pub fn handle(path: &Path) -> OwnedFd {
    let dir = fs::open_dir(path.parent().unwrap()).unwrap();
    fs::open_handle_at(dir, path.file_name().unwrap()).unwrap()
}

pub fn make_fifo(path: &Path) {
    let path = CString::new(path.as_os_str().as_bytes()).unwrap();
    let mode = rustix::fs::Mode::from_raw_mode(0o644);
    let kind = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, &path, kind, mode, 0).unwrap();
}

pub fn make_char(path: &Path, major: u32, minor: u32) -> rustix::io::Result<()> {
    let mode = rustix::fs::Mode::from_raw_mode(0o644);
    let kind = rustix::fs::FileType::CharacterDevice;
    rustix::fs::mknodat(rustix::fs::CWD, path, kind, mode, rustix::fs::makedev(major, minor))
}

/// A capability as the kernel keeps it: version 2, effective, CAP_NET_RAW.
pub const CAPABILITY: &[u8] = &[1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Ends the test with a note unless it runs as root.
macro_rules! need_root {
    ($name:literal) => {
        if !$crate::support::is_root() {
            eprintln!("SKIP {}: needs root", $name);
            return;
        }
    };
}
pub(crate) use need_root;
