//! What a caller decides: where a layer goes, what counts, how much is too much.

use std::fmt;
use std::os::fd::BorrowedFd;
use std::path::Path;

use lamina_core::{Error, Result};
use lamina_sys::{RootDir, fs};

use crate::fault::Steps;
use crate::mount::Mounter;
use crate::snapshot::driver::{Contents, Whiteouts};

/// Where a layer is laid.
#[derive(Debug)]
pub struct Target {
    /// The directory that becomes the layer's `/`.
    pub root: RootDir,
    /// How deletions are written.
    pub whiteouts: Whiteouts,
    /// Trees below it, nearest first. A directory the layer only implies takes its attributes from
    /// the first that has it; the search stops at one that has something else there.
    pub lowers: Vec<RootDir>,
}

impl Target {
    /// Opens the directories a driver named. A lower one that is a file is an EROFS image, which is
    /// mounted for as long as this lives, where nobody sees it.
    ///
    /// # Errors
    /// Internal if one cannot be opened: they are ours.
    pub fn open<P: AsRef<Path>>(root: &Path, whiteouts: Whiteouts, lowers: &[P]) -> Result<Self> {
        let failed = |path: &Path, cause| {
            Error::internal(format!("open {} for a layer", path.display())).with_source(cause)
        };
        let open = |path: &Path| RootDir::open(path).map_err(|cause| failed(path, cause));
        let below = |path: &Path| {
            let found = fs::open_handle(path).and_then(|handle| fs::stat(&handle));
            if found.map_err(|cause| failed(path, cause))?.is_dir() {
                return open(path);
            }
            let image = Mounter::default().image(path)?;
            let root = fs::open_dir_at(&image, ".").map_err(|cause| failed(path, cause))?;
            Ok(RootDir::new(root))
        };
        let lowers = lowers.iter().map(|path| below(path.as_ref())).collect::<Result<_>>()?;
        Ok(Target { root: open(root)?, whiteouts, lowers })
    }
}

/// Whose the files become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owners {
    /// Who the layer says; needs `CAP_CHOWN`.
    Layer,
    /// Whoever runs this.
    Caller,
}

/// What becomes of block and character devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Devices {
    /// They are made; needs `CAP_MKNOD` in the first user namespace.
    Make,
    /// They are left out with a warning, as in a user namespace.
    Skip,
}

/// How a layer is laid.
#[derive(Clone)]
pub struct ApplyOptions<'a> {
    /// Whose the files become.
    pub owners: Owners,
    /// What becomes of devices.
    pub devices: Devices,
    /// How much is too much.
    pub limits: Limits,
    /// The file system of which [`Limits::free_bytes`] must stay free, where it is not the one that
    /// the layer is written to.
    pub space: Option<BorrowedFd<'a>>,
    /// Takes the content of files, which stay empty themselves.
    pub contents: Option<&'a dyn Contents>,
    /// Asked at every entry and every block; true ends the work with Cancelled.
    pub cancelled: &'a (dyn Fn() -> bool + Sync),
    /// Told how many bytes of the input were read so far, beginning with 0; by [`apply_layer`]
    /// from another thread.
    ///
    /// [`apply_layer`]: super::apply_layer
    pub progress: &'a (dyn Fn(u64) + Sync),
    /// Where tests cut in: `diff.apply.entry` before each entry, `diff.apply.end` after the last.
    pub steps: Steps,
}

impl ApplyOptions<'_> {
    /// The layer's owners and devices, the default limits, nobody watching.
    pub fn new() -> Self {
        ApplyOptions {
            owners: Owners::Layer,
            devices: Devices::Make,
            limits: Limits::default(),
            space: None,
            contents: None,
            cancelled: &|| false,
            progress: &|_| (),
            steps: Steps::none(),
        }
    }

    pub(super) fn check_cancelled(&self) -> Result<()> {
        if (self.cancelled)() {
            return Err(Error::cancelled("applying the layer was cancelled"));
        }
        Ok(())
    }
}

impl Default for ApplyOptions<'_> {
    fn default() -> Self {
        ApplyOptions::new()
    }
}

impl fmt::Debug for ApplyOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApplyOptions")
            .field("owners", &self.owners)
            .field("devices", &self.devices)
            .field("limits", &self.limits)
            .field("steps", &self.steps)
            .finish_non_exhaustive()
    }
}

/// How much of anything one layer may have. What is over is ResourceExhausted.
///
/// The defaults accept what containerd accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Entries, headers of headers not counted.
    pub entries: u64,
    /// Extended attributes of one entry.
    pub xattrs: usize,
    /// Bytes of PAX records and GNU long names before one entry. Default: as much as Go takes.
    pub metadata_bytes: u32,
    /// Regions of data in one sparse file.
    pub sparse_regions: usize,
    /// Bytes of a path or link target. Default: what Linux takes (`PATH_MAX` without its NUL).
    pub path_bytes: u32,
    /// Bytes of the stream without its compression.
    pub stream_bytes: u64,
    /// How many times its compressed size a stream may become, once it is over 64 MiB. Off by
    /// default: honest images hold files of zeros.
    pub ratio: Option<u32>,
    /// Bytes that must stay free on the filesystem, looked at every 32 MiB. Off by default here; a
    /// store sets its reserve.
    pub free_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            entries: 50_000_000,
            xattrs: 1_000,
            metadata_bytes: 1024 * 1024,
            sparse_regions: 100_000,
            path_bytes: 4095,
            stream_bytes: 16 << 40,
            ratio: None,
            free_bytes: 0,
        }
    }
}

impl Limits {
    pub(super) fn check_stream(&self, bytes: u64) -> Result<()> {
        if bytes > self.stream_bytes {
            return Err(Error::resource_exhausted(format!(
                "the layer is larger than the {} bytes allowed",
                self.stream_bytes
            )));
        }
        Ok(())
    }

    pub(super) fn check_ratio(&self, unpacked: u64, packed: u64) -> Result<()> {
        /// Below this a bomb does no harm, and small files of zeros are common.
        const FLOOR: u64 = 64 << 20;
        match self.ratio {
            Some(ratio) if unpacked > FLOOR && unpacked / u64::from(ratio.max(1)) > packed => {
                Err(Error::resource_exhausted(format!(
                    "the layer unpacks to more than {ratio} times its size"
                )))
            }
            _ => Ok(()),
        }
    }
}
